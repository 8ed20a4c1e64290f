"""What a strict quantization proto, the kind that TI's tools accept, cannot say."""

from __future__ import annotations

from tidlq.quantproto.model import SavedLayer, SavedRanges, SavedTensor
from tidlq.spec import RangeOrigin
from tidlq.target import TidlLayerType


def find_left_out(saved: SavedRanges) -> tuple[str, ...]:
    """Returns what is lost when a file is written strictly, one phrase each.

    A strict file has the fields of TI's published schema only: no extensions.
    """
    lost = (
        _equalization(saved.layers),
        _channels(saved),
        _parameter_bits(saved.layers),
        _names(saved),
        _origins(saved),
        _provenance(saved),
    )
    return tuple(text for text in lost if text is not None)


def find_unsuitable(saved: SavedRanges) -> tuple[str, ...]:
    """Returns what a strict file says and TI's own tools do not take, one sentence each."""
    found = []
    if not saved.symmetric:
        found.append("The ranges are for asymmetric features; TI's own reader takes symmetric ones")
    published = {kind.value for kind in TidlLayerType}
    types = sorted({layer.layer_type for layer in saved.layers} - published)
    if types:
        found.append(f"TI's reader does not know the layer types {', '.join(map(repr, types))}")
    return tuple(f"{text}." for text in found)


def _tensors(saved: SavedRanges) -> list[SavedTensor]:
    return [t for layer in saved.layers for tensors in layer.roles.values() for t in tensors]


def _equalization(layers: tuple[SavedLayer, ...]) -> str | None:
    count = sum(bool(layer.equalization) for layer in layers)
    if not count:
        return None
    return (
        f"the rescaling of the channels of {_layers(count)}: the ranges fit the rescaled network "
        "only ('tidlq export --to tidl' writes that one beside them)"
    )


def _channels(saved: SavedRanges) -> str | None:
    count = sum(bool(tensor.channels) for tensor in _tensors(saved))
    if not count:
        return None
    return f"the ranges of single channels of {count} weight{'s' if count > 1 else ''}"


def _parameter_bits(layers: tuple[SavedLayer, ...]) -> str | None:
    names = [x.name for x in layers if x.parameter_bit_depth not in (None, x.bit_depth)]
    if not names:
        return None
    return (
        f"the bits of the parameters of {_layers(len(names))}, which differ from those of the "
        f"features (params_16bit_names_list says them to TI's tools): {', '.join(names[:8])}"
        f"{', ...' if len(names) > 8 else ''}"
    )


def _names(saved: SavedRanges) -> str | None:
    if not any(tensor.name for tensor in _tensors(saved)):
        return None
    return "the tensors' names: they are found by their place in the layer"


def _origins(saved: SavedRanges) -> str | None:
    origins = {tensor.range.origin for tensor in _tensors(saved) if tensor.range is not None}
    return (
        None
        if origins <= {RangeOrigin.SAVED}
        else "whether a range was measured, stated or read from a parameter"
    )


def _provenance(saved: SavedRanges) -> str | None:
    if saved.provenance is None:
        return None
    return (
        "where the file comes from (fingerprint of the model, scheme, options, frames), so that it "
        "can no longer be refused for another model"
    )


def _layers(count: int) -> str:
    return f"{count} layer{'s' if count > 1 else ''}"
