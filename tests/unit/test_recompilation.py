"""Artifacts back to the compilation that wrote them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import tidlq
from random_networks import frames_for
from small_networks import SmallNetwork
from tidlq.errors import ArtifactError, ModelError, QuantProtoError
from tidlq.recompilation import recompile


def network(seed: int = 0, side: int = 8) -> onnx.ModelProto:
    net = SmallNetwork(seed)
    relu = net.node("Relu", net.conv(net.input(1, 3, side, side), (4, 3, 3, 3)))
    return net.model(net.conv(relu, (2, 4, 3, 3)))


def save(model: onnx.ModelProto, path: Path) -> Path:
    onnx.save(model, path)
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save(network(), tmp_path / "model.onnx")


@pytest.fixture
def artifacts(tmp_path: Path, model: Path) -> Path:
    options = {"quantization_scale_type": 1, "tidlq:cross_layer_equalization": "on"}
    return tidlq.compile(model, frames_for(network(), 4), options).save(tmp_path / "artifacts")


def test_the_networks_are_those_of_the_artifacts(artifacts: Path, model: Path) -> None:
    compiled = recompile(artifacts, model)
    (stage,) = compiled.artifacts.stages
    assert stage.content == (artifacts / stage.file).read_bytes()
    assert compiled.frames == 0


def test_symbolic_sizes_are_what_they_were(tmp_path: Path) -> None:
    proto = network()
    for axis, name in ((0, "n"), (2, "h"), (3, "w")):
        proto.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = name
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    del proto.graph.value_info[:]
    path = save(proto, tmp_path / "open.onnx")
    frames = [{"input0": np.ones((1, 3, 8, 8), np.float32)}]
    compiled = tidlq.compile(path, frames, input_shapes={"input0": (1, 3, 8, 8)})
    folder = compiled.save(tmp_path / "artifacts")
    assert recompile(folder, path).graph == compiled.graph


@pytest.mark.parametrize("other", [network(1), network(0, 9)], ids=["weights", "shape"])
def test_another_model_is_refused(artifacts: Path, tmp_path: Path, other: onnx.ModelProto) -> None:
    path = save(other, tmp_path / "other.onnx")
    with pytest.raises(ModelError, match=r"is not the model that the artifacts in .* were made"):
        recompile(artifacts, path)


def test_a_model_that_is_none_says_so_itself(artifacts: Path, tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"\xff" * 40)
    with pytest.raises(ModelError, match=r"broken\.onnx") as caught:
        recompile(artifacts, path)
    assert "were made from" not in str(caught.value)


def test_float_artifacts_have_nothing_to_compile_again(tmp_path: Path, model: Path) -> None:
    folder = tidlq.compile(model, None, {"tensor_bits": 32}).save(tmp_path / "float")
    with pytest.raises(ArtifactError, match="run in float only"):
        recompile(folder, model)


def test_a_damaged_proto_is_no_other_model(artifacts: Path, model: Path) -> None:
    (artifacts / "quant_params.prototxt").write_text("layers {")
    with pytest.raises(QuantProtoError, match="line 1"):
        recompile(artifacts, model)
