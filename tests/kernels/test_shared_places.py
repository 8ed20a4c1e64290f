"""Tensors that live inside others hold what they would hold in memory of their own."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from oracle.networks import NetworkBuilder
from tidlq._core import Engine
from tidlq.lowering import network_pb2 as pb
from tidlq.lowering.network_file import pack_network

FRAMES = 2
COLUMNS = 3
TYPES = {np.uint8: pb.ELEMENT_TYPE_U8, np.int16: pb.ELEMENT_TYPE_S16}


@dataclass
class Moves:
    """A network that moves rows and looks elements up, and what NumPy says of each tensor."""

    data: st.DataObject
    dtype: type[np.generic]
    net: NetworkBuilder = field(default_factory=NetworkBuilder)
    values: dict[int, np.ndarray] = field(default_factory=dict)

    def pick(self, low: int, high: int) -> int:
        return self.data.draw(st.integers(low, high))

    def start(self) -> None:
        shape = (self.pick(1, 3), COLUMNS)
        index = self.net.input(TYPES[self.dtype], shape)
        info = np.iinfo(self.dtype)
        rng = np.random.default_rng(self.pick(0, 99))
        array = rng.integers(info.min, info.max + 1, (FRAMES, *shape))
        self.values[index] = array.astype(self.dtype)

    def add(self, inputs: list[int], value: np.ndarray, **op: object) -> None:
        index = self.net.feature(TYPES[self.dtype], value.shape[1:])
        self.net.layer(inputs, index, **op)
        self.values[index] = value

    def look_up(self, source: int) -> None:
        info = np.iinfo(self.dtype)
        table = np.roll(np.arange(info.min, info.max + 1), len(self.values)).astype(self.dtype)
        value = table[self.values[source].astype(np.int64) - info.min]
        self.add([source], value, lookup=pb.Lookup(value=table.tolist()))

    def cut(self, source: int) -> None:
        rows = self.values[source].shape[1]
        first = self.pick(0, rows - 1)
        last = self.pick(first + 1, rows)
        move = pb.Slice(start=[first, 0], step=[1, 1])
        self.add([source], self.values[source][:, first:last], slice=move)

    def join(self, *sources: int) -> None:
        value = np.concatenate([self.values[source] for source in sources], axis=1)
        self.add(list(sources), value, concat=pb.Concat(axis=0))

    def grow(self) -> None:
        tensors = sorted(self.values)
        source, other = (tensors[self.pick(0, len(tensors) - 1)] for _ in range(2))
        kind = self.pick(0, 5)
        if kind == 0:
            self.add([source], self.values[source], reshape=pb.Reshape())
        elif kind == 1:
            self.cut(source)
        elif kind <= 3 and self.values[source].shape[1] < 64:
            self.join(source, other)
        else:
            self.look_up(source)


@given(st.data(), st.sampled_from(sorted(TYPES, key=str)))
def test_a_network_of_moves_computes_what_numpy_does(
    data: st.DataObject, dtype: type[np.generic]
) -> None:
    moves = Moves(data, dtype)
    moves.start()
    for _ in range(moves.pick(1, 9)):
        moves.grow()
    network = moves.net.finish([len(moves.values) - 1])
    engine = Engine(pack_network(network), threads=1)
    results = engine.run([moves.values[0]])
    for index, result in zip(network.outputs, results, strict=True):
        np.testing.assert_array_equal(result, moves.values[index])
