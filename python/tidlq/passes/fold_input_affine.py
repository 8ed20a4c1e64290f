"""Batch-norm, mean and scale at the network's input folded forward into the first convolution.

What: of the affine nodes between a graph input and the one Conv that reads them (a Cast or
    Transpose may stand between), the scale goes into the weights. The shift goes into the bias
    where the convolution pads nothing; otherwise it stays, as one Add before the convolution, since
    padding with zeros after the shift is not padding with zeros before it. Nothing is folded where
    a tensor on the way or the weight is stated to be quantized.
When: under `pre_batchnorm_fold`, once nodes without effect are gone.
Before -> After: `Conv(BatchNormalization(x, ...), w)` with s, t the batch-norm's scale and shift ->
    `Conv(x, w * s, b + sum(w * t))` without padding, `Conv(Add(x, t / s), w * s, b)` with.
Numerics: new constants are computed in float64 and rounded once to float32; results differ by
    float32 rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from tidlq.passes.affine import Affine, affine_of, rounded, times
from tidlq.passes.node_editing import FreshNames, add_constant, bypass, replace_constant
from tidlq.passes.node_reading import (
    constant_array,
    input_at,
    int_attribute,
    ints_attribute,
    is_op,
    rank_of,
    sole_consumer,
    string_attribute,
)
from tidlq.passes.stated import stated_feature, stated_parameter


class FoldInputAffine(ir.passes.InPlacePass):
    """Folds what prepares an input into the convolution behind it."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Visits the convolutions of the main graph."""
        names, modified = None, False
        for node in model.graph:
            chain = _find_chain(node) if is_op(node, "Conv") else None
            if chain is not None:
                names = names or FreshNames(model.graph)
                modified |= _fold_chain(node, chain, names)
        return ir.passes.PassResult(model, modified=modified)


@dataclass(frozen=True, eq=False)
class _Chain:
    """Affine nodes between a graph input and a convolution, nearest to the convolution first.

    Attributes:
        nodes: each with the affine map that it is.
        axis: the axis of the nearest node's tensors that becomes the convolution's channels.
        scale, shift: the whole chain's, float64 [C] or [1].
    """

    nodes: tuple[tuple[ir.Node, Affine], ...]
    axis: int
    scale: NDArray[np.float64]
    shift: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Convolution:
    """Parameters with the input channels apart.

    Attributes:
        weight: float32 [groups, C_out / groups, C_in / groups, *kernel].
        bias: float64 [C_out]; zeros where the node has none.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float64]

    @property
    def channels(self) -> int:
        return int(self.weight.shape[0] * self.weight.shape[2])

    def scaled(self, factor: NDArray[np.float64]) -> NDArray[np.float32] | None:
        """The weight times one factor per input channel, in the node's own shape."""
        product = times(self.weight, self._aligned(factor))
        return None if product is None else product.reshape(-1, *self.weight.shape[2:])

    def response(self, shift: NDArray[np.float64]) -> NDArray[np.float64]:
        """What one constant per input channel adds to each output channel, float64 [C_out]."""
        product = np.asarray(self.weight, np.float64) * self._aligned(shift)
        total: NDArray[np.float64] = product.reshape(self.bias.size, -1).sum(axis=1)
        return total

    def _aligned(self, factor: NDArray[np.float64]) -> NDArray[np.float64]:
        groups, _, inputs = self.weight.shape[:3]
        return factor.reshape(groups, 1, inputs, *[1] * (self.weight.ndim - 3))


def _fold_chain(conv: ir.Node, chain: _Chain, names: FreshNames) -> bool:
    parameters = _read(conv)
    if parameters is None:
        return False
    channels = parameters.channels
    if not {chain.scale.size, chain.shift.size} <= {1, channels}:
        return False
    scale = np.broadcast_to(chain.scale, channels)
    shift = np.broadcast_to(chain.shift, channels)
    weight = parameters.scaled(scale)
    if weight is None:
        return False
    if not shift.any():
        return _replace(conv, chain, weight, None, names)
    if _pads_nothing(conv):
        bias = rounded(parameters.bias + parameters.response(shift))
        return bias is not None and _replace(conv, chain, weight, bias, names)
    if np.any(scale == 0) or (np.all(scale == 1) and len(chain.nodes) == 1):
        return False
    with np.errstate(all="ignore"):
        rest = rounded(chain.shift / chain.scale)
    if rest is None:
        return False
    _keep_shift(chain, rest, names)
    replace_constant(conv, 1, weight, names, "weight")
    return True


