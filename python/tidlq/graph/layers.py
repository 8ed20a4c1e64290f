"""Layers: what the fixed-point engine sees of a Graph.

A layer is one or more nodes that are quantized as a unit: a convolution with the ReLU after it, a
matrix product with its bias. Recognition (`tidlq.graph.recognition`) finds them; scales, saved
ranges and the Network all speak of layers.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, field, replace

from tidlq.graph.interpolation import (
    GridSampleAttributes,
    ResizeAttributes,
    SampleMode,
    WindowedResizeAttributes,
)
from tidlq.graph.scattering import ScatterAttributes, ScatteredProductAttributes


class LayerKind(enum.Enum):
    """What a layer computes."""

    CONVOLUTION = "convolution"
    TRANSPOSED_CONVOLUTION = "transposed convolution"
    DEFORMABLE_CONVOLUTION = "deformable convolution"
    INNER_PRODUCT = "inner product"
    BATCH_NORM = "batch-norm"
    CLAMP = "clamp"
    FUNCTION = "function"
    PRELU = "prelu"
    SUM = "sum"
    PRODUCT = "product"
    DIVISION = "division"
    POWER = "power"
    EXTREMUM = "extremum"
    REDUCTION = "reduction"
    MAX_POOL = "max pool"
    AVERAGE_POOL = "average pool"
    CONCAT = "concat"
    RESHAPE = "reshape"
    TRANSPOSE = "transpose"
    PAD = "pad"
    SLICE = "slice"
    GATHER = "gather"
    SCATTER = "scatter"
    SCATTERED_PRODUCT = "scattered product"
    REARRANGEMENT = "rearrangement"
    RESIZE = "resize"
    WINDOWED_RESIZE = "windowed resize"
    GRID_SAMPLE = "grid sample"
    SOFTMAX = "softmax"
    MATRIX_PRODUCT = "matrix product"
    NORMALIZATION = "normalization"
    TOP_K = "top k"
    POSITIONS = "positions"

    @property
    def keeps_float(self) -> bool:
        """The layer only moves elements, so a float input gives the same float output."""
        return self in _MOVING

    @property
    def has_weight(self) -> bool:
        """The layer multiplies by a quantized parameter and adds an exact bias."""
        return self in _WEIGHTED

    @property
    def has_output_channels(self) -> bool:
        """Each output channel has weights, whose scale may be its own, and a bias.

        It is the first axis of the weight's own form. Bias calibration may move the bias.
        """
        return self in _WEIGHTED or self is LayerKind.DEFORMABLE_CONVOLUTION


_WEIGHTED = frozenset(
    {
        LayerKind.CONVOLUTION,
        LayerKind.TRANSPOSED_CONVOLUTION,
        LayerKind.INNER_PRODUCT,
        LayerKind.BATCH_NORM,
    }
)
_MOVING = frozenset(
    {
        LayerKind.RESHAPE,
        LayerKind.TRANSPOSE,
        LayerKind.SLICE,
        LayerKind.GATHER,
        LayerKind.REARRANGEMENT,
    }
)
_KEEPING = _MOVING | {
    LayerKind.MAX_POOL,
    LayerKind.RESIZE,
    LayerKind.GRID_SAMPLE,
    LayerKind.TOP_K,
}


@dataclass(frozen=True)
class Clamp:
    """Bounds of a ReLU or Clip; an open side is None."""

    low: float | None = None
    high: float | None = None

    def then(self, other: Clamp) -> Clamp:
        """This clamp followed by another, as one: every bound is clamped by the later pair."""

        def clip(value: float | None) -> float | None:
            if value is None:
                return None
            if other.low is not None:
                value = max(value, other.low)
            return value if other.high is None else min(value, other.high)

        low = other.low if self.low is None else clip(self.low)
        high = other.high if self.high is None else clip(self.high)
        return Clamp(low, high)


@dataclass(frozen=True)
class Window:
    """Geometry of a convolution or pool; lists are (height, width) or (width,).

    Attributes:
        kernel, stride, dilation: one entry per spatial axis.
        pad_begin, pad_end: rows and columns added before and after.
        axes: logical axes that the window slides over.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    pad_begin: tuple[int, ...]
    pad_end: tuple[int, ...]
    axes: tuple[int, ...]


@dataclass(frozen=True)
class ConvolutionAttributes:
    """A convolution with weight (C_out, C_in / groups, *kernel), or a transposed one.

    A transposed one stores (C_in, C_out / groups, *kernel), and its pads are what its output lacks.
    """

    window: Window
    groups: int


