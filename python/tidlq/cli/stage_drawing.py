"""A drawing of the stages of a network: who executes what, what crosses, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tidlq.cli.tables import count_of, format_shape

if TYPE_CHECKING:
    from rich.tree import Tree

Entry = Mapping[str, Any]

_SHOWN_OPERATORS = 6
_SHOWN_NAMES = 4
_COLOURS = {"fixed": "green", "float": "yellow"}


def draw_stages(stages: Sequence[Entry], inputs: Iterable[Entry], outputs: Iterable[Entry]) -> Tree:
    """A tree with a branch per stage, in execution order.

    Args:
        stages: as reports have them, with all of their layers.
        inputs: name and shape of each input of the network.
        outputs: name and shape of each output.
    """
    from rich.text import Text
    from rich.tree import Tree

    known = {item["name"]: item["shape"] for item in (*inputs, *outputs)}
    for stage in stages:
        for layer in stage["layers"]:
            names = layer.get("outputs") or [layer.get("output", {}).get("tensor")]
            known.setdefault(names[0], layer.get("shape", []))
    tree = Tree(
        Text(f"in: {_tensors([item['name'] for item in inputs], known)}"), guide_style="dim"
    )
    for stage in stages:
        kind = stage["kind"]
        noun = "layer" if kind == "fixed" else "node"
        head = Text.assemble(
            f"stage {stage['stage']}  ",
            (kind, f"bold {_COLOURS[kind]}"),
            f"  {count_of(len(stage['layers']), noun)}",
        )
        branch = tree.add(head)
        branch.add(Text(f"reads {_tensors(stage['inputs'], known)}"))
        for line in _members(stage):
            branch.add(Text(line))
        branch.add(Text(f"writes {_tensors(stage['outputs'], known)}"))
    tree.add(Text(f"out: {_tensors([item['name'] for item in outputs], known)}"))
    return tree


def _members(stage: Entry) -> list[str]:
    """Operators of a fixed stage; nodes of a float one, by the reason for which they are there."""
    if stage["kind"] == "fixed":
        return [_operators(stage["layers"])]
    by_reason: dict[str, list[Entry]] = {}
    for layer in stage["layers"]:
        by_reason.setdefault(layer["reason"], []).append(layer)
    return [f"{_nodes(layers)}: {reason}" for reason, layers in by_reason.items()]


def _operators(layers: Sequence[Entry]) -> str:
    counts = Counter(layer["op_type"] for layer in layers).most_common()
    shown = [f"{op} {number}" for op, number in counts[:_SHOWN_OPERATORS]]
    more = len(counts) - _SHOWN_OPERATORS
    return ", ".join(shown) + (f" and {more} more operators" if more > 0 else "")


def _nodes(layers: Sequence[Entry]) -> str:
    if len(layers) > _SHOWN_NAMES:
        return _operators(layers)
    return ", ".join(f"{layer['op_type']} {layer['name']}" for layer in layers)


def _tensors(names: Sequence[str], known: Mapping[str, Sequence[int | str]]) -> str:
    shown = [
        f"{name} {format_shape(known[name])}".rstrip() if known.get(name) else name
        for name in names[:_SHOWN_NAMES]
    ]
    more = len(names) - _SHOWN_NAMES
    return (", ".join(shown) or "nothing") + (f" and {more} more" if more > 0 else "")
