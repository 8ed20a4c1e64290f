"""ONNX's own examples of operators as networks for the integer engine."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Array = NDArray[np.generic]
# Inputs from this one on are parameters, which a network knows.
_PARAMETERS_FROM = {
    **dict.fromkeys(("Conv", "ConvTranspose", "Gemm", "PRelu", "BatchNormalization"), 1),
    **dict.fromkeys(("LayerNormalization", "RMSNormalization", "InstanceNormalization"), 1),
    **dict.fromkeys(("ArgMax", "ArgMin", "TopK"), 1),
    **dict.fromkeys(("Clip", "Pad", "Resize", "Upsample", "Slice", "Expand", "Tile"), 1),
}

# Of a node whose features stand between its parameters, all of these.
_PARAMETERS = {"DeformConv": (1, 3)}

# Features, and positions.
_WRITTEN = (onnx.TensorProto.FLOAT, onnx.TensorProto.INT64)


@dataclass(frozen=True, eq=False)
class NodeExample:
    """One node, its variable inputs and what makes it a network.

    Attributes:
        name: ONNX's.
        operator: of the node.
        model: the example with its parameters as constants; each input passes a maximum of it and
            itself first, so that a stage that only moves elements is worth it.
        feeds: the example's inputs by name.
    """

    name: str
    operator: str
    model: onnx.ModelProto
    feeds: dict[str, Array]


def node_examples(operators: frozenset[str]) -> Iterator[NodeExample | tuple[str, str]]:
    """Examples of some operators, or name and reason of those that are no network of features."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        cases = collect_testcases(None)
    for case in cases:
        nodes = case.model.graph.node
        if len(nodes) != 1 or nodes[0].domain or nodes[0].op_type not in operators:
            continue
        found = _example(case.name, case.model, case.data_sets)
        yield (case.name, found) if isinstance(found, str) else found


def _example(
    name: str, source: onnx.ModelProto, data_sets: list[tuple[list[Array], list[Array]]]
) -> NodeExample | str:
    node = source.graph.node[0]
    arrays = [np.asarray(array) for array in data_sets[0][0]]
    if len(arrays) != len(source.graph.input):
        return "its inputs are not given"
    values = dict(zip((info.name for info in source.graph.input), arrays, strict=True))
    first = _PARAMETERS_FROM.get(node.op_type, len(node.input))
    known = _PARAMETERS.get(node.op_type, range(first, len(node.input)))
    variable = [key for index, key in enumerate(node.input) if index not in known]
    feeds = {
        key: value for key, value in values.items() if key in variable and value.dtype.kind == "f"
    }
    if any(value.dtype != np.float32 for value in feeds.values()):
        return "half or double precision"
    if not feeds:
        return "no float input"
    if any(value.size == 0 for value in values.values() if value.dtype.kind == "f"):
        return "an empty tensor"
    if any(info.type.tensor_type.elem_type not in _WRITTEN for info in source.graph.output):
        return "an output of another type"
    passages = [
        helper.make_node("Max", [key, key], [f"{key}/same"], name=f"{key}/same") for key in feeds
    ]
    inner = onnx.NodeProto()
    inner.CopyFrom(node)
    inner.name = "example"
    inner.input[:] = [f"{key}/same" if key in feeds else key for key in node.input]
    graph = helper.make_graph(
        [*passages, inner],
        name,
        [info for info in source.graph.input if info.name in feeds],
        list(source.graph.output),
        [numpy_helper.from_array(a, k) for k, a in values.items() if k not in feeds],
    )
    model = helper.make_model(
        graph, opset_imports=source.opset_import, ir_version=source.ir_version
    )
    return NodeExample(name, node.op_type, model, feeds)
