"""What was asked of the precision and what became of it, as JSON values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


class AskedPrecision(Protocol):
    """What the report reads of an assignment."""

    @property
    def asked(self) -> Sequence[str]: ...
    @property
    def taken_along(self) -> Sequence[str]: ...


def precision_report(assignment: AskedPrecision | None) -> dict[str, Any]:
    """Says which layers were asked to have 16-bit features, and which went with them.

    Args:
        assignment: of the options; None where a saved proto decided.
    """
    if assignment is None:
        return {}
    return {"asked": list(assignment.asked), "taken_along": list(assignment.taken_along)}
