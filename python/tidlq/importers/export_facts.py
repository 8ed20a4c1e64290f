"""What a QDQ model of our own says in its metadata: facts about the network that no node states.

`tidlq export` writes them, the ONNX door reads them; importing an export then gives the Network
that was exported. Names that the Graph does not have are ignored: other software may have edited
the model.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from tidlq.errors import ModelError
from tidlq.spec import FeatureQuant, IntegerType, Requantization, StatedQuantization

_PREFIX = "tidlq."
SCHEME = f"{_PREFIX}scheme"
_REQUANTIZATION = f"{_PREFIX}requantization"
_FEATURES = f"{_PREFIX}features"
_UNROUNDED = f"{_PREFIX}unrounded"
_FLOAT_NODES = f"{_PREFIX}float_nodes"
_TYPES = {
    f"{'' if signed else 'u'}int{bits}": IntegerType(bits, signed=signed)
    for bits in (8, 16)
    for signed in (True, False)
}

_T = TypeVar("_T")


@dataclass(frozen=True)
class ExportFacts:
    """Facts beside the nodes.

    Attributes:
        requantization: arithmetic of the network.
        features: quantizations that no node states.
        unrounded: tensors that float readers see as they were before quantization.
        float_nodes: nodes that run in float.
    """

    requantization: Requantization
    features: Mapping[str, FeatureQuant] = field(default_factory=dict)
    unrounded: Set[str] = frozenset()
    float_nodes: Set[str] = frozenset()

    def to_properties(self, scheme: str) -> dict[str, str]:
        """Keys and values of a model's metadata.

        Args:
            scheme: the name of the network's scheme, for readers.
        """
        features = {
            name: [quant.type.dtype.name, quant.scale, quant.zero_point]
            for name, quant in sorted(self.features.items())
        }
        return {
            SCHEME: scheme,
            _REQUANTIZATION: self.requantization.value,
            _FEATURES: json.dumps(features),
            _UNROUNDED: json.dumps(sorted(self.unrounded)),
            _FLOAT_NODES: json.dumps(sorted(self.float_nodes)),
        }

    @classmethod
    def from_properties(cls, properties: Mapping[str, str]) -> ExportFacts | None:
        """Reads a model's metadata; None where it is not one of our exports.

        Raises:
            ModelError: A value is not what an export writes.
        """
        if _REQUANTIZATION not in properties:
            return None
        return cls(
            _read(properties, _REQUANTIZATION, Requantization),
            _read(properties, _FEATURES, _parse_features, "{}"),
            _read(properties, _UNROUNDED, _parse_names, "[]"),
            _read(properties, _FLOAT_NODES, _parse_names, "[]"),
        )

    def apply(
        self, stated: StatedQuantization, tensors: Iterable[str], nodes: Iterable[str]
    ) -> StatedQuantization:
        """Statements with these facts.

        Args:
            stated: what the model's nodes state.
            tensors: of the Graph.
            nodes: of the Graph.
        """
        known = frozenset(tensors)
        hidden = {name: quant for name, quant in self.features.items() if name in known}
        return replace(
            stated,
            features={**stated.features, **hidden},
            requantization=self.requantization,
            unrounded=known & self.unrounded,
            float_nodes=frozenset(nodes) & self.float_nodes,
            is_exported=True,
        )


def _read(
    properties: Mapping[str, str], key: str, parse: Callable[[str], _T], default: str = ""
) -> _T:
    text = properties.get(key, default)
    try:
        return parse(text)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        shown = text if len(text) <= 60 else f"{text[:60]}..."
        raise ModelError(
            f"metadata {key!r} is {shown!r}, which is not what tidlq writes."
        ) from None


def _parse_features(text: str) -> Mapping[str, FeatureQuant]:
    content = json.loads(text)
    if not isinstance(content, dict):
        raise TypeError
    return {name: _parse_quant(*entry) for name, entry in content.items()}


def _parse_quant(kind: str, scale: Any, zero_point: Any) -> FeatureQuant:
    type_ = _TYPES[kind]
    if not isinstance(zero_point, int) or not type_.lowest <= zero_point <= type_.highest:
        raise ValueError
    if not 0 < float(scale) < float("inf"):
        raise ValueError
    return FeatureQuant(type_, float(scale), zero_point)


def _parse_names(text: str) -> frozenset[str]:
    content = json.loads(text)
    if not isinstance(content, list) or not all(isinstance(name, str) for name in content):
        raise TypeError
    return frozenset(content)
