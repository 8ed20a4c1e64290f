"""Defects that other quantizers have, each excluded by tests named `test_defect_NN_...`.

| | defect | tests |
|---|---|---|
| 1 | a statistics buffer emptied at a cap without being reduced | here |
| 2 | an entropy search with a single candidate | tests/property/test_peer_defects_in_ranges.py |
| 3 | a histogram extended at the first batch's bin width | there |
| 4 | ranges of another model with the same tensor names accepted | here |
| 5 | an Inf in one frame becomes the range, without a word | here |
| 6 | a histogram frozen at three times the first batch | here |
| 7 | a search at 16 bits that leaves the data | tests/property/test_peer_defects_in_ranges.py |
| 8 | bins no narrower than 1e-5 | there |
| 9 | 256 levels whatever the bits; zero biases switch bias correction off | there; here |
| 10 | a bias that wraps when a layer is promoted to 16 bits | test_weighted_layers.py; here |
| 11 | scales that depend on batches, their order or threads | there; here |
| 12 | bias correction that costs accuracy and says nothing | here |
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

import tidlq
from oracle.real_models import REAL_MODELS
from tidlq import demo_data
from tidlq.calibration.bias.stages import IntegerStages
from tidlq.compilation import Compiled
from tidlq.precision.assignment import precision_of
from tidlq.precision.plan import make_plan
from tidlq.target import Options, scheme_of

PROTO = "advanced_options:quant_params_proto_path"
EQUALIZATION = "tidlq:cross_layer_equalization"
Array = NDArray[np.float32]
Frames = list[dict[str, Array]]
TESTS = Path(__file__).resolve().parent.parent


def network(
    nodes: Sequence[onnx.NodeProto], shape: Sequence[int | str], **constants: NDArray[np.floating]
) -> onnx.ModelProto:
    """A network from `x` of this shape to `y`."""
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        list(nodes),
        "defects",
        [value("x", TensorProto.FLOAT, shape)],
        [value("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(v.astype(np.float32), k) for k, v in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def conv(source: str, weight: str, target: str, bias: str | None = None) -> onnx.NodeProto:
    inputs = [source, weight, *([bias] if bias else [])]
    return helper.make_node("Conv", inputs, [target], name=f"conv_{target}")


def relu(source: str, target: str) -> onnx.NodeProto:
    return helper.make_node("Relu", [source], [target], name=f"relu_{target}")


def gain_of_two() -> onnx.ModelProto:
    """y = 2 x, four values a frame."""
    return network([conv("x", "w", "y")], ["n", 1, 2, 2], w=np.full((1, 1, 1, 1), 2.0))


def depthwise_chain(seed: int = 0) -> onnx.ModelProto:
    """Convolution, depthwise convolution, convolution; the channels' sizes differ widely."""
    random = np.random.default_rng(seed)
    sizes = np.exp(random.normal(0, 1.5, (8, 1, 1, 1)))
    nodes = [
        conv("x", "w1", "a", "b1"),
        relu("a", "r1"),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["d"], name="conv_d", group=8),
        relu("d", "r2"),
        conv("r2", "w3", "y"),
    ]
    return network(
        nodes,
        ["n", 3, 9, 9],
        w1=random.normal(0, 0.3, (8, 3, 3, 3)) * sizes,
        b1=random.normal(0, 0.2, 8),
        w2=random.normal(0, 0.3, (8, 1, 3, 3)) / sizes,
        b2=random.normal(0, 0.2, 8),
        w3=random.normal(0, 0.3, (4, 8, 1, 1)),
    )


def normal_frames(count: int, shape: Sequence[int], seed: int = 1) -> Array:
    """Normal values, each [1, *shape]."""
    values = np.random.default_rng(seed).normal(size=(count, 1, *shape))
    return values.astype(np.float32)


def as_frames(values: Array, name: str = "x") -> Frames:
    return [{name: value} for value in values]


