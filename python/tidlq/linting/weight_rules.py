"""What weights tell about how a network was trained.

Peak to rest of an output channel is its largest |w| over the root mean square of its other weights:
3 to 5 for normally distributed weights, below 20 in all but a few channels of published networks
that were trained with weight decay. Folding a batch-norm into the channel does not change it. With
8 bits and the range from the largest weight, the SQNR of the other weights is
52.9 dB - 20 log10(peak / rest), which is 25 dB at 24.

Channels of fewer than 64 weights, of depthwise convolutions above all, are left out: there one
large tap is a form of filter. So are channels whose other weights carry less than a thousandth of
the energy: they copy one input, and lose nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tidlq.graph.layers import Layer, LayerKind
from tidlq.graph.model import Graph
from tidlq.graph.parameters import layer_parameters
from tidlq.linting.findings import Finding, Rule, Severity
from tidlq.target import Options

LARGEST_PEAK = 24.0
"""Peak to rest of a channel that a network trained with weight decay does not reach."""
LEAST_BITS = 4
"""Bits that most channels should have of their tensor's 8, the sign among them."""
LARGEST_SHARE = 0.25
"""Part of the channels that may have fewer."""
_DEAD = 1e-6
_FEWEST_WEIGHTS = 64
_LEAST_ENERGY = 1e-3
LEAST_OUTLIERS = 0.02
"""Part of the channels, at least two of them, that have to be outliers for a finding."""

_CHECKED = frozenset(
    {
        LayerKind.CONVOLUTION,
        LayerKind.TRANSPOSED_CONVOLUTION,
        LayerKind.DEFORMABLE_CONVOLUTION,
        LayerKind.INNER_PRODUCT,
    }
)


def find_weight_faults(
    graph: Graph, layers: tuple[Layer, ...], options: Options
) -> Iterator[Finding]:
    """Outliers within channels, and channels that a scale per tensor leaves few bits."""
    spread: list[str] = []
    is_channel_wise = options.quantization_scale_type == 4 or options.channel_wise_quantization
    for layer in layers:
        if layer.kind not in _CHECKED:
            continue
        weight = np.abs(layer_parameters(graph, layer).weight)
        weight = weight.reshape(len(weight), -1)
        peaks = weight.max(axis=1).astype(np.float64)
        live = peaks > _DEAD * peaks.max()
        if not live.any():
            continue
        weight, peaks = weight[live], peaks[live]
        ratio = _peak_to_rest(weight, peaks)
        count = int((ratio > LARGEST_PEAK).sum())
        if count >= max(2, LEAST_OUTLIERS * len(ratio)):
            yield _outliers(layer, count, len(ratio), float(ratio.max()))
        if is_channel_wise or options.tensor_bits != 8:
            continue
        few = int((peaks * 2 ** (8 - LEAST_BITS) < peaks.max()).sum())
        if few > LARGEST_SHARE * len(peaks):
            spread.append(layer.name)
    if spread:
        yield _spread(spread)


def _peak_to_rest(weight: NDArray[np.floating], peaks: NDArray[np.float64]) -> NDArray[np.float64]:
    """One number per channel; 0 where it says nothing.

    Args:
        weight: magnitudes [C, weights].
        peaks: the largest of each channel.
    """
    count = weight.shape[1]
    if count < _FEWEST_WEIGHTS:
        return np.zeros(len(peaks))
    energy = np.sum(np.square(weight, dtype=np.float64), axis=1)
    others = np.maximum(energy - np.square(peaks), 0.0)
    matters = others > _LEAST_ENERGY * energy
    rest = np.sqrt(others / (count - 1))
    ratio: NDArray[np.float64] = np.divide(peaks, rest, out=np.zeros_like(peaks), where=matters)
    return ratio


def _outliers(layer: Layer, count: int, channels: int, largest: float) -> Finding:
    return Finding(
        Rule.WEIGHT_OUTLIERS,
        Severity.WARNING,
        (layer.name,),
        f"in {count} of {channels} channels the largest weight is more than {LARGEST_PEAK:.0f} "
        f"times the rms of the others (up to {largest:.0f} times): train with weight decay, about "
        "1e-4, on all layers.",
    )


def _spread(names: list[str]) -> Finding:
    return Finding(
        Rule.CHANNEL_SPREAD,
        Severity.HINT,
        tuple(names),
        f"one weight scale per tensor leaves more than {LARGEST_SHARE:.0%} of the channels fewer "
        f"than {LEAST_BITS} bits; scales per channel do not (where the device has them), and "
        "calibration rescales channels where that helps.",
        "quantization_scale_type=4",
    )
