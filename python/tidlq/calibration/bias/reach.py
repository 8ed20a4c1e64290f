"""How far into a network the corrections of biases go."""

from __future__ import annotations

from collections.abc import Callable, Iterable

PARTS = 8
LEAST_GAIN = 0.02


def find_reach(
    layers: int, error: Callable[[int], float], of_none: float, of_all: float
) -> tuple[int, float]:
    """The number of layers, the first ones, whose corrections leave the least error.

    The error is taken as a function of the number with one valley: halves and quarters are tried
    first, then the eighths beside the best of them. All layers keep theirs, or else none, unless
    fewer gain `LEAST_GAIN` of the error.

    Args:
        layers: how many there are.
        error: of the outputs, with the corrections of so many layers; 0 < number < layers.
        of_none: its value at 0.
        of_all: its value at all layers.

    Returns:
        The number of layers, and its error.
    """
    known = {layers: of_all, 0: of_none}
    ends = min(known, key=lambda count: (known[count], -count))

    def try_parts(parts: Iterable[int]) -> int:
        for part in parts:
            count = layers * part // PARTS
            if count not in known:
                known[count] = error(count)
        return min(known, key=lambda count: (known[count], -count))

    quarter = PARTS // 4
    best = try_parts((3 * quarter, 2 * quarter, quarter))
    part = min(range(PARTS + 1), key=lambda part: abs(layers * part // PARTS - best))
    best = try_parts(other for other in (part + 1, part - 1) if 0 <= other <= PARTS)
    if known[best] > known[ends] * (1 - LEAST_GAIN):
        best = ends
    return best, known[best]
