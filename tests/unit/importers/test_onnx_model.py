"""The ONNX door: interface, batch, constants, functions and names of the Graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from oracle.float_reference import assert_close, random_feeds, run_float, run_ir, text_model
from tidlq.graph.model import Graph
from tidlq.importers.onnx_model import import_onnx
from tidlq.spec import FeatureQuant, IntegerType, StatedParameter

DRAW = np.random.default_rng(4)
W = DRAW.normal(size=(6, 3, 3, 3)).astype(np.float32)
NORM = {name: np.abs(DRAW.normal(size=6)).astype(np.float32) for name in "gsmv"}
NETWORK = """net (float[N, 3, 8, 8] image) => (float[N, 6] scores)
{ a = Conv(image, w) b = BatchNormalization(a, g, s, m, v) c = Relu(b)
  d = GlobalAveragePool(c) shape = Shape(d) n = Gather(shape, zero) u = Unsqueeze(n, axes)
  t = Concat<axis = 0>(u, rest) scores = Reshape(d, t) }"""
CONSTANTS = {"w": W, **NORM, "zero": np.array(0), "axes": np.array([0]), "rest": np.array([-1])}


def network() -> onnx.ModelProto:
    return text_model(NETWORK, CONSTANTS)


def same(proto: onnx.ModelProto, graph: Graph) -> None:
    feeds = random_feeds(graph)
    assert_close(run_ir(graph.model, feeds), run_float(proto, feeds))


def ops(graph: Graph) -> list[str]:
    return [node.op_type for node in graph.nodes]


def test_a_network_becomes_canonical() -> None:
    graph = import_onnx(network())
    assert ops(graph) == ["Conv", "Relu", "GlobalAveragePool", "Reshape"]
    assert [node.name for node in graph.nodes] == ["a", "c", "d", "scores"]
    assert graph.shape("d") == (1, 6, 1, 1)
    assert graph.name == "net"
    same(network(), graph)


def test_path_bytes_and_message_give_the_same_graph(tmp_path: Path) -> None:
    proto = network()
    path = tmp_path / "some model.onnx"
    onnx.save(proto, path)
    from_path = import_onnx(path)
    assert from_path.name == "some model"
    for source in (str(path), path.read_bytes(), proto):
        assert import_onnx(source) == from_path


def test_the_given_message_is_left_as_it_is() -> None:
    proto = network()
    before = proto.SerializeToString(deterministic=True)
    import_onnx(proto)
    assert proto.SerializeToString(deterministic=True) == before


def test_importing_twice_gives_the_same_bytes() -> None:
    first, second = (
        ir.to_proto(import_onnx(network()).model).SerializeToString(deterministic=True)
        for _ in range(2)
    )
    assert first == second


def test_importing_the_canonical_model_again_changes_nothing() -> None:
    graph = import_onnx(network())
    again = import_onnx(ir.to_proto(graph.model))
    assert ops(again) == ops(graph)
    assert [node.name for node in again.nodes] == [node.name for node in graph.nodes]


def test_initializers_that_are_also_inputs_are_constants() -> None:
    proto = network()
    for tensor in proto.graph.initializer:
        info = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        proto.graph.input.insert(0, info)
    graph = import_onnx(proto)
    assert [signature.name for signature in graph.inputs] == ["image"]
    assert graph == import_onnx(network())


def test_old_ir_versions_read_as_new_ones() -> None:
    proto = network()
    proto.ir_version = 3
    for tensor in proto.graph.initializer:
        info = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        proto.graph.input.append(info)
    graph = import_onnx(proto)
    assert graph.model.ir_version == 8
    assert graph == import_onnx(network())


def test_nodes_may_come_in_any_order() -> None:
    proto = network()
    nodes = list(proto.graph.node)
    del proto.graph.node[:]
    proto.graph.node.extend(reversed(nodes))
    graph = import_onnx(proto)
    assert ops(graph) == ["Conv", "Relu", "GlobalAveragePool", "Reshape"]
    same(network(), graph)


def test_unused_nodes_and_constants_are_gone() -> None:
    proto = network()
    proto.graph.node.insert(0, onnx.helper.make_node("Relu", ["image"], ["nowhere"]))
    graph = import_onnx(proto)
    assert graph == import_onnx(network())
    assert set(graph.model.graph.initializers) == {"w", "a_bias", "t"}


def test_an_unused_input_stays() -> None:
    proto = text_model("g (float[2] x, float[3] y) => (float[2] z) { z = Relu(x) }")
    assert [signature.name for signature in import_onnx(proto).inputs] == ["x", "y"]


def test_an_input_that_is_an_output_stays_both() -> None:
    proto = text_model("g (float[2] x) => (float[2] x, float[2] z) { z = Relu(x) }")
    graph = import_onnx(proto)
    assert [signature.name for signature in graph.outputs] == ["x", "z"]


def test_functions_are_inlined() -> None:
    proto = text_model("g (float[2] x) => (float[2] y) { a = Twice(x) y = Twice(a) }")
    for node in proto.graph.node:
        node.domain = "own"
    opsets = [onnx.helper.make_opsetid("", 18)]
    body = [onnx.helper.make_node("Add", ["p", "p"], ["q"])]
    proto.functions.append(onnx.helper.make_function("own", "Twice", ["p"], ["q"], body, opsets))
    proto.opset_import.add(domain="own", version=1)
    graph = import_onnx(proto)
    assert ops(graph) == ["Add", "Add"]
    assert len({node.name for node in graph.nodes}) == 2
    assert graph.model.functions == {}
    assert run_ir(graph.model, {"x": np.float32([1, 2])})["y"].tolist() == [4, 8]


def test_nested_graphs_compute_as_before() -> None:
    proto = text_model(
        """g (bool c, float[2] x) => (float[2] y)
        { n = Neg(k) i = Identity(n)
          y = If(c) <then_branch = t () => (float[2] a) { a = Add(x, i) },
                     else_branch = e () => (float[2] b) { j = Identity(i) b = Sub(x, j) }> }""",
        {"k": np.array([1, 2], np.float32)},
    )
    graph = import_onnx(proto)
    for choice in (True, False):
        feeds = {"c": np.array(choice), "x": np.float32([5, 6])}
        assert_close(run_ir(graph.model, feeds), run_float(proto, feeds))


def test_external_data_are_read_beside_the_model(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(network(), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    graph = import_onnx(path)
    assert graph == import_onnx(network())
    # The Graph no longer refers to files.
    same(network(), graph)


def test_a_float_model_with_compressed_weights_is_float() -> None:
    proto = text_model(
        "g (float[N, 3] x) => (float[N, 2] y) { w = DequantizeLinear(q, s) y = MatMul(x, w) }",
        {"q": np.arange(6, dtype=np.int8).reshape(3, 2), "s": np.array(0.5, np.float32)},
    )
    assert ops(import_onnx(proto)) == ["MatMul"]


def test_a_quantized_model_keeps_its_statements() -> None:
    proto = text_model(
        """g (float[N, 3] x) => (float[N, 2] y)
        { a = QuantizeLinear(x, s) b = DequantizeLinear(a, s) w = DequantizeLinear(q, s)
          y = MatMul(b, w) }""",
        {"q": np.arange(6, dtype=np.int8).reshape(3, 2), "s": np.array(0.5, np.float32)},
    )
    graph = import_onnx(proto)
    assert ops(graph) == ["MatMul"]
    assert graph.stated is not None
    assert graph.stated.features == {"x": FeatureQuant(IntegerType(8, signed=False), 0.5)}
    assert graph.stated.parameters == {
        "w": StatedParameter(IntegerType(8, signed=True), (0.5,), (0,))
    }


def test_input_normalisation_folds_unless_told_otherwise() -> None:
    proto = text_model(
        "g (float[N, 3, 8, 8] x) => (float[N, 6, 6, 6] y) { p = Mul(x, k) y = Conv(p, w) }",
        {"w": W, "k": np.array(0.5, np.float32)},
    )
    assert ops(import_onnx(proto)) == ["Conv"]
    assert ops(import_onnx(proto, pre_batchnorm_fold=False)) == ["Mul", "Conv"]


def test_infinite_clip_bounds_and_masks_are_no_fault() -> None:
    proto = text_model(
        """g (float[1, 3] x) => (float[1, 3] y)
        { a = Clip(x, low, high) b = Add(a, mask) y = Softmax(b) }""",
        {
            "low": np.array(-np.inf, np.float32),
            "high": np.array(np.inf, np.float32),
            "mask": np.array([[0, 0, -np.inf]], np.float32),
        },
    )
    same(proto, import_onnx(proto))


@pytest.mark.parametrize("opset", [7, 9, 10, 11, 13, 17])
def test_opsets_up_to_18_become_18(opset: int) -> None:
    proto = text_model(
        "g (float[N, 3] x) => (float[N, 3] y) { y = Softmax<axis = 1>(x) }", opset=opset
    )
    graph = import_onnx(proto)
    assert graph.model.graph.opset_imports == {"": 18}
    same(proto, graph)


def test_the_newest_opset_is_read() -> None:
    newest = onnx.defs.onnx_opset_version()
    proto = text_model(
        "g (float[N, 3] x) => (float[N, 3] y) { y = Softmax<axis = 1>(x) }", opset=newest
    )
    assert import_onnx(proto).model.graph.opset_imports == {"": newest}