def _find_chain(conv: ir.Node) -> _Chain | None:
    """Follows an unshared path back to a graph input, with the axis that holds the channels."""
    axis, value = 1, conv.inputs[0]
    nodes: list[tuple[ir.Node, Affine]] = []
    nearest_axis = axis
    scale, shift = np.ones(1), np.zeros(1)
    while value is not None and not value.is_graph_input() and stated_feature(value) is None:
        node = value.producer()
        if node is None or sole_consumer(value) is None or node.graph is not conv.graph:
            return None
        if is_op(node, "Transpose"):
            perm = ints_attribute(node, "perm") or tuple(reversed(range(rank_of(value) or 0)))
            if axis >= len(perm):
                return None
            value, axis = node.inputs[0], perm[axis]
            continue
        if is_op(node, "Cast"):
            value = node.inputs[0]
            continue
        affine = affine_of(node, axis)
        if affine is None:
            return None
        nearest_axis = nearest_axis if nodes else axis
        nodes.append((node, affine))
        scale, shift = scale * affine.scale, scale * affine.shift + shift
        value = affine.data
    if value is None or stated_feature(value) is not None or not nodes:
        return None
    return _Chain(tuple(nodes), nearest_axis, scale, shift)


def _read(conv: ir.Node) -> _Convolution | None:
    weight, bias = constant_array(input_at(conv, 1)), constant_array(input_at(conv, 2))
    groups = int_attribute(conv, "group", 1)
    if weight is None or weight.dtype != np.float32 or weight.ndim < 3 or groups < 1:
        return None
    if stated_parameter(input_at(conv, 1)) is not None:
        return None
    if weight.shape[0] % groups or not weight.size:
        return None
    if input_at(conv, 2) is not None and (bias is None or bias.shape != weight.shape[:1]):
        return None
    added = np.zeros(weight.shape[0]) if bias is None else np.asarray(bias, np.float64)
    grouped = np.asarray(weight, np.float32).reshape(groups, -1, *weight.shape[1:])
    return _Convolution(grouped, added)


def _pads_nothing(conv: ir.Node) -> bool:
    automatic = string_attribute(conv, "auto_pad", "NOTSET")
    if automatic == "NOTSET":
        return not any(ints_attribute(conv, "pads") or ())
    return automatic == "VALID"


def _replace(
    conv: ir.Node,
    chain: _Chain,
    weight: NDArray[np.float32],
    bias: NDArray[np.float32] | None,
    names: FreshNames,
) -> bool:
    for node, affine in chain.nodes:
        bypass(node, affine.data)
    replace_constant(conv, 1, weight, names, "weight")
    if bias is not None:
        replace_constant(conv, 2, bias, names, "bias")
    return True


def _keep_shift(chain: _Chain, rest: NDArray[np.float32], names: FreshNames) -> None:
    """Leaves x + t / s of the chain: the nearest node's name, a new tensor name."""
    for node, affine in chain.nodes[1:]:
        bypass(node, affine.data)
    node = chain.nodes[0][0]
    data = next(value for value in node.inputs if value is not None and value.const_value is None)
    graph, output, rank = node.graph, node.outputs[0], rank_of(data)
    assert graph is not None
    assert rank is not None
    sizes = [1] * rank
    sizes[chain.axis] = rest.size
    base = node.name or output.name
    constant = add_constant(graph, names.take(f"{base}_shift"), rest.reshape(sizes))
    node.op_type = "Add"
    node.attributes.clear()
    node.resize_inputs(2)
    node.replace_input_with(0, data)
    node.replace_input_with(1, constant)
    node.resize_outputs(1)
    output.name = names.take(f"{output.name}_shifted")
