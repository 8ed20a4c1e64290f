"""How far into a network the corrections of biases go."""

from __future__ import annotations

from collections.abc import Callable

PARTS = 8
QUARTER = 2
LEAST_GAIN = 0.1
"""Part of the error that a shorter reach has to take away. Where late corrections do harm it takes
a third and more away (detectors); a few per cent are chance, over the few frames that judge."""


def find_reach(layers: int, error: Callable[[int], float], of_all: float) -> tuple[int, float]:
    """The number of layers, the first ones, whose corrections leave the least error.

    The error is taken as a function of the number with one valley: from all layers on it goes down
    by quarters as long as the error falls, then to the eighths beside. All layers keep theirs
    unless fewer gain `LEAST_GAIN` of the error.

    Args:
        layers: how many there are.
        error: of the outputs, with the corrections of so many layers; 0 < number < layers.
        of_all: its value at all layers.

    Returns:
        The number of layers, 0 only where there are none, and its error.
    """
    known = {layers: of_all}

    def error_of(part: int) -> float:
        count = max(layers * part // PARTS, min(layers, 1))
        if count not in known:
            known[count] = error(count)
        return known[count]

    best = PARTS
    while best > QUARTER and error_of(best - QUARTER) < error_of(best):
        best -= QUARTER
    for part in (best + 1, best - 1):
        if 0 < part < PARTS:
            error_of(part)
    reach = min(known, key=lambda count: (known[count], -count))
    if known[reach] > of_all * (1 - LEAST_GAIN):
        reach = layers
    return reach, known[reach]
