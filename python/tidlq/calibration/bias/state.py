"""What sweeps know of each other: everything that decides how they go on and what is kept."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tidlq.calibration.checkpoints import State

Float64 = NDArray[np.float64]


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

    def taken_back(self) -> LayerCorrection:
        """The same layer with its bias as it was."""
        return LayerCorrection(self.layer, 0.0, 0.0, self.error_before, self.error_before)


@dataclass
class SweepState:
    """Sweeps so far.

    Attributes:
        biases: real values by layer, after the last sweep.
        error_before: squared error of the network's outputs before the first sweep.
        best_error: the least error of any sweep; infinite before the first.
        reach: how many layers, the first ones, are corrected; found by the first sweep.
        best, best_layers: biases of the sweep that had it, and what was done by then.
        last: by layer, what the sweeps so far have done.
        done: sweeps.
        idle: sweeps in a row that did not help enough.
        is_settled: the last sweep hardly moved a bias.
    """

    biases: dict[str, Float64]
    error_before: float
    best_error: float
    reach: int | None = None
    best: dict[str, Float64] = field(default_factory=dict)
    best_layers: tuple[LayerCorrection, ...] = ()
    last: dict[str, LayerCorrection] = field(default_factory=dict)
    done: int = 0
    idle: int = 0
    is_settled: bool = False

    def to_state(self) -> State:
        """The exact values, as checkpoints keep them."""
        plain = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        vectors = {name: plain.pop(name) for name in ("biases", "best")}
        plain["best_layers"] = [dataclasses.astuple(item) for item in self.best_layers]
        plain["last"] = [dataclasses.astuple(item) for item in self.last.values()]
        state: dict[str, bytes] = {"values": json.dumps(plain).encode()}
        for kind, by_layer in vectors.items():
            state |= arrays_to_state(kind, by_layer)
        return state

    @staticmethod
    def from_state(state: State) -> SweepState:
        """What `to_state` gave."""
        plain = json.loads(state["values"])
        plain["best_layers"] = tuple(LayerCorrection(*item) for item in plain["best_layers"])
        last = [LayerCorrection(*item) for item in plain["last"]]
        plain["last"] = {item.layer: item for item in last}
        return SweepState(
            **plain, biases=arrays_of_kind(state, "biases"), best=arrays_of_kind(state, "best")
        )


def arrays_to_state(kind: str, arrays: dict[str, Float64]) -> State:
    """Blobs whose names begin with the kind."""
    return {f"{kind} {name}": array.tobytes() for name, array in arrays.items()}


def arrays_of_kind(state: State, kind: str) -> dict[str, Float64]:
    """float64 vectors by name, of the blobs whose names begin with their kind."""
    prefix = f"{kind} "
    return {
        name.removeprefix(prefix): np.frombuffer(blob, np.float64)
        for name, blob in state.items()
        if name.startswith(prefix)
    }
