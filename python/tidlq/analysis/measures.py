"""Error of an output against the float network's, over frames."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tidlq._core import DivergenceStatistics, ErrorStatistics

Array = NDArray[np.generic]
Pair = tuple[ErrorStatistics, DivergenceStatistics]


@dataclass(frozen=True)
class OutputError:
    """How far a tensor is from the float network's.

    Attributes:
        mean_squared_error: mean of error^2.
        relative: sum of error^2 / sum of reference^2; the numerator where the reference is zero.
        sqnr_db: 10 log10(sum of reference^2 / sum of error^2); inf without any error.
        cosine: of the angle between the two, 1 at best.
        max_abs_error: the largest |error|.
        divergence: mean Kullback-Leibler divergence of a classifier's distributions, nats; None
            for other outputs.
    """

    mean_squared_error: float
    relative: float
    sqnr_db: float
    cosine: float
    max_abs_error: float
    divergence: float | None = None


@dataclass
class ErrorTotal:
    """Exact sums over frames; the order in which they are added leaves no trace."""

    error: ErrorStatistics = field(default_factory=ErrorStatistics)
    divergence: DivergenceStatistics = field(default_factory=DivergenceStatistics)

    def merge(self, pair: Pair) -> None:
        """Adds other frames."""
        self.error.merge(pair[0])
        self.divergence.merge(pair[1])

    @property
    def result(self) -> OutputError:
        """The measures."""
        return OutputError(
            self.error.mean_squared_error,
            self.error.relative_error,
            self.error.sqnr_db,
            self.error.cosine,
            self.error.max_abs_error,
            self.divergence.mean if self.divergence.rows else None,
        )


def compare_frames(kind: str, reference: Iterable[Array], value: Iterable[Array]) -> Pair:
    """Compares frames one by one, as `Patch.compare` does.

    Args:
        kind: "plain", "logits" or "probabilities".
        reference: a float array per frame.
        value: likewise; where its size differs (a shape that depends on the data), nothing of the
            reference is met.
    """
    error, divergence = ErrorStatistics(), DivergenceStatistics()
    for wanted, found in zip(reference, value, strict=True):
        wanted_values = np.ascontiguousarray(wanted, np.float32)
        values = np.zeros_like(wanted_values)
        if found.size == wanted_values.size:
            values = np.ascontiguousarray(found, np.float32).reshape(wanted_values.shape)
        error.update_known(wanted_values, values)
        divergence.update(kind, wanted_values, values)
    return error, divergence
