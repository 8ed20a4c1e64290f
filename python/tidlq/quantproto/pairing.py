"""Which tensors of two quantization protos are the same one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tidlq.quantproto.model import SavedLayer, SavedTensor


@dataclass(frozen=True)
class TensorPair:
    """A tensor as two files have it.

    Attributes:
        role: what it is to its layer: "outputs", "weights", "bias", "slope".
        name: as messages name it: its own name, or role and position.
        first, second: what the files state; None where one does not have it.
    """

    role: str
    name: str
    first: SavedTensor | None
    second: SavedTensor | None


def tensor_name(tensor: SavedTensor, role: str, position: int) -> str:
    """A tensor as messages name it: its own name, or role and position where it has none."""
    return tensor.name or f"{role}[{position}]"


def pair_tensors(first: SavedLayer, second: SavedLayer) -> Iterator[TensorPair]:
    """Pairs the tensors of a layer: by name where both have one, else by their place."""
    for role, tensors in first.roles.items():
        others = list(second.roles[role])
        left = dict(enumerate(others))
        for position, tensor in enumerate(tensors):
            at = _partner(tensor, position, left)
            other = left.pop(at) if at is not None else None
            name = tensor.name or (other.name if other is not None else "")
            yield TensorPair(role, name or f"{role}[{position}]", tensor, other)
        for position, other in left.items():
            yield TensorPair(role, tensor_name(other, role, position), None, other)


def _partner(tensor: SavedTensor, position: int, left: dict[int, SavedTensor]) -> int | None:
    if tensor.name:
        for at, other in left.items():
            if other.name == tensor.name:
                return at
    other_here = left.get(position)
    if other_here is None or (tensor.name and other_here.name):
        return None
    return position
