"""What changed between the model that a quantization proto was written for and another one."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from tidlq.errors import QuantProtoError
from tidlq.quantproto.model import SavedLayer, SavedRanges, SavedTensor

_SHOWN_NAMES = 6


@dataclass(frozen=True)
class ModelChanges:
    """Layers that differ, by name.

    Attributes:
        added: only the model has them.
        removed: only the file has them.
        renamed: the file's name and the model's, of layers that are alike in all else.
        retyped: they compute something else.
        reweighted: their parameters differ.
        reshaped: their outputs have another size.
        has_digests: the file tells parameters apart; otherwise other weights go unnoticed.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    retyped: tuple[str, ...] = ()
    reweighted: tuple[str, ...] = ()
    reshaped: tuple[str, ...] = ()
    has_digests: bool = True

    def describe(self) -> str:
        """Everything as one phrase."""
        parts = [
            _listed("added", self.added),
            _listed("removed", self.removed),
            _listed("renamed", [f"{old} (now {new})" for old, new in self.renamed.items()]),
            _listed("of another type", self.retyped),
            _listed("with other weights", self.reweighted),
            _listed("with outputs of another size", self.reshaped),
        ]
        found = [part for part in parts if part]
        if not self.has_digests:
            found.append("the file does not tell weights apart, so other weights go unnoticed")
        return "; ".join(found) or "the layers and their weights are the same, not all else is"


def _listed(what: str, names: Sequence[str]) -> str:
    if not names:
        return ""
    more = len(names) - _SHOWN_NAMES
    shown = ", ".join(names[:_SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")
    return f"{len(names)} layer{'s' if len(names) > 1 else ''} {what}: {shown}"


def find_changes(saved: SavedRanges, current: SavedRanges) -> ModelChanges:
    """Compares a file with the outline of a model.

    Layers are the same by name; among the others, those that follow each other in the same order
    with the same type, parameters and output size were renamed. Layers that an equalization added
    to the network of the file are left aside: they belong to the layer whose name theirs begins
    with.

    Args:
        saved: the file.
        current: the outline of the model as it is now.
    """
    renamed = _find_renamed(saved, current)
    rescaled = [layer.name for layer in saved.layers if layer.equalization]
    found: dict[str, list[str]] = {kind: [] for kind in ("type", "weights", "size", "removed")}
    for layer in saved.layers:
        now = current.layers_by_name.get(renamed.get(layer.name, layer.name))
        if now is None:
            if not any(layer.name.startswith(f"{name}/") for name in rescaled):
                found["removed"].append(layer.name)
            continue
        if layer.layer_type != now.layer_type:
            found["type"].append(now.name)
            continue
        digests = layer.parameter_digest, now.parameter_digest
        if layer.parameter_digest and digests[0] != digests[1]:
            found["weights"].append(now.name)
        if _sizes(layer) != _sizes(now):
            found["size"].append(now.name)
    taken = {renamed.get(layer.name, layer.name) for layer in saved.layers}
    return ModelChanges(
        added=tuple(layer.name for layer in current.layers if layer.name not in taken),
        removed=tuple(found["removed"]),
        renamed=renamed,
        retyped=tuple(found["type"]),
        reweighted=tuple(found["weights"]),
        reshaped=tuple(found["size"]),
        has_digests=any(layer.parameter_digest for layer in saved.layers)
        or not any(layer.parameter_digest for layer in current.layers),
    )


def adopt(saved: SavedRanges, current: SavedRanges, changes: ModelChanges) -> SavedRanges:
    """The file as one of the changed model: its names, without what no longer holds.

    Ranges of features stay. Parameters of layers with other weights go, and layers of another type
    go altogether.

    Args:
        saved: the file.
        current: the outline of the model as it is now.
        changes: between the two.
    """
    layers = []
    for layer in saved.layers:
        name = _new_name(layer.name, changes.renamed)
        if name in changes.retyped:
            continue
        layer = replace(layer, name=name)
        now = current.layers_by_name.get(name)
        if now is not None:
            layer = _with_names(layer, now)
        if name in changes.reweighted:
            layer = replace(layer, weights=(), bias=(), slope=())
        layers.append(layer)
    return replace(saved, layers=tuple(layers))


def stale_error(where: str, saved: str, current: str, changes: ModelChanges) -> QuantProtoError:
    """The error about a file of another model.

    Args:
        where: names the file.
        saved: the graph fingerprint of the file.
        current: the model's.
        changes: between the two.
    """
    return QuantProtoError(
        f"{where} was written for another model (graph fingerprint {saved[:12]}, this model's is "
        f"{current[:12]}): {changes.describe()}. Name another file, remove this one to calibrate "
        "anew, or use it nevertheless (--allow-stale)."
    )


def _sizes(layer: SavedLayer) -> tuple[int, ...]:
    return tuple(tensor.size for tensor in layer.outputs)


def _find_renamed(saved: SavedRanges, current: SavedRanges) -> dict[str, str]:
    """The file's name and the model's of every renamed layer."""
    both = saved.layers_by_name.keys() & current.layers_by_name.keys()
    one, other = _keys(saved.layers, both), _keys(current.layers, both)
    found = {}
    matcher = difflib.SequenceMatcher(None, one, other, autojunk=False)
    for start, begin, length in matcher.get_matching_blocks():
        for offset in range(length):
            old, new = saved.layers[start + offset].name, current.layers[begin + offset].name
            if old != new:
                found[old] = new
    return found


def _keys(layers: Sequence[SavedLayer], both: set[str]) -> list[tuple[object, ...]]:
    return [
        (layer.name,)
        if layer.name in both
        else (layer.layer_type, layer.parameter_digest, _sizes(layer))
        for layer in layers
    ]


def _new_name(name: str, renamed: Mapping[str, str]) -> str:
    """Also of a layer that an equalization added."""
    if name in renamed:
        return renamed[name]
    for old, new in renamed.items():
        if name.startswith(f"{old}/"):
            return new + name[len(old) :]
    return name


def _with_names(layer: SavedLayer, now: SavedLayer) -> SavedLayer:
    """The layer with the tensors' names that it has now."""
    roles: dict[str, list[SavedTensor]] = {}
    for role, tensors in layer.roles.items():
        names = [tensor.name for tensor in now.roles[role]]
        roles[role] = [
            replace(tensor, name=names[place]) if tensor.name and place < len(names) else tensor
            for place, tensor in enumerate(tensors)
        ]
    return layer.with_roles(roles)
