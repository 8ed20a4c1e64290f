"""Quantization schemes that TIDL's scale types stand for."""

from __future__ import annotations

from tidlq.errors import OptionError
from tidlq.spec import Requantization, ScaleRule, Scheme
from tidlq.target.option_values import RequantizationChoice
from tidlq.target.options import Options

_FREE_BIAS_BITS = 32
# Devices add 32-bit biases; without one the only limit is the engine's.
_DEVICE_WIDE_BIAS_BITS = 32
_FREE_WIDE_BIAS_BITS = 48


def scheme_of(options: Options) -> Scheme:
    """Returns the scheme that the options ask for.

    Types 0 and 1 are symmetric: features take the accumulator's scale shifted by whole bits;
    parameters, and features without an accumulator, take real scales (0) or powers of two (1).
    Their largest weight maps to 2^(bits-1), as TIDL's published sample has it.
    Type 4 has real scales everywhere, zero points on features and one weight scale per channel.

    Args:
        options: the compilation's options; `tensor_bits` plays no part.

    Raises:
        OptionError: The scale type has no scheme of its own (3: scales come with the model).
    """
    scale_type = options.quantization_scale_type
    bias_bits = options.device.facts.bias_bits if options.device else _FREE_BIAS_BITS
    wide_bias_bits = _DEVICE_WIDE_BIAS_BITS if options.device else _FREE_WIDE_BIAS_BITS
    if scale_type == 4:
        is_float = options.requantization is RequantizationChoice.FLOAT
        return Scheme(
            name="type 4: asymmetric, per-channel",
            asymmetric_features=True,
            channel_wise=True,
            feature_rule=ScaleRule.REAL,
            free_rule=ScaleRule.REAL,
            weight_rule=ScaleRule.REAL,
            requantization=Requantization.FLOAT if is_float else Requantization.FIXED,
            full_weight_code=False,
            bias_bits=bias_bits,
            wide_bias_bits=wide_bias_bits,
            bias_clipping=options.bias_clipping,
        )
    if scale_type not in (0, 1):
        raise OptionError(
            f"option 'advanced_options:quantization_scale_type' is {scale_type}, "
            "this version supports 0, 1 and 4."
        )
    rule = ScaleRule.REAL if scale_type == 0 else ScaleRule.POWER_OF_TWO
    kind = "symmetric" if scale_type == 0 else "symmetric, power-of-2"
    return Scheme(
        name=f"type {scale_type}: {kind}"
        + (", per-channel" if options.channel_wise_quantization else ""),
        asymmetric_features=False,
        channel_wise=options.channel_wise_quantization,
        feature_rule=ScaleRule.SHIFTED_ACCUMULATOR,
        free_rule=rule,
        weight_rule=rule,
        requantization=Requantization.SHIFT,
        full_weight_code=True,
        bias_bits=bias_bits,
        wide_bias_bits=wide_bias_bits,
        bias_clipping=options.bias_clipping,
    )
