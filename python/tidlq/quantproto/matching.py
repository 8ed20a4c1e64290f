"""A saved proto against the network that is to be compiled from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tidlq.errors import QuantProtoError, nearest_names
from tidlq.quantproto.model import SavedLayer, SavedRanges, SavedTensor
from tidlq.spec import Precision, Range, Ranges

_SHOWN_MISSING = 20


@dataclass(frozen=True)
class ExpectedTensor:
    """A tensor that a network needs a range for.

    Attributes:
        name: the feature's name in the graph, or the parameter's `spec.parameter_name`.
        values: number of elements that the proto must state; 0 for all but biases.
        channels: number of output channels of a weight, 0 for all else. A proto that states channel
            ranges must state this many; one that states none leaves them to the weights.
        is_optional: the proto may leave it out: the bias of a layer without one of its own, the
            range of an output that may stay float32.
    """

    name: str
    values: int = 0
    channels: int = 0
    is_optional: bool = False


@dataclass(frozen=True)
class ExpectedLayer:
    """A layer that a network needs ranges for, with its tensors in the proto's order."""

    name: str
    outputs: tuple[ExpectedTensor, ...]
    weights: tuple[ExpectedTensor, ...] = ()
    bias: tuple[ExpectedTensor, ...] = ()
    slope: tuple[ExpectedTensor, ...] = ()

    @property
    def channels(self) -> int:
        """Output channels of the layer's weight; 0 where it has none."""
        return max((weight.channels for weight in self.weights), default=0)

    @property
    def roles(self) -> Mapping[str, tuple[ExpectedTensor, ...]]:
        """The layer's tensors by what they are to it."""
        return {
            "outputs": self.outputs,
            "weights": self.weights,
            "bias": self.bias,
            "slope": self.slope,
        }


@dataclass(frozen=True)
class SavedDecisions:
    """What calibration decided, as a saved proto repeats it.

    Attributes:
        ranges: of every feature and parameter that the network needs.
        values: elements in real units of the parameters that need them, by name.
        precision: bits of every feature and of the parameters of every layer.
    """

    ranges: Ranges
    values: Mapping[str, tuple[float, ...]]
    precision: Precision = field(default_factory=Precision)


def is_of_model(saved: SavedRanges, fingerprint: str) -> bool:
    """Whether a proto was written for a graph; one without provenance does not say and passes.

    Args:
        saved: contents of the proto.
        fingerprint: SHA-256 (hex) of the graph.
    """
    return saved.provenance is None or saved.provenance.graph_fingerprint in ("", fingerprint)


def find_missing(saved: SavedRanges, expected: Sequence[ExpectedLayer]) -> list[str]:
    """Returns what a network needs and the proto does not state, one phrase each."""
    return [line for layer in expected for line in _missing_of(saved, layer)]


def check_complete(saved: SavedRanges, expected: Sequence[ExpectedLayer], where: str) -> None:
    """Refuses a proto that lacks something that a network needs.

    Args:
        saved: contents of the proto.
        expected: everything that the network needs.
        where: names the proto in messages.

    Raises:
        QuantProtoError: The proto is incomplete; the message lists what is missing.
    """
    missing = find_missing(saved, expected)
    if missing:
        more = len(missing) - _SHOWN_MISSING
        tail = f"; and {more} more" if more > 0 else ""
        raise QuantProtoError(
            f"{where} cannot replace calibration, it lacks "
            f"{'; '.join(missing[:_SHOWN_MISSING])}{tail}. With calibration data the missing "
            "ranges are found and the others kept."
        )


def resolve_ranges(saved: SavedRanges, expected: Sequence[ExpectedLayer]) -> SavedDecisions:
    """Returns the ranges of a network's tensors and the values of its biases, as far as stated.

    Layers are found by name; their tensors by name where the file has names, else by position.

    Args:
        saved: contents of the proto.
        expected: everything that the network needs.
    """
    features: dict[str, Range] = {}
    parameters: dict[str, Range] = {}
    channels: dict[str, Sequence[Range]] = {}
    values: dict[str, tuple[float, ...]] = {}
    for layer in expected:
        found = saved.layers_by_name.get(layer.name)
        if found is None:
            continue
        for role, needed, tensor in _pairs(found, layer):
            if tensor is None or tensor.range is None:
                continue
            (features if role == "outputs" else parameters)[needed.name] = tensor.range
            if tensor.channels and len(tensor.channels) == needed.channels:
                channels[needed.name] = tensor.channels
            if needed.values and len(tensor.values) == needed.values:
                values[needed.name] = tensor.values
    precision = saved_precision(saved, expected)
    return SavedDecisions(Ranges(features, parameters, channels), values, precision)


def saved_precision(saved: SavedRanges, expected: Sequence[ExpectedLayer]) -> Precision:
    """Returns the bits that a proto states for the features and parameters of a network.

    Args:
        saved: contents of the proto.
        expected: the network's layers; those that the proto does not have are left out.
    """
    features: dict[str, int] = {}
    parameters: dict[str, int] = {}
    for layer in expected:
        found = saved.layers_by_name.get(layer.name)
        if found is None:
            continue
        features |= {output.name: found.bit_depth for output in layer.outputs}
        parameters[layer.name] = found.parameter_bit_depth or found.bit_depth
    return Precision(features=features, parameters=parameters)


def _missing_of(saved: SavedRanges, layer: ExpectedLayer) -> Iterator[str]:
    found = saved.layers_by_name.get(layer.name)
    if found is None:
        yield f"layer {layer.name!r}.{nearest_names(layer.name, saved.layers_by_name)}".rstrip(".")
        return
    if found.equalization and len(found.equalization) != layer.channels:
        yield (
            f"{layer.channels} equalization factors of layer {layer.name!r} "
            f"(found {len(found.equalization)})"
        )
    for role, needed, tensor in _pairs(found, layer):
        where = f"layer {layer.name!r}, {role} {needed.name!r}"
        if needed.is_optional and (tensor is None or not tensor.values):
            continue
        if tensor is None:
            present = [item.name for item in found.roles[role] if item.name]
            hint = nearest_names(needed.name, present).rstrip(".")
            yield f"{where} (not in the file){hint and f'.{hint}'}"
            continue
        if tensor.range is None:
            yield f"the range of {where}"
        if needed.values and len(tensor.values) != needed.values:
            yield f"{needed.values} values of {where} (found {len(tensor.values)})"
        if tensor.channels and len(tensor.channels) != needed.channels:
            yield f"{needed.channels} channel ranges of {where} (found {len(tensor.channels)})"


def _pairs(
    found: SavedLayer, layer: ExpectedLayer
) -> Iterator[tuple[str, ExpectedTensor, SavedTensor | None]]:
    for role, tensors in layer.roles.items():
        candidates = found.roles[role]
        named = {candidate.name: candidate for candidate in candidates if candidate.name}
        for position, needed in enumerate(tensors):
            tensor = named.get(needed.name)
            if tensor is None and position < len(candidates) and not candidates[position].name:
                tensor = candidates[position]
            yield role, needed, tensor
