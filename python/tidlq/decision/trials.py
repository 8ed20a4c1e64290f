"""Errors of plans that differ in precision alone: what the choice of 16-bit layers goes by."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tidlq.analysis import Variant, measure_sensitivity
from tidlq.calibration import BiasFrames, FloatFeatures, PlanTrials, float_accumulator_means
from tidlq.graph.layers import Layer
from tidlq.graph.model import Graph
from tidlq.graph.partition import Partition
from tidlq.precision.variants import VariantPlans
from tidlq.spec import Precision

RANKED_FRAMES = 16
"""Frames at most that the noise of single groups is measured on."""

Frame = Mapping[str, NDArray[np.generic]]


class PrecisionTrials:
    """Tries precisions of one network on frames that are held out.

    Args:
        graph: the canonical Graph.
        partition: its stages.
        plans: makes the plan of a precision.
        frames: of bias calibration.
        threads: worker threads; 0 means one per core. The result is the same.
        has_bias_calibration: whether each plan has its biases calibrated.
        fixed: layers whose biases stay as they are.
    """

    def __init__(
        self,
        graph: Graph,
        partition: Partition,
        plans: VariantPlans,
        frames: BiasFrames,
        threads: int,
        *,
        has_bias_calibration: bool,
        fixed: Collection[str] = (),
    ) -> None:
        self._graph = graph
        self._partition = partition
        self._plans = plans
        self._threads = threads
        self._fixed = fixed
        self._has_means = has_bias_calibration
        self._trials = PlanTrials(
            graph,
            partition,
            frames,
            threads,
            has_bias_calibration=has_bias_calibration,
            fixed=fixed,
        )

    def error(self, precision: Precision) -> float:
        """Squared error of a precision's outputs relative to the float network's.

        Raises:
            ModelError: ONNX Runtime fails on the graph.
        """
        return self._trials.error(self._plans.plan(precision))

    def typical_error(self, precision: Precision) -> float:
        """The typical error of a precision's outputs, over all frames.

        Raises:
            ModelError: ONNX Runtime fails on the graph.
        """
        return self._trials.typical_error(self._plans.plan(precision))

    def errors_near(
        self,
        base: Precision,
        precisions: Sequence[Precision],
        tell: Callable[[int], None] | None = None,
    ) -> tuple[float, list[float]]:
        """The error of a precision, and those of others that differ from it in few layers.

        Only these layers and what follows them run, on at most `RANKED_FRAMES` frames. Without bias
        calibration the errors are those of `error` over the same frames, bit for bit. With it,
        layers that differ get the biases that keep the float network's means.

        Args:
            base: what the others are near to.
            precisions: the others.
            tell: told the number of precisions that were measured.

        Raises:
            ModelError: ONNX Runtime fails on the graph.
        """
        held = self._trials.frames
        found = measure_sensitivity(
            self._graph,
            self._partition,
            self._plans.plan,
            [Variant("", "", precision) for precision in precisions],
            [held.frame(index) for index in held.held_out],
            lambda graph, names: FloatFeatures(graph, names, threads=self._threads),
            base=base,
            limit=RANKED_FRAMES,
            threads=self._threads,
            float_means=self._means if self._has_means else None,
            progress=None if tell is None else lambda done, _: tell(done),
        )
        return found.base.relative_error, [x.relative_error for x in found.variants]

    def _means(
        self, graph: Graph, layers: Sequence[Layer], frames: Sequence[Frame]
    ) -> Mapping[str, NDArray[np.float64]]:
        moving = [layer for layer in layers if layer.name not in self._fixed]
        return float_accumulator_means(graph, moving, frames, self._threads)
