"""QuantizeLinear and DequantizeLinear nodes: their parameters, and what they do to constants."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from tidlq.errors import ModelError
from tidlq.passes.node_reading import constant_array, input_at, int_attribute, static_shape
from tidlq.spec import FeatureQuant, IntegerType, StatedParameter

MICROSOFT = "com.microsoft"
"""The operator domain of ONNX Runtime's own operators."""

_Number = TypeVar("_Number", np.float32, np.int64)
_DOMAINS = ("", MICROSOFT)
# Bits that hold the integers: 4 and 2 are stored in 8.
INTEGER_TYPES = MappingProxyType(
    {
        ir.DataType.INT2: IntegerType(8, signed=True),
        ir.DataType.UINT2: IntegerType(8, signed=False),
        ir.DataType.INT4: IntegerType(8, signed=True),
        ir.DataType.UINT4: IntegerType(8, signed=False),
        ir.DataType.INT8: IntegerType(8, signed=True),
        ir.DataType.UINT8: IntegerType(8, signed=False),
        ir.DataType.INT16: IntegerType(16, signed=True),
        ir.DataType.UINT16: IntegerType(16, signed=False),
    }
)
"""Types whose integers can be stated, and the type that holds them."""

_FEATURE_TYPES = frozenset(
    {ir.DataType.INT8, ir.DataType.UINT8, ir.DataType.INT16, ir.DataType.UINT16}
)
_LIMITS = MappingProxyType(
    {
        ir.DataType.INT2: (-2, 1),
        ir.DataType.UINT2: (0, 3),
        ir.DataType.INT4: (-8, 7),
        ir.DataType.UINT4: (0, 15),
        **{
            kind: (held.lowest, held.highest)
            for kind, held in INTEGER_TYPES.items()
            if kind.bitwidth > 4
        },
    }
)


def is_quantize(node: ir.Node | None) -> bool:
    """Whether the node is a QuantizeLinear of ONNX or of ONNX Runtime."""
    return _is_whole(node, "QuantizeLinear")


def is_dequantize(node: ir.Node | None) -> bool:
    """Whether the node is a DequantizeLinear of ONNX or of ONNX Runtime."""
    return _is_whole(node, "DequantizeLinear")


def _is_whole(node: ir.Node | None, op_type: str) -> bool:
    # ONNX's checker does not look at the nodes of other domains.
    if node is None or node.op_type != op_type or node.domain not in _DOMAINS:
        return False
    given = (input_at(node, 0), input_at(node, 1))
    return None not in given and len(node.inputs) <= 3 and len(node.outputs) == 1


