"""Small float networks in ONNX's text form."""

from __future__ import annotations

from collections.abc import Callable

import onnx
import onnx_ir as ir
import pytest
from onnx import parser, shape_inference

from tidlq.graph.model import Graph

MakeGraph = Callable[..., Graph]


@pytest.fixture
def make_graph() -> MakeGraph:
    """Makes a Graph of `(inputs) => (outputs) { nodes }`; no importer takes part."""

    def make(body: str, *, free_batch: bool = False) -> Graph:
        proto: onnx.ModelProto = parser.parse_model(
            f'<ir_version: 8, opset_import: ["" : 17, "made.up" : 1]> small {body}'
        )
        proto = shape_inference.infer_shapes(proto)
        return Graph(ir.from_proto(proto), "small", free_batch=free_batch)

    return make


@pytest.fixture
def relu_graph(make_graph: MakeGraph) -> Graph:
    """input -> Neg -> hidden -> Relu -> output, of shape [1, 2, 3] with a free batch."""
    return make_graph(
        "(float[1,2,3] input) => (float[1,2,3] output)"
        "{ hidden = Neg(input) output = Relu(hidden) }",
        free_batch=True,
    )
