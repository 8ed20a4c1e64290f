"""What calibration did beyond ranges, as JSON values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol

from tidlq.spec import Equalization

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


class BiasOutcome(Protocol):
    """What the report reads of a bias calibration."""

    @property
    def biases(self) -> Mapping[str, tuple[float, ...]]: ...
    @property
    def layers(self) -> Sequence[DataclassInstance]: ...
    @property
    def sweeps(self) -> int: ...
    @property
    def error_before(self) -> float: ...
    @property
    def error_after(self) -> float: ...


def calibration_report(equalization: Equalization, bias: BiasOutcome | None) -> dict[str, Any]:
    """Says which channels were rescaled and what became of each bias.

    Args:
        equalization: rescaling of channels.
        bias: outcome of bias calibration; None where there was none.
    """
    entry: dict[str, Any] = {
        "rescaled_layers": len(equalization.factors),
        "bounds_per_channel": len(equalization.bounds),
    }
    if bias is not None:
        entry["bias"] = {
            "is_kept": bool(bias.biases),
            "sweeps": bias.sweeps,
            "sqnr_db_before": _decibels(bias.error_before),
            "sqnr_db_after": _decibels(bias.error_after),
            "layers": [asdict(layer) for layer in bias.layers],
        }
    return entry


def _decibels(error: float) -> float | None:
    """SQNR of a relative squared error; None where there is no error."""
    return round(-10 * math.log10(error), 2) if error > 0 else None
