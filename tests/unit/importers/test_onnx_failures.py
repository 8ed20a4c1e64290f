"""Every fault of an ONNX model gives one sentence that names what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from oracle.float_reference import text_model
from tidlq.errors import ModelError
from tidlq.importers.onnx_model import import_onnx

CONSTANTS = {
    "w": np.ones((2, 3, 1, 1), np.float32),
    **{name: np.ones(2, np.float32) for name in "gsmv"},
}


def network() -> onnx.ModelProto:
    return text_model(
        """net (float[N, 3, 4, 4] x) => (float[N, 2, 4, 4] y)
        { a = Conv(x, w) b = BatchNormalization(a, g, s, m, v) y = Relu(b) }""",
        CONSTANTS,
    )


def refused(source: str | Path | bytes | onnx.ModelProto) -> str:
    with pytest.raises(ModelError) as caught:
        import_onnx(source)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith((".", "?"))
    return message


@pytest.fixture
def file(tmp_path: Path) -> Callable[[bytes], Path]:
    def write(content: bytes) -> Path:
        path = tmp_path / "model.onnx"
        path.write_bytes(content)
        return path

    return write


def test_a_missing_file_names_its_neighbour(file: Callable[[bytes], Path]) -> None:
    path = file(b"x").with_name("modle.onnx")
    assert refused(path) == f"{path} does not exist. Did you mean 'model.onnx'?"


def test_a_folder(tmp_path: Path) -> None:
    assert refused(tmp_path) == f"{tmp_path} is a folder; a model file is needed."


def test_an_empty_file(file: Callable[[bytes], Path]) -> None:
    path = file(b"")
    assert refused(path) == f"{path} is empty; a model is needed."


@pytest.mark.parametrize(
    "content",
    [b"PK\x03\x04 a zip of something", b"hello, world", bytes(range(200, 256)), b"\x00" * 64],
)
def test_another_format(content: bytes, file: Callable[[bytes], Path]) -> None:
    path = file(content)
    assert refused(path).startswith(f"{path} is neither an ONNX nor a TFLite model")


def test_a_tflite_file(file: Callable[[bytes], Path]) -> None:
    path = file(b"\x1c\x00\x00\x00TFL3" + bytes(100))
    assert refused(path) == f"{path} is a TFLite model; an ONNX model is needed."


def test_a_truncated_file(file: Callable[[bytes], Path]) -> None:
    content = network().SerializeToString()
    path = file(content[: len(content) // 2])
    message = refused(path)
    assert message.startswith(f"{path} is truncated or damaged")
    assert f"{len(content) // 2} bytes" in message


def test_a_file_cut_between_two_fields(file: Callable[[bytes], Path]) -> None:
    proto = network()
    proto.ClearField("opset_import")
    assert "no ONNX opset is named; the model may be truncated" in refused(
        file(proto.SerializeToString())
    )
    proto.ClearField("graph")
    assert "holds no graph; it may be truncated" in refused(file(proto.SerializeToString()))


@pytest.mark.parametrize("opset", [1, 6, 99])
def test_an_opset_out_of_range(opset: int) -> None:
    newest = onnx.defs.onnx_opset_version()
    proto = network()
    proto.opset_import[0].version = opset
    assert refused(proto) == (
        f"the given model: ONNX opset {opset} is not supported; supported are 7 to {newest}."
    )


@pytest.mark.parametrize("version", [1, 1000])
def test_an_ir_version_out_of_range(version: int) -> None:
    proto = network()
    proto.ir_version = version
    assert f"ONNX IR version {version} is not supported; supported are 3 to " in refused(proto)


def external(tmp_path: Path) -> tuple[Path, Path]:
    path, data = tmp_path / "model.onnx", tmp_path / "weights.bin"
    onnx.save(network(), path, save_as_external_data=True, location=data.name, size_threshold=0)
    return path, data


def test_missing_external_data(tmp_path: Path) -> None:
    path, data = external(tmp_path)
    data.unlink()
    assert refused(path) == f"{path}: {data} does not exist; it holds constant 'w'."


def test_external_data_that_are_too_short(tmp_path: Path) -> None:
    path, data = external(tmp_path)
    data.write_bytes(bytes(20))
    assert refused(path) == f"{path}: {data} has 20 bytes; constant 'w' needs 24 from byte 0 on."


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/hostname", "a/../../b", ""])
def test_external_data_outside_the_folder(location: str, tmp_path: Path) -> None:
    path, _ = external(tmp_path)
    proto = onnx.load(path, load_external_data=False)
    proto.graph.initializer[0].external_data[0].value = location
    onnx.save(proto, path)
    assert f"constant 'w' names the external file {location!r}; it must lie in" in refused(path)


def test_external_data_of_bytes(tmp_path: Path) -> None:
    path, _ = external(tmp_path)
    assert refused(path.read_bytes()) == (
        "the given bytes: constant 'w' is in the external file 'weights.bin', which needs the "
        "model's path to be found; give the model as a path."
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("name", "node"), [("w", "'a' (Conv)"), ("v", "'b' (BatchNormalization)")])
def test_a_parameter_that_is_not_finite(bad: float, name: str, node: str) -> None:
    arrays = {key: array.copy() for key, array in CONSTANTS.items()}
    arrays[name].reshape(-1)[1] = bad
    proto = network()
    del proto.graph.initializer[:]
    for key, array in arrays.items():
        proto.graph.initializer.append(onnx.numpy_helper.from_array(array, key))
    place = "[0, 1, 0, 0]" if name == "w" else "[1]"
    assert refused(proto) == (
        f"the given model: constant '{name}' of node {node} holds 1 values that are NaN or Inf, "
        f"the first at {place}; parameters must be finite."
    )


def test_constant_data_that_do_not_fit_the_shape() -> None:
    proto = network()
    proto.graph.initializer[0].dims[0] = 5
    assert "constant 'w' of shape [5, 3, 1, 1] needs 60 bytes and has 24" in refused(proto)
    proto.graph.initializer[0].dims[0] = -2
    assert "constant 'w' has shape [-2, 3, 1, 1]; sizes cannot be negative" in refused(proto)
    tensor = proto.graph.initializer[0]
    tensor.CopyFrom(onnx.helper.make_tensor("w", 1, [6], [1.0] * 6))
    tensor.dims[0] = 7
    assert "the data of constant 'w' do not fit its shape [7]" in refused(proto)


def test_an_unknown_element_type() -> None:
    proto = network()
    proto.graph.initializer[0].data_type = 77
    assert "constant 'w' has element type 77, which ONNX does not define" in refused(proto)
    proto = network()
    proto.graph.input[0].type.tensor_type.elem_type = 0
    assert "input 'x' has element type 0, which ONNX does not define" in refused(proto)


@pytest.mark.parametrize("kind", ["sequence", "optional", "map"])
def test_an_input_that_is_no_tensor(kind: str) -> None:
    proto = network()
    proto.graph.input[0].ClearField("type")
    getattr(proto.graph.input[0].type, f"{kind}_type").SetInParent()
    assert f"input 'x' is of type {kind}; an input must be a tensor" in refused(proto)


def test_a_sparse_constant() -> None:
    proto = network()
    proto.graph.sparse_initializer.add().values.name = "k"
    assert "constant 'k' is sparse; constants must be dense" in refused(proto)


def test_a_cycle_is_walked() -> None:
    proto = text_model(
        "g (float[2] x) => (float[2] y) { a = Add(x, c) b = Neg(a) c = Relu(b) y = Neg(c) }"
    )
    message = refused(proto)
    assert "the graph has a cycle: " in message
    assert all(f"'{name}'" in message for name in "abc")


def test_a_node_that_reads_itself_through_a_nested_graph() -> None:
    proto = text_model(
        """g (bool c, float[2] x) => (float[2] y)
        { y = If(c) <then_branch = t () => (float[2] a) { a = Add(x, y) },
                     else_branch = e () => (float[2] b) { b = Neg(x) }> }"""
    )
    assert "the graph has a cycle: 'y' -> 'y'" in refused(proto)


def test_two_writers_of_one_tensor() -> None:
    proto = text_model("g (float[2] x) => (float[2] y) { y = Relu(x) y = Neg(x) }")
    assert "tensor 'y' is written by node 'y' (Neg) and is also written by node 'y' (Relu)" in (
        refused(proto)
    )


def test_a_node_that_writes_an_input_or_a_constant() -> None:
    proto = text_model("g (float[2] x) => (float[2] y) { x = Relu(y) y = Neg(x) }")
    assert "tensor 'x' is written by node 'x' (Relu) and is also an input" in refused(proto)
    proto = text_model(
        "g (float[2] x) => (float[2] y) { k = Relu(x) y = Neg(x) }", {"k": np.zeros(2, np.float32)}
    )
    assert "tensor 'k' is written by node 'k' (Relu) and is also a constant" in refused(proto)


@pytest.mark.parametrize("field", ["input", "initializer", "output"])
def test_a_repeated_or_empty_name(field: str) -> None:
    proto = network()
    entries = getattr(proto.graph, field)
    entries.append(entries[0])
    assert f"{entries[0].name!r} occurs twice; names must be unique" in refused(proto)
    entries[-1].name = ""
    assert "has no name" in refused(proto)


def test_a_tensor_that_nothing_produces() -> None:
    proto = text_model("g (float[2] image) => (float[2] y) { y = Relu(imagee) }")
    assert refused(proto) == (
        "the given model: node 'y' (Relu) reads tensor 'imagee', which nothing produces. "
        "Did you mean 'image'?"
    )
    proto = text_model("g (float[2] x) => (float[2] scores) { score = Relu(x) }")
    assert "nothing produces output 'scores'. Did you mean 'score'?" in refused(proto)


def test_no_outputs() -> None:
    proto = network()
    del proto.graph.output[:]
    assert "the graph has no outputs" in refused(proto)


def test_an_unknown_operator_and_a_wrong_attribute() -> None:
    proto = text_model("g (float[2] x) => (float[2] y) { y = Rellu(x) }")
    assert "not a valid ONNX model" in refused(proto)
    assert "Rellu" in refused(proto)
    proto = text_model("g (float[2] x) => (float[2] y) { y = Relu<slope = 2>(x) }")
    assert "slope" in refused(proto)


def test_functions_that_call_each_other() -> None:
    proto = text_model("g (float[2] x) => (float[2] y) { y = Round(x) }")
    proto.graph.node[0].domain = "own"
    opsets = [onnx.helper.make_opsetid("own", 1)]
    body = [onnx.helper.make_node("Round", ["p"], ["q"], domain="own")]
    proto.functions.append(onnx.helper.make_function("own", "Round", ["p"], ["q"], body, opsets))
    proto.opset_import.add(domain="own", version=1)
    assert "not a valid ONNX model" in refused(proto)
