"""Networks, frames and saved values that are rare, calibrated at the default level."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

import tidlq
from tidlq._core import ErrorStatistics
from tidlq.compilation import Compiled
from tidlq.graph.partition import StageKind

Frame = dict[str, NDArray[np.generic]]
SHAPE = (1, 2, 6, 6)
EQUALIZED = {"tidlq:cross_layer_equalization": "on", "quantization_scale_type": 1}


def network(
    nodes: Sequence[onnx.NodeProto],
    outputs: dict[str, int | None],
    inputs: dict[str, tuple[int, tuple[int | str, ...]]] | None = None,
    **constants: NDArray[np.generic],
) -> onnx.ModelProto:
    """A network of convolution `first`, from `x` to `a`, and more nodes; None: a sequence."""
    value, sequence = helper.make_tensor_value_info, helper.make_tensor_sequence_value_info
    first = helper.make_node("Conv", ["x", "w"], ["a"], name="first")
    weight = np.random.default_rng(0).normal(0, 0.3, (3, 2, 3, 3)).astype(np.float32)
    given = {"x": (TensorProto.FLOAT, SHAPE), **(inputs or {})}
    graph = helper.make_graph(
        [first, *nodes],
        "unusual",
        [value(name, type_, shape) for name, (type_, shape) in given.items()],
        [
            sequence(name, TensorProto.FLOAT, None) if type_ is None else value(name, type_, None)
            for name, type_ in outputs.items()
        ],
        [numpy_helper.from_array(v, k) for k, v in {"w": weight, **constants}.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


def node(operator: str, inputs: str, outputs: str, **attributes: object) -> onnx.NodeProto:
    name = f"{operator}_{outputs}"
    return helper.make_node(operator, inputs.split(), outputs.split(), name=name, **attributes)


def frames(count: int = 8, shape: tuple[int, ...] = SHAPE) -> list[Frame]:
    values = np.random.default_rng(1).normal(size=(count, *shape)).astype(np.float32)
    return [{"x": value} for value in values]


def least_sqnr_db(
    model: onnx.ModelProto, compiled: Compiled, data: list[Frame], *outputs: str
) -> float:
    floating = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    quantized = tidlq.InferenceSession(compiled.artifacts)
    errors = [ErrorStatistics() for _ in outputs]
    for frame in data:
        pairs = zip(floating.run(outputs, frame), quantized.run(outputs, frame), strict=True)
        for error, (want, got) in zip(errors, pairs, strict=True):
            error.update(want, got)
    return min(error.sqnr_db for error in errors)


@pytest.mark.parametrize("type_", [TensorProto.FLOAT, TensorProto.INT64])
@pytest.mark.parametrize("island", [False, True])
def test_a_scalar_input_is_calibrated(type_: int, island: bool) -> None:
    nodes = [node("Cast", "s", "f", to=TensorProto.FLOAT)]
    equation = {"equation": "...->..."} if island else {}
    nodes.append(node("Einsum" if island else "Identity", "f", "g", **equation))
    nodes += [node("Mul", "a g", "m"), node("Relu", "m", "y")]
    model = network(nodes, {"y": TensorProto.FLOAT}, {"s": (type_, ())})
    dtype = np.float32 if type_ == TensorProto.FLOAT else np.int64
    data = [{**x, "s": np.array(i % 3 + 1, dtype)} for i, x in enumerate(frames())]
    compiled = tidlq.compile(model, data, {"quantization_scale_type": 4})
    assert compiled.bias is not None
    assert least_sqnr_db(model, compiled, data, "y") > 25


def test_an_output_whose_shape_depends_on_the_data_leaves_the_others_calibrated() -> None:
    model = network(
        [node("Relu", "a", "y"), node("NonZero", "y", "where")],
        {"y": TensorProto.FLOAT, "where": TensorProto.INT64},
    )
    data = frames()
    compiled = tidlq.compile(model, data, {"quantization_scale_type": 4})
    assert compiled.bias is not None
    assert np.isfinite(compiled.bias.error_before)
    assert least_sqnr_db(model, compiled, data, "y") > 30


def test_outputs_that_are_no_numbers_leave_the_others_calibrated() -> None:
    model = network(
        [
            node("Relu", "a", "y"),
            node("ArgMax", "y", "best", axis=1),
            node("Gather", "names best", "name"),
            node("SplitToSequence", "y", "parts", axis=1),
        ],
        {"y": TensorProto.FLOAT, "name": TensorProto.STRING, "parts": None},
        names=np.array(["cat", "dog", "owl"], object),
    )
    data = frames()
    compiled = tidlq.compile(model, data, {"quantization_scale_type": 4})
    assert compiled.bias is not None
    assert least_sqnr_db(model, compiled, data, "y") > 30


def test_an_infinite_output_of_the_float_network_does_not_stop_bias_calibration() -> None:
    """Log of a ReLU is -Inf wherever the ReLU is zero; what is finite still tells."""
    model = network([node("Relu", "a", "r"), node("Log", "r", "y")], {"y": TensorProto.FLOAT})
    compiled = tidlq.compile(model, frames(), {"quantization_scale_type": 4})
    assert compiled.bias is not None
    assert 0 < compiled.bias.error_after <= compiled.bias.error_before < np.inf


@pytest.mark.parametrize("level", [0, 1])
def test_no_sequence_passes_by_a_fixed_point_stage(level: int) -> None:
    """Stages hand tensors to each other; what a sequence would pass by runs in float with it."""
    second = np.array([[[[0.7]]]], np.float32)
    model = network(
        [
            node("SplitToSequence", "a", "parts", axis=1),
            node("SequenceAt", "parts one", "part"),
            helper.make_node("Conv", ["part", "w2"], ["c"], name="second"),
            node("SequenceInsert", "parts c", "more"),
            node("SequenceAt", "more three", "last"),
            node("Sigmoid", "last", "y"),
        ],
        {"y": TensorProto.FLOAT},
        w2=second,
        one=np.array(1),
        three=np.array(3),
    )
    data = frames()
    compiled = tidlq.compile(model, data, {"accuracy_level": level})
    kinds = [stage.kind for stage in compiled.partition.stages]
    assert kinds == [StageKind.FIXED, StageKind.FLOAT, StageKind.FIXED]
    (reason,) = {x.reason for x in compiled.partition.float_nodes if x.name == "second"}
    assert "sequence" in reason
    assert least_sqnr_db(model, compiled, data, "y") > 20


def test_a_generator_may_hand_out_the_same_memory_again() -> None:
    model = network([node("Relu", "a", "y")], {"y": TensorProto.FLOAT})
    data = frames(12)

    def reused() -> Iterator[Frame]:
        buffer = np.empty(SHAPE, np.float32)
        frame: Frame = {"x": buffer}
        for item in data:
            buffer[...] = item["x"]
            yield frame

    options = {"quantization_scale_type": 4}
    wanted = tidlq.compile(model, data, options)
    for given in (reused, reused(), iter(data)):
        found = tidlq.compile(model, given, options)
        assert found.artifacts.stages == wanted.artifacts.stages
        assert found.artifacts.quant_params == wanted.artifacts.quant_params


@pytest.mark.parametrize("count", [1, 3])
def test_too_few_frames_to_hold_some_out_are_said(count: int) -> None:
    model = network([node("Relu", "a", "y")], {"y": TensorProto.FLOAT})
    (notice,) = tidlq.compile(model, frames(count)).notices
    assert notice.startswith(f"The number of calibration frames, {count}, is too small")


def test_a_network_without_inputs_compiles() -> None:
    model = network([node("Relu", "a", "y")], {"y": TensorProto.FLOAT})
    del model.graph.input[:]
    source = helper.make_node("RandomUniform", [], ["x"], name="source", shape=SHAPE, seed=1.0)
    model.graph.node.insert(0, source)
    compiled = tidlq.compile(model, [{}] * 8, {"quantization_scale_type": 4})
    assert compiled.bias is None
    (y,) = tidlq.InferenceSession(compiled.artifacts).run(None, {})
    assert y.shape == (1, 3, 4, 4)


@pytest.mark.parametrize("threads", [-1, 1025, 10**6])
def test_a_number_of_threads_that_cannot_be_is_refused(threads: int) -> None:
    model = network([node("Relu", "a", "y")], {"y": TensorProto.FLOAT})
    with pytest.raises(tidlq.OptionError, match=f"Threads is {threads}, allowed is 0"):
        tidlq.compile(model, frames(), threads=threads)


# --- edited protos


def equalized_chain() -> onnx.ModelProto:
    """Two layers whose channels are rescaled."""
    sizes = np.array([0.02, 1.0, 30.0], np.float32)
    first = np.random.default_rng(0).normal(0, 0.3, (3, 2, 3, 3)).astype(np.float32)
    second = np.random.default_rng(2).normal(0, 0.3, (4, 3, 1, 1)).astype(np.float32)
    return network(
        [
            node("Relu", "a", "r"),
            helper.make_node("Conv", ["r", "w2"], ["y"], name="second"),
        ],
        {"y": TensorProto.FLOAT},
        w=first * sizes.reshape(3, 1, 1, 1),
        w2=second / sizes.reshape(1, 3, 1, 1),
    )


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ("[1, 2]", "equalization factors.*'first'"),
        ("[1, 2, 3, 4]", "equalization factors.*'first'"),
        ("[1, -2, 3]", r"equalization\[1\] is -2.0; it must be finite and positive"),
        ("[1, 0, 3]", r"equalization\[1\] is 0.0; it must be finite and positive"),
        ("[1, nan, 3]", r"equalization\[1\] is nan; it must be finite and positive"),
        ("[1, 1e-44, 3]", "take weights beyond float32"),
    ],
)
def test_edited_factors_that_cannot_work_are_refused(
    tmp_path: Path, factors: str, message: str
) -> None:
    path = tmp_path / "edited.prototxt"
    options = {**EQUALIZED, "quant_params_proto_path": str(path)}
    tidlq.compile(equalized_chain(), frames(), options)
    text, count = re.subn(r"(equalization\]: )\[[^\]]*\]", rf"\g<1>{factors}", path.read_text())
    assert count == 1
    path.write_text(text)
    with pytest.raises(tidlq.QuantProtoError, match=message) as caught:
        tidlq.compile(equalized_chain(), None, options)
    assert "edited.prototxt" in str(caught.value)


def test_factors_of_a_layer_whose_channels_stay_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "edited.prototxt"
    options = {**EQUALIZED, "quant_params_proto_path": str(path)}
    tidlq.compile(equalized_chain(), frames(), options)
    place = path.read_text().index('layer_name: "second"')
    text = path.read_text()
    line = "[tidlq.quantproto.equalization]: [1, 2, 3, 4]\n  "
    path.write_text(text[:place] + line + text[place:])
    with pytest.raises(tidlq.QuantProtoError, match="4 equalization factors for layer 'second'"):
        tidlq.compile(equalized_chain(), None, options)


@pytest.mark.parametrize("denied", ["Clip", "Relu", "first", "second"])
def test_a_proto_with_factors_and_another_placement_are_refused_together(
    tmp_path: Path, denied: str
) -> None:
    path = tmp_path / "saved.prototxt"
    options = {**EQUALIZED, "quant_params_proto_path": str(path)}
    whole = tidlq.compile(equalized_chain(), frames(), options)
    changed = {**options, "deny_list": denied}
    if denied == "Clip":
        again = tidlq.compile(equalized_chain(), None, changed)
        assert again.artifacts.stages == whole.artifacts.stages
        return
    with pytest.raises(tidlq.QuantProtoError, match="equalization factors for layer 'first'"):
        tidlq.compile(equalized_chain(), None, changed)
