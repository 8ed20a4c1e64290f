"""Engine against oracle, tensor by tensor, bit by bit."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from oracle.bigint import evaluate, pack_file
from oracle.bigint.tensors import Array
from tidlq._core import Engine
from tidlq.lowering import network_pb2 as pb


def ordered_inputs(network: pb.Network, arrays: Mapping[str, Array]) -> list[Array]:
    """Arrays in the order of the Network's inputs."""
    return [arrays[network.tensors[index].name] for index in network.inputs]


def find_difference(name: str, found: Array, expected: Array) -> str | None:
    """What differs between two arrays, or None when dtype, shape and every bit agree."""
    if found.dtype != expected.dtype or found.shape != expected.shape:
        return (
            f"tensor {name!r} is {found.dtype}{found.shape}, "
            f"expected {expected.dtype}{expected.shape}"
        )
    unequal = _bits(found) != _bits(expected)
    if not unequal.any():
        return None
    first = tuple(int(i) for i in np.argwhere(unequal)[0])
    return (
        f"tensor {name!r} differs in {int(unequal.sum())} of {unequal.size} elements, first at "
        f"{first}: found {found[first]!r}, expected {expected[first]!r}"
    )


def _bits(array: Array) -> Array:
    return array.view(np.uint32) if array.dtype == np.float32 else array


def first_difference(
    network: pb.Network, arrays: Mapping[str, Array], engine: Engine | None = None
) -> str | None:
    """The first tensor on which engine and oracle disagree, in execution order, or None.

    Args:
        network: the integer program.
        arrays: one array per network input, by name.
        engine: an engine that has loaded the Network; one is made when not given.
    """
    engine = engine or Engine(pack_file(network))
    expected = evaluate(network, arrays)
    order = [*network.inputs, *(layer.output for layer in network.layers)]
    constants = [i for i, tensor in enumerate(network.tensors) if tensor.HasField("constant")]
    names = [network.tensors[i].name for i in (*order, *constants)]
    found = engine.trace(ordered_inputs(network, arrays), names)
    for name, array in zip(names, found, strict=True):
        difference = find_difference(name, array, expected[name])
        if difference:
            writer = [x.name for x in network.layers if network.tensors[x.output].name == name]
            return f"{difference} (layer {writer[0] if writer else None!r})"
    return None
