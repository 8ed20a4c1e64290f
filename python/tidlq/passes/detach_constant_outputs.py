"""Graph outputs that are constants, behind a node.

What: an Identity between an initializer and the graph output that it is.
When: at the end, after the passes that remove Identity.
Before -> After: output `c` = initializer `c` -> output `c` = `Identity(c_value)`.
Numerics: none.
"""

from __future__ import annotations

import onnx_ir as ir

from tidlq.passes.node_editing import FreshNames, add_constant
from tidlq.passes.stated import (
    state_bias,
    state_feature,
    state_parameter,
    stated_bias,
    stated_feature,
    stated_parameter,
)


class DetachConstantOutputs(ir.passes.InPlacePass):
    """Lets every graph output be something that a node computes."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Visits the graph's outputs."""
        graph, names = model.graph, None
        for index, value in enumerate(graph.outputs):
            if value.name not in graph.initializers or value.const_value is None:
                continue
            names = names or FreshNames(graph)
            name = value.name
            assert name is not None
            constant = add_constant(graph, names.take(f"{name}_value"), value.const_value.numpy())
            state_parameter(constant, stated_parameter(value))
            state_bias(constant, stated_bias(value))
            node = ir.node("Identity", [constant], name=names.take(f"{name}_identity"))
            output = node.outputs[0]
            output.name, output.shape, output.type = name, constant.shape, constant.type
            state_feature(output, stated_feature(value))
            graph.append(node)
            graph.outputs[index] = output
            value.replace_all_uses_with(constant)
            graph.initializers.pop(name)
        return ir.passes.PassResult(model, modified=names is not None)
