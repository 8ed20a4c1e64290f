"""Sweeps over the integer network that correct its biases."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tidlq._core import FrameStepper
from tidlq.calibration.bias.frames import BiasFrames
from tidlq.calibration.bias.means import accumulator_means, integer_means
from tidlq.calibration.bias.reach import find_reach
from tidlq.calibration.bias.reference import FloatReference, measure_reference
from tidlq.calibration.bias.stages import IntegerStages, WeightedLayer
from tidlq.calibration.bias.state import LayerCorrection, SweepState
from tidlq.calibration.checkpoints import Checkpoints, NoCheckpoints
from tidlq.graph.channels import group_count, in_taps
from tidlq.graph.model import Graph
from tidlq.graph.partition import Partition
from tidlq.spec import QuantPlan

Array = NDArray[np.generic]
Float64 = NDArray[np.float64]

HALF_STEP = 0.5
PATIENCE = 2
LEAST_GAIN = 0.02

_SWEEPS = "bias sweeps"


@dataclass(frozen=True)
class BiasCalibration:
    """The outcome.

    Attributes:
        biases: real values by layer; empty where the uncalibrated ones did no worse.
        layers: what was done, or tried in vain, in execution order.
        sweeps: rounds over the network.
        error_before, error_after: squared error of the network's outputs relative to the float
            network's, on the frames held out.
    """

    biases: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    layers: tuple[LayerCorrection, ...] = ()
    sweeps: int = 0
    error_before: float = 0.0
    error_after: float = 0.0


class BiasSweeps:
    """Corrects the bias of every layer with a weight, sweep by sweep.

    With e and h the mean errors of a layer's channels on the measured and on the held-out frames,
    its bias moves by  d e,  d = <e, h> / <e, e> limited to 0 .. 1: the damping that leaves the
    least error on frames that the correction has not seen, and 0 where it does not help them.

    A mean over all positions of a feature map is mostly one over its background. Behind a
    non-linearity noise shifts that by another amount than what matters, and the further back the
    layer, the less is left of the network to make that up. So the corrections go as far as they
    lower the error of the outputs, which is found out after the first sweep.

    The sweep whose outputs come closest to the float network's on the held-out frames is kept, the
    uncalibrated network being one of them.

    Args:
        graph: the float network.
        partition: its stages.
        plan: the decisions; they stay as they are.
        frames: measured and held-out frames.
        threads: worker threads; 0 means one per core. The result is the same.
        checkpoints: keep the state between sweeps.
        fixed: layers whose biases stay as they are.
        reference: what the float network says about the frames; None runs it over them.
        same: sweeps of another plan of the same graph over the same frames, whose reference this
            one shares, and how far corrections go.

    Raises:
        ModelError: ONNX Runtime fails on the graph.
    """

    def __init__(
        self,
        graph: Graph,
        partition: Partition,
        plan: QuantPlan,
        frames: BiasFrames,
        threads: int = 0,
        checkpoints: Checkpoints | None = None,
        fixed: Collection[str] = (),
        reference: FloatReference | None = None,
        same: BiasSweeps | None = None,
    ) -> None:
        self._checkpoints = checkpoints or NoCheckpoints()
        self._stages = IntegerStages(graph, partition, plan, threads)
        self._frames = frames
        if same is not None:
            reference = same._reference
        self._reference: FloatReference = reference or measure_reference(
            graph, partition, frames, threads
        )
        self._own = {
            x.layer.name: np.asarray(plan.layers[x.layer.name].bias or np.zeros(len(x.weight)))
            for x in self._stages.weighted
        }
        self._moving = [x for x in self._stages.weighted if x.layer.name not in fixed]
        self._state = self._checkpoints.load(_SWEEPS, SweepState.from_state) or self._begin(same)
        self._largest_move = 0.0

    def _begin(self, same: BiasSweeps | None) -> SweepState:
        outputs = self._stages.run(self._held_out(self._frames.inputs), {})
        error = self._reference.judge.error(outputs)
        reach = None if same is None else same._state.reach
        return SweepState(dict(self._own), error, math.inf, reach)

    @property
    def outcome(self) -> BiasCalibration:
        """The best sweep so far."""
        state = self._state
        if not state.best_error < state.error_before:
            layers = tuple(item.taken_back() for item in state.last.values())
            return BiasCalibration({}, layers, state.done, state.error_before, state.error_before)
        return BiasCalibration(
            {name: tuple(bias.tolist()) for name, bias in state.best.items()},
            state.best_layers,
            state.done,
            state.error_before,
            state.best_error,
        )

    def best_stored(self) -> dict[str, NDArray[np.number]]:
        """The best sweep's biases so far, as Networks hold them; none where no sweep helped."""
        state = self._state
        return self._stored(state.best if state.best_error < state.error_before else {})

    def best_outputs(self) -> dict[str, NDArray[np.generic]]:
        """The outputs of all frames with the biases of the best sweep so far, by name."""
        return self._stages.run(self._frames.inputs, self.best_stored())

    def advance(self, sweeps: int, progress: Callable[[int], None] | None = None) -> None:
        """Sweeps until `sweeps` are done in all, or until there is no more to gain.

        That is when no bias moves by half a step of its layer's output, or `PATIENCE` sweeps in a
        row have not lowered the outputs' error by a `LEAST_GAIN` part.

        Args:
            sweeps: rounds over the network, those of earlier calls included.
            progress: called after each one with the number done.
        """
        state = self._state
        while state.done < sweeps and state.idle < PATIENCE and not state.is_settled:
            self._sweep()
            self._checkpoints.save(_SWEEPS, state.to_state)
            if progress is not None:
                progress(state.done)

    def _sweep(self) -> None:
        state = self._state
        self._largest_move = 0.0
        # Those of the others are set when they are visited.
        visited = {x.layer.name for x in self._moving[: state.reach]}
        kept = {name: bias for name, bias in state.biases.items() if name not in visited}
        outputs = self._stages.run(self._frames.inputs, self._stored(kept), self._visit)
        error = self._reference.judge.error(self._held_out(outputs))
        if state.reach is None:
            error = self._shorten(error)
        state.idle = state.idle + 1 if error > state.best_error * (1 - LEAST_GAIN) else 0
        state.is_settled = self._largest_move < HALF_STEP
        state.done += 1
        if error < state.best_error:
            state.best_error, state.best = error, dict(state.biases)
            names = [x.layer.name for x in self._moving]
            # Layers beyond a reach that another plan's sweeps found are not corrected.
            state.best_layers = tuple(state.last[x] for x in names if x in state.last)

    def _shorten(self, error: float) -> float:
        """Takes back the corrections of the last layers where the outputs are better without.

        Returns:
            The error that is left, of `error` with all corrections.
        """
        state, layers = self._state, [x.layer.name for x in self._moving]
        inputs = self._held_out(self._frames.inputs)

        def error_of(reach: int) -> float:
            biases = {name: state.biases[name] for name in layers[:reach]}
            outputs = self._stages.run(inputs, self._stored(biases))
            return self._reference.judge.error(outputs)

        state.reach, least = find_reach(len(layers), error_of, error)
        for name in layers[state.reach :]:
            state.biases[name] = self._own[name]
            state.last[name] = state.last[name].taken_back()
        return least

    def _held_out(self, arrays: Mapping[str, NDArray[np.generic]]) -> dict[str, Array]:
        return {name: values[self._frames.fitted :] for name, values in arrays.items()}

    def _stored(self, biases: Mapping[str, Float64]) -> dict[str, NDArray[np.number]]:
        weighted = (x for x in self._stages.weighted if x.layer.name in biases)
        return {x.layer.name: x.stored(biases[x.layer.name]) for x in weighted}

    def _visit(self, weighted: WeightedLayer, stepper: FrameStepper) -> None:
        """Corrects one layer before it runs."""
        # All that the network reads of them it has.
        self._frames.rest()
        state, name = self._state, weighted.layer.name
        if weighted not in self._moving[: state.reach]:
            return
        bias = state.biases[name]
        stored = weighted.stored(bias)
        wanted, wanted_held = self._reference.targets[name]
        error = wanted - _real_means(weighted, stepper, stored, self._frames.measured)
        held = wanted_held - _real_means(weighted, stepper, stored, self._frames.held_out)
        power = _sum(error * error)
        damping = min(max(_sum(error * held) / power, 0.0), 1.0) if power > 0 else 0.0
        moved = np.clip(bias + damping * error, -weighted.limits, weighted.limits)
        change = moved - bias
        state.biases[name] = moved
        weighted.set_bias(stepper, weighted.stored(moved))
        largest = float(np.abs(change).max()) / weighted.output_step
        self._largest_move = max(self._largest_move, largest)
        previous = state.last.get(name)
        state.last[name] = LayerCorrection(
            name,
            float(np.abs(moved - self._own[name]).max()) / weighted.output_step,
            max(damping, previous.damping) if previous else damping,
            previous.error_before if previous else _sum(held * held) / len(held),
            _sum((held - change) ** 2) / len(held),
        )


def _sum(values: Float64) -> float:
    """A sum in one order: BLAS's depends on the number of threads."""
    return float(values.sum())


def _real_means(
    weighted: WeightedLayer, stepper: FrameStepper, bias: NDArray[np.number], frames: range
) -> Float64:
    """Mean of each output channel before the non-linearity, real units."""
    means = integer_means(stepper, weighted.index, frames, is_sampled=weighted.is_sampled)
    groups = group_count(weighted.layer, weighted.weight)
    sums = accumulator_means(in_taps(weighted.weight), groups, means)
    if weighted.is_sampled:
        return np.asarray(sums * weighted.steps + bias * weighted.output_step, np.float64)
    return np.asarray((sums + bias) * weighted.steps, np.float64)
