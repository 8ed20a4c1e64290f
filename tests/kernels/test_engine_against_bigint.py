"""The native engine equals the big-integer evaluation on every tensor, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oracle.bigint import evaluate, pack_file
from oracle.bigint.tensors import Array
from oracle.comparison import find_difference, first_difference, ordered_inputs
from oracle.networks import LAYER_KINDS, frames, networks, single_layers
from tidlq._core import Engine
from tidlq.lowering import network_pb2 as pb

THREAD_COUNTS = (1, 2, 5)
relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("kind", sorted(LAYER_KINDS))
@relaxed
@given(data=st.data())
def test_every_tensor_of_a_layer_equals_the_oracle(kind: str, data: st.DataObject) -> None:
    network = data.draw(single_layers(kind))
    assert first_difference(network, data.draw(frames(network))) is None


@relaxed
@given(data=st.data())
def test_every_tensor_of_a_chain_equals_the_oracle(data: st.DataObject) -> None:
    network = data.draw(networks())
    assert first_difference(network, data.draw(frames(network))) is None


@relaxed
@given(data=st.data(), count=st.integers(1, 5), threads=st.sampled_from(THREAD_COUNTS))
def test_run_on_several_frames_equals_the_oracle_on_each(
    data: st.DataObject, count: int, threads: int
) -> None:
    network = data.draw(networks())
    each = [data.draw(frames(network)) for _ in range(count)]
    stacked = _stack(network, each)
    engine = Engine(pack_file(network), threads)
    assert engine.threads == threads
    found = engine.run(stacked)
    expected = [evaluate(network, arrays) for arrays in each]
    names = [network.tensors[index].name for index in network.outputs]
    assert len(found) == len(names)
    for name, array in zip(names, found, strict=True):
        wanted = np.stack([tensors[name] for tensors in expected])
        assert find_difference(name, array, wanted) is None


@relaxed
@given(data=st.data())
def test_thread_count_does_not_change_a_byte(data: st.DataObject) -> None:
    network = data.draw(networks())
    stacked = _stack(network, [data.draw(frames(network)) for _ in range(3)])
    file = pack_file(network)
    results = [
        [array.tobytes() for array in Engine(file, threads).run(stacked)]
        for threads in THREAD_COUNTS
    ]
    assert results[0] == results[1] == results[2]


@relaxed
@given(data=st.data())
def test_second_run_equals_the_first(data: st.DataObject) -> None:
    network = data.draw(networks())
    first, second = data.draw(frames(network)), data.draw(frames(network))
    engine = Engine(pack_file(network), 1)
    assert first_difference(network, first, engine) is None
    assert first_difference(network, second, engine) is None
    assert first_difference(network, first, engine) is None


@relaxed
@given(data=st.data())
def test_engine_describes_its_tensors_as_the_network_does(data: st.DataObject) -> None:
    network = data.draw(networks())
    engine = Engine(pack_file(network))
    names = {1: "u8", 2: "s8", 3: "u16", 4: "s16", 5: "f32", 6: "s32", 7: "s64"}
    expected = [
        (t.name, names[t.element_type], tuple(t.shape), t.scale, t.zero_point)
        for t in network.tensors
    ]
    described = [(t.name, t.element_type, t.shape, t.scale, t.zero_point) for t in engine.tensors]
    assert described == expected
    assert [t.name for t in engine.inputs] == [expected[i][0] for i in network.inputs]
    assert [t.name for t in engine.outputs] == [expected[i][0] for i in network.outputs]


def _stack(network: pb.Network, each: list[dict[str, Array]]) -> list[Array]:
    per_frame = [ordered_inputs(network, arrays) for arrays in each]
    return [np.stack(arrays) for arrays in zip(*per_frame, strict=True)]
