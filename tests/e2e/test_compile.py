"""From model to running artifacts through the Python API."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import tidlq
from tidlq import demo_data
from tidlq.compilation import Compiled
from tidlq.graph.partition import StageKind
from tidlq.lowering.network_file import unpack_network

PROTO = "advanced_options:quant_params_proto_path"


def compile_demo(**options: object) -> Compiled:
    return tidlq.compile(
        demo_data.model_path(),
        list(demo_data.calibration_frames())[:20],
        {"quantization_scale_type": 4, **options},
    )


def pictures() -> tuple[np.ndarray, np.ndarray]:
    pairs = list(demo_data.labelled_test())[:300]
    return np.concatenate([frame["input"] for frame, _ in pairs]), np.array([y for _, y in pairs])


def accuracy(compiled: Compiled) -> float:
    x, y = pictures()
    (probabilities,) = tidlq.InferenceSession(compiled.artifacts).run(None, {"input": x})
    return float((probabilities.argmax(1) == y).mean())


@pytest.fixture(scope="module")
def float_accuracy() -> float:
    return accuracy(tidlq.compile(demo_data.model_path(), options={"tensor_bits": 32}))


@pytest.mark.parametrize("scale_type", [0, 1, 4])
@pytest.mark.parametrize("level", [0, 2])
def test_a_trained_network_keeps_its_accuracy(
    float_accuracy: float, scale_type: int, level: int
) -> None:
    compiled = compile_demo(quantization_scale_type=scale_type, accuracy_level=level)
    # Three standard errors of 300 pictures at 92 %.
    assert accuracy(compiled) >= float_accuracy - 0.047


@pytest.mark.parametrize("channel_wise", [0, 1])
@pytest.mark.parametrize("scale_type", [0, 1, 4])
@pytest.mark.parametrize("suffix", [".prototxt", ".pb"])
def test_the_saved_proto_gives_the_same_network_without_data(
    tmp_path: Path, scale_type: int, channel_wise: int, suffix: str
) -> None:
    options = {
        "quantization_scale_type": scale_type,
        "channel_wise_quantization": channel_wise,
        PROTO: str(tmp_path / f"quant{suffix}"),
    }
    first = compile_demo(**options)
    again = tidlq.compile(demo_data.model_path(), None, options)
    assert (tmp_path / f"quant{suffix}").exists()
    assert again.frames == 0
    assert again.artifacts.stages == first.artifacts.stages
    assert again.artifacts.quant_params == first.artifacts.quant_params


def test_float_requantization_is_a_choice_of_type_4(float_accuracy: float) -> None:
    compiled = compile_demo(**{"tidlq:requantization": "float"})
    network = unpack_network(compiled.artifacts.stages[0].content)
    modes = {x.convolution.requantize.mode for x in network.layers if x.HasField("convolution")}
    assert modes == {3}
    assert accuracy(compiled) >= float_accuracy - 0.047


@pytest.mark.parametrize(
    "options",
    [
        {"device": "AM68A"},
        {"device": "TDA4VM", "quantization_scale_type": 1},
        {"device": "TDA4VM", "quantization_scale_type": 0, "bias_clipping": 1},
    ],
)
def test_device_plans_keep_their_accuracy(
    float_accuracy: float, options: dict[str, object]
) -> None:
    assert accuracy(compile_demo(**options)) >= float_accuracy - 0.047


def test_on_a_device_inputs_are_symmetric_and_convolutions_are_not() -> None:
    plan = compile_demo(device="AM68A").plan
    assert plan is not None
    assert plan.features["input"].zero_point == 0
    assert any(feature.zero_point for feature in plan.features.values())


def test_the_order_of_calibration_frames_does_not_matter() -> None:
    frames = list(demo_data.calibration_frames())[:20]
    # Which frames bias calibration holds out does depend on their order.
    options = {"quantization_scale_type": 4, "accuracy_level": 9, "bias_calibration": 0}
    forwards = tidlq.compile(demo_data.model_path(), frames, options)
    backwards = tidlq.compile(demo_data.model_path(), frames[::-1], options)
    joined = [{"input": np.concatenate([frame["input"] for frame in frames])}]
    as_batch = tidlq.compile(demo_data.model_path(), joined, options)
    assert forwards.artifacts.stages == backwards.artifacts.stages == as_batch.artifacts.stages


def test_any_batch_gives_the_results_of_its_frames() -> None:
    session = tidlq.InferenceSession(compile_demo().artifacts)
    x, _ = pictures()
    (batch,) = session.run(None, {"input": x[:7]})
    singles = [session.run(["softmax"], {"input": x[i : i + 1]})[0] for i in range(7)]
    np.testing.assert_array_equal(batch, np.concatenate(singles))


def test_thread_count_does_not_change_results() -> None:
    artifacts = compile_demo().artifacts
    x, _ = pictures()
    results = [
        tidlq.InferenceSession(artifacts, threads=threads).run(None, {"input": x[:9]})[0]
        for threads in (1, 2, 5)
    ]
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_the_session_describes_the_models_own_interface() -> None:
    session = tidlq.InferenceSession(compile_demo().artifacts)
    (given,), (returned,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type, given.shape[1:]) == ("input", "tensor(float)", [1, 28, 28])
    assert isinstance(given.shape[0], str)
    assert (returned.name, returned.shape[1:]) == ("softmax", [10])


@pytest.mark.parametrize(
    ("feed", "message"),
    [
        ({}, "Input 'input' is missing"),
        ({"inptu": np.zeros((1, 1, 28, 28), np.float32)}, "no input 'inptu'.*Did you mean 'input'"),
        ({"input": np.zeros((1, 1, 28, 28))}, "dtype float64; it must be float32"),
        ({"input": np.zeros((1, 1, 27, 28), np.float32)}, r"\[1, 1, 27, 28\]; it must be"),
        ({"input": np.zeros((0, 1, 28, 28), np.float32)}, r"\[0, 1, 28, 28\]; it must be"),
    ],
)
def test_a_feed_that_does_not_fit_is_refused(feed: dict[str, np.ndarray], message: str) -> None:
    session = tidlq.InferenceSession(compile_demo().artifacts)
    with pytest.raises(tidlq.DataError, match=message):
        session.run(None, feed)


def test_a_proto_of_a_network_with_other_weights_is_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "quant.prototxt")
    compile_demo(**{PROTO: path})
    model = onnx.load(demo_data.model_path())
    weight = model.graph.initializer[3]
    changed = numpy_helper.to_array(weight) * np.float32(1.5)
    weight.CopyFrom(numpy_helper.from_array(changed, weight.name))
    with pytest.raises(tidlq.QuantProtoError, match="another model"):
        tidlq.compile(model, None, {"quantization_scale_type": 4, PROTO: path})


def test_an_edited_range_decides_the_scale(tmp_path: Path) -> None:
    path = tmp_path / "quant.prototxt"
    options = {"quantization_scale_type": 4, PROTO: str(path)}
    first = compile_demo(**options)
    text = path.read_text()
    # The first `max` belongs to the data layer: pixels up to 1.
    found = re.search(r"max: (\S+)", text)
    assert found is not None
    largest = float(found[1])
    path.write_text(text.replace(found[0], f"max: {2 * largest!r}", 1))
    edited = tidlq.compile(demo_data.model_path(), None, options)
    assert first.plan is not None
    assert edited.plan is not None
    assert edited.plan.features["input"].scale == 2 * first.plan.features["input"].scale


def test_without_data_and_proto_the_error_says_what_to_give() -> None:
    with pytest.raises(tidlq.DataError, match="quant_params_proto_path"):
        tidlq.compile(demo_data.model_path(), None, {"quantization_scale_type": 4})


def island_model(operator: str = "LpNormalization") -> onnx.ModelProto:
    random = np.random.default_rng(5)

    def weight(name: str) -> onnx.TensorProto:
        return numpy_helper.from_array(random.normal(0, 0.3, (4, 4, 3, 3)).astype(np.float32), name)

    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["a"], name="first", pads=[1, 1, 1, 1]),
        helper.make_node(operator, ["a"], ["b"], name="middle"),
        helper.make_node("Conv", ["b", "w1"], ["y"], name="last", pads=[1, 1, 1, 1]),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "islands",
        [value("x", TensorProto.FLOAT, ["n", 4, 8, 8])],
        [value("y", TensorProto.FLOAT, ["n", 4, 8, 8])],
        [weight("w0"), weight("w1")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def float_results(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    import onnxruntime as ort

    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {"x": x})
    return np.asarray(y)


def sqnr_db(reference: np.ndarray, value: np.ndarray) -> float:
    return float(10 * np.log10((reference**2).sum() / ((reference - value) ** 2).sum()))


@pytest.mark.parametrize("save", [True, False])
def test_an_operator_without_integer_kernel_runs_in_a_float_island(
    tmp_path: Path, save: bool
) -> None:
    model = island_model()
    x = np.random.default_rng(6).normal(size=(5, 4, 8, 8)).astype(np.float32)
    frames = [{"x": frame[None]} for frame in x]
    compiled = tidlq.compile(model, frames, {"quantization_scale_type": 4, "accuracy_level": 2})
    kinds = [stage.kind for stage in compiled.artifacts.stages]
    assert kinds == [StageKind.FIXED, StageKind.FLOAT, StageKind.FIXED]
    source: Callable[[], object] = lambda: compiled.artifacts  # noqa: E731
    if save:
        source = lambda: compiled.save(tmp_path / "artifacts")  # noqa: E731
    session = tidlq.InferenceSession(source())  # type: ignore[arg-type]
    (y,) = session.run(None, {"x": x})
    assert sqnr_db(float_results(model, x), y) > 30


def test_a_denied_layer_runs_in_float_and_says_why() -> None:
    compiled = compile_demo(**{"deny_list:layer_name": "model/add/add:0"})
    layers = [layer for stage in compiled.artifacts.report["stages"] for layer in stage["layers"]]
    (denied,) = [layer for layer in layers if layer["runs_in"] == "float"]
    assert denied["name"] == "model/add/add"
    assert denied["reason"] == "the layer is denied"


def test_32_bits_run_the_float_network_through_the_same_road() -> None:
    compiled = tidlq.compile(demo_data.model_path(), options={"tensor_bits": 32})
    assert [stage.kind for stage in compiled.artifacts.stages] == [StageKind.FLOAT]
    assert compiled.artifacts.scheme == "float"
    assert compiled.artifacts.quant_params == b""


def test_an_edited_bias_decides_the_network(tmp_path: Path) -> None:
    path = tmp_path / "quant.prototxt"
    options = {"quantization_scale_type": 4, PROTO: str(path)}
    first = compile_demo(**options)
    text = path.read_text()
    found = re.search(r"value: \[([^,]+),", text)
    assert found is not None
    path.write_text(text.replace(found[0], f"value: [{float(found[1]) + 1.0!r},", 1))
    edited = tidlq.compile(demo_data.model_path(), None, options)
    before, after = (unpack_network(c.artifacts.stages[0].content).layers for c in (first, edited))
    changed = [x.name for x, y in zip(before, after, strict=True) if x != y]
    assert len(changed) == 1


def chain(*nodes: onnx.NodeProto, **constants: np.ndarray) -> onnx.ModelProto:
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        list(nodes),
        "chain",
        [value("x", TensorProto.FLOAT, ["n", 2, 6, 6])],
        [value("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


def mixing_weight() -> np.ndarray:
    return np.random.default_rng(1).normal(0, 0.3, (3, 2, 3, 3)).astype(np.float32)


PADDED_RELU = chain(
    helper.make_node("Relu", ["x"], ["a"], name="r"),
    helper.make_node("Pad", ["a", "pads", "five"], ["b"], name="p"),
    helper.make_node("Conv", ["b", "w"], ["y"], name="c"),
    pads=np.array([0, 0, 1, 1, 0, 0, 1, 1]),
    five=np.array(5.0, np.float32),
    w=mixing_weight(),
)
OVERFLOW_GUARD = chain(
    helper.make_node("Conv", ["x", "w"], ["a"], name="c"),
    helper.make_node("Clip", ["a", "low", "high"], ["y"], name="guard"),
    w=mixing_weight(),
    low=np.array(-65504.0, np.float32),
    high=np.array(65504.0, np.float32),
)
PRUNED_CHANNEL = chain(
    helper.make_node("Conv", ["x", "w"], ["y"], name="c"),
    w=mixing_weight() * np.array([0.01, 0.0, 0.01], np.float32).reshape(3, 1, 1, 1),
)


@pytest.mark.parametrize("scale_type", [0, 1, 4])
@pytest.mark.parametrize(
    "model",
    [PADDED_RELU, OVERFLOW_GUARD, PRUNED_CHANNEL],
    ids=["pad_beyond_the_range", "overflow_guard", "pruned_channel"],
)
def test_corner_networks_stay_close_to_float(model: onnx.ModelProto, scale_type: int) -> None:
    x = np.random.default_rng(2).normal(size=(4, 2, 6, 6)).astype(np.float32)
    options = {
        "quantization_scale_type": scale_type,
        "channel_wise_quantization": 1,
        "accuracy_level": 2,
    }
    compiled = tidlq.compile(model, [{"x": frame[None]} for frame in x], options)
    (y,) = tidlq.InferenceSession(compiled.artifacts).run(None, {"x": x})
    assert sqnr_db(float_results(model, x), y) > 25


def test_a_part_of_a_split_may_share_its_name_with_another_node() -> None:
    model = chain(
        helper.make_node("Split", ["x"], ["a", "b"], name="s", axis=1, num_outputs=2),
        helper.make_node("Sigmoid", ["a"], ["c"], name="s:1"),
        helper.make_node("Mul", ["b", "c"], ["y"], name="m"),
    )
    x = np.random.default_rng(2).normal(size=(4, 2, 6, 6)).astype(np.float32)
    compiled = tidlq.compile(
        model, [{"x": frame[None]} for frame in x], {"quantization_scale_type": 4}
    )
    names = [layer.name for layer in compiled.partition.layers]
    assert len(set(names)) == len(names)


def test_an_island_that_reads_nothing_joins_a_batch() -> None:
    model = chain(
        helper.make_node("Sigmoid", ["x"], ["a"], name="s"),
        helper.make_node(
            "RandomUniform", [], ["r"], name="u", shape=[1, 2, 6, 6], high=1.0, low=1.0, seed=1.0
        ),
        helper.make_node("Mul", ["a", "r"], ["y"], name="m"),
    )
    x = np.random.default_rng(2).normal(size=(4, 2, 6, 6)).astype(np.float32)
    compiled = tidlq.compile(
        model, [{"x": frame[None]} for frame in x], {"quantization_scale_type": 4}
    )
    (y,) = tidlq.InferenceSession(compiled.artifacts).run(None, {"x": x})
    assert y.shape == x.shape


def test_an_initializer_that_is_an_output_is_returned() -> None:
    model = chain(helper.make_node("Conv", ["x", "w"], ["y"], name="c"), w=mixing_weight())
    model.graph.output.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [3, 2, 3, 3]))
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    x = np.ones((1, 2, 6, 6), np.float32)
    compiled = tidlq.compile(model, [{"x": x}], {"quantization_scale_type": 4})
    _, w = tidlq.InferenceSession(compiled.artifacts).run(None, {"x": x})
    np.testing.assert_array_equal(w, mixing_weight())