@dataclass(frozen=True)
class DeformableAttributes(ConvolutionAttributes):
    """A convolution of which every tap has moved; each offset group of channels has offsets.

    Inputs are the feature, the offsets and, where each tap is weighted as well, the mask.
    """

    offset_groups: int


@dataclass(frozen=True)
class PoolAttributes:
    """A pool; `count_include_pad` concerns averages only."""

    window: Window
    count_include_pad: bool = False


@dataclass(frozen=True)
class InnerProductAttributes:
    """How the constant operand is stored and scaled: weight = alpha * op(B), bias = beta * C."""

    transposed: bool = False
    alpha: float = 1.0
    beta: float = 1.0


@dataclass(frozen=True)
class BatchNormAttributes:
    """y = scale * (x - mean) / sqrt(variance + epsilon) + shift, all constants by name."""

    scale: str
    shift: str
    mean: str
    variance: str
    epsilon: float


@dataclass(frozen=True)
class FunctionAttributes:
    """y = gain * f(x) + shift, with f an element-wise function by its ONNX name.

    Attributes:
        function: its name.
        parameters: of the function, by name.
        gain, shift: what numbers behind the function multiply and add.
    """

    function: str
    parameters: tuple[tuple[str, float], ...] = ()
    gain: float = 1.0
    shift: float = 0.0

    @property
    def is_plain(self) -> bool:
        """Nothing is multiplied or added behind the function."""
        return self.gain == 1.0 and self.shift == 0.0


@dataclass(frozen=True)
class SumAttributes:
    """The sign of each operand: +1.0 or -1.0, or 1 / n of a mean of n operands."""

    signs: tuple[float, ...]


@dataclass(frozen=True)
class ExtremumAttributes:
    """`least`: the least of the operands, otherwise the greatest."""

    least: bool = False


@dataclass(frozen=True)
class ProductAttributes:
    """`reciprocal`: the constant operand divides."""

    reciprocal: bool = False


@dataclass(frozen=True)
class AxisAttributes:
    """The axis of a concat or softmax, 0 or more."""

    axis: int


@dataclass(frozen=True)
class OrderAttributes:
    """The first elements of an axis in order of their size; the output's shape says how many.

    Attributes:
        axis: 0 or more.
        least: the least ones, otherwise the greatest.
        higher_first: of equal elements the one at the higher position comes first.
        count: elements that are taken.
    """

    axis: int
    least: bool = False
    higher_first: bool = False
    count: int = 1


@dataclass(frozen=True)
class TransposeAttributes:
    """Output axis i is input axis perm[i]."""

    perm: tuple[int, ...]


class Reduction(enum.Enum):
    """What becomes of the elements along the reduced axes."""

    SUM = "sum"
    MEAN = "mean"
    SUM_OF_MAGNITUDES = "sum of magnitudes"
    SUM_OF_SQUARES = "sum of squares"
    ROOT_OF_SQUARES = "root of the sum of squares"
    GREATEST = "greatest"
    LEAST = "least"

    @property
    def selects(self) -> bool:
        """The result is one of the elements."""
        return self in (Reduction.GREATEST, Reduction.LEAST)


@dataclass(frozen=True)
class ReductionAttributes:
    """The reduced axes, ascending; the output's shape says whether they stay with size 1."""

    axes: tuple[int, ...]
    reduction: Reduction


@dataclass(frozen=True)
class GatherAttributes:
    """Elements by constant positions, reshaped to the output's shape.

    Attributes:
        axes: per gathered axis, ascending, the positions that the output takes along it. All
            others stay.
        view: shape of the input that the axes belong to; empty where that is its own.
        elements: where not empty, positions in the flattened inputs, one input behind the other,
            that become the flattened output; there are no axes then.
    """

    axes: tuple[tuple[int, tuple[int, ...]], ...] = ()
    view: tuple[int, ...] = ()
    elements: tuple[int, ...] = ()


@dataclass(frozen=True)
class RearrangementAttributes:
    """Axes that split into parts, and parts that join to axes.

    Attributes:
        parts: per input axis the sizes of its parts, outermost first.
        joins: per output axis the parts that it joins, counted through all of `parts`.
    """

    parts: tuple[tuple[int, ...], ...]
    joins: tuple[tuple[int, ...], ...]


class PadMode(enum.Enum):
    """What a Pad writes."""

    CONSTANT = "constant"
    REFLECT = "reflect"
    EDGE = "edge"


