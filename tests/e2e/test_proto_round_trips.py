"""Networks come back from their protos alone, and ranges from other forms of a network."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import tidlq
from tidlq import demo_data
from tidlq.inspection import stated_ranges
from tidlq.quantproto import read_quant_params, write_quant_params
from tidlq.ranges import RangeTable
from tidlq.target import Options

WIDE = "output_feature_16bit_names_list"
CASES: dict[str, dict[str, Any]] = {
    "type 0": {"quantization_scale_type": 0},
    "type 1": {"quantization_scale_type": 1},
    "type 4": {"quantization_scale_type": 4},
    "type 0 per channel": {"quantization_scale_type": 0, "channel_wise_quantization": 1},
    "16 bits": {"tensor_bits": 16},
    "mixed bits": {"quantization_scale_type": 4, WIDE: ""},
    "advanced": {"accuracy_level": 1, "calibration_iterations": 2},
}
MODELS = (
    "cifar10/models/resnet20_cifar10.onnx",
    "kws/models/mlperf_kws_fp32.onnx",
    "imagenet/models/efficientnet_lite0.onnx",
)


def random_frames(model: Path, count: int) -> list[dict[str, np.ndarray]]:
    value = onnx.load(model, load_external_data=False).graph.input[0]
    shape = [dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim]
    random = np.random.default_rng(0)
    return [{value.name: random.normal(size=shape).astype(np.float32)} for _ in range(count)]


def stages(compiled: tidlq.Compiled) -> list[bytes]:
    return [stage.content for stage in compiled.artifacts.stages]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", MODELS)
def test_a_real_network_comes_back_from_its_proto_in_every_form(
    shared_data: Path, tmp_path: Path, name: str, case: str
) -> None:
    model = shared_data / name
    options = {"accuracy_level": 0, **CASES[case]}
    if WIDE in options:
        layers = list(dict.fromkeys(x.layer for x in RangeTable(model) if x.role == "weight"))
        options[WIDE] = f"{layers[0]},{layers[-1]}"
    path = tmp_path / "saved.prototxt"
    how = {**options, "quant_params_proto_path": str(path)}
    whole = tidlq.compile(model, random_frames(model, 4), how)
    saved = read_quant_params(path)
    for suffix in (".pb", ".json"):
        other = tmp_path / f"saved{suffix}"
        write_quant_params(other, saved)
        assert read_quant_params(other) == saved
        again = tidlq.compile(model, None, {**how, "quant_params_proto_path": str(other)})
        assert stages(again) == stages(whole)
    assert stages(tidlq.compile(model, None, how)) == stages(whole)


@pytest.mark.parametrize("scale_type", [0, 1, 4])
def test_ranges_of_a_qdq_model_come_back_from_another_export(
    tmp_path: Path, scale_type: int
) -> None:
    frames = list(itertools.islice(demo_data.calibration_frames(), 4))
    options = {"quantization_scale_type": scale_type, "accuracy_level": 0}
    compiled = tidlq.compile(demo_data.model_path(), frames, options)
    first, second, proto = (tmp_path / name for name in ("a.onnx", "b.onnx", "q.prototxt"))
    onnx.save(compiled.to_qdq(), first)
    ranges = stated_ranges(first, Options.parse({}), {}).saved
    write_quant_params(proto, ranges)
    again = tidlq.compile(first, None, {"quant_params_proto_path": str(proto)})
    assert stages(again) == stages(tidlq.compile(first))
    onnx.save(again.to_qdq(), second)
    assert stated_ranges(second, Options.parse({}), {}).saved == ranges