# --- 1: early values are lost


@pytest.mark.parametrize("level", [0, 1, 2])
def test_defect_01_the_first_of_thousands_of_frames_count_as_much_as_the_last(level: int) -> None:
    """A buffer emptied at a cap keeps nothing of the early frames, which are the wide ones here."""
    count = 3000
    values = normal_frames(count, (1, 2, 2))
    values[: count // 3] *= 10
    options = {"accuracy_level": level, "calibration_frames": count}
    options |= {"quantization_scale_type": 4, "bias_calibration": 0}
    compiled = tidlq.compile(gain_of_two(), as_frames(values), options)
    assert compiled.frames == count
    flat = values.reshape(count, -1).astype(np.float64)
    found = compiled.ranges.features["x"]
    if level == 0:
        assert found.min == pytest.approx(flat.min(axis=1).mean(), rel=1e-6)
        assert found.max == pytest.approx(flat.max(axis=1).mean(), rel=1e-6)
    elif level == 2:
        assert (found.min, found.max) == (flat.min(), flat.max())
    else:
        assert min(found.max, -found.min) > 2 * np.abs(flat[count // 3 :]).max()


def test_defect_01_one_early_value_among_millions_is_in_the_range() -> None:
    values = normal_frames(300, (1, 100, 100))
    values[0, 0, 0, 3, 3] = -77.0
    model = network([conv("x", "w", "y")], ["n", 1, 100, 100], w=np.full((1, 1, 1, 1), 2.0))
    options = {"accuracy_level": 2, "calibration_frames": 300, "quantization_scale_type": 4}
    compiled = tidlq.compile(model, as_frames(values), options)
    assert compiled.ranges.features["x"].min == -77.0
    assert compiled.ranges.features["y"].min == -154.0


# --- 4: ranges of another model


@pytest.mark.parametrize("suffix", [".prototxt", ".pb"])
@pytest.mark.parametrize("has_data", [False, True])
def test_defect_04_ranges_of_a_model_with_the_same_names_and_other_weights_are_refused(
    tmp_path: Path, suffix: str, has_data: bool
) -> None:
    path = tmp_path / f"ranges{suffix}"
    options = {"quantization_scale_type": 4, PROTO: str(path)}
    frames = as_frames(normal_frames(6, (3, 9, 9)))
    tidlq.compile(depthwise_chain(seed=0), frames, options)
    before = path.read_bytes()
    with pytest.raises(tidlq.QuantProtoError, match="another model") as caught:
        tidlq.compile(depthwise_chain(seed=1), frames if has_data else None, options)
    assert path.name in str(caught.value)
    assert path.read_bytes() == before


def test_defect_04_a_single_changed_weight_makes_another_model(tmp_path: Path) -> None:
    options = {"quantization_scale_type": 1, PROTO: str(tmp_path / "ranges.prototxt")}
    model = depthwise_chain()
    tidlq.compile(model, as_frames(normal_frames(6, (3, 9, 9))), options)
    weight = model.graph.initializer[2]
    values = numpy_helper.to_array(weight).copy()
    values.flat[5] = np.nextafter(values.flat[5], np.float32(1e9))
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    with pytest.raises(tidlq.QuantProtoError, match="another model"):
        tidlq.compile(model, None, options)


# --- 5: values that are not finite


def refusal(model: onnx.ModelProto, frames: Frames, **options: object) -> str:
    with pytest.raises(tidlq.DataError) as caught:
        tidlq.compile(model, frames, options)
    message = str(caught.value)
    assert "\n" not in message
    assert message.count(". ") == 0
    return message


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize(
    ("value", "word"), [(np.nan, "1 NaN"), (np.inf, "1 Inf"), (-np.inf, "1 Inf")]
)
def test_defect_05_one_value_of_one_input_is_named(value: float, word: str, level: int) -> None:
    values = normal_frames(8, (3, 9, 9))
    values[5, 0, 1, 2, 3] = value
    message = refusal(depthwise_chain(), as_frames(values), accuracy_level=level)
    assert word in message
    assert "'x'" in message
    assert "frame 5" in message


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("word", ["Inf", "NaN"])
def test_defect_05_a_value_that_arises_inside_the_network_is_named(word: str, level: int) -> None:
    """Products of 1e30 and 1e30 overflow; of two such sums with opposite signs comes a NaN."""
    weight = np.full((1, 1, 1, 1), 1e30)
    nodes = [conv("x", "w", "y")]
    if word == "NaN":
        nodes = [conv("x", "w", "a"), conv("x", "minus", "b")]
        nodes.append(helper.make_node("Add", ["a", "b"], ["y"], name="sum"))
    model = network(nodes, ["n", 1, 2, 2], w=weight, minus=-weight)
    values = normal_frames(8, (1, 2, 2))
    values[3] = 1e30
    message = refusal(model, as_frames(values), accuracy_level=level)
    assert word in message or word == "NaN"
    assert "'y'" in message or "'a'" in message
    assert "frame 3" in message


@pytest.mark.parametrize("level", [0, 1, 2])
def test_defect_05_a_nan_behind_a_clip_is_named_though_the_clip_states_the_range(
    level: int,
) -> None:
    """The range of a Clip's output needs no measuring, but a NaN passes through it."""
    nodes = [
        conv("x", "w", "a"),
        helper.make_node("Clip", ["a", "low", "high"], ["y"], name="clip"),
    ]
    model = network(
        nodes,
        ["n", 2, 2, 2],
        w=np.array([1e30, -1e30]).reshape(1, 2, 1, 1),
        low=np.array(0.0),
        high=np.array(6.0),
    )
    values = normal_frames(8, (2, 2, 2))
    values[6] = 1e30
    message = refusal(model, as_frames(values), accuracy_level=level, quantization_scale_type=4)
    assert "NaN" in message
    assert "'y'" in message
    assert "frame 6" in message


# --- 6: the first batch freezes the range


@pytest.mark.parametrize("scale_type", [0, 1, 4])
@pytest.mark.parametrize("method", ["mse", "percentile", "entropy"])
def test_defect_06_later_and_wider_batches_widen_the_range(method: str, scale_type: int) -> None:
    values = normal_frames(20, (1, 30, 30))
    values[5:] *= 50
    model = network([conv("x", "w", "y")], ["n", 1, 30, 30], w=np.full((1, 1, 1, 1), 2.0))
    options = {"quantization_scale_type": scale_type, "tidlq:calibration_method": method}
    compiled = tidlq.compile(model, as_frames(values), options)
    first_batch = float(np.abs(values[:5]).max())
    for name, gain in (("x", 1), ("y", 2)):
        assert compiled.ranges.features[name].max > 10 * gain * first_batch
        assert compiled.ranges.features[name].min < -10 * gain * first_batch


# --- 9: zero biases


def test_defect_09_layers_without_a_bias_or_with_zeros_are_calibrated() -> None:
    """A zero is a bias like any other; where there is none, one is made."""
    random = np.random.default_rng(4)
    model = network(
        [conv("x", "w1", "a", "zeros"), relu("a", "r"), conv("r", "w2", "y")],
        ["n", 4, 8, 8],
        w1=random.normal(0.1, 0.3, (6, 4, 3, 3)) * np.exp(random.normal(0, 1.5, (6, 1, 1, 1))),
        zeros=np.zeros(6),
        w2=random.normal(0.1, 0.3, (5, 6, 3, 3)),
    )
    frames = as_frames(np.abs(normal_frames(16, (4, 8, 8))) + 1)
    compiled = tidlq.compile(model, frames, {"quantization_scale_type": 1, EQUALIZATION: "off"})
    assert compiled.bias is not None
    assert [done.layer for done in compiled.bias.layers] == ["conv_a", "conv_y"]
    assert all(done.damping > 0 and done.steps > 0 for done in compiled.bias.layers)
    assert all(any(compiled.bias.biases[name]) for name in ("conv_a", "conv_y"))
    assert all(done.error_after < 0.5 * done.error_before for done in compiled.bias.layers)
    assert compiled.bias.error_after < compiled.bias.error_before


# --- 10: a bias that wraps


@pytest.mark.parametrize("options", [{"tensor_bits": 16}, {"params_16bit_names_list": "conv_y"}])
@pytest.mark.parametrize("scale_type", [0, 1, 4])
def test_defect_10_a_large_bias_survives_16_bits(
    options: dict[str, object], scale_type: int
) -> None:
    """In steps of input and 16-bit weight this bias is beyond int32: a cast would wrap it."""
    random = np.random.default_rng(5)
    model = network(
        [conv("x", "w", "y", "b")],
        ["n", 2, 5, 5],
        w=random.normal(0, 1e-3, (3, 2, 3, 3)),
        b=np.array([900.0, -800.0, 0.5]),
    )
    values = normal_frames(8, (2, 5, 5)) * np.float32(1e-3)
    compiled = tidlq.compile(
        model, as_frames(values), {"quantization_scale_type": scale_type, **options}
    )
    (found,) = tidlq.InferenceSession(compiled.artifacts).run(None, {"x": values[:, 0]})
    expected = np.array([900.0, -800.0, 0.5]).reshape(1, 3, 1, 1)
    assert np.abs(found - expected).max() < 900 / 100


# --- 11: batches, their order, threads


def grouped(values: Array, size: int) -> Frames:
    """The frames [n, 1, ...] in batches of a size."""
    rows = values[:, 0]
    return [{"x": rows[start : start + size]} for start in range(0, len(rows), size)]


@pytest.mark.parametrize("scale_type", [0, 1, 4])
def test_defect_11_batches_and_threads_leave_every_byte_the_same(scale_type: int) -> None:
    values = normal_frames(50, (3, 9, 9))
    options = {"quantization_scale_type": scale_type, "calibration_frames": 50}
    seen = []
    for size, threads in itertools.product((1, 5, 50), (1, 2, 7)):
        compiled = tidlq.compile(depthwise_chain(), grouped(values, size), options, threads=threads)
        assert compiled.bias is not None
        assert compiled.bias.sweeps > 0
        seen.append((compiled.artifacts.stages, compiled.artifacts.quant_params))
    assert all(one == seen[0] for one in seen)


@pytest.mark.parametrize("equalization", ["off", "on"])
@pytest.mark.parametrize("scale_type", [0, 1, 4])
@pytest.mark.parametrize("level", [0, 1, 2])
def test_defect_11_the_order_of_frames_leaves_the_ranges_the_same(
    level: int, scale_type: int, equalization: str
) -> None:
    """Bias calibration holds some frames out, which ones depends on their order; ranges do not."""
    sizes = np.arange(1, 21, dtype=np.float32).reshape(-1, 1, 1, 1, 1)
    values = normal_frames(20, (3, 9, 9)) * sizes
    options = {"accuracy_level": level, "quantization_scale_type": scale_type}
    options[EQUALIZATION] = equalization
    orders = (values, values[::-1], np.random.default_rng(3).permutation(values))
    found = [tidlq.compile(depthwise_chain(), as_frames(order), options) for order in orders]
    for other in found[1:]:
        assert other.ranges.features == found[0].ranges.features
        assert other.ranges.parameters == found[0].ranges.parameters


# --- 12: bias correction that does harm


def held_out_error(compiled: Compiled, model: Path, frames: Frames, has_biases: bool) -> float:
    """Squared error of the outputs on every fourth frame, relative; ONNX Runtime is the judge."""
    plan = compiled.plan
    assert plan is not None
    if not has_biases:
        options = Options.parse(compiled.artifacts.options)
        plan = make_plan(
            compiled.graph,
            compiled.partition,
            replace(compiled.ranges, biases={}),
            scheme_of(options),
            precision=precision_of(options, compiled.graph, compiled.partition),
        )
    stages = IntegerStages(compiled.graph, compiled.partition, plan, 0)
    held = frames[3::4]
    name = next(iter(held[0]))
    outputs = stages.run({name: np.stack([frame[name] for frame in held])}, {})
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    total = 0.0
    for output, wanted in zip(
        names, zip(*(session.run(None, frame) for frame in held), strict=True), strict=True
    ):
        reference = np.stack(wanted).astype(np.float64)
        error = outputs[output].reshape(reference.shape) - reference
        total += float((error**2).sum() / (reference**2).sum())
    return total


def mobilenet_frames(folder: Path) -> Iterator[Array]:
    for path in sorted((folder / "images256").glob("*.JPEG"))[:8]:
        with Image.open(path) as picture:
            small = picture.convert("RGB").resize((224, 224), Image.Resampling.BILINEAR)
        yield np.asarray(small, np.float32)[None] / np.float32(127.5) - 1


def fixture_case(_request: pytest.FixtureRequest) -> tuple[Path, Frames]:
    return Path(demo_data.model_path()), list(demo_data.calibration_frames())[:20]


def keywords_case(request: pytest.FixtureRequest) -> tuple[Path, Frames]:
    return REAL_MODELS["kws"].load(request)


def mobilenet_case(request: pytest.FixtureRequest) -> tuple[Path, Frames]:
    folder: Path = request.getfixturevalue("shared_data") / "imagenet"
    path = folder / "models/keras_mobilenet_v1_0.25_224.onnx"
    name = onnx.load(path, load_external_data=False).graph.input[0].name
    return path, as_frames(list(mobilenet_frames(folder)), name)


@pytest.mark.parametrize(
    "case",
    [
        fixture_case,
        keywords_case,
        pytest.param(mobilenet_case, marks=pytest.mark.slow),
    ],
)
def test_defect_12_bias_calibration_is_never_silently_worse(
    case: object, request: pytest.FixtureRequest
) -> None:
    assert callable(case)
    path, frames = case(request)
    compiled = tidlq.compile(path, frames, {"quantization_scale_type": 4})
    bias = compiled.bias
    assert bias is not None
    assert bias.sweeps > 0
    assert bias.error_after <= bias.error_before
    before = held_out_error(compiled, path, frames, has_biases=False)
    after = held_out_error(compiled, path, frames, has_biases=True)
    assert after <= before
    assert before == pytest.approx(bias.error_before, rel=1e-3)
    assert after == pytest.approx(bias.error_after, rel=1e-3)
    weighted = [layer.name for layer in compiled.partition.layers if layer.kind.has_weight]
    reported = [done.layer for done in bias.layers]
    assert reported == weighted
    assert bias.biases.keys() == (set(weighted) if bias.biases else set())


def test_defect_12_biases_that_would_do_harm_stay_as_they_were() -> None:
    """The frames held out are of another kind than those that corrections are measured on."""
    values = normal_frames(16, (3, 9, 9))
    values[3::4] = -4 * np.abs(values[3::4])
    for scale_type in (0, 1, 4):
        options = {"quantization_scale_type": scale_type}
        compiled = tidlq.compile(depthwise_chain(), as_frames(values), options)
        assert compiled.bias is not None
        assert compiled.bias.error_after <= compiled.bias.error_before


# --- all of them


def test_every_defect_of_the_peers_has_a_test() -> None:
    found = {
        int(number)
        for path in TESTS.rglob("test_*.py")
        for number in re.findall(r"^def test_defect_(\d\d)_", path.read_text(), re.MULTILINE)
    }
    assert found == set(range(1, 13))
