"""Which nodes form a layer, which stay in float and why, and how stages are cut."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tidlq.errors import OptionError
from tidlq.graph.layers import Clamp, LayerKind
from tidlq.graph.model import Graph
from tidlq.graph.partition import StageKind, partition
from tidlq.graph.recognition import find_layers
from tidlq.importers.onnx_model import import_onnx
from tidlq.lowering.placement import PlacementLists, find_allowed, find_denied

WEIGHT = np.ones((4, 3, 1, 1), np.float32)
DENSE = np.ones((6, 5), np.float32)


def graph_of(
    nodes: list[onnx.NodeProto],
    shape: tuple[int, ...] = (1, 3, 8, 8),
    outputs: tuple[str, ...] = ("y",),
    **constants: np.ndarray,
) -> Graph:
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            [numpy_helper.from_array(value, name) for name, value in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=8,
    )
    return import_onnx(model)


def node(op: str, inputs: list[str], output: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(op, inputs, [output], name=f"{op}_{output}", **attributes)


def test_relu_after_a_convolution_is_its_clamp() -> None:
    graph = graph_of([node("Conv", ["x", "w"], "c"), node("Relu", ["c"], "y")], w=WEIGHT)
    (layer,) = find_layers(graph).layers
    assert layer.kind is LayerKind.CONVOLUTION
    assert layer.clamp == Clamp(low=0.0)
    assert layer.output == "y"


def test_relu_then_clip_compose_to_one_clamp() -> None:
    nodes = [
        node("Conv", ["x", "w"], "c"),
        node("Relu", ["c"], "r"),
        node("Clip", ["r", "", "six"], "y"),
    ]
    graph = graph_of(nodes, w=WEIGHT, six=np.float32(6).reshape(()))
    (layer,) = find_layers(graph).layers
    assert layer.clamp == Clamp(0.0, 6.0)


def test_a_clip_whose_input_is_also_an_output_stands_alone() -> None:
    nodes = [node("Conv", ["x", "w"], "c"), node("Relu", ["c"], "y")]
    graph = graph_of(nodes, outputs=("c", "y"), w=WEIGHT)
    kinds = [layer.kind for layer in find_layers(graph).layers]
    assert kinds == [LayerKind.CONVOLUTION, LayerKind.CLAMP]


def test_a_bias_added_after_a_rank_3_product_is_absorbed() -> None:
    nodes = [node("MatMul", ["x", "d"], "m"), node("Add", ["b", "m"], "y")]
    graph = graph_of(nodes, (1, 4, 6), d=DENSE, b=np.ones(5, np.float32))
    (layer,) = find_layers(graph).layers
    assert (layer.kind, layer.bias) == (LayerKind.INNER_PRODUCT, "b")


def test_an_add_that_varies_along_rows_is_not_a_bias() -> None:
    nodes = [node("MatMul", ["x", "d"], "m"), node("Add", ["m", "b"], "y")]
    graph = graph_of(nodes, (1, 4, 6), d=DENSE, b=np.ones((4, 1), np.float32))
    kinds = [layer.kind for layer in find_layers(graph).layers]
    assert kinds == [LayerKind.INNER_PRODUCT, LayerKind.SUM]


@pytest.mark.parametrize(
    ("operator", "attributes", "reason"),
    [
        ("LpNormalization", {}, "no integer kernel"),
        ("Resize", {"mode": "cubic", "cubic_coeff_a": -60.0}, "its weights are beyond 4 times"),
    ],
)
def test_a_refused_node_says_why(operator: str, attributes: dict[str, object], reason: str) -> None:
    inputs = ["x", "", "scales"] if operator == "Resize" else ["x"]
    scales = np.array([1, 1, 2, 2], np.float32)
    graph = graph_of([node(operator, inputs, "y", **attributes)], scales=scales)
    (float_node,) = find_layers(graph).float_nodes
    assert reason in float_node.reason


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_a_crop_beyond_its_input_stays_in_float_where_that_is_not_zero(mode: str) -> None:
    crop = node(
        "Resize",
        ["x", "region", "", "sizes"],
        "y",
        mode=mode,
        coordinate_transformation_mode="tf_crop_and_resize",
        extrapolation_value=10.0,
    )
    region = np.array([0, 0, 0, 0.5, 1, 1, 1, 1.5], np.float32)
    graph = graph_of([crop], region=region, sizes=np.array([1, 3, 4, 4], np.int64))
    (float_node,) = find_layers(graph).float_nodes
    assert float_node.reason == "its region reaches beyond its input"


def islands() -> Graph:
    return graph_of(
        [
            node("Conv", ["x", "w"], "c"),
            node("LpNormalization", ["c"], "e"),
            node("Add", ["e", "c"], "y"),
        ],
        w=WEIGHT,
    )


def test_stages_are_cut_at_float_nodes_and_name_their_borders() -> None:
    graph = islands()
    stages = partition(graph, find_layers(graph)).stages
    assert [stage.kind for stage in stages] == [StageKind.FIXED, StageKind.FLOAT, StageKind.FIXED]
    assert [stage.inputs for stage in stages] == [("x",), ("c",), ("e", "c")]
    assert [stage.outputs for stage in stages] == [("c",), ("e",), ("y",)]


def test_the_smallest_fixed_stages_beyond_the_limit_become_float() -> None:
    graph = islands()
    stages = partition(graph, find_layers(graph), max_fixed_stages=1).stages
    assert sum(stage.kind is StageKind.FIXED for stage in stages) == 1


def test_a_stage_that_only_moves_elements_is_float() -> None:
    graph = graph_of([node("Transpose", ["x"], "y", perm=[0, 2, 3, 1])])
    (stage,) = partition(graph, find_layers(graph)).stages
    assert stage.kind is StageKind.FLOAT


def test_a_layer_is_denied_by_its_name_its_output_or_its_type() -> None:
    graph = islands()
    assert set(find_denied(graph, PlacementLists(denied_names=("Conv_c",)))) == {"Conv_c"}
    assert set(find_denied(graph, PlacementLists(denied_names=("c",)))) == {"Conv_c"}
    assert set(find_denied(graph, PlacementLists(denied_types=("Add",)))) == {"Add_y"}


def test_an_allowed_layer_brings_its_relu_along() -> None:
    nodes = [
        node("Conv", ["x", "w"], "c"),
        node("Relu", ["c"], "r"),
        node("Sigmoid", ["r"], "y"),
    ]
    graph = graph_of(nodes, w=WEIGHT)
    table = find_layers(graph, allowed=find_allowed(graph, PlacementLists(allowed_names=("c",))))
    assert [layer.nodes for layer in table.layers] == [("Conv_c", "Relu_r")]
    assert [float_node.name for float_node in table.float_nodes] == ["Sigmoid_y"]


def test_an_unknown_layer_in_a_list_is_an_error_with_the_nearest_name() -> None:
    with pytest.raises(OptionError, match=r"deny_list:layer_name.*'Conv_d'.*'Conv_c'"):
        find_denied(islands(), PlacementLists(denied_names=("Conv_d",)))
