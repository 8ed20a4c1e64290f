"""Sweeps over the integer network that correct its biases."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tidlq._core import ErrorStatistics, FrameStepper
from tidlq.calibration.bias.frames import BiasFrames
from tidlq.calibration.bias.means import (
    FloatMeans,
    accumulator_means,
    group_count,
    in_taps,
    integer_means,
)
from tidlq.calibration.bias.stages import IntegerStages, WeightedLayer
from tidlq.calibration.float_features import FloatFeatures
from tidlq.graph.model import Graph
from tidlq.graph.parameters import layer_parameters
from tidlq.graph.partition import Partition
from tidlq.spec import QuantPlan, bias_integers

Float64 = NDArray[np.float64]

HALF_STEP = 0.5
PATIENCE = 2
LEAST_GAIN = 0.02


@dataclass(frozen=True)
class LayerCorrection:
    """What bias calibration did to a layer.

    Attributes:
        layer: its name.
        steps: largest change of a bias, in steps of the layer's output.
        damping: part of the measured error that was corrected, 0 .. 1; 0: rolled back, because the
            correction did not help the frames held out.
        error_before, error_after: mean square over channels of the mean error of the layer's
            outputs, before its non-linearity, on the frames held out.
    """

    layer: str
    steps: float
    damping: float
    error_before: float
    error_after: float


@dataclass(frozen=True)
class BiasCalibration:
    """The outcome.

    Attributes:
        biases: real values by layer; empty where the uncalibrated ones did no worse.
        layers: what was done, in execution order.
        sweeps: rounds over the network.
        error_before, error_after: squared error of the network's outputs relative to the float
            network's, on the frames held out.
    """

    biases: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    layers: tuple[LayerCorrection, ...] = ()
    sweeps: int = 0
    error_before: float = 0.0
    error_after: float = 0.0


def calibrate_biases(
    graph: Graph,
    partition: Partition,
    plan: QuantPlan,
    frames: BiasFrames,
    *,
    iterations: int,
    threads: int = 0,
    progress: Callable[[int], None] | None = None,
) -> BiasCalibration:
    """Corrects the bias of every layer with a weight.

    With e and h the mean errors of a layer's channels on the measured and on the held-out frames,
    its bias moves by  d e,  d = <e, h> / <e, e> limited to 0 .. 1: the damping that leaves the
    least error on frames that the correction has not seen, and 0 where it does not help them.
    Sweeps repeat until no bias moves by half a step of its layer's output, or until `PATIENCE`
    sweeps in a row have not lowered the outputs' error by a `LEAST_GAIN` part. The sweep whose outputs come closest to the float
    network's on the held-out frames is kept, the uncalibrated network being one of them.

    Args:
        graph: the float network.
        partition: its stages.
        plan: the decisions; they stay as they are.
        frames: measured and held-out frames.
        iterations: sweeps at most.
        threads: worker threads; 0 means one per core. The result is the same.
        progress: called after each sweep with the number of sweeps done.

    Raises:
        ModelError: ONNX Runtime fails on the graph.
    """
    stages = IntegerStages(graph, partition, plan, threads)
    sweeps = _Sweeps(graph, stages, plan, frames, threads)
    judge = _Judge(graph, partition, frames, threads)
    outputs = stages.run(frames.inputs, {})
    best_error = before = judge.error(outputs)
    best: dict[str, Float64] = {}
    best_layers: tuple[LayerCorrection, ...] = ()
    done = idle = 0
    while done < iterations and idle < PATIENCE:
        outputs, largest_move = sweeps.run()
        error = judge.error(outputs)
        idle = idle + 1 if error > best_error * (1 - LEAST_GAIN) else 0
        if error < best_error:
            best_error, best, best_layers = error, dict(sweeps.biases), sweeps.corrections()
        done += 1
        if progress is not None:
            progress(done)
        if largest_move < HALF_STEP:
            break
    values = {name: tuple(bias.tolist()) for name, bias in best.items()}
    return BiasCalibration(values, best_layers, done, before, best_error)


def measure_output_error(
    graph: Graph, partition: Partition, plan: QuantPlan, frames: BiasFrames, threads: int = 0
) -> float:
    """Squared error of a plan's outputs relative to the float network's, on the held-out frames."""
    outputs = IntegerStages(graph, partition, plan, threads).run(frames.inputs, {})
    return _Judge(graph, partition, frames, threads).error(outputs)


class _Judge:
    """Compares the network's outputs on the held-out frames with the float network's."""

    def __init__(
        self, graph: Graph, partition: Partition, frames: BiasFrames, threads: int
    ) -> None:
        written = {name for stage in partition.stages for name in stage.outputs}
        self._names = [s.name for s in graph.outputs if s.name in written]
        self._frames = frames
        features = FloatFeatures(graph, self._names, threads=threads)
        self._reference = [features.run(frames.frame(index)) for index in frames.held_out]

    def error(self, outputs: Mapping[str, NDArray[np.generic]]) -> float:
        """Sum over outputs of  sum of error^2 / sum of reference^2."""
        total = 0.0
        for name in self._names:
            statistics = ErrorStatistics()
            power = 0.0
            for index, reference in zip(self._frames.held_out, self._reference, strict=True):
                wanted = np.ascontiguousarray(reference[name], np.float32)
                found = np.ascontiguousarray(outputs[name][index], np.float32)
                statistics.update(wanted, found.reshape(wanted.shape))
                power += float(np.sum(wanted.astype(np.float64) ** 2))
            squares = statistics.mean_squared_error * statistics.count
            total += squares / power if power > 0 else squares
        return total


class _Sweeps:
    """The state that sweeps change: the biases."""

    def __init__(
        self,
        graph: Graph,
        stages: IntegerStages,
        plan: QuantPlan,
        frames: BiasFrames,
        threads: int,
    ) -> None:
        self._stages = stages
        self._frames = frames
        self._targets = _float_targets(graph, stages, frames, threads)
        self._own = {
            x.layer.name: np.asarray(plan.layers[x.layer.name].bias or np.zeros(len(x.weight)))
            for x in stages.weighted
        }
        self.biases = dict(self._own)
        self._last: dict[str, LayerCorrection] = {}
        self._first_errors: dict[str, float] = {}
        self._largest_move = 0.0

    def run(self) -> tuple[dict[str, NDArray[np.generic]], float]:
        """One sweep; returns the outputs and the largest move of a bias, in steps of an output."""
        self._largest_move = 0.0
        integers = {
            x.layer.name: self._integers(x, self.biases[x.layer.name])
            for x in self._stages.weighted
        }
        return self._stages.run(self._frames.inputs, integers, self._visit), self._largest_move

    def corrections(self) -> tuple[LayerCorrection, ...]:
        """What the sweeps so far have done."""
        return tuple(self._last[x.layer.name] for x in self._stages.weighted)

    @staticmethod
    def _integers(weighted: WeightedLayer, bias: Float64) -> NDArray[np.int64]:
        return bias_integers(bias, weighted.quant, weighted.input_scale, weighted.bits)

    def _visit(self, weighted: WeightedLayer, stepper: FrameStepper) -> None:
        name, bias = weighted.layer.name, self.biases[weighted.layer.name]
        integers = self._integers(weighted, bias)
        wanted, wanted_held = self._targets[name]
        error = wanted - _real_means(weighted, stepper, integers, self._frames.measured)
        held = wanted_held - _real_means(weighted, stepper, integers, self._frames.held_out)
        power = float(np.dot(error, error))
        damping = min(max(float(np.dot(error, held)) / power, 0.0), 1.0) if power > 0 else 0.0
        moved = np.clip(bias + damping * error, -weighted.limits, weighted.limits)
        change = moved - bias
        self.biases[name] = moved
        stepper.set_bias(weighted.index, self._integers(weighted, moved).tolist())
        self._largest_move = max(
            self._largest_move, float(np.abs(change).max()) / weighted.output_step
        )
        first = self._first_errors.setdefault(name, float(np.mean(held**2)))
        total = float(np.abs(moved - self._own[name]).max()) / weighted.output_step
        after = float(np.mean((held - change) ** 2))
        previous = self._last.get(name)
        strongest = max(damping, previous.damping) if previous else damping
        self._last[name] = LayerCorrection(name, total, strongest, first, after)


def _real_means(
    weighted: WeightedLayer, stepper: FrameStepper, bias: NDArray[np.int64], frames: range
) -> Float64:
    """Mean of each output channel before the non-linearity, real units."""
    means = integer_means(stepper, weighted.index, frames)
    groups = group_count(weighted.layer, weighted.weight)
    sums = accumulator_means(in_taps(weighted.layer, weighted.weight), groups, means)
    return np.asarray((sums + bias) * weighted.steps, np.float64)


def _float_targets(
    graph: Graph, stages: IntegerStages, frames: BiasFrames, threads: int
) -> dict[str, tuple[Float64, Float64]]:
    """The float network's means on the measured and on the held-out frames, by layer."""
    layers = [weighted.layer for weighted in stages.weighted]
    measured, held = FloatMeans(graph, layers), FloatMeans(graph, layers)
    features = FloatFeatures(graph, measured.tensors, threads=threads)
    for index in range(frames.count):
        means = measured if index in frames.measured else held
        means.add(features.run(frames.frame(index)))
    targets: dict[str, tuple[Float64, Float64]] = {}
    for layer in layers:
        parameters = layer_parameters(graph, layer)
        weight, groups = parameters.weight, group_count(layer, parameters.weight)
        own = 0.0 if parameters.bias is None else parameters.bias
        first, second = (
            accumulator_means(in_taps(layer, weight), groups, means.of(layer)) + own
            for means in (measured, held)
        )
        targets[layer.name] = (first, second)
    return targets
