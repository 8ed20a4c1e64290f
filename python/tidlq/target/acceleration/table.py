"""The table: operators that TI's engine accelerates, each with its limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tidlq.target.acceleration import arithmetic, axes, windows
from tidlq.target.acceleration.operation import Limit, Operation, ShortcomingKind
from tidlq.target.devices import Device

NEWEST_OPSET = 19
"""What TI's import reads, by its page: ONNX 1.14."""

_FOUR, _SIX = axes.most_axes_in_use(4), axes.most_axes_in_use(6)
_POOL = (_FOUR, windows.is_not_dilated, windows.is_small_global_pool)
_BINARY = (arithmetic.has_two_operands, _SIX, arithmetic.broadcasts_vectors)
_RESIZE = (_FOUR, arithmetic.enlarges_planes, arithmetic.has_known_coordinates)
_ARG = (_FOUR, axes.keeps_axes, axes.along(0, -3), axes.takes_first_index)
# fmt: off
_ELEMENTWISE = (
    "Relu", "LeakyRelu", "Elu", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "Mish",
    "Gelu", "Sqrt", "Log", "Exp", "Abs", "Floor", "Neg", "Sin",
    "Cos", "Tan", "Sinh", "Cosh", "Asin", "Asinh", "Acos", "Atan",
)
# fmt: on

ACCELERATED: Mapping[str, tuple[Limit, ...]] = MappingProxyType(
    {
        **dict.fromkeys(_ELEMENTWISE, (_SIX,)),
        **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Max", "Min", "Sum"), _BINARY),
        "Conv": (
            windows.has_constant_weight,
            _FOUR,
            windows.has_one_stride,
            windows.has_fitting_stride,
            windows.is_known_depthwise,
            windows.has_small_pads,
        ),
        "ConvTranspose": (
            windows.has_constant_weight,
            _FOUR,
            windows.is_known_transposed,
            windows.is_not_dilated,
        ),
        "DeformConv": (arithmetic.deforms_3x3,),
        "MaxPool": _POOL,
        "AveragePool": _POOL,
        "GlobalAveragePool": (_FOUR, windows.has_small_plane),
        "PRelu": (_SIX, axes.has_constant(1, "slope")),
        "Gemm": (_FOUR, arithmetic.is_plain_product, arithmetic.has_matrix),
        "MatMul": (_FOUR, arithmetic.has_matrix),
        "Softmax": (_SIX, axes.along(-1, -1, -2)),
        "BatchNormalization": (axes.most_axes_in_use(5), arithmetic.is_inference),
        "InstanceNormalization": (_SIX,),
        "LayerNormalization": (_SIX, axes.along(-1, -1)),
        "Concat": (_SIX, axes.joins_features),
        "Slice": (axes.cuts_images,),
        "Split": (axes.cuts_images,),
        "Flatten": (_SIX,),
        "Reshape": (_SIX, axes.has_constant(1, "shape"), axes.keeps_zero_sizes),
        "Squeeze": (_SIX,),
        "Unsqueeze": (_SIX,),
        "Expand": (_SIX, axes.has_constant(1, "shape")),
        "Transpose": (_SIX, axes.moves_width_late),
        "ArgMax": _ARG,
        "ArgMin": _ARG,
        "Resize": _RESIZE,
        "Upsample": _RESIZE,
        "DepthToSpace": (axes.has_four_axes,),
        "SpaceToDepth": (axes.has_four_axes,),
        "Pad": (_SIX, axes.pads_planes),
        "ReduceMin": (_FOUR, axes.keeps_axes, axes.reduces_height),
        "ReduceMax": (_FOUR, axes.keeps_axes, axes.reduces_height),
        "ReduceMean": (),
        "ReduceSum": (),
        "ScatterND": (_FOUR, axes.scatters_into_zeros),
        "ScatterElements": (_FOUR, axes.scatters_into_zeros),
        "Gather": (axes.gathers_rows,),
        "GridSample": (arithmetic.samples_images,),
        "TopK": (axes.sorts_constant_count, axes.along(-1, -1, -2)),
        "Clip": (_SIX, arithmetic.clamps_around_zero),
        "Pow": (_SIX, arithmetic.has_scalar_exponent),
        "Erf": (arithmetic.belongs_to_gelu,),
        "Identity": (),
        "Dropout": (),
        "Cast": (axes.is_terminal,),
        "QuantizeLinear": (),
        "DequantizeLinear": (),
    }
)
"""ONNX operators of the default domain; those of TFLite as their ONNX forms."""

_VALIDATED: Mapping[str, Limit] = MappingProxyType(
    {"MaxPool": windows.is_validated_pool, "AveragePool": windows.is_validated_pool}
)


@dataclass(frozen=True)
class Shortcoming:
    """Why a device may not accelerate an operation.

    Attributes:
        kind: it does not, or TI does not test it.
        reason: words that follow the operation's name.
    """

    kind: ShortcomingKind
    reason: str


def find_shortcoming(operation: Operation, device: Device) -> Shortcoming | None:
    """Says why a device does not accelerate an operation; None where it does.

    Args:
        operation: with static shapes.
        device: whose limits count.
    """
    limits = ACCELERATED.get(operation.op_type)
    if limits is None:
        return Shortcoming(
            ShortcomingKind.NOT_ACCELERATED, "the operator is not among the accelerated ones"
        )
    for limit in limits:
        reason = limit(operation, device)
        if reason is not None:
            return Shortcoming(ShortcomingKind.NOT_ACCELERATED, reason)
    check = _VALIDATED.get(operation.op_type)
    reason = None if check is None else check(operation, device)
    return None if reason is None else Shortcoming(ShortcomingKind.NOT_VALIDATED, reason)
