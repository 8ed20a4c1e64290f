"""What each group of layers does to the outputs, by every measure, of a compiled 8-bit network."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tidlq.analysis import GroupSensitivity, Metric, Sensitivity, Variant, measure_sensitivity
from tidlq.calibration import FloatFeatures, float_accumulator_means
from tidlq.compilation import Compiled
from tidlq.errors import ModelError
from tidlq.precision.groups import (
    GroupState,
    PrecisionGroup,
    find_precision_groups,
    precision_of_states,
)
from tidlq.precision.parameter_ranges import measure_parameters
from tidlq.precision.variants import VariantPlans
from tidlq.spec import FeatureScales, Precision, Range

LEAST_ERROR_FRAMES = 16
"""Frames that are enough to rank groups."""

Frame = Mapping[str, NDArray[np.generic]]


class ErrorMode(enum.Enum):
    """What is compared.

    FROM_8_BIT: the 8-bit network, its biases calibrated, with one group in another state.
    ALONE: one group in 8 bits, 16 bits stand for float in all others.
    """

    FROM_8_BIT = "from-8-bit"
    ALONE = "alone"


@dataclass(frozen=True)
class GroupErrors:
    """Errors of a base network and of one with a single group changed, for every group.

    Attributes:
        mode: what the base is.
        groups: of the network.
        sensitivity: the errors; `base` is that of the network without the change.
    """

    mode: ErrorMode
    groups: tuple[PrecisionGroup, ...]
    sensitivity: Sensitivity

    def ranked(self) -> Sequence[GroupSensitivity]:
        """Variants, those that change the outputs' error most first."""
        return sorted(self.sensitivity.variants, key=lambda x: -abs(self.sensitivity.gain(x)))


def measure_group_errors(
    compiled: Compiled,
    frames: Iterable[Frame],
    mode: ErrorMode = ErrorMode.FROM_8_BIT,
    *,
    wide: Compiled | None = None,
    metric: Metric | None = None,
    threads: int = 0,
    progress: Callable[[int, int | None], None] | None = None,
) -> GroupErrors:
    """Measures every group in every state against the float network.

    Args:
        compiled: an 8-bit network.
        frames: checked frames.
        mode: what the changed group is compared with.
        wide: the same network compiled with 16 bits, whose ranges features of 16 bits take; None,
            or one whose channels are rescaled otherwise: they take those of the 8-bit network.
        metric: a measure of one's own: of a frame's outputs, float first, both by name.
        threads: 0 means one per core; the result is the same.
        progress: called with the variants measured so far and how many there are.

    Raises:
        ModelError: The network runs in float only or keeps scales that it states.
        DataError: There are no frames.
    """
    graph, parts, plan = compiled.graph, compiled.partition, compiled.plan
    if plan is None or plan.is_stated:
        raise ModelError(
            f"The network {graph.name!r} has no precisions to compare: it runs in float, or keeps "
            "the scales that it states."
        )
    own = measure_parameters(graph, parts.layers)
    ranges = compiled.ranges.features
    is_same = wide is not None and wide.graph.fingerprint == graph.fingerprint
    wider = {**ranges, **wide.ranges.features} if wide and is_same else ranges

    def choose(name: str, scales: FeatureScales) -> Range:
        return (ranges if scales.bits == 8 else wider)[name]

    given = compiled.ranges
    if mode is ErrorMode.ALONE:
        # Biases that were calibrated for 8 bits make up for errors that are not made here.
        given = replace(given, biases=wide.ranges.biases if wide and is_same else {})
    plans = VariantPlans(graph, parts, given, plan.scheme, choose=choose, wide=own)
    groups = find_precision_groups(graph, parts)
    base, variants = _variants(groups, mode)
    found = measure_sensitivity(
        graph,
        parts,
        plans.plan,
        variants,
        frames,
        lambda graph_, names: FloatFeatures(graph_, names, threads=threads),
        base=base,
        threads=threads,
        metric=metric,
        float_means=lambda g, layers, some: float_accumulator_means(g, layers, some, threads),
        progress=progress,
    )
    return GroupErrors(mode, groups, found)


def _variants(groups: Sequence[PrecisionGroup], mode: ErrorMode) -> tuple[Precision, list[Variant]]:
    """The base, and one variant per group and state other than the base's."""
    widest = {group.name: group.states[-1] for group in groups}
    is_alone = mode is ErrorMode.ALONE
    start: dict[str, GroupState] = dict(widest) if is_alone else {}
    variants = []
    for group in groups:
        for state in group.states[:-1] if is_alone else group.states[1:]:
            precision = precision_of_states(groups, {**start, group.name: state})
            variants.append(Variant(group.name, state.value, precision, group.features))
    return precision_of_states(groups, start), variants