@dataclass(frozen=True)
class PadAttributes:
    """Elements added per axis; `value` is real."""

    begin: tuple[int, ...]
    end: tuple[int, ...]
    mode: PadMode = PadMode.CONSTANT
    value: float = 0.0


@dataclass(frozen=True)
class SliceAttributes:
    """output[i] = input[start + i * step] per axis."""

    start: tuple[int, ...]
    step: tuple[int, ...]


@dataclass(frozen=True)
class NormalizationAttributes:
    """y = gain * (x - mean) / sqrt(variance + epsilon) + shift, over some axes.

    Attributes:
        axes: logical axes over which mean and variance are taken.
        epsilon: added to the variance.
        centred: the mean is taken off; otherwise it counts as 0 (RMS).
        gain, shift: constants by name; None for 1 and 0.
        is_per_channel: they have an entry per index of axis 1, otherwise one per place of `axes`.
    """

    axes: tuple[int, ...]
    epsilon: float
    centred: bool = True
    gain: str | None = None
    shift: str | None = None
    is_per_channel: bool = False


@dataclass(frozen=True)
class NoAttributes:
    """The shapes say everything."""


Attributes = (
    ConvolutionAttributes
    | DeformableAttributes
    | PoolAttributes
    | InnerProductAttributes
    | BatchNormAttributes
    | FunctionAttributes
    | SumAttributes
    | ProductAttributes
    | ExtremumAttributes
    | AxisAttributes
    | OrderAttributes
    | ReductionAttributes
    | GatherAttributes
    | ScatterAttributes
    | ScatteredProductAttributes
    | RearrangementAttributes
    | TransposeAttributes
    | PadAttributes
    | SliceAttributes
    | ResizeAttributes
    | WindowedResizeAttributes
    | GridSampleAttributes
    | NormalizationAttributes
    | NoAttributes
)


@dataclass(frozen=True)
class Layer:
    """One unit of quantization.

    Attributes:
        name: the leading node's name; unique.
        kind: what it computes.
        op_type: the leading node's ONNX operator.
        nodes: names of all nodes it covers, in order.
        inputs: tensors it reads, in order; a constant operand of a sum or product included.
        output: the tensor it writes.
        attributes: geometry and parameters of its kind.
        weight: the constant it multiplies by (weighted layers, and PReLU's slope).
        bias: the constant it adds, if any.
        clamp: a ReLU or Clip fused into its saturation.
    """

    name: str
    kind: LayerKind
    op_type: str
    nodes: tuple[str, ...]
    inputs: tuple[str, ...]
    output: str
    attributes: Attributes = field(default_factory=NoAttributes)
    weight: str | None = None
    bias: str | None = None
    clamp: Clamp | None = None

    @property
    def keeps_quantization(self) -> bool:
        """The output is made of input values, so it shares their scale and zero point.

        A finite constant other than zero that a Pad writes is a new value; an infinite one
        saturates, as the lowest integer below a max pool should.
        """
        if isinstance(self.attributes, PadAttributes):
            constant = self.attributes.mode is PadMode.CONSTANT
            return not constant or self.attributes.value == 0 or math.isinf(self.attributes.value)
        if isinstance(self.attributes, ReductionAttributes):
            return self.attributes.reduction.selects
        if isinstance(self.attributes, GridSampleAttributes):
            # Cubic weights reach beyond the values that they lie between.
            return self.attributes.mode is not SampleMode.CUBIC
        return self.kind in _KEEPING

    @property
    def writes_positions(self) -> bool:
        """The output holds positions along an axis: integers without a scale, no feature map."""
        return self.kind is LayerKind.POSITIONS

    def fused(
        self, node: str, output: str, *, clamp: Clamp | None = None, bias: str | None = None
    ) -> Layer:
        """This layer with the node that follows it absorbed."""
        if clamp is not None and self.clamp is not None:
            clamp = self.clamp.then(clamp)
        return replace(
            self,
            nodes=(*self.nodes, node),
            output=output,
            clamp=clamp or self.clamp,
            bias=bias or self.bias,
        )


@dataclass(frozen=True)
class FloatNode:
    """A node that stays in float, and why."""

    name: str
    op_type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class LayerTable:
    """Every node of a Graph, as fixed-point layers and float nodes, both in execution order."""

    layers: tuple[Layer, ...]
    float_nodes: tuple[FloatNode, ...]
