"""Quantized features as float tensors that state their integers.

What: a QuantizeLinear and the DequantizeLinears behind it go; the tensor between them, now float,
    states the type, scale and zero point. A tensor that is quantized anywhere is quantized for all
    its readers; where the same values are quantized in a second way, an Identity leads to a second
    tensor, and so it does to the first where an operator with weights reads the values as they are:
    such a layer the model leaves in float. A node that no pair belongs to stays, and runs in float:
    a DequantizeLinear behind an integer input, a QuantizeLinear before an integer output or an
    integer operator.
When: once constants are folded.
Before -> After: `Conv(DequantizeLinear(QuantizeLinear(x, s, z), s, z), w)` -> `Conv(x, w)` with x
    stated as (s, z). A graph output keeps its name: x takes it.
Numerics: the Graph computes without the rounding to integers, which whoever executes it by its
    statements restores; a reader without weights of the unquantized tensor then sees it quantized.
"""

from __future__ import annotations

import onnx_ir as ir

from tidlq.passes.linear_quant import is_dequantize, is_quantize, read_linear_quant
from tidlq.passes.node_editing import FreshNames, bypass
from tidlq.passes.node_reading import is_constant, is_op
from tidlq.passes.stated import state_feature, stated_feature
from tidlq.spec import FeatureQuant

_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


class StripQuantization(ir.passes.InPlacePass):
    """Turns pairs of QuantizeLinear and DequantizeLinear into statements.

    Args:
        is_fully_stated: what reads a tensor as it is before quantization says so itself.
    """

    def __init__(self, *, is_fully_stated: bool = False) -> None:
        super().__init__()
        self._keeps_raw = not is_fully_stated

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Visits the nodes of the main graph in order."""
        stripper: _Stripper | None = None
        for node in model.graph:
            quant = _feature_quant(node)
            if quant is None:
                continue
            stripper = stripper or _Stripper(model.graph, keeps_raw=self._keeps_raw)
            if is_quantize(node):
                stripper.strip(node, quant)
            else:
                state_feature(node.outputs[0], quant)
        return ir.passes.PassResult(model, modified=stripper is not None)


def _feature_quant(node: ir.Node) -> FeatureQuant | None:
    """How the node quantizes, or dequantizes to, a float32 feature map; None for all else."""
    if is_quantize(node):
        feature = node.inputs[0]
    elif is_dequantize(node):
        feature = node.outputs[0]
    else:
        return None
    if feature is None or feature.dtype != ir.DataType.FLOAT or is_constant(node.inputs[0]):
        return None
    quant = read_linear_quant(node)
    return None if quant is None else quant.feature()


class _Stripper:
    """Rewrites one graph; remembers the second forms of its tensors."""

    def __init__(self, graph: ir.Graph, *, keeps_raw: bool) -> None:
        self._graph = graph
        self._keeps_raw = keeps_raw
        self._names = FreshNames(graph)
        self._others: dict[tuple[ir.Value, FeatureQuant], ir.Value] = {}

    def strip(self, quantize: ir.Node, quant: FeatureQuant) -> None:
        """Lets readers of the dequantized tensor read the quantized one's origin."""
        data = quantize.inputs[0]
        assert data is not None
        feature = self._form(data, quant, quantize)
        integers = quantize.outputs[0]
        for use in tuple(integers.uses()):
            reader = use.node
            if use.idx == 0 and reader.graph is self._graph and _feature_quant(reader) == quant:
                self._replace(reader, feature, quant)
        if integers.uses() or integers.is_graph_output():
            quantize.replace_input_with(0, feature)
        else:
            self._graph.remove(quantize, safe=True)

    def _form(self, data: ir.Value, quant: FeatureQuant, before: ir.Node) -> ir.Value:
        """The tensor that holds the data in this form: itself, or one behind an Identity."""
        if stated_feature(data) is None and not (self._keeps_raw and _is_weighed(data)):
            state_feature(data, _main_form(data))
        if stated_feature(data) == quant:
            return data
        found = self._others.get((data, quant))
        if found is None:
            node = ir.node("Identity", [data], name=self._names.take(f"{data.name}_requantize"))
            found = node.outputs[0]
            found.name = self._names.take(f"{data.name}_requantized")
            found.shape, found.type = data.shape, data.type
            state_feature(found, quant)
            self._graph.insert_before(before, node)
            self._others[data, quant] = found
        return found

    def _replace(self, dequantize: ir.Node, feature: ir.Value, quant: FeatureQuant) -> None:
        if bypass(dequantize, feature):
            return
        # A graph output whose name the feature cannot take.
        dequantize.op_type, dequantize.domain = "Identity", ""
        dequantize.attributes.clear()
        dequantize.resize_inputs(1)
        dequantize.replace_input_with(0, feature)
        state_feature(dequantize.outputs[0], quant)


def _is_weighed(data: ir.Value) -> bool:
    """Whether an operator with weights reads the tensor itself."""
    return any(is_op(use.node, *_WEIGHTED) for use in data.uses())


def _main_form(data: ir.Value) -> FeatureQuant:
    """The form of a tensor from which its other forms are made: most bits, then widest range."""
    readers = [use.node for use in data.uses() if use.idx == 0 and is_quantize(use.node)]
    forms = [quant for node in readers if (quant := _feature_quant(node)) is not None]
    return max(forms, key=lambda quant: (quant.type.bits, _extent(quant)))


def _extent(quant: FeatureQuant) -> float:
    low, high = quant.type.lowest - quant.zero_point, quant.type.highest - quant.zero_point
    return max(-low, high) * quant.scale
