"""What several elements become that a scatter writes to one place."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class ScatterReduction(enum.Enum):
    """How an update joins what stands at its place: ONNX's names."""

    SUM = "add"
    GREATEST = "max"
    LEAST = "min"


@dataclass(frozen=True)
class ScatterAttributes:
    """Updates that are joined with the elements at constant positions.

    Attributes:
        passes: each has, for every element of the flattened first input, the position in the
            flattened second one of an update that joins it, or -1 for none.
        reduction: how they join.
    """

    passes: tuple[tuple[int, ...], ...]
    reduction: ScatterReduction


@dataclass(frozen=True)
class ScatteredProductAttributes:
    """Updates that multiply the elements at constant positions, any number of them each.

    Attributes:
        targets: for every element of the flattened second input, the position in the flattened
            first one that it multiplies.
    """

    targets: tuple[int, ...]
