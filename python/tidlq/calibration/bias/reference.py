"""What the float network says about the frames of bias calibration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from tidlq.calibration.bias.frames import BiasFrames, FrameSplit
from tidlq.calibration.bias.judge import OutputJudge, judged_outputs
from tidlq.calibration.bias.means import FloatMeans
from tidlq.calibration.bias.targets import means_of_accumulators
from tidlq.calibration.float_features import FloatFeatures
from tidlq.graph.model import Graph
from tidlq.graph.partition import Partition, StageKind

Array = NDArray[np.generic]
Float64 = NDArray[np.float64]
Targets = Mapping[str, tuple[Float64, Float64]]
"""By layer, means of its output channels over the measured and over the held-out frames."""


class FloatReference:
    """Means before the non-linearities, and the outputs of the held-out frames.

    It is filled while the frames are measured, which spares runs of the float network, or by
    `measure_reference`.

    Args:
        graph: the float network.
        partition: its stages.
        split: the frames of bias calibration; None where they are not known yet: the same tensors
            are wanted then, and nothing is done with them.
    """

    def __init__(self, graph: Graph, partition: Partition, split: FrameSplit | None) -> None:
        self._graph = graph
        self._partition = partition
        self.split = split
        self._layers = [
            layer
            for stage in partition.stages
            if stage.kind is StageKind.FIXED
            for layer in stage.layers
            if layer.kind.has_output_channels
        ]
        self._judged = judged_outputs(graph, partition)
        self.restart()

    def restart(self) -> None:
        """Forgets all frames."""
        self._measured = FloatMeans(self._graph, self._layers)
        self._held = FloatMeans(self._graph, self._layers)
        self._outputs: dict[int, dict[str, Array]] = {}

    @property
    def tensors(self) -> tuple[str, ...]:
        """Feature maps that the jobs want."""
        return tuple(dict.fromkeys((*self._measured.tensors, *self._judged)))

    def jobs(self, index: int, shares: int) -> list[Callable[[Mapping[str, Array]], None]]:
        """What to do with the features of a frame, as functions that may run at the same time.

        Args:
            index: of the frame in the data.
            shares: into how many functions to divide the work.
        """
        row = None if self.split is None else self.split.rows.get(index)
        if self.split is None or row is None:
            return []
        is_held = row >= self.split.fitted
        means = self._held if is_held else self._measured
        jobs = [partial(means.add, share=share, shares=shares) for share in range(shares)]
        return [*jobs, partial(self._keep_outputs, row)] if is_held else [*jobs]

    def _keep_outputs(self, row: int, features: Mapping[str, Array]) -> None:
        self._outputs[row] = {name: np.array(features[name]) for name in self._judged}

    @cached_property
    def targets(self) -> Targets:
        """What the means before the non-linearities are to be."""
        found = {
            layer.name: (
                means_of_accumulators(self._graph, layer, self._measured),
                means_of_accumulators(self._graph, layer, self._held),
            )
            for layer in self._layers
        }
        self._graph.rest_weights()
        return found

    @cached_property
    def judge(self) -> OutputJudge:
        """Compares outputs of the held-out frames."""
        reference = [self._outputs[row] for row in sorted(self._outputs)]
        return OutputJudge(self._graph, self._partition, reference)


def measure_reference(
    graph: Graph,
    partition: Partition,
    frames: BiasFrames,
    threads: int = 0,
    tensors: Sequence[str] = (),
) -> FloatReference:
    """Runs the float network over the frames.

    Args:
        graph: the float network.
        partition: its stages.
        frames: measured and held-out frames.
        threads: worker threads; 0 means one per core.
        tensors: to compute besides: what ONNX Runtime fuses, and so the last bit of its sums,
            depends on what it is asked for.

    Raises:
        ModelError: ONNX Runtime fails on the graph.
    """
    rows = {row: row for row in range(frames.count)}
    split = frames.split or FrameSplit(frames.count, rows, frames.fitted)
    reference = FloatReference(graph, partition, split)
    wanted = tuple(dict.fromkeys((*tensors, *reference.tensors)))
    features = FloatFeatures(graph, wanted, threads=threads)
    for index, frame in zip(split.rows, frames, strict=True):
        values = features.run(frame)
        for job in reference.jobs(index, shares=1):
            job(values)
    return reference