@dataclass(frozen=True, eq=False)
class LinearQuant:
    """Constant parameters of a QuantizeLinear or DequantizeLinear.

    Attributes:
        dtype: of the quantized side.
        scale: float32: one element, or [C] along `axis`, or blocks with the data's rank.
        zero_point: int64, of the scale's shape.
        axis: of the data, 0 or more; 0 where there is one scale.
        block: elements per scale along `axis`; 0 where the scales are not of blocks.
    """

    dtype: ir.DataType
    scale: NDArray[np.float32]
    zero_point: NDArray[np.int64]
    axis: int = 0
    block: int = 0

    def equals(self, other: LinearQuant) -> bool:
        """Whether both tie the same integers to the same real values."""
        return (
            self.dtype == other.dtype
            and (self.axis, self.block) == (other.axis, other.block)
            and np.array_equal(self.scale, other.scale)
            and np.array_equal(self.zero_point, other.zero_point)
        )

    def feature(self) -> FeatureQuant | None:
        """One scale for all, of 8 or 16 bits; None for anything else."""
        if self.dtype not in _FEATURE_TYPES or not self.scale.size:
            return None
        scale, zero_point = self.scale.flat[0], self.zero_point.flat[0]
        if np.any(self.scale != scale) or np.any(self.zero_point != zero_point):
            return None
        return FeatureQuant(INTEGER_TYPES[self.dtype], float(scale), int(zero_point))

    def parameter(self) -> StatedParameter | None:
        """The statement about a constant; None for types of other bits and for blocks."""
        if self.dtype not in INTEGER_TYPES or self.block or not self.scale.size:
            return None
        return StatedParameter(
            INTEGER_TYPES[self.dtype],
            tuple(map(float, self.scale.reshape(-1))),
            tuple(map(int, self.zero_point.reshape(-1))),
            self.axis,
        )

    def dequantize(self, integers: NDArray[np.generic]) -> NDArray[np.float32]:
        """Real values, (q - zero point) * scale: the difference exact, the product float32."""
        scale = self._aligned(self.scale, integers.shape)
        if self.dtype in _LIMITS or self.dtype == ir.DataType.INT32:
            zero_point = self._aligned(self.zero_point, integers.shape)
            steps = (integers.astype(np.int64) - zero_point).astype(np.float32)
        else:
            steps = integers.astype(np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray(steps * scale, np.float32)

    def quantize(self, values: NDArray[np.generic]) -> NDArray[np.generic]:
        """Integers, round(x / scale) + zero point, halves to even, saturated to the type."""
        low, high = _LIMITS[self.dtype]
        with np.errstate(over="ignore"):
            steps = np.rint(values.astype(np.float32) / self._aligned(self.scale, values.shape))
        shifted = steps.astype(np.float64) + self._aligned(self.zero_point, values.shape)
        return np.asarray(np.clip(shifted, low, high).astype(self.dtype.numpy()))

    @property
    def can_quantize(self) -> bool:
        """The quantized side is an integer type that `quantize` knows."""
        return self.dtype in _LIMITS

    def _aligned(self, array: NDArray[_Number], shape: tuple[int, ...]) -> NDArray[_Number]:
        """Scales or zero points in a shape that broadcasts to the data's."""
        if array.size == 1:
            return array.reshape(())
        if self.block:
            blocks = np.arange(shape[self.axis]) // self.block
            return array.take(blocks, axis=self.axis)
        return array.reshape([-1 if axis == self.axis else 1 for axis in range(len(shape))])


def read_linear_quant(node: ir.Node) -> LinearQuant | None:
    """Reads the parameters of a QuantizeLinear or DequantizeLinear.

    Returns:
        None where a parameter or the data's shape is not constant.

    Raises:
        ModelError: A scale is not a positive finite number, or shapes or types do not fit.
    """
    scale_value, zero_value = input_at(node, 1), input_at(node, 2)
    scale, zero_point = constant_array(scale_value), constant_array(zero_value)
    shape = static_shape(node.inputs[0]) or static_shape(node.outputs[0])
    if scale is None or (zero_value is not None and zero_point is None):
        return None
    _check_scale(node, scale)
    dtype = _quantized_dtype(node)
    if dtype is None:
        return None
    if zero_point is None:
        zero_point = np.zeros(scale.shape, np.int64)
    if zero_point.size != scale.size:
        raise ModelError(
            f"{_called(node)} has {scale.size} scales and {zero_point.size} zero points; "
            "there must be as many of both."
        )
    steps = zero_point.reshape(scale.shape).astype(np.int64)
    scales = np.asarray(scale, np.float32)
    if scale.size == 1:
        return LinearQuant(dtype, scales, steps)
    if shape is None:
        return None
    axis, block = _placed(node, scale.shape, shape)
    return LinearQuant(dtype, scales, steps, axis, block)


def _check_scale(node: ir.Node, scale: NDArray[np.generic]) -> None:
    name = node.inputs[1].name if node.inputs[1] is not None else ""
    if scale.dtype.kind != "f" and scale.dtype.name != "bfloat16":
        raise ModelError(
            f"the scale {name!r} of {_called(node)} has type {scale.dtype}; it must be float."
        )
    if not scale.size:
        raise ModelError(f"the scale {name!r} of {_called(node)} is empty.")
    with np.errstate(over="ignore"):
        flat = scale.astype(np.float32).reshape(-1)
    bad = np.flatnonzero(~(np.isfinite(flat) & (flat > 0)))
    if bad.size:
        raise ModelError(
            f"the scale {name!r} of {_called(node)} is {flat[bad[0]]:g} at index {bad[0]}; "
            "scales must be positive and finite."
        )


def _quantized_dtype(node: ir.Node) -> ir.DataType | None:
    """The type of the quantized side: data, zero point and attribute must agree on it."""
    zero_point = input_at(node, 2)
    stated = None if zero_point is None else zero_point.dtype
    found: ir.DataType | None
    if is_quantize(node):
        number = _integer(node, "output_dtype", 0)
        known = number in set(map(int, ir.DataType))
        other = ir.DataType(number) if number and known else None
        found = stated or other or ir.DataType.UINT8
    else:
        other = node.inputs[0].dtype if node.inputs[0] is not None else None
        found = other
    if stated is not None and other is not None and stated != other:
        raise ModelError(
            f"the zero point of {_called(node)} has type {stated.name}; it must be {other.name}, "
            "as the quantized tensor."
        )
    return found


def _placed(node: ir.Node, scales: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, int]:
    """The axis that scales run along, and their block size."""
    axis, rank = _integer(node, "axis", 1), len(shape)
    if not -rank <= axis < rank:
        raise ModelError(f"axis {axis} of {_called(node)} is outside its tensor's {rank} axes.")
    axis %= rank
    block = _integer(node, "block_size", 0)
    if block > 0 and len(scales) == rank:
        wanted = tuple(-(-n // block) if i == axis else n for i, n in enumerate(shape))
        if scales == wanted:
            return axis, block
    elif not block and scales == (shape[axis],):
        return axis, 0
    raise ModelError(
        f"the scales of {_called(node)} have shape {list(scales)}, which does not fit axis {axis} "
        f"of a tensor of shape {list(shape)}" + (f" in blocks of {block}." if block else ".")
    )


def _integer(node: ir.Node, name: str, default: int) -> int:
    try:
        return int_attribute(node, name, default)
    except TypeError as error:
        raise ModelError(
            f"attribute {name!r} of {_called(node)} must be a whole number."
        ) from error


def _called(node: ir.Node) -> str:
    return f"node {node.name!r} ({node.op_type})"
