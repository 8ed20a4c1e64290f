"""How far into a network the corrections of biases go."""

from __future__ import annotations

from collections.abc import Callable

PARTS = 8
QUARTER = 2
LEAST_GAIN = 0.02


def find_reach(
    layers: int, error: Callable[[int], float], of_none: float, of_all: float
) -> tuple[int, float]:
    """The number of layers, the first ones, whose corrections leave the least error.

    The error is taken as a function of the number with one valley: from all layers on it goes down
    by quarters as long as the error falls, then to the eighths beside. All layers keep theirs, or
    else none, unless fewer gain `LEAST_GAIN` of the error.

    Args:
        layers: how many there are.
        error: of the outputs, with the corrections of so many layers; 0 < number < layers.
        of_none: its value at 0.
        of_all: its value at all layers.

    Returns:
        The number of layers, and its error.
    """
    known = {layers: of_all, 0: of_none}

    def error_of(part: int) -> float:
        count = layers * part // PARTS
        if count not in known:
            known[count] = error(count)
        return known[count]

    best = PARTS
    while best > 0 and error_of(best - QUARTER) < error_of(best):
        best -= QUARTER
    for part in (best + 1, best - 1):
        if 0 < part < PARTS:
            error_of(part)
    ends = min((layers, 0), key=lambda count: (known[count], -count))
    reach = min(known, key=lambda count: (known[count], -count))
    if known[reach] > known[ends] * (1 - LEAST_GAIN):
        reach = ends
    return reach, known[reach]
