"""Statistics of float features over frames, one frame in memory at a time."""

from __future__ import annotations

import json
import math
import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tidlq._core import ChannelStatistics, TensorStatistics
from tidlq.calibration.checkpoints import Checkpoints, NoCheckpoints, State
from tidlq.calibration.float_features import FloatFeatures
from tidlq.calibration.frames import FrameDigest, iterate_frames, not_finite
from tidlq.errors import DataError, ModelError
from tidlq.graph.model import Graph
from tidlq.importers.frame_source import Frame

_PHASE = "features"

_WITH_POLES = frozenset(
    {
        "Acos",
        "Acosh",
        "Asin",
        "Atanh",
        "Cosh",
        "Div",
        "Exp",
        "Log",
        "Pow",
        "Reciprocal",
        "Sinh",
        "Sqrt",
    }
)


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
        digest: of the frames.
        resumed: frames that an interrupted calibration had measured.
        tensors: all that the float network was asked for.
    """

    features: Mapping[str, FeatureStatistics]
    frames: int
    channels: Mapping[str, ChannelStatistics] = field(default_factory=dict)
    digest: str = ""
    resumed: int = 0
    tensors: tuple[str, ...] = ()


class FrameWatch(Protocol):
    """Sees the features of every frame beside the statistics."""

    @property
    def tensors(self) -> Sequence[str]:
        """Names of the features that it wants."""

    def jobs(
        self, index: int, shares: int
    ) -> Sequence[Callable[[Mapping[str, NDArray[np.generic]]], None]]:
        """What to do with the features of a frame, as functions that may run at the same time."""

    def restart(self) -> None:
        """Forgets all frames."""


def measure_features(
    graph: Graph,
    tensors: Sequence[str],
    frames: Iterable[Mapping[str, NDArray[np.generic]]],
    *,
    channel_axes: Mapping[str, int] | None = None,
    limit: int | None = None,
    threads: int = 0,
    progress: Callable[[int], None] | None = None,
    checkpoints: Checkpoints | None = None,
    watch: FrameWatch | None = None,
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
        checkpoints: keep the state between frames. Frames that are found measured are read and
            compared, and run for the watch alone; the result is the same.
        watch: sees all frames, too.

    Returns:
        Statistics by tensor name, in the order of `tensors`, and the number of frames.

    Raises:
        DataError: There are no frames, a frame does not fit the inputs, or an input or a measured
            feature holds NaN or Inf. An output of a function with poles may.
        ModelError: A name is no feature of the graph, or ONNX Runtime fails on the graph.
    """
    axes = channel_axes or {}
    watched = () if watch is None else watch.tensors
    features = FloatFeatures(
        graph, tuple(dict.fromkeys((*tensors, *axes, *watched))), threads=threads
    )
    gathered = {
        name: _Gathered(
            name,
            TensorStatistics() if name in tensors else None,
            ChannelStatistics(axes[name]) if name in axes else None,
            may_be_undefined=_may_be_undefined(graph, name),
        )
        for name in _in_execution_order(graph, (*tensors, *axes))
    }
    kept = checkpoints or NoCheckpoints()
    workers = min(threads or os.cpu_count() or 1, max(len(gathered), 1))
    with ThreadPoolExecutor(workers) as pool:

        def show(frame: Frame, index: int, jobs: Sequence[_Job] = ()) -> None:
            seen = [] if watch is None else watch.jobs(index, workers)
            if jobs or seen:
                values = features.run(frame)
                for _ in pool.map(lambda job: job(values), (*jobs, *seen)):
                    pass

        begun = _begin(
            gathered,
            lambda: islice(iterate_frames(graph, frames), limit),
            kept,
            progress or _silent,
            show,
        )
        if begun.digest.count == 0 and watch is not None:
            watch.restart()
        gathered, digest, resumed = begun.gathered, begun.digest, begun.digest.count
        shares = _equal_shares(graph, list(gathered.values()), workers)
        for frame in begun.rest:
            show(frame, digest.count, [partial(_add_all, share) for share in shares])
            for feature in gathered.values():
                feature.check(f"frame {digest.count}")
            digest.add(frame)
            kept.save(_PHASE, begun.state)
            if progress is not None:
                progress(digest.count)
    if digest.count == 0:
        raise DataError("the calibration data are empty; at least one frame is needed.")
    return MeasuredFeatures(
        {name: gathered[name].freeze() for name in tensors},
        digest.count,
        {name: item.channels for name, item in gathered.items() if item.channels is not None},
        digest.value,
        resumed,
        features.tensors,
    )


