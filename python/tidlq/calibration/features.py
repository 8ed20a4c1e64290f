"""Statistics of float features over frames, one frame in memory at a time."""

from __future__ import annotations

import math
import os
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice, repeat

import numpy as np
from numpy.typing import NDArray

from tidlq._core import ChannelStatistics, TensorStatistics
from tidlq.calibration.float_features import FloatFeatures
from tidlq.calibration.frames import iterate_frames, not_finite
from tidlq.errors import DataError, ModelError
from tidlq.graph.model import Graph


@dataclass(frozen=True, eq=False)
class FeatureStatistics:
    """What calibration saw of one feature.

    Attributes:
        tensor: statistics over all values of all frames.
        frame_minima: float32 [frames]. Smallest value of each frame that had any, in order.
        frame_maxima: float32 [frames]. Largest value of each such frame.
    """

    tensor: TensorStatistics
    frame_minima: NDArray[np.float32]
    frame_maxima: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class MeasuredFeatures:
    """What calibration saw.

    Attributes:
        features: statistics by tensor name.
        frames: number of frames.
        channels: statistics of channels, by tensor name, of the tensors for which they were asked.
    """

    features: Mapping[str, FeatureStatistics]
    frames: int
    channels: Mapping[str, ChannelStatistics] = field(default_factory=dict)


def measure_features(
    graph: Graph,
    tensors: Sequence[str],
    frames: Iterable[Mapping[str, NDArray[np.generic]]],
    *,
    channel_axes: Mapping[str, int] | None = None,
    limit: int | None = None,
    threads: int = 0,
    progress: Callable[[int], None] | None = None,
) -> MeasuredFeatures:
    """Runs the float network over frames and gathers statistics of its features.

    One frame and its features are in memory at any time. The number of threads has no influence on
    the result, and the order of the frames only on that of `frame_minima` and `frame_maxima`.

    Args:
        graph: the float network.
        tensors: names of inputs, inner tensors or outputs with float values.
        frames: arrays by input name; with a free batch, an array may hold several frames.
        channel_axes: by tensor, the axis along which its channels are to be told apart.
        limit: frames to take at most; None takes all.
        threads: worker threads; 0 means one per core.
        progress: called after each frame with the number of frames done.

    Returns:
        Statistics by tensor name, in the order of `tensors`, and the number of frames.

    Raises:
        DataError: There are no frames, a frame does not fit the inputs, or an input or a measured
            feature holds NaN or Inf.
        ModelError: A name is no feature of the graph, or ONNX Runtime fails on the graph.
    """
    axes = channel_axes or {}
    features = FloatFeatures(graph, tuple(dict.fromkeys((*tensors, *axes))), threads=threads)
    gathered = {
        name: _Gathered(
            name,
            TensorStatistics() if name in tensors else None,
            ChannelStatistics(axes[name]) if name in axes else None,
        )
        for name in _in_execution_order(graph, features.tensors)
    }
    workers = threads or os.cpu_count() or 1
    shares = _equal_shares(graph, list(gathered.values()), workers)
    done = 0
    with ThreadPoolExecutor(workers) as pool:
        for frame in islice(iterate_frames(graph, frames), limit):
            # Not bound to a name, which would keep them until the next frame's are computed.
            for _ in pool.map(_add_all, shares, repeat(features.run(frame))):
                pass
            for feature in gathered.values():
                feature.check(f"frame {done}")
            done += 1
            if progress is not None:
                progress(done)
    if done == 0:
        raise DataError("the calibration data are empty; at least one frame is needed.")
    return MeasuredFeatures(
        {name: gathered[name].freeze() for name in tensors},
        done,
        {name: item.channels for name, item in gathered.items() if item.channels is not None},
    )


def _in_execution_order(graph: Graph, tensors: Iterable[str]) -> list[str]:
    """So that of several features with a NaN the first one, where it arose, is reported."""
    wanted = set(tensors)
    return [name for name in graph.values if name in wanted]


def _equal_shares(graph: Graph, gathered: list[_Gathered], workers: int) -> list[list[_Gathered]]:
    """Shares of about equally many elements: a task per tensor would cost more than small ones."""
    largest_first = sorted(gathered, key=lambda g: -math.prod(graph.shape(g.name) or ()))
    return [largest_first[worker::workers] for worker in range(workers)]


def _add_all(share: Iterable[_Gathered], values: Mapping[str, NDArray[np.generic]]) -> None:
    for feature in share:
        feature.add(values[feature.name])


@dataclass
class _Gathered:
    name: str
    tensor: TensorStatistics | None
    channels: ChannelStatistics | None
    minima: array[float] = field(default_factory=lambda: array("f"))
    maxima: array[float] = field(default_factory=lambda: array("f"))

    def add(self, values: NDArray[np.generic]) -> None:
        if not np.issubdtype(values.dtype, np.floating):
            raise ModelError(f"tensor {self.name!r} is {values.dtype}; a feature must be float.")
        elements = np.ascontiguousarray(values, dtype=np.float32)
        if self.channels is not None:
            self.channels.update(elements)
        if self.tensor is None:
            return
        least, greatest = self.tensor.update(elements)
        if values.size:
            self.minima.append(least)
            self.maxima.append(greatest)

    def check(self, where: str) -> None:
        tensor = self.tensor
        if tensor is None:
            return
        if tensor.nan_count or tensor.inf_count:
            raise not_finite(self.name, where, tensor.nan_count, tensor.inf_count)

    def freeze(self) -> FeatureStatistics:
        if self.tensor is None or not self.tensor.count:
            raise ModelError(f"tensor {self.name!r} has no elements; it has no range.")
        return FeatureStatistics(
            self.tensor,
            np.array(self.minima, dtype=np.float32),
            np.array(self.maxima, dtype=np.float32),
        )
