"""The Graph noun: what it shows and what its fingerprint depends on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from oracle.float_reference import text_model
from tidlq.graph.model import Graph, TensorSignature

CONSTANTS = {"w": np.arange(6, dtype=np.float32).reshape(2, 3, 1), "s": np.array([0, -1])}


def message() -> onnx.ModelProto:
    proto = text_model(
        """g (float[1, 3, 4] x) => (float[1, 8] y)
        { a = Conv<pads = [0, 0]>(x, w) y = Reshape(a, s) }""",
        CONSTANTS,
    )
    for node in proto.graph.node:
        node.name = f"node {node.output[0]}"
    return proto


def graph_of(proto: onnx.ModelProto, *, free: bool = False) -> Graph:
    return Graph(ir.from_proto(proto), "name", free)


def test_inputs_and_outputs_are_described() -> None:
    graph = Graph(ir.from_proto(message()), "name", True, {"x": ("N", 3, 4)})
    float32 = np.dtype(np.float32)
    assert graph.inputs == (TensorSignature("x", float32, (1, 3, 4), ("N", 3, 4)),)
    assert graph.outputs == (TensorSignature("y", float32, (1, 8), (1, 8)),)


def test_values_constants_and_shapes_are_found_by_name() -> None:
    graph = graph_of(message())
    assert set(graph.values) == {"x", "w", "s", "a", "y"}
    np.testing.assert_array_equal(graph.constant("w"), CONSTANTS["w"])
    assert graph.constant("a") is None
    assert graph.constant("nowhere") is None
    assert graph.shape("y") == (1, 8)
    assert graph.shape("a") is None


def changed_weight(proto: onnx.ModelProto) -> None:
    array = CONSTANTS["w"].copy()
    array[1, 2, 0] += np.float32(1e-6)
    proto.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(array, "w"))


def reshaped_weight(proto: onnx.ModelProto) -> None:
    proto.graph.initializer[0].dims[:] = [3, 2, 1]


def renamed_tensor(proto: onnx.ModelProto) -> None:
    proto.graph.node[0].output[0] = proto.graph.node[1].input[0] = "other"


def changed_attribute(proto: onnx.ModelProto) -> None:
    proto.graph.node[0].attribute[0].ints[1] = 1


def changed_operator(proto: onnx.ModelProto) -> None:
    proto.graph.node[0].op_type = "ConvTranspose"


def changed_shape(proto: onnx.ModelProto) -> None:
    proto.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 5


def changed_dtype(proto: onnx.ModelProto) -> None:
    proto.graph.initializer[1].CopyFrom(
        onnx.numpy_helper.from_array(np.array([0, -1], np.int32), "s")
    )


def changed_opset(proto: onnx.ModelProto) -> None:
    proto.opset_import[0].version = 19


def swapped_inputs(proto: onnx.ModelProto) -> None:
    proto.graph.node[0].input[:] = ["w", "x"]


@pytest.mark.parametrize(
    "change",
    [
        changed_weight,
        reshaped_weight,
        renamed_tensor,
        changed_attribute,
        changed_operator,
        changed_shape,
        changed_dtype,
        changed_opset,
        swapped_inputs,
    ],
)
def test_another_network_has_another_fingerprint(change: Callable[[onnx.ModelProto], None]) -> None:
    proto = message()
    change(proto)
    assert graph_of(proto) != graph_of(message())


def reordered_constants(proto: onnx.ModelProto) -> None:
    first = onnx.TensorProto()
    first.CopyFrom(proto.graph.initializer[0])
    del proto.graph.initializer[0]
    proto.graph.initializer.append(first)


def renamed_nodes(proto: onnx.ModelProto) -> None:
    proto.graph.node[0].name = "renamed"


def documented(proto: onnx.ModelProto) -> None:
    proto.doc_string = proto.graph.doc_string = proto.graph.node[0].doc_string = "words"
    proto.graph.node[0].attribute[0].doc_string = "words"


def typed_storage(proto: onnx.ModelProto) -> None:
    tensor = onnx.helper.make_tensor("w", 1, [2, 3, 1], CONSTANTS["w"].reshape(-1).tolist())
    proto.graph.initializer[0].CopyFrom(tensor)


@pytest.mark.parametrize("change", [reordered_constants, renamed_nodes, documented, typed_storage])
def test_the_same_network_has_the_same_fingerprint(
    change: Callable[[onnx.ModelProto], None],
) -> None:
    proto = message()
    change(proto)
    graph = graph_of(proto)
    assert graph == graph_of(message())
    assert hash(graph) == hash(graph_of(message()))


def test_the_fingerprint_does_not_depend_on_memory_layout() -> None:
    graph = graph_of(message())
    expected = graph.fingerprint
    copy = graph_of(message())
    value = copy.model.graph.initializers["w"]
    strided = np.asfortranarray(np.repeat(CONSTANTS["w"], 2, axis=1))[:, ::2]
    value.const_value = ir.Tensor(strided)
    assert copy.fingerprint == expected


def test_a_free_batch_belongs_to_the_network() -> None:
    assert graph_of(message(), free=True) != graph_of(message())


def test_a_graph_equals_no_other_thing() -> None:
    assert graph_of(message()) != "g"
