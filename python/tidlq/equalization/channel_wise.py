"""The noise of a group where every output channel of a weight has a scale of its own.

What writes the group then has no say: a channel's weights and their step are divided alike. What
reads it has, for each output o, the step  d_o = max over c of |w_oc| s_c / codes,  so that with
V_c the variance of channel c and the other letters of `noise`

    noise = d_t^2 sum of s_c^2 B_c  +  sum over o of  importance_o d_o^2  sum over c of V_c / s_c^2

A layer that reads one channel per output contributes a constant.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

_FEATURE_CODES = 255.0
_WEIGHT_CODES = 127.0
_TINY = 1e-30
_POWERS = (0.0, 0.25, 0.5, 0.75, 1.0)
_PATHS = (1.0, 0.5, 0.25)
_EXTENTS = (0.5, 0.7, 1.0, 1.4, 2.0)
_MOST_ROUNDS = 20
_LEAST_GAIN = 0.01


@dataclass(frozen=True, eq=False)
class ReaderTerm:
    """A layer that reads the group.

    Attributes:
        largest: float64 [groups, outputs per group, inputs per group]. Largest |w| over the kernel.
        importance: float64 [groups, outputs per group]. Of the outputs, times the kernel's size.
    """

    largest: Float64
    importance: Float64

    @property
    def by_group(self) -> tuple[int, int, int]:
        """The shape in which factors per channel meet `largest`."""
        return (len(self.largest), 1, self.largest.shape[2])

    def noise_of_outputs(self, factors: Float64) -> Float64:
        """importance_o d_o^2: [groups, outputs per group, 1]."""
        steps = (self.largest * factors.reshape(self.by_group)).max(axis=2) / _WEIGHT_CODES
        return np.asarray((self.importance * steps**2)[:, :, None])


@dataclass(frozen=True, eq=False)
class ChannelWiseTerms:
    """All that the noise of a group depends on.

    Attributes:
        magnitudes: float64 [C]. Largest |x|.
        features: float64 [C]. B_c.
        variances: float64 [C]. V_c.
        readers: one term per layer that reads the group.
    """

    magnitudes: Float64
    features: Float64
    variances: Float64
    readers: tuple[ReaderTerm, ...]

    def noise(self, factors: Float64) -> float:
        """The noise that factors float64 [C] leave."""
        step = float((self.magnitudes / factors).max()) / _FEATURE_CODES
        total = step**2 * float((factors**2 * self.features).sum())
        spread = self.variances / factors**2
        for term in self.readers:
            outputs = term.noise_of_outputs(factors)
            total += float((outputs * spread.reshape(term.by_group)).sum())
        return total

    def best_factors(self) -> Float64:
        """Factors of little noise: powers of the magnitudes first, refined step by step."""
        relative = np.maximum(self.magnitudes / max(self.magnitudes.max(), _TINY), _TINY)
        starts = [np.where(self.magnitudes == 0, 1.0, relative**power) for power in _POWERS]
        best = min(starts, key=self.noise)
        least = self.noise(best)
        for _ in range(_MOST_ROUNDS):
            moved = min(self._moves(best), key=self.noise)
            noise = self.noise(moved)
            if noise > least * (1 - _LEAST_GAIN):
                break
            best, least = moved, noise
        return best

    def _moves(self, factors: Float64) -> list[Float64]:
        """Part of the way to what would be best if the steps stayed as they are."""
        largest = (self.magnitudes / factors).max()
        above = np.zeros_like(factors)
        for term in self.readers:
            shares = np.broadcast_to(
                term.noise_of_outputs(factors).sum(axis=1, keepdims=True), term.by_group
            )
            above += shares.reshape(-1) * self.variances
        moves = []
        for change in _EXTENTS:
            extent = largest * change
            below = (extent / _FEATURE_CODES) ** 2 * self.features
            goal = (np.maximum(above, _TINY) / np.maximum(below, _TINY)) ** 0.25
            goal = np.maximum(goal, self.magnitudes / extent)
            goal = np.where(self.magnitudes == 0, 1.0, goal)
            moves += [factors ** (1 - part) * goal**part for part in _PATHS]
        return moves