_Job = Callable[[Mapping[str, NDArray[np.generic]]], None]


def _may_be_undefined(graph: Graph, name: str) -> bool:
    """Of a function with poles that nothing reads any more: its integers saturate there."""
    value = graph.values[name]
    node = value.producer()
    return node is not None and node.op_type in _WITH_POLES and not value.uses()


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
    may_be_undefined: bool = False

    def add(self, values: NDArray[np.generic]) -> None:
        if not np.issubdtype(values.dtype, np.floating):
            raise ModelError(f"tensor {self.name!r} is {values.dtype}; a feature must be float.")
        elements = np.ascontiguousarray(values, dtype=np.float32)
        if self.may_be_undefined:
            elements = np.where(np.isfinite(elements), elements, np.float32(0))
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

    @property
    def plan(self) -> list[object]:
        """What is gathered, as JSON says it."""
        axis = None if self.channels is None else self.channels.axis
        return [self.name, self.tensor is not None, axis]

    def state(self) -> Iterator[tuple[str, bytes]]:
        """Blobs by name."""
        if self.tensor is not None:
            yield f"tensor {self.name}", self.tensor.to_bytes()
            yield f"minima {self.name}", self.minima.tobytes()
            yield f"maxima {self.name}", self.maxima.tobytes()
        if self.channels is not None:
            yield f"channels {self.name}", self.channels.to_bytes()

    def restored(self, state: State) -> _Gathered:
        """The same with what a state holds."""
        found = _Gathered(self.name, None, None, may_be_undefined=self.may_be_undefined)
        if self.tensor is not None:
            found.tensor = TensorStatistics.from_bytes(state[f"tensor {self.name}"])
            found.minima.frombytes(state[f"minima {self.name}"])
            found.maxima.frombytes(state[f"maxima {self.name}"])
        if self.channels is not None:
            found.channels = ChannelStatistics.from_bytes(state[f"channels {self.name}"])
        return found


@dataclass(frozen=True)
class _Begun:
    """A pass over frames: what it has gathered, from which frames, and those to come."""

    gathered: dict[str, _Gathered]
    digest: FrameDigest
    rest: Iterator[Frame]

    def state(self) -> State:
        plans = [item.plan for item in self.gathered.values()]
        about = {"frames": self.digest.count, "digest": self.digest.value, "gathered": plans}
        blobs = {"about": json.dumps(about).encode()}
        return blobs | {n: blob for item in self.gathered.values() for n, blob in item.state()}


def _begin(
    fresh: dict[str, _Gathered],
    open_frames: Callable[[], Iterator[Frame]],
    checkpoints: Checkpoints,
    progress: Callable[[int], None],
    show: Callable[[Frame, int], None],
) -> _Begun:
    """After the frames that an interrupted pass has measured, if they are still the same."""
    digest, rest = FrameDigest(), open_frames()
    found = checkpoints.load(_PHASE, lambda state: _read_state(state, fresh))
    if found is None:
        return _Begun(fresh, digest, rest)
    frames, wanted, gathered = found
    for frame in islice(rest, frames):
        show(frame, digest.count)
        digest.add(frame)
        progress(digest.count)
    if (digest.count, digest.value) == (frames, wanted):
        return _Begun(gathered, digest, rest)
    checkpoints.drop("is of other calibration data")
    return _Begun(fresh, FrameDigest(), open_frames())


def _read_state(
    state: State, fresh: Mapping[str, _Gathered]
) -> tuple[int, str, dict[str, _Gathered]]:
    about = json.loads(state["about"])
    if about["gathered"] != [item.plan for item in fresh.values()]:
        raise ValueError("other features")
    gathered = {name: item.restored(state) for name, item in fresh.items()}
    return int(about["frames"]), str(about["digest"]), gathered


def _silent(_done: int) -> None:
    """Progress that nobody asked for."""
