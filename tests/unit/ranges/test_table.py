"""A table of ranges lists what a network needs, takes ranges, and compiles with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import tidlq
from small_networks import SmallNetwork, random_frame
from tidlq.errors import DataError, ModelError, OptionError, QuantProtoError
from tidlq.quantproto import read_quant_params
from tidlq.ranges import RangeTable
from tidlq.spec import Range, RangeOrigin


def network() -> SmallNetwork:
    built = SmallNetwork(3)
    tensor = built.input(1, 3, 8, 8)
    tensor = built.conv(tensor, (4, 3, 3, 3), name="first")
    tensor = built.node("Relu", tensor, name="relu")
    tensor = built.node("MaxPool", tensor, name="pool", kernel_shape=[2, 2], strides=[2, 2])
    tensor = built.conv(tensor, (2, 4, 3, 3), name="second", bias=False)
    built.clip(tensor, 0.0, 6.0, name="clip")
    return built


MODEL = network().model("clip_out")


def frames() -> list[dict[str, np.ndarray]]:
    graph = network().graph("clip_out")
    return [random_frame(graph, seed) for seed in range(4)]


def given(low: float, high: float) -> Range:
    return Range(low, high, RangeOrigin.SAVED)


def stages(compiled: tidlq.Compiled) -> list[bytes]:
    return [stage.content for stage in compiled.artifacts.stages]


def test_tensors_come_in_execution_order_with_what_is_known() -> None:
    table = RangeTable(MODEL)
    assert [(x.name, x.layer, x.layer_type, x.role, x.shape) for x in table] == [
        ("input0", "input0", "Data", "feature", (1, 3, 8, 8)),
        ("first.weight", "first", "Convolution", "weight", (4, 3, 3, 3)),
        ("first.bias", "first", "Convolution", "bias", (4,)),
        ("relu_out", "first", "Convolution", "feature", (1, 4, 6, 6)),
        ("second.weight", "second", "Convolution", "weight", (2, 4, 3, 3)),
        ("second.bias", "second", "Convolution", "bias", (2,)),
        ("clip_out", "second", "Convolution", "feature", (1, 2, 1, 1)),
    ]
    assert table.missing == ("input0", "relu_out")
    assert table["clip_out"].range == Range(0.0, 6.0, RangeOrigin.STATED)
    weight = table["first.weight"]
    assert weight.values is not None
    assert weight.range is not None
    assert weight.range.max == weight.values.max()
    bias = table["second.bias"]
    assert bias.values is not None
    assert bias.values.tolist() == [0.0, 0.0]


def test_frames_give_statistics_of_feature_maps() -> None:
    table = RangeTable(MODEL, calibration=frames())
    values = np.stack([frame["input0"] for frame in frames()])
    seen = table["input0"].statistics
    assert seen is not None
    assert (seen.tensor.min, seen.tensor.max) == (values.min(), values.max())
    counts, edges = table["input0"].histogram
    expected, _ = np.histogram(values, edges)
    assert counts.tolist() == expected.tolist()
    assert table["first.weight"].statistics is None
    with pytest.raises(DataError, match=r"'first\.weight' has no statistics"):
        _ = table["first.weight"].histogram


def test_extremes_set_by_hand_give_the_network_of_level_2() -> None:
    table = RangeTable(MODEL, {"accuracy_level": 2}, calibration=frames())
    for tensor in table:
        if tensor.name in table.missing:
            assert tensor.statistics is not None
            table[tensor.name] = tensor.statistics.tensor.min, tensor.statistics.tensor.max
    compiled = table.compile()
    assert stages(compiled) == stages(tidlq.compile(MODEL, frames(), {"accuracy_level": 2}))
    assert compiled.frames == 0


def test_what_is_set_is_written(tmp_path: Path) -> None:
    table = RangeTable(MODEL, {"channel_wise_quantization": 1})
    table["input0"] = -2, 2
    table["relu_out"] = (0, 3)
    table["first.weight"] = -0.5, 0.25
    table.set_channels("second.weight", [(-1, 1), (-0.5, 2)])
    table.set_bias("second.bias", [0.5, -0.25])
    table.set_bits("relu_out", 16)
    table.set_bits("second.weight", 16)
    saved = read_quant_params(table.write(tmp_path / "ranges.json"))
    first, pool, second = (saved.layers_by_name[name] for name in ("first", "pool", "second"))
    assert first.weights[0].range == given(-0.5, 0.25)
    assert (first.bit_depth, first.parameter_bit_depth, pool.bit_depth) == (16, 8, 16)
    assert second.parameter_bit_depth == 16
    assert second.weights[0].channels == (given(-1, 1), given(-0.5, 2))
    assert second.weights[0].range == given(-1, 2)
    assert second.bias[0].values == (0.5, -0.25)
    assert pool.outputs[0].range == given(0, 3)
    assert table.compile().plan is not None


def test_frames_give_the_ranges_that_are_not_set() -> None:
    table = RangeTable(MODEL, {"accuracy_level": 1})
    table["relu_out"] = 0, 9
    assert [t.name for t in table.saved.layers_by_name["first"].weights] == []
    with pytest.raises(QuantProtoError, match="the table of ranges cannot replace calibration"):
        table.compile()
    compiled = table.compile(frames())
    assert compiled.ranges.features["relu_out"] == given(0, 9)
    assert compiled.ranges.features["input0"].absolute_max > 0
    assert compiled.bias is not None


@pytest.mark.parametrize(
    ("name", "bounds", "fault"),
    [
        ("relu_ot", (0, 1), "no tensor 'relu_ot' with a range. Did you mean 'relu_out'"),
        ("pool_out", (0, 1), "'pool_out' has the range of what its layer reads"),
        ("relu_out", (1, 0), r"\(1, 0\) is no range \(min, max\) for 'relu_out'"),
        ("relu_out", (0, float("nan")), "is no range"),
        ("relu_out", 3, "is no range"),
        ("relu_out", (0, 3.4028234663852886e38), "stands for 'not known'"),
        ("first.bias", (0, 1), "use set_bias"),
    ],
)
def test_what_is_no_range_is_refused(name: str, bounds: object, fault: str) -> None:
    with pytest.raises(OptionError, match=fault):
        RangeTable(MODEL)[name] = bounds  # type: ignore[assignment]


def test_channels_biases_and_bits_have_to_fit() -> None:
    table = RangeTable(MODEL)
    with pytest.raises(OptionError, match=r"1 ranges for 'first\.weight', which has 4 channels"):
        table.set_channels("first.weight", [(0, 1)])
    with pytest.raises(OptionError, match="'relu_out' has no output channels"):
        table.set_channels("relu_out", [(0, 1)])
    with pytest.raises(OptionError, match="takes 4 finite values"):
        table.set_bias("first.bias", [1.0])
    with pytest.raises(OptionError, match="is no bias"):
        table.set_bias("relu_out", [1.0])
    with pytest.raises(OptionError, match="cannot have 4 bits"):
        table.set_bits("relu_out", 4)


def test_a_network_that_runs_in_float_has_no_ranges() -> None:
    with pytest.raises(ModelError, match="runs in float only"):
        RangeTable(MODEL, {"tensor_bits": 32})


def test_a_table_is_part_of_the_package() -> None:
    assert tidlq.RangeTable is RangeTable
    assert "relu_out" in RangeTable(onnx.ModelProto.FromString(MODEL.SerializeToString()))
    assert len(RangeTable(MODEL)) == 7
