"""A node that hands values on, but is quantized otherwise than what it reads, is parted from that.

What: where a node only moves or selects values and its output states another quantization than its
    input, an Identity between the two carries the change.
When: in canonical form, once every statement stands on its tensor.
Before -> After: `y = MaxPool(x)` -> `y' = MaxPool(x); y = Identity(y')`, with y' quantized like x.
Numerics: exact.
"""

from __future__ import annotations

import onnx_ir as ir

from tidlq.passes.node_editing import FreshNames
from tidlq.passes.node_reading import is_op
from tidlq.passes.stated import state_feature, stated_feature

_HANDING_ON = (
    "Flatten",
    "GlobalMaxPool",
    "MaxPool",
    "Pad",
    "Reshape",
    "Resize",
    "Slice",
    "Split",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
    "Upsample",
)


class SeparateRequantization(ir.passes.InPlacePass):
    """Inserts an Identity after every node that hands values on into another quantization."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Visits the nodes of the main graph in order."""
        names, modified = None, False
        for node in list(model.graph):
            if not is_op(node, *_HANDING_ON):
                continue
            source = stated_feature(node.inputs[0])
            for index, output in enumerate(node.outputs):
                target = stated_feature(output)
                if source is None or target is None or source == target:
                    continue
                names = names or FreshNames(model.graph)
                _separate(model.graph, node, index, names)
                modified = True
        return ir.passes.PassResult(model, modified=modified)


def _separate(graph: ir.Graph, node: ir.Node, index: int, names: FreshNames) -> None:
    output = node.outputs[index]
    name = output.name or ""
    identity = ir.Node("", "Identity", [output], name=names.take(f"{name}/requantize"))
    graph.insert_after(node, identity)
    result = identity.outputs[0]
    result.shape, result.type = output.shape, output.type
    output.replace_all_uses_with(result, replace_graph_outputs=True)
    identity.replace_input_with(0, output)
    output.name, result.name = names.take(f"{name}/kept"), name
    state_feature(result, stated_feature(output))
    state_feature(output, stated_feature(node.inputs[0]))
