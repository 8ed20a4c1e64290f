"""Changes to a quantization proto by hand: ranges, bits, values of biases."""

from __future__ import annotations

import fnmatch
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from tidlq.errors import OptionError, nearest_names
from tidlq.quantproto.codec import is_known_range
from tidlq.quantproto.model import SavedLayer, SavedRanges, SavedTensor
from tidlq.quantproto.pairing import tensor_name
from tidlq.spec import Range, RangeOrigin

UNKNOWN = "unknown"
_BITS = ("bits", "parameter_bits")
_FORMS = (
    "LAYER.TENSOR=MIN:MAX, LAYER.bias=V,V,..., LAYER.TENSOR=unknown, LAYER.bits=8|16, "
    "LAYER.parameter_bits=8|16"
)
_ROLES: Mapping[str, str] = MappingProxyType(
    {
        "output": "outputs",
        "outputs": "outputs",
        "weight": "weights",
        "weights": "weights",
        "bias": "bias",
        "slope": "slope",
    }
)
_ROLE = re.compile(r"(?P<role>\w+)(?:\[(?P<position>\d{1,6})\])?")


@dataclass(frozen=True)
class Change:
    """What an assignment changed.

    Attributes:
        layer: its name.
        field: the tensor's name or role, "bits" or "parameter_bits".
        before, after: as a person writes it.
    """

    layer: str
    field: str
    before: str
    after: str


@dataclass(frozen=True)
class Edited:
    """A changed file.

    Attributes:
        saved: with the changes.
        changes: in the order of the assignments.
    """

    saved: SavedRanges
    changes: tuple[Change, ...]


def edit_saved(saved: SavedRanges, assignments: Iterable[str]) -> Edited:
    """Changes ranges, bits and values, as assignments say.

    A tensor is named by its own name, or by layer and role: `conv1.outputs`, `conv1.weights`,
    `conv1.bias`, `conv1.slope`, with `[1]` for the second one. A layer's name may be a pattern with
    `*` and `?`. MIN or MAX alone (`:6`) keeps the other bound; `unknown` takes a range or the
    values of a bias out, so that a calibration finds them anew. Scales stored for what changed go.

    Args:
        saved: the file.
        assignments: TARGET=VALUE.

    Raises:
        OptionError: An assignment cannot be read, or names what the file does not have.
    """
    layers = {layer.name: layer for layer in saved.layers}
    changes: list[Change] = []
    for text in assignments:
        target, sign, value = text.rpartition("=")
        if not sign or not target.strip():
            raise OptionError(f"the assignment {text!r} cannot be read, allowed: {_FORMS}.")
        for layer, field in _find_targets(layers, target.strip()):
            changed, change = _assign(layers[layer], field, value.strip(), text)
            layers[layer] = changed
            changes.append(change)
    return Edited(replace(saved, layers=tuple(layers.values())), tuple(changes))


@dataclass(frozen=True)
class _Tensor:
    """A tensor of a layer."""

    role: str
    position: int


_Field = _Tensor | str


def _find_targets(layers: Mapping[str, SavedLayer], target: str) -> Sequence[tuple[str, _Field]]:
    """(layer, field) of everything that a target names."""
    by_tensor = [
        (layer.name, _Tensor(role, position))
        for layer in layers.values()
        for role, tensors in layer.roles.items()
        for position, tensor in enumerate(tensors)
        if tensor.name == target
    ]
    known_layer = ""
    for split in sorted((at.start() for at in re.finditer(r"\.", target)), reverse=True):
        name, field = target[:split], target[split + 1 :]
        matching = [layers[name]] if name in layers else _matching(layers, name)
        if matching:
            known_layer = known_layer or target
            found = [(x.name, named) for x in matching if (named := _field_of(x, field))]
            if len(found) == len(matching) or (found and name not in layers):
                return found
            raise _no_field(matching[0], field)
    if by_tensor:
        return by_tensor
    names = [*layers, *_tensor_names(layers.values())]
    layer, _, field = target.rpartition(".")
    fields = [f"{name}.{field}" for name in layers] if field else []
    hint = nearest_names(target, [*fields, *names]) or nearest_names(layer, layers)
    raise OptionError(f"{target!r} names no layer and tensor of the file.{hint}")


def _matching(layers: Mapping[str, SavedLayer], pattern: str) -> list[SavedLayer]:
    if not set(pattern) & set("*?"):
        return []
    return [layer for name, layer in layers.items() if fnmatch.fnmatchcase(name, pattern)]


def _tensor_names(layers: Iterable[SavedLayer]) -> list[str]:
    return [t.name for layer in layers for ts in layer.roles.values() for t in ts if t.name]


def _field_of(layer: SavedLayer, field: str) -> _Field | None:
    if field in _BITS:
        return field
    for role, tensors in layer.roles.items():
        for position, tensor in enumerate(tensors):
            if tensor.name and field == tensor.name:
                return _Tensor(role, position)
    named = _ROLE.fullmatch(field)
    if named is None or named["role"] not in _ROLES:
        return None
    role, position = _ROLES[named["role"]], int(named["position"] or 0)
    return _Tensor(role, position) if position < len(layer.roles[role]) else None


