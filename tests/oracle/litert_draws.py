"""What draws of TFLite operators share: seeds, activations, types."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from litert_cases import LitertCase, quant
from tidlq.spec import FeatureQuant

# ActivationFunctionType: NONE, RELU, RELU_N1_TO_1, RELU6.
ACTIVATIONS = (0, 1, 2, 3)

DTYPES = (np.int8, np.uint8, np.int16)


def generator(draw: DrawFn) -> np.random.Generator:
    """A numpy generator that hypothesis controls through its seed."""
    return np.random.default_rng(draw(st.integers(0, 2**32 - 1)))


def activated(case: LitertCase, name: str, activation: int) -> str:
    """The Graph's node for a fused activation."""
    if activation == 1:
        return case.net.node("Relu", name)
    bounds = {2: (-1.0, 1.0), 3: (0.0, 6.0)}.get(activation)
    return name if bounds is None else case.net.clip(name, *bounds)


def drawn_quant(
    draw: DrawFn, dtype: type[np.generic], low: float = -7, high: float = 1
) -> FeatureQuant:
    """A quantization with a scale of 2^low .. 2^high (2^8 finer for 16 bits), any zero point.

    Ratios of small numbers make sums and products that are halves, or just beside them.
    """
    exponent = draw(st.floats(low, high))
    style = draw(st.sampled_from(["any", "power", "ratio", "ratio"]))
    scale = 2.0**exponent if style == "any" else 2.0 ** round(exponent)
    if style == "ratio":
        scale *= draw(st.sampled_from([3, 5, 7, 9, 11])) / draw(st.sampled_from([3, 5, 6, 7, 9]))
    if dtype is np.int16:
        return quant(dtype, scale / 256)
    limits = np.iinfo(dtype)
    return quant(dtype, scale, draw(st.integers(int(limits.min), int(limits.max))))
