"""Cross-layer equalization: channels rescaled between layers, so that one weight scale serves all.

With a factor s > 0 per channel of a feature map x, x / s takes its place: what writes it divides
weights and bias by s, what reads it multiplies weights by s, and the network computes the same.
Which feature maps allow it is a fact of the graph (`groups`); the factors are chosen from weights
and channel statistics (`search`, by the noise model in `noise`) and carried out in `rewrite`.

After Nagel et al., "Data-Free Quantization through Weight Equalization and Bias Correction", 2019;
the choice of the factors and the treatment of clipped channels are our own (docs/numerics.md).
"""

from tidlq.equalization.groups import ChannelGroup, find_channel_groups, is_read_by_channel
from tidlq.equalization.rewrite import equalize
from tidlq.equalization.search import ChannelSpread, EqualizationGain, find_equalization

__all__ = [
    "ChannelGroup",
    "ChannelSpread",
    "EqualizationGain",
    "equalize",
    "find_channel_groups",
    "find_equalization",
    "is_read_by_channel",
]
