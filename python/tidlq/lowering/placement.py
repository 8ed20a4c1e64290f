"""Which nodes the user keeps off the fixed-point engine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tidlq.errors import OptionError, nearest_names
from tidlq.graph.model import Graph
from tidlq.graph.recognition import RECOGNISERS


@dataclass(frozen=True)
class PlacementLists:
    """The user's lists; a layer is named by its node's name or its first output's name.

    Attributes:
        denied_types: ONNX operators that run in float.
        denied_names: layers that run in float.
        denied: operators or layers that run in float.
        allowed_names: when not empty, all other layers run in float.
        all_float: everything runs in float, for this reason.
    """

    denied_types: tuple[str, ...] = ()
    denied_names: tuple[str, ...] = ()
    denied: tuple[str, ...] = ()
    allowed_names: tuple[str, ...] = ()
    all_float: str | None = None


def find_denied(graph: Graph, lists: PlacementLists) -> Mapping[str, str]:
    """Node names that must stay in float, each with the reason.

    Raises:
        OptionError: A list names a layer or operator that the network does not have.
    """
    if lists.all_float is not None:
        return {node.name or "": lists.all_float for node in graph.nodes}
    nodes = {node.name or "": node.op_type for node in graph.nodes}
    aliases = _aliases(graph)
    types = set(nodes.values()) | set(RECOGNISERS)
    _check(lists.denied_types, types, "deny_list:layer_type", "operator")
    _check(lists.denied_names, aliases, "deny_list:layer_name", "layer")
    _check(lists.denied, types | set(aliases), "deny_list", "layer or operator")
    denied: dict[str, str] = {}
    by_type = {*lists.denied_types, *lists.denied}
    denied |= {n: f"operator {op} is denied" for n, op in nodes.items() if op in by_type}
    for name in (*lists.denied_names, *lists.denied):
        if name in aliases:
            denied[aliases[name]] = "the layer is denied"
    return denied


def find_allowed(graph: Graph, lists: PlacementLists) -> frozenset[str] | None:
    """Node names that alone may lead a fixed-point layer, or None where no list says so.

    Raises:
        OptionError: The list names a layer that the network does not have.
    """
    if not lists.allowed_names:
        return None
    aliases = _aliases(graph)
    _check(lists.allowed_names, aliases, "allow_list:layer_name", "layer")
    return frozenset(aliases[name] for name in lists.allowed_names)


def _aliases(graph: Graph) -> dict[str, str]:
    """Node names by the names that users give: the node's own and its first output's."""
    aliases = {node.name or "": node.name or "" for node in graph.nodes}
    for node in graph.nodes:
        if node.outputs and node.outputs[0].name:
            aliases.setdefault(node.outputs[0].name, node.name or "")
    return aliases


def _check(names: Iterable[str], known: Iterable[str], option: str, what: str) -> None:
    allowed = set(known)
    for name in names:
        if name not in allowed:
            raise OptionError(
                f"Option {option} names {what} {name!r}, which the network does not have."
                f"{nearest_names(name, sorted(allowed))}"
            )
