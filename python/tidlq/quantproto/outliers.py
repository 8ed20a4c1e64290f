"""Tensors whose range is out of line with the others of a network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from tidlq.quantproto.model import SavedRanges

LEAST_TENSORS = 8
"""So many tensors of a role tell what is usual."""
LEAST_OCTAVES = 3.0
"""A factor of 8 to the usual size is no outlier in any network."""
SPREAD_FACTOR = 3.0
_NORMAL = 1.4826  # Median absolute deviation to standard deviation, for a normal distribution.


@dataclass(frozen=True)
class Outlier:
    """A range that is far wider or narrower than is usual.

    Attributes:
        octaves: log2 of its size over the usual one; negative where it is narrower.
    """

    octaves: float


def find_outliers(saved: SavedRanges) -> Mapping[tuple[str, str, int], Outlier]:
    """Returns outliers by (layer, role, position).

    With  e = log2 max(|min|, |max|),  a tensor is an outlier where e is further from the median of
    its role's tensors than  max(3 octaves, 3 * 1.4826 * median absolute deviation).  Roles with
    fewer than `LEAST_TENSORS` ranges have none, and neither have ranges [0, 0].
    """
    sizes: dict[str, dict[tuple[str, str, int], float]] = {}
    for layer in saved.layers:
        for role, tensors in layer.roles.items():
            for position, tensor in enumerate(tensors):
                if tensor.range is not None and tensor.range.absolute_max > 0:
                    size = math.log2(tensor.range.absolute_max)
                    sizes.setdefault(role, {})[layer.name, role, position] = size
    found: dict[tuple[str, str, int], Outlier] = {}
    for by_place in sizes.values():
        if len(by_place) < LEAST_TENSORS:
            continue
        usual = median(by_place.values())
        spread = _NORMAL * median(abs(size - usual) for size in by_place.values())
        limit = max(LEAST_OCTAVES, SPREAD_FACTOR * spread)
        found |= {
            place: Outlier(size - usual)
            for place, size in by_place.items()
            if abs(size - usual) > limit
        }
    return found
