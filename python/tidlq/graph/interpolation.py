"""What layers interpolate: places between positions, known beforehand or computed."""

from __future__ import annotations

import enum
from dataclasses import dataclass


@dataclass(frozen=True)
class ResizeAxis:
    """Interpolation along one logical axis: output i mixes `low[i]` and `high[i]`.

    `fraction[i]` in [0, 1) is the share of `high[i]`; zero everywhere for nearest.
    """

    axis: int
    low: tuple[int, ...]
    high: tuple[int, ...]
    fraction: tuple[float, ...]


@dataclass(frozen=True)
class ResizeAttributes:
    """Separable interpolation along each listed axis.

    Attributes:
        axes: where each output position lies.
        is_linear: between two input positions; otherwise the nearest one is taken.
        coordinates: ONNX's name of how positions correspond.
    """

    axes: tuple[ResizeAxis, ...]
    is_linear: bool = False
    coordinates: str = ""


class SamplePadding(enum.Enum):
    """What GridSample finds beyond the edges: ONNX's names."""

    ZEROS = "zeros"
    BORDER = "border"
    REFLECTION = "reflection"


@dataclass(frozen=True)
class GridSampleAttributes:
    """Values of the first input at the places that the second names, -1 .. 1 along each axis.

    Attributes:
        is_linear: between four positions; otherwise the nearest one is taken.
        padding: what lies beyond the edges.
        aligns_corners: -1 and 1 are the outermost positions, not their outer edges.
    """

    is_linear: bool
    padding: SamplePadding
    aligns_corners: bool
