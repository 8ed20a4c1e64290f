"""Random windows: kernel, stride, dilation and padding along one axis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from numpy.typing import NDArray


@dataclass(frozen=True)
class Axis:
    """Window geometry along one axis."""

    kernel: int = 1
    stride: int = 1
    dilation: int = 1
    before: int = 0
    after: int = 0
    outputs: int = 1

    def count_within(self, size: int, before: int, after: int) -> NDArray[np.int64]:
        """Positions per output inside an input of `size` that is extended on both sides."""
        first = np.arange(self.outputs) * self.stride - self.before
        position = first[:, None] + np.arange(self.kernel)[None] * self.dilation
        return ((position >= -before) & (position < size + after)).sum(axis=1)


# Of rank-3 features, which have no height.
NO_AXIS = Axis()


def convolution_axes(draw: DrawFn, size: int) -> Axis:
    """Any window; positions outside the input are fine, at any distance below and right."""
    kernel, stride, dilation = (draw(st.integers(1, top)) for top in (5, 3, 3))
    reach = (kernel - 1) * dilation + 1
    before, after = (draw(st.integers(0, reach)) for _ in range(2))
    most = max(1, (size + before + after - reach) // stride + 1)
    outputs = most if draw(st.booleans()) else draw(st.integers(1, most))
    return Axis(kernel, stride, dilation, before, after, outputs)


def transposed_axes(draw: DrawFn, size: int) -> Axis:
    """A convolution's window used the other way; the output may end early or late."""
    kernel, stride, dilation = (draw(st.integers(1, top)) for top in (4, 3, 2))
    reach = (kernel - 1) * dilation
    before = draw(st.integers(0, reach))
    whole = (size - 1) * stride + reach + 1 - before
    outputs = max(1, whole - draw(st.integers(0, reach))) + draw(st.integers(0, stride - 1))
    return Axis(kernel, stride, dilation, before, 0, outputs)


def pool_axes(draw: DrawFn, size: int) -> Axis:
    """A window that always holds a position of the input, rounded down or up at the end."""
    kernel, stride, dilation = (draw(st.integers(1, top)) for top in (5, 4, 2))
    reach = (kernel - 1) * dilation + 1
    if reach > size:
        kernel, dilation = min(kernel, size), 1
        reach = kernel
    before, after = (draw(st.integers(0, reach // 2)) for _ in range(2))
    extra = stride - 1 if draw(st.booleans()) else 0
    outputs = (size + before + after - reach + extra) // stride + 1
    axis = Axis(kernel, stride, dilation, before, after, outputs)
    empty = np.flatnonzero(axis.count_within(size, 0, 0) == 0)
    if len(empty) and empty[0] == 0:
        return Axis(kernel, stride, 1, 0, 0, 1)
    return axis if not len(empty) else Axis(kernel, stride, dilation, before, after, int(empty[0]))


def split_axes(axes: tuple[Axis, Axis]) -> dict[str, list[int]]:
    """kernel, stride and dilation as the messages list them: height, width."""
    return {
        "kernel": [axis.kernel for axis in axes],
        "stride": [axis.stride for axis in axes],
        "dilation": [axis.dilation for axis in axes],
    }
