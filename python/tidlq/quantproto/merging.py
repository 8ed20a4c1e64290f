"""Ranges of several calibration runs or shards as one quantization proto."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from tidlq.errors import QuantProtoError
from tidlq.quantproto.model import Provenance, SavedLayer, SavedRanges, SavedTensor
from tidlq.quantproto.pairing import pair_tensors
from tidlq.spec import Range, RangeOrigin
from tidlq.version import __version__

_MEAN_LEVEL = 0  # The calibration level whose ranges are means over frames.


@dataclass(frozen=True)
class Merged:
    """Several files as one.

    Attributes:
        saved: the union.
        notices: where it is not what one run over all frames gives, in plain sentences.
    """

    saved: SavedRanges
    notices: tuple[str, ...] = ()


def merge_saved(files: Sequence[tuple[str, SavedRanges]], *, drop_biases: bool = False) -> Merged:
    """Unites the ranges of several files: the smallest min and the largest max of every tensor.

    That is exact for the extremes of frames (level 2): the ranges of shards give the range of all
    frames. Means and searched ranges have no exact union; theirs is told in a notice. A range that
    one file does not know is another's. Scales that were stored for other ranges are left out.

    Args:
        files: name and contents of each, at least one.
        drop_biases: leave out the values of biases in which the files differ; otherwise they are
            an error.

    Raises:
        QuantProtoError: The files are of different models, or state different types, bits, biases
            or equalization of a layer.
    """
    _check_models(files)
    name, saved = files[0]
    for other_name, other in files[1:]:
        saved = _Merger((name, other_name), drop_biases=drop_biases).merge(saved, other)
    notices = tuple(_notices(files))
    return Merged(replace(saved, provenance=_provenance(files)), notices)


def _check_models(files: Sequence[tuple[str, SavedRanges]]) -> None:
    known: dict[str, str] = {}
    for name, saved in files:
        if saved.provenance is not None and saved.provenance.graph_fingerprint:
            known.setdefault(saved.provenance.graph_fingerprint, name)
    if len(known) > 1:
        first, second = list(known.items())[:2]
        raise QuantProtoError(
            f"quantization protos {first[1]!r} and {second[1]!r} are of different models "
            f"(graph fingerprints {first[0][:12]} and {second[0][:12]}); only files of one model "
            "can be merged."
        )


@dataclass(frozen=True)
class _Merger:
    names: tuple[str, str]
    drop_biases: bool

    def merge(self, first: SavedRanges, second: SavedRanges) -> SavedRanges:
        for field in ("symmetric", "per_channel"):
            self.check(field, getattr(first, field), getattr(second, field), "the files")
        layers = {layer.name: layer for layer in first.layers}
        for layer in second.layers:
            if layer.name in layers:
                layer = self.merge_layers(layers[layer.name], layer)
            layers[layer.name] = layer
        return replace(first, layers=_ordered(layers, (first, second)))

    def merge_layers(self, first: SavedLayer, second: SavedLayer) -> SavedLayer:
        where = f"layer {first.name!r}"
        for field in ("layer_type", "bit_depth", "parameter_bit_depth"):
            self.check(field, getattr(first, field), getattr(second, field), where)
        for field in ("equalization", "equalization_bound"):
            if getattr(first, field) != getattr(second, field):
                raise QuantProtoError(
                    f"{where} has another {field} in {self.names[1]!r} than in {self.names[0]!r}: "
                    "their ranges are those of differently rescaled channels; calibrate with "
                    "tidlq:cross_layer_equalization off to merge."
                )
        merged: dict[str, list[SavedTensor]] = {role: [] for role in first.roles}
        for pair in pair_tensors(first, second):
            one, other = pair.first, pair.second
            if one is None or other is None:
                present = one or other
                assert present is not None
                merged[pair.role].append(present)
                continue
            where_tensor = f"{where}, {pair.name}"
            merged[pair.role].append(self.merge_tensors(one, other, where_tensor))
        return first.with_roles(merged)

    def merge_tensors(self, one: SavedTensor, other: SavedTensor, where: str) -> SavedTensor:
        if one.size and other.size:
            self.check("size", one.size, other.size, where)
        if len(one.channels) != len(other.channels) and one.channels and other.channels:
            self.check("number of channels", len(one.channels), len(other.channels), where)
        united = _united(one.range, other.range)
        channels = tuple(
            x if y is None else _union(x, y)
            for x, y in zip(
                one.channels, other.channels or (None,) * len(one.channels), strict=True
            )
        )
        values = self.merge_values(one, other, where)
        merged = replace(
            one,
            name=one.name or other.name,
            size=one.size or other.size,
            range=united,
            values=values,
            channels=channels,
        )
        for source in (one, other):
            if (merged.range, merged.channels) == (source.range, source.channels):
                return replace(
                    merged,
                    type=source.type,
                    scales=source.scales,
                    zero_points=source.zero_points,
                    is_float=source.is_float,
                )
        return replace(merged, type=None, scales=(), zero_points=(), is_float=False)

    def merge_values(self, one: SavedTensor, other: SavedTensor, where: str) -> tuple[float, ...]:
        if not (one.values and other.values) or one.values == other.values:
            return one.values or other.values
        if self.drop_biases:
            return ()
        raise QuantProtoError(
            f"{where} has other values in {self.names[1]!r} than in {self.names[0]!r}: each run "
            "calibrated its biases on its own network; leave them out (--drop-biases), or "
            "calibrate with accuracy_level 2 to merge."
        )

    def check(self, field: str, one: object, other: object, where: str) -> None:
        if one != other:
            raise QuantProtoError(
                f"{where} cannot be merged: {field} is {one} in {self.names[0]!r} and {other} in "
                f"{self.names[1]!r}."
            )


def _ordered(layers: dict[str, SavedLayer], files: Sequence[SavedRanges]) -> tuple[SavedLayer, ...]:
    """The layers of the first file in its order, each other one behind the one it follows."""
    order = [layer.name for layer in files[0].layers]
    for saved in files[1:]:
        place = 0
        for layer in saved.layers:
            if layer.name in order:
                place = order.index(layer.name) + 1
            else:
                order.insert(place, layer.name)
                place += 1
    return tuple(layers[name] for name in order)


def _united(one: Range | None, other: Range | None) -> Range | None:
    if one is None or other is None:
        return one or other
    return _union(one, other)


def _union(one: Range, other: Range) -> Range:
    if (one.min, one.max) == (other.min, other.max):
        return one
    origin = one.origin if one.origin is other.origin else RangeOrigin.SAVED
    return Range(min(one.min, other.min), max(one.max, other.max), origin)


def _notices(files: Iterable[tuple[str, SavedRanges]]) -> Iterable[str]:
    for name, saved in files:
        origin = saved.provenance
        if origin is None:
            continue
        if origin.calibration_method:
            how = f"searched for ({origin.calibration_method})"
        elif origin.accuracy_level == _MEAN_LEVEL and origin.frames:
            how = "means over frames"
        else:
            continue
        yield (
            f"The ranges of {name!r} are {how}: their union covers all runs, but is not what one "
            "calibration with all frames gives (that of accuracy_level 2 is)."
        )


def _provenance(files: Sequence[tuple[str, SavedRanges]]) -> Provenance | None:
    """What the files agree on, with the frames of all of them."""
    known = [saved.provenance for _, saved in files if saved.provenance is not None]
    if not known:
        return None
    first = known[0]
    return replace(
        first,
        tool_version=__version__,
        frames=sum(origin.frames for origin in known),
        options=tuple(x for x in first.options if all(x in o.options for o in known)),
        ingredients=tuple(x for x in first.ingredients if all(x in o.ingredients for o in known)),
    )