def _no_field(layer: SavedLayer, field: str) -> OptionError:
    present = [
        role if len(tensors) == 1 else f"{role}[{position}]"
        for role, tensors in layer.roles.items()
        for position in range(len(tensors))
    ]
    hint = nearest_names(field, [*_ROLES, *_BITS, *_tensor_names([layer])])
    return OptionError(
        f"layer {layer.name!r} has no {field!r}; it has {', '.join([*present, *_BITS])}.{hint}"
    )


def _assign(layer: SavedLayer, field: _Field, value: str, text: str) -> tuple[SavedLayer, Change]:
    if isinstance(field, str):
        return _assign_bits(layer, field, value, text)
    tensors = list(layer.roles[field.role])
    tensor = tensors[field.position]
    is_bias = field.role == "bias" and ":" not in value
    changed = _with_values(tensor, value, text) if is_bias else _with_range(tensor, value, text)
    if field.role == "bias" and not is_bias and tensor.values:
        raise OptionError(
            f"the assignment {text!r} is a range, but the values of a bias decide: give all "
            f"{len(tensor.values)} of them, or 'unknown'."
        )
    tensors[field.position] = changed
    name = tensor_name(tensor, field.role, field.position)
    change = Change(layer.name, name, _described(tensor), _described(changed))
    return layer.with_roles({field.role: tensors}), change


def _assign_bits(layer: SavedLayer, field: str, value: str, text: str) -> tuple[SavedLayer, Change]:
    if value not in ("8", "16"):
        raise OptionError(f"the assignment {text!r} is not of 8 or 16 bits.")
    bits = int(value)
    before = layer.bit_depth if field == "bits" else layer.parameter_bit_depth or layer.bit_depth
    if field == "bits":
        # As with output_feature_16bit_names_list, the parameters go with the features.
        changed = replace(layer, bit_depth=bits, parameter_bit_depth=None)
    else:
        has_own = bits != layer.bit_depth
        changed = replace(layer, parameter_bit_depth=bits if has_own else None)
    stale = {
        role: map(_without_scales, tensors)
        for role, tensors in changed.roles.items()
        if field == "bits" or role != "outputs"
    }
    return changed.with_roles(stale), Change(layer.name, field, str(before), value)


def _with_range(tensor: SavedTensor, value: str, text: str) -> SavedTensor:
    """Another range; ranges of channels go, a weight's own then count within the new range."""
    tensor = replace(_without_scales(tensor), channels=())
    if value == UNKNOWN:
        return replace(tensor, range=None)
    low_text, sign, high_text = value.partition(":")
    if not sign:
        raise OptionError(f"the assignment {text!r} has no range MIN:MAX, and no 'unknown'.")
    known = tensor.range
    low = _bound(low_text, None if known is None else known.min, text)
    high = _bound(high_text, None if known is None else known.max, text)
    try:
        found = Range(low, high, RangeOrigin.SAVED)
    except ValueError as error:
        raise OptionError(f"the assignment {text!r} is no range: {error}.") from None
    if not is_known_range(found.min, found.max):
        raise OptionError(f"the assignment {text!r} has a bound that stands for 'not known'.")
    return replace(tensor, range=found)


def _bound(text: str, known: float | None, assignment: str) -> float:
    if not text.strip() and known is not None:
        return known
    try:
        return float(text)
    except ValueError:
        raise OptionError(
            f"the assignment {assignment!r} has the bound {text.strip()!r}, which is no number."
        ) from None


def _with_values(tensor: SavedTensor, value: str, text: str) -> SavedTensor:
    """Other values of a bias, which also give its range."""
    tensor = _without_scales(tensor)
    if value == UNKNOWN:
        return replace(tensor, values=(), range=None)
    try:
        values = tuple(float(item) for item in value.split(","))
    except ValueError:
        raise OptionError(f"the assignment {text!r} has values that are no numbers.") from None
    if len(values) != tensor.size:
        raise OptionError(
            f"the assignment {text!r} has {len(values)} values, the bias has {tensor.size}."
        )
    if not all(map(math.isfinite, values)):
        raise OptionError(f"the assignment {text!r} has values that are not finite.")
    known = Range(min(values), max(values), RangeOrigin.SAVED)
    return replace(tensor, values=values, range=known)


def _without_scales(tensor: SavedTensor) -> SavedTensor:
    return replace(tensor, type=None, scales=(), zero_points=(), is_float=False)


def _described(tensor: SavedTensor) -> str:
    if tensor.is_float:
        return "float32"
    if tensor.values:
        return f"{len(tensor.values)} values"
    return UNKNOWN if tensor.range is None else f"{tensor.range.min:.9g}:{tensor.range.max:.9g}"
