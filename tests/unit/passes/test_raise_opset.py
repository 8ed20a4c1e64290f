"""Operator forms of opsets 7 to 17 compute at opset 18 exactly what they computed before."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from numpy.typing import NDArray

from oracle.float_reference import run_float, run_ir
from tidlq.passes.infer_shapes import InferShapes
from tidlq.passes.raise_opset import CANONICAL_OPSET, RaiseOpset

IMAGE = (1, 4, 6, 8)
DRAW = np.random.default_rng(7)


def floats(*sizes: int) -> NDArray[np.float32]:
    return DRAW.normal(size=sizes).astype(np.float32)


@dataclass
class Form:
    opset: int
    op: str
    shape: tuple[int, ...] = IMAGE
    attributes: dict[str, Any] = field(default_factory=dict)
    constants: tuple[NDArray[np.generic] | None, ...] = ()
    outputs: int = 1
    domain: str = ""

    def __str__(self) -> str:
        listed = ",".join(f"{key}={value}" for key, value in self.attributes.items())
        return f"{self.op}-{self.opset}({listed})"

    def model(self) -> onnx.ModelProto:
        names = [f"c{i}" if array is not None else "" for i, array in enumerate(self.constants)]
        node = onnx.helper.make_node(
            self.op, ["x", *names], [f"y{i}" for i in range(self.outputs)], **self.attributes
        )
        graph = onnx.helper.make_graph(
            [node],
            "form",
            [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, self.shape)],
            [onnx.ValueInfoProto(name=name) for name in node.output],
            [
                onnx.numpy_helper.from_array(np.asarray(array), f"c{i}")
                for i, array in enumerate(self.constants)
                if array is not None
            ],
        )
        opset = onnx.helper.make_opsetid("", self.opset)
        return onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8)


NONE = np.zeros(0, np.float32)
TWICE = np.array([1, 1, 2, 2], np.float32)
LARGER = np.array([1, 1, 1.6, 3], np.float32)
SMALLER = np.array([1, 1, 0.5, 0.7], np.float32)
UNEVEN = np.array([1, 1, 1.6, 0.7], np.float32)
REDUCTIONS = [
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
]
FORMS = [
    Form(7, "Upsample", attributes={"scales": [1.0, 1.0, 2.0, 2.0], "mode": "nearest"}),
    Form(7, "Upsample", attributes={"scales": [1.0, 1.0, 2.0, 3.0], "mode": "linear"}),
    Form(9, "Upsample", attributes={"mode": "nearest"}, constants=(TWICE,)),
    Form(9, "Upsample", attributes={"mode": "linear"}, constants=(TWICE,)),
    Form(10, "Resize", attributes={"mode": "linear"}, constants=(TWICE,)),
    Form(10, "Resize", attributes={"mode": "linear"}, constants=(UNEVEN,)),
    Form(10, "Resize", attributes={"mode": "nearest"}, constants=(LARGER,)),
    Form(10, "Resize", attributes={"mode": "nearest"}, constants=(SMALLER,)),
    Form(11, "Resize", attributes={"mode": "linear"}, constants=(NONE, TWICE)),
    Form(11, "Resize", attributes={"mode": "cubic"}, constants=(NONE, TWICE)),
    Form(11, "Resize", attributes={"mode": "nearest"}, constants=(NONE, UNEVEN)),
    Form(
        11,
        "Resize",
        attributes={"mode": "linear", "coordinate_transformation_mode": "align_corners"},
        constants=(NONE, NONE, np.array([1, 4, 11, 17])),
    ),
    Form(7, "Slice", attributes={"axes": [2, 3], "starts": [1, -5], "ends": [100, -1]}),
    Form(7, "Slice", attributes={"starts": [0, 1], "ends": [1, 3]}),
    Form(7, "Pad", attributes={"pads": [0, 0, 1, 2, 0, 0, 3, 1], "value": 1.5}),
    Form(7, "Pad", attributes={"pads": [0, 0, 1, 2, 0, 0, -2, 1]}),
    Form(7, "Pad", attributes={"pads": [0, 0, 1, 2, 0, 0, 3, 1], "mode": "reflect"}),
    Form(
        7,
        "BatchNormalization",
        attributes={"epsilon": 0.01},
        constants=(floats(4), floats(4), floats(4), floats(4) ** 2),
    ),
    Form(
        8,
        "BatchNormalization",
        attributes={"spatial": 1},
        constants=(floats(4), floats(4), floats(4), floats(4) ** 2),
    ),
    Form(9, "BatchNormalization", constants=(floats(4), floats(4), floats(4), floats(4) ** 2)),
    Form(7, "Dropout", attributes={"ratio": 0.3}),
    Form(10, "Dropout", attributes={"ratio": 0.3}),
    Form(7, "Clip", attributes={"min": -0.5, "max": 0.5}),
    Form(7, "Clip", attributes={"max": 0.5}),
    Form(10, "Clip"),
    Form(7, "Squeeze", (1, 4, 1, 1), {"axes": [2, 3]}),
    Form(7, "Squeeze", (1, 4, 1, 1)),
    Form(11, "Squeeze", (1, 4, 1, 1), {"axes": [-1]}),
    Form(7, "Unsqueeze", (3, 4), {"axes": [0, 3]}),
    Form(7, "Split", attributes={"axis": 1}, outputs=2),
    Form(7, "Split", attributes={"axis": 1, "split": [1, 3]}, outputs=2),
    Form(13, "Split", attributes={"axis": 1}, outputs=2),
    Form(13, "Split", attributes={"axis": 1}, constants=(np.array([1, 3]),), outputs=2),
    *[Form(7, name, attributes={"axes": [2, 3], "keepdims": 0}) for name in REDUCTIONS],
    *[Form(13, name, attributes={"axes": [-1]}) for name in REDUCTIONS if name != "ReduceSum"],
    Form(13, "ReduceMean"),
    *[
        Form(opset, name, shape, attributes)
        for name in ("Softmax", "LogSoftmax", "Hardmax")
        for opset, shape, attributes in [
            (7, IMAGE, {"axis": 1}),
            (7, IMAGE, {}),
            (7, (2, 10), {}),
            (11, IMAGE, {"axis": 3}),
            (11, IMAGE, {"axis": -2}),
            (7, (1, 5, 1, 1), {"axis": 1}),
            (12, (2, 3, 1), {"axis": 0}),
        ]
    ],
    Form(7, "TopK", (2, 10), {"k": 3, "axis": 1}, outputs=2),
    Form(10, "TopK", (2, 10), constants=(np.array([3]),), outputs=2),
    Form(9, "Scatter", (3, 3), constants=(np.array([[1, 0, 2]]), floats(1, 3))),
    Form(
        10,
        "RoiAlign",
        attributes={"output_height": 2, "output_width": 2},
        constants=(np.array([[0, 0, 4, 4]], np.float32), np.array([0])),
    ),
    Form(7, "Flatten", attributes={"axis": 2}),
    Form(
        7,
        "AveragePool",
        attributes={"kernel_shape": [2, 2], "pads": [0, 0, 1, 1], "count_include_pad": 1},
    ),
    Form(7, "MaxPool", attributes={"kernel_shape": [2, 2], "strides": [2, 2]}),
    Form(7, "Conv", attributes={"auto_pad": "SAME_UPPER"}, constants=(floats(4, 4, 3, 3),)),
    Form(
        7,
        "ConvTranspose",
        attributes={"strides": [2, 2], "output_padding": [1, 1]},
        constants=(floats(4, 4, 3, 3),),
    ),
    Form(7, "Gemm", (2, 3), constants=(floats(3, 4), floats(4))),
    Form(7, "PRelu", constants=(floats(4, 1, 1),)),
    Form(7, "LSTM", (5, 1, 3), {"hidden_size": 4}, (floats(1, 16, 3), floats(1, 16, 4)), 3),
]


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_a_raised_form_gives_the_same_bits(form: Form) -> None:
    proto = form.model()
    feeds = {"x": floats(*form.shape)}
    model = ir.from_proto(proto)
    InferShapes()(model)
    assert RaiseOpset()(model).modified
    assert model.graph.opset_imports[""] == CANONICAL_OPSET
    expected, found = run_float(proto, feeds), run_ir(model, feeds)
    assert list(found) == list(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


@pytest.mark.parametrize(
    "form",
    [
        Form(
            11,
            "Resize",
            attributes={
                "mode": "nearest",
                "coordinate_transformation_mode": "tf_half_pixel_for_nn",
            },
            constants=(NONE, TWICE),
        ),
        Form(10, "Resize", attributes={"mode": "nearest"}, constants=(UNEVEN,)),
        Form(
            8,
            "BatchNormalization",
            attributes={"spatial": 0},
            constants=tuple(np.ones(IMAGE[1:], np.float32) for _ in range(4)),
        ),
        Form(9, "BatchNormalization", constants=(np.ones(4, np.float32),) * 4, outputs=5),
        Form(10, "Dropout", outputs=2),
    ],
    ids=str,
)
def test_a_node_without_an_equal_keeps_the_whole_model_at_its_opset(form: Form) -> None:
    proto = form.model()
    proto.graph.node.insert(0, onnx.helper.make_node("Squeeze", ["x"], ["z"], axes=[0]))
    model = ir.from_proto(proto)
    before = ir.to_proto(model).SerializeToString(deterministic=True)
    assert not RaiseOpset()(model).modified
    assert ir.to_proto(model).SerializeToString(deterministic=True) == before


def test_forms_inside_nested_graphs_are_raised_too() -> None:
    branch = onnx.helper.make_graph(
        [onnx.helper.make_node("Clip", ["x"], ["inner"], min=0.0)],
        "branch",
        [],
        [onnx.helper.make_tensor_value_info("inner", 1, [3])],
    )
    node = onnx.helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    graph = onnx.helper.make_graph(
        [node],
        "nested",
        [
            onnx.helper.make_tensor_value_info("x", 1, [3]),
            onnx.helper.make_tensor_value_info("c", 9, []),
        ],
        [onnx.helper.make_tensor_value_info("y", 1, [3])],
    )
    proto = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 10)], ir_version=8
    )
    model = ir.from_proto(proto)
    assert RaiseOpset()(model).modified
    x = np.array([-1, 0, 2], np.float32)
    for choice in (True, False):
        found = run_ir(model, {"x": x, "c": np.array(choice)})
        np.testing.assert_array_equal(found["y"], [0, 0, 2])


@pytest.mark.parametrize("opset", [18, 19, 21, 25])
def test_a_newer_opset_stays(opset: int) -> None:
    model = ir.from_proto(Form(opset, "Relu").model())
    assert not RaiseOpset()(model).modified
    assert model.graph.opset_imports[""] == opset


def test_a_graph_without_changed_forms_is_raised_in_place() -> None:
    model = ir.from_proto(Form(13, "Neg").model())
    graph, node = model.graph, model.graph[0]
    assert RaiseOpset()(model).modified
    assert model.graph is graph
    assert model.graph[0] is node
    assert graph.opset_imports[""] == CANONICAL_OPSET
