"""Files that cannot be imported are refused in one sentence that says what and where."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tflite_models import TfliteOperator, TfliteTensor, constant, tflite_model
from tidlq.errors import ModelError
from tidlq.importers.model import import_model
from tidlq.importers.tflite.model import import_tflite

X, Y = TfliteTensor("x", (1, 4)), TfliteTensor("y", (1, 4))
NEG = TfliteOperator("NEG", ("x",), ("y",))


def small() -> bytes:
    return tflite_model([X, Y], [NEG], ["x"], ["y"])


def refused(data: bytes | Path) -> str:
    with pytest.raises(ModelError) as caught:
        import_model(data)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith((".", "?"))
    return message


def rebuilt(change: object) -> bytes:
    """The small model with its object form changed by a function."""
    import flatbuffers

    model = schema.ModelT.InitFromPackedBuf(small(), 0)
    change(model)  # type: ignore[operator]
    builder = flatbuffers.Builder(256)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def test_messages_begin_with_the_path(tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(small()[:60])
    assert refused(path).startswith(f"{path}: it is truncated or damaged: Model")
    assert refused(small()[:60]).startswith("the given bytes: it is truncated or damaged: Model")


def test_the_content_decides_not_the_name(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(small())
    assert import_model(path).name == "net"
    assert import_model(small()).outputs[0].name == "y"


@pytest.mark.parametrize("data", [b"", b"TFL3", b"some text that is no model", b"\x08\x07garbage"])
def test_other_files_are_neither(data: bytes) -> None:
    assert re.search("neither an ONNX nor a TFLite model|is empty|truncated", refused(data))


def test_a_folder_and_a_missing_file(tmp_path: Path) -> None:
    assert "is a folder" in refused(tmp_path)
    (tmp_path / "net.tflite").write_bytes(small())
    assert "Did you mean 'net.tflite'" in refused(tmp_path / "nett.tflite")


def test_bytes_that_are_no_tflite_are_refused_by_its_own_door() -> None:
    with pytest.raises(ModelError, match="the given bytes: it is not a TFLite model"):
        import_tflite(b"\x08\x07")


@pytest.mark.parametrize(
    ("operator", "reason"),
    [
        (TfliteOperator("WHERE", ("x",), ("y",)), "size depends on data"),
        (TfliteOperator("SVDF", ("x",), ("y",)), "is recurrent"),
        (TfliteOperator("READ_VARIABLE", ("x",), ("y",)), "keeps a state between runs"),
        (TfliteOperator("IF", ("x",), ("y",)), "runs another subgraph"),
        (TfliteOperator("RFFT2D", ("x",), ("y",)), "RFFT2D (operator 0), which writes 'y'"),
        (
            TfliteOperator("FlexErf", ("x",), ("y",), custom_options=b""),
            "the custom operator FlexErf",
        ),
        (
            TfliteOperator("TFLite_Detection_PostProcess", ("x",), ("y",), custom_options=b""),
            "decodes and sorts boxes",
        ),
    ],
    ids=lambda value: value.op if isinstance(value, TfliteOperator) else "",
)
def test_unsupported_operators_are_named(operator: TfliteOperator, reason: str) -> None:
    message = refused(tflite_model([X, Y], [operator], ["x"], ["y"]))
    assert reason in message
    assert operator.op in message
    assert "'y'" in message


def test_a_tensor_read_before_it_is_written() -> None:
    tensors = [X, Y, TfliteTensor("a", (1, 4)), TfliteTensor("b", (1, 4))]
    operators = [
        TfliteOperator("ADD", ("x", "b"), ("a",)),
        TfliteOperator("NEG", ("a",), ("b",)),
        TfliteOperator("NEG", ("b",), ("y",)),
    ]
    message = refused(tflite_model(tensors, operators, ["x"], ["y"]))
    assert "operator 0 (ADD), which writes 'a'" in message
    assert "tensor 'b' is read, but holds no data and no operator before writes it" in message


def test_a_tensor_written_twice() -> None:
    assert "'y' is written twice" in refused(tflite_model([X, Y], [NEG, NEG], ["x"], ["y"]))


def test_an_input_or_a_constant_that_is_written() -> None:
    into = TfliteOperator("NEG", ("x",), ("x",))
    assert "'x' is written twice or is an input" in refused(
        tflite_model([X, Y], [into], ["x"], ["x"])
    )
    fixed = constant("c", np.ones((1, 4), np.float32))
    into = TfliteOperator("NEG", ("x",), ("c",))
    assert "'c' is written, but is a constant" in refused(
        tflite_model([X, fixed], [into], ["x"], ["c"])
    )


def test_an_output_that_nothing_writes() -> None:
    message = refused(tflite_model([X, Y, TfliteTensor("z", (2,))], [NEG], ["x"], ["z"]))
    assert "tensor 'z' is read, but holds no data" in message


def test_a_network_without_outputs() -> None:
    assert "no outputs" in refused(tflite_model([X, Y], [NEG], ["x"], []))


def test_data_that_do_not_fit_their_shape() -> None:
    def change(model: schema.ModelT) -> None:
        tensor = model.subgraphs[0].tensors[0]
        model.buffers.append(schema.BufferT())
        model.buffers[-1].data = np.zeros(15, np.uint8)
        tensor.buffer = len(model.buffers) - 1
        model.subgraphs[0].inputs = np.zeros(0, np.int32)

    assert "'x' of shape [1, 4] and type FLOAT32 needs 16 bytes and has 15" in refused(
        rebuilt(change)
    )


def test_indices_out_of_range() -> None:
    def tensor(model: schema.ModelT) -> None:
        model.subgraphs[0].operators[0].inputs = np.array([7], np.int32)

    def buffer(model: schema.ModelT) -> None:
        model.subgraphs[0].tensors[0].buffer = 9

    def kind(model: schema.ModelT) -> None:
        model.subgraphs[0].operators[0].opcodeIndex = 3

    assert "operator 0 (NEG) names tensor 7; the model has 2 (0 to 1)" in refused(rebuilt(tensor))
    assert "tensor 'x' names buffer 9" in refused(rebuilt(buffer))
    assert "operator 0 is of kind 3; the model has 1 kinds" in refused(rebuilt(kind))


def test_another_version_of_the_schema() -> None:
    def change(model: schema.ModelT) -> None:
        model.version = 2

    assert "its schema has version 2; supported is 3" in refused(rebuilt(change))


def test_no_subgraph() -> None:
    def change(model: schema.ModelT) -> None:
        model.subgraphs = []

    assert "holds no subgraph" in refused(rebuilt(change))


def test_variables_and_missing_inputs() -> None:
    def variable(model: schema.ModelT) -> None:
        model.subgraphs[0].tensors[0].isVariable = True
        model.subgraphs[0].inputs = np.zeros(0, np.int32)

    def absent(model: schema.ModelT) -> None:
        model.subgraphs[0].operators[0].inputs = np.zeros(0, np.int32)

    assert "'x' is a variable, which keeps its value between runs" in refused(rebuilt(variable))
    assert "has no input 0" in refused(rebuilt(absent))


def test_types_that_are_not_read() -> None:
    def change(model: schema.ModelT) -> None:
        model.subgraphs[0].tensors[0].type = schema.TensorType.STRING

    assert "'x' is of type STRING, which is not read" in refused(rebuilt(change))


def test_shuffled_weights() -> None:
    tensors = [X, constant("w", np.ones((4, 4), np.float32)), Y]
    operator = TfliteOperator("FULLY_CONNECTED", ("x", "w"), ("y",), {"weightsFormat": 1})
    assert "has shuffled weights" in refused(tflite_model(tensors, [operator], ["x"], ["y"]))


def test_sizes_that_are_free_must_be_given() -> None:
    tensors = [
        TfliteTensor("x", (1, 1, 1, 3), shape_signature=(-1, -1, -1, 3)),
        TfliteTensor("y", (1, 1, 1, 3), shape_signature=(-1, -1, -1, 3)),
    ]
    data = tflite_model(tensors, [NEG], ["x"], ["y"])
    assert "axis 1 of input 'x' has no fixed size in ?x?x?x3" in refused(data)
    graph = import_model(data, input_shapes={"x": [1, 8, 6, 3]})
    assert graph.outputs[0].shape == (1, 8, 6, 3)


def test_absurd_sizes() -> None:
    tensors = [TfliteTensor("x", (1 << 20, 1 << 20)), TfliteTensor("y", (1 << 20, 1 << 20))]
    message = refused(tflite_model(tensors, [NEG], ["x"], ["y"]))
    assert "at most 2147483647" in message


def test_a_constant_beyond_the_file() -> None:
    def change(model: schema.ModelT) -> None:
        model.buffers.append(schema.BufferT())
        model.buffers[-1].offset, model.buffers[-1].size = 1 << 33, 16
        model.subgraphs[0].tensors[0].buffer = len(model.buffers) - 1

    message = refused(rebuilt(change))
    assert (
        "the data of tensor 'x' would be the bytes 8589934592 to 8589934608 of the file" in message
    )


def test_data_behind_the_flatbuffer_are_read() -> None:
    values = np.array([[1.0, 2, 3, 4]], np.float32)

    def change(model: schema.ModelT) -> None:
        model.buffers.append(schema.BufferT())
        model.buffers[-1].offset, model.buffers[-1].size = 4096, 16
        fixed = schema.TensorT()
        fixed.name, fixed.shape, fixed.buffer = "c", np.array([1, 4], np.int32), 1
        fixed.buffer = len(model.buffers) - 1
        model.subgraphs[0].tensors.append(fixed)
        model.operatorCodes[0].builtinCode = model.operatorCodes[0].deprecatedBuiltinCode = 0
        operator = model.subgraphs[0].operators[0]
        operator.inputs = np.array([0, 2], np.int32)
        operator.builtinOptions, operator.builtinOptionsType = None, 0

    data = rebuilt(change)
    graph = import_model(data.ljust(4096, b"\0") + values.tobytes())
    np.testing.assert_array_equal(graph.constant("c"), values)
