"""Errors of several plans of one graph, before one of them is chosen."""

from __future__ import annotations

import math
from collections.abc import Collection

from tidlq.calibration.bias.frames import BiasFrames
from tidlq.calibration.bias.judge import OutputJudge, judge_of
from tidlq.calibration.bias.stages import IntegerStages
from tidlq.calibration.bias.sweeps import BiasSweeps
from tidlq.graph.model import Graph
from tidlq.graph.partition import Partition
from tidlq.spec import QuantPlan

PART_OF_FRAMES = 4
"""One in how many frames biases are calibrated on, to try a plan."""
SWEEPS = 1


class PlanTrials:
    """Tries plans on some of the frames, with a first sweep of bias calibration.

    Each plan has its own biases calibrated: those of another would correct errors that it does not
    make. One sweep takes most of the shift away.

    Args:
        graph: the canonical Graph.
        partition: its stages.
        frames: of the full calibration.
        threads: worker threads; 0 means one per core. The result is the same.
        has_bias_calibration: whether there is a sweep.
        fixed: layers whose biases stay as they are.
    """

    def __init__(
        self,
        graph: Graph,
        partition: Partition,
        frames: BiasFrames,
        threads: int,
        *,
        has_bias_calibration: bool,
        fixed: Collection[str] = (),
    ) -> None:
        self._graph = graph
        self._partition = partition
        self._threads = threads
        self._frames = trial_frames(frames)
        self._has_sweep = has_bias_calibration
        self._fixed = fixed
        self._first: BiasSweeps | None = None
        self._judge: OutputJudge | None = None
        self._every: OutputJudge | None = None

    @property
    def frames(self) -> BiasFrames:
        """Those of a sweep, and those that judge."""
        return self._frames

    def begin(self, plan: QuantPlan) -> None:
        """Sweeps over a plan, from which the others take how far corrections go.

        Without it, the first plan that is tried decides that.

        Args:
            plan: of the graph.

        Raises:
            ModelError: ONNX Runtime fails on the graph.
        """
        if self._has_sweep and self._first is None:
            self._sweep(plan)

    def error(self, plan: QuantPlan) -> float:
        """Squared error of a plan's outputs relative to the float network's.

        Args:
            plan: of the graph.

        Raises:
            ModelError: ONNX Runtime fails on the graph.
        """
        return self._sweep(plan).outcome.error_after if self._has_sweep else self._plain_error(plan)

    def typical_error(self, plan: QuantPlan) -> float:
        """The typical error of a plan's outputs, over all frames; `OutputJudge` says what it is.

        Args:
            plan: of the graph.

        Raises:
            ModelError: ONNX Runtime fails on the graph.
        """
        if self._every is None:
            self._every = judge_of_all(self._graph, self._partition, self._frames, self._threads)
        if self._has_sweep:
            return self._every.typical_error(self._sweep(plan).best_outputs())
        stages = IntegerStages(self._graph, self._partition, plan, self._threads)
        return self._every.typical_error(stages.run(self._frames.inputs, {}))

    def _sweep(self, plan: QuantPlan) -> BiasSweeps:
        sweeps = BiasSweeps(
            self._graph,
            self._partition,
            plan,
            self._frames,
            self._threads,
            fixed=self._fixed,
            same=self._first,
        )
        self._first = self._first or sweeps
        sweeps.advance(SWEEPS)
        return sweeps

    def _plain_error(self, plan: QuantPlan) -> float:
        if self._judge is None:
            frames = self._frames
            self._judge = judge_of(
                self._graph, self._partition, frames, frames.held_out, self._threads
            )
        held = {name: rows[self._frames.fitted :] for name, rows in self._frames.inputs.items()}
        stages = IntegerStages(self._graph, self._partition, plan, self._threads)
        return self._judge.error(stages.run(held, {}))


def judge_of_all(
    graph: Graph, partition: Partition, frames: BiasFrames, threads: int
) -> OutputJudge:
    """Compares outputs on all frames, those that biases are calibrated on included.

    Args:
        graph: the canonical Graph.
        partition: its stages.
        frames: in the order of the outputs that are to be judged.
        threads: worker threads; 0 means one per core.
    """
    return judge_of(graph, partition, frames, range(frames.count), threads)


def trial_frames(frames: BiasFrames) -> BiasFrames:
    """A quarter of the frames to calibrate biases on; the others judge.

    Args:
        frames: of the full calibration.
    """
    quarter = min(math.ceil(frames.count / PART_OF_FRAMES), frames.fitted)
    fitted = [place * frames.fitted // quarter for place in range(quarter)]
    judges = [index for index in range(frames.count) if index not in fitted]
    return frames.selected([*fitted, *judges], len(fitted))
