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


@dataclass(frozen=True)
class AxisWindows:
    """Interpolation along one logical axis: output i mixes `positions[i]` in `shares[i]`.

    Every window has as many positions. The shares of each add up to 1, some may be negative; or all
    are 0.
    """

    axis: int
    positions: tuple[tuple[int, ...], ...]
    shares: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class WindowedResizeAttributes:
    """Separable interpolation between more than two positions along each listed axis."""

    axes: tuple[AxisWindows, ...]


class SamplePadding(enum.Enum):
    """What GridSample finds beyond the edges: ONNX's names."""

    ZEROS = "zeros"
    BORDER = "border"
    REFLECTION = "reflection"


class SampleMode(enum.Enum):
    """Between which positions GridSample interpolates: ONNX's names since operator set 20."""

    NEAREST = "nearest"
    LINEAR = "linear"
    CUBIC = "cubic"


@dataclass(frozen=True)
class GridSampleAttributes:
    """Values of the first input at the places that the second names, -1 .. 1 along each axis.

    Attributes:
        mode: the nearest position, or 2 or 4 along each axis.
        padding: what lies beyond the edges.
        aligns_corners: -1 and 1 are the outermost positions, not their outer edges.
    """

    mode: SampleMode
    padding: SamplePadding
    aligns_corners: bool
