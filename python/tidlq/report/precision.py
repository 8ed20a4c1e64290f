"""What was asked of the precision and what became of it, as JSON values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class AskedPrecision(Protocol):
    """What the report reads of an assignment."""

    @property
    def asked(self) -> Sequence[str]: ...
    @property
    def taken_along(self) -> Sequence[str]: ...


class State(Protocol):
    """Bits of a group's features and parameters."""

    @property
    def feature_bits(self) -> int: ...
    @property
    def parameter_bits(self) -> int: ...


class ReportedChoice(Protocol):
    """A choice of groups with more than 8 bits."""

    @property
    def states(self) -> Sequence[tuple[str, State]]: ...
    @property
    def cost(self) -> float: ...
    @property
    def sqnr_db(self) -> float: ...


class ReportedGroup(Protocol):
    """A group of layers that share a precision."""

    @property
    def name(self) -> str: ...
    @property
    def layers(self) -> Sequence[str]: ...
    @property
    def features(self) -> Sequence[str]: ...
    @property
    def parameters(self) -> Sequence[str]: ...


class ReportedMix(Protocol):
    """What the report reads of an automatic choice."""

    @property
    def groups(self) -> Sequence[ReportedGroup]: ...
    @property
    def chosen(self) -> ReportedChoice: ...
    @property
    def cost_8(self) -> float: ...
    @property
    def cost_16(self) -> float: ...
    @property
    def budget(self) -> float | None: ...
    @property
    def latency_model(self) -> str: ...
    @property
    def front(self) -> Sequence[ReportedChoice]: ...
    @property
    def measurements(self) -> int: ...


def precision_report(assignment: AskedPrecision | None, mix: ReportedMix | None) -> dict[str, Any]:
    """Says which layers were asked to have 16 bits, which went with them, and which were chosen.

    Args:
        assignment: of the options; None where a saved proto decided.
        mix: the automatic choice; None where there was none.
    """
    entry: dict[str, Any] = {}
    if assignment is not None:
        entry |= {"asked": list(assignment.asked), "taken_along": list(assignment.taken_along)}
    if mix is not None:
        entry["mixed"] = mixed_report(mix)
    return entry


def mixed_report(mix: ReportedMix) -> dict[str, Any]:
    """The automatic choice and the curve around it; latencies in milliseconds.

    `options` are the lists that ask for the same layers.

    Args:
        mix: the choice.
    """
    by_name = {group.name: group for group in mix.groups}
    return {
        "latency_model": mix.latency_model,
        "latency_8_ms": mix.cost_8,
        "latency_16_ms": mix.cost_16,
        "latency_ms": mix.chosen.cost,
        "budget_ms": mix.budget,
        "factor": mix.chosen.cost / mix.cost_8,
        "sqnr_db": _finite(mix.chosen.sqnr_db),
        "groups": [
            {"name": name, "layers": list(by_name[name].layers), **_bits(state)}
            for name, state in mix.chosen.states
        ],
        "options": options_of(mix.groups, mix.chosen.states),
        "measurements": mix.measurements,
        "curve": [_point(choice, mix) for choice in mix.front],
    }


def options_of(
    groups: Sequence[ReportedGroup], states: Sequence[tuple[str, State]]
) -> dict[str, str]:
    """The lists of names that ask for the layers of a choice.

    Args:
        groups: of the network.
        states: of those groups that have more than 8 bits.
    """
    by_name = {group.name: group for group in groups}
    wide = [by_name[name] for name, state in states if state.feature_bits == 16]
    deep = [by_name[name] for name, state in states if state.feature_bits == 8]
    return {
        "advanced_options:output_feature_16bit_names_list": ",".join(
            group.layers[0] if group.layers else group.features[0] for group in wide
        ),
        "advanced_options:params_16bit_names_list": ",".join(
            name for group in deep for name in group.parameters
        ),
    }


def _point(choice: ReportedChoice, mix: ReportedMix) -> dict[str, Any]:
    by_name: Mapping[str, ReportedGroup] = {group.name: group for group in mix.groups}
    return {
        "latency_ms": choice.cost,
        "factor": choice.cost / mix.cost_8,
        "sqnr_db": _finite(choice.sqnr_db),
        "layers": sum(len(by_name[name].layers) for name, _ in choice.states),
        "groups": {name: _bits(state) for name, state in choice.states},
        "is_chosen": choice.states == mix.chosen.states,
    }


def _bits(state: State) -> dict[str, int]:
    return {"feature_bits": state.feature_bits, "parameter_bits": state.parameter_bits}


def _finite(decibels: float) -> float | None:
    """JSON has no infinity; an output without error has no ratio."""
    return round(decibels, 3) if math.isfinite(decibels) else None
