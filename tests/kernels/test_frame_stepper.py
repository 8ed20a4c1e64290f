"""FrameStepper: the engine's results layer by layer, sums of inputs, biases changed on the way."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from types import FrameType

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tidlq
from oracle.accumulators import accumulators
from oracle.bigint import evaluate, pack_file, unpack_file
from oracle.bigint.deformable import samples
from oracle.bigint.tensors import Array
from oracle.comparison import find_difference, ordered_inputs
from oracle.networks import frames, networks, single_layers
from oracle.real_models import CALIBRATION_FRAMES, REAL_MODELS
from tidlq._core import Engine, FrameStepper, WindowSums, isa_available
from tidlq.errors import ArtifactError, DataError, OptionError
from tidlq.lowering import network_pb2 as pb

relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
any_network = st.one_of(
    single_layers("convolution"), single_layers("inner_product"), networks(), networks()
)


def weighted(network: pb.Network) -> list[int]:
    """Indices of the layers with a bias."""
    kinds = ("convolution", "inner_product")
    return [i for i, layer in enumerate(network.layers) if layer.WhichOneof("op") in kinds]


def bias_of(layer: pb.Layer) -> list[int]:
    return list((layer.convolution if layer.HasField("convolution") else layer.inner_product).bias)


def stack(network: pb.Network, each: list[dict[str, Array]]) -> list[Array]:
    per_frame = [ordered_inputs(network, arrays) for arrays in each]
    return [np.stack(arrays) for arrays in zip(*per_frame, strict=True)]


def bytes_of(arrays: list[Array]) -> list[tuple[tuple[int, ...], bytes]]:
    return [(array.shape, array.tobytes()) for array in arrays]


@pytest.fixture(scope="module")
def demo(request: pytest.FixtureRequest) -> tuple[bytes, list[Array]]:
    """The demo's Network and unseen frames for it."""
    path, samples = REAL_MODELS["fmnist"].load(request)
    compiled = tidlq.compile(path, samples[:CALIBRATION_FRAMES], {"accuracy_level": 0})
    (stage,) = compiled.artifacts.stages
    unseen = samples[CALIBRATION_FRAMES:] * 3
    return stage.content, [np.stack([frame[name] for frame in unseen]) for name in stage.inputs]


@relaxed
@given(data=st.data(), count=st.integers(1, 4), threads=st.sampled_from((1, 3)))
def test_all_steps_together_equal_the_oracle(data: st.DataObject, count: int, threads: int) -> None:
    network = data.draw(any_network)
    each = [data.draw(frames(network)) for _ in range(count)]
    stepper = FrameStepper(pack_file(network), stack(network, each), threads)
    assert stepper.layers == [layer.name for layer in network.layers]
    expected = [evaluate(network, arrays) for arrays in each]
    for position, layer in enumerate(network.layers):
        stepper.advance(position + 1)
        for index in (layer.output, *layer.inputs):
            name = network.tensors[index].name
            wanted = np.stack([tensors[name] for tensors in expected])
            assert find_difference(name, stepper.tensor(name), wanted) is None
    for index, found in zip(network.outputs, stepper.outputs(), strict=True):
        name = network.tensors[index].name
        wanted = np.stack([tensors[name] for tensors in expected])
        assert find_difference(name, found, wanted) is None


@relaxed
@given(data=st.data(), count=st.integers(1, 3))
def test_input_sums_give_the_sums_of_all_accumulators(data: st.DataObject, count: int) -> None:
    network = data.draw(any_network)
    each = [data.draw(frames(network)) for _ in range(count)]
    start = data.draw(st.integers(0, count))
    stepper = FrameStepper(pack_file(network), stack(network, each), 2)
    for index in weighted(network):
        stepper.advance(index)
        features = stepper.tensor(network.tensors[network.layers[index].inputs[0]].name)
        expected = accumulators(network, network.layers[index], features[start:])
        assert summed(network, stepper, index, start, count) == expected.sum(axis=0).tolist()
        assert len(expected) == (count - start) * stepper.output_positions(index)


def summed(
    network: pb.Network, stepper: FrameStepper, index: int, start: int, stop: int
) -> list[int]:
    """Sums of a layer's accumulators per output channel, from the sums of its input."""
    layer = network.layers[index]
    op = layer.convolution if layer.HasField("convolution") else layer.inner_product
    tensor = network.tensors[op.weight]
    dtype = "<i1" if tensor.element_type == pb.ELEMENT_TYPE_S8 else "<i2"
    weight = np.frombuffer(tensor.constant, dtype).reshape(tuple(tensor.shape)).astype(np.int64)
    sums = stepper.input_sums(index, start, stop)
    assert sums.dtype == np.int64
    groups = layer.convolution.groups if layer.HasField("convolution") else 1
    width = weight.shape[-1]
    terms = [
        int((weight[o] * sums[..., g * width : (g + 1) * width]).sum())
        for g in range(groups)
        for o in range(g * len(weight) // groups, (g + 1) * len(weight) // groups)
    ]
    n = (stop - start) * stepper.output_positions(index)
    return [n * b + term for b, term in zip(stepper.bias(index), terms, strict=True)]


@relaxed
@given(data=st.data(), count=st.integers(1, 3), threads=st.sampled_from((1, 3)))
def test_sample_sums_are_those_of_what_deformed_weights_meet(
    data: st.DataObject, count: int, threads: int
) -> None:
    network = data.draw(single_layers("deformable_convolution"))
    each = [data.draw(frames(network)) for _ in range(count)]
    start = data.draw(st.integers(0, count))
    stepper = FrameStepper(pack_file(network), stack(network, each), threads)
    sums = stepper.sample_sums(0, start, count)
    assert sums.dtype == np.float64
    layer = network.layers[0]
    sources = [network.tensors[index] for index in layer.inputs]
    places = network.tensors[layer.output].shape[1:3]
    wanted = np.zeros_like(sums)
    for arrays in each[start:]:
        xs = [arrays[tensor.name] for tensor in sources]
        kernel = (sums.shape[0], sums.shape[1])
        seen = samples(layer.deformable_convolution, xs, sources, kernel, places)
        part = np.zeros_like(sums)
        for position in seen.reshape(-1, *sums.shape):
            part += position
        wanted += part
    assert np.array_equal(sums, wanted)
    assert stepper.output_positions(0) == np.prod(places) * network.tensors[layer.output].shape[0]


@relaxed
@given(data=st.data())
def test_a_changed_shift_is_that_of_a_network_with_it(data: st.DataObject) -> None:
    network = data.draw(single_layers("deformable_convolution"))
    arrays = data.draw(frames(network))
    output = network.tensors[network.layers[0].output]
    stepper = FrameStepper(pack_file(network), stack(network, [arrays]), 1, once=True)
    channels = st.sampled_from([1, output.shape[-1]])
    shift = [0.37 * n - 3 for n in range(data.draw(channels))]
    stepper.set_shift(0, shift)
    stepper.advance(1)
    del network.layers[0].deformable_convolution.shift[:]
    network.layers[0].deformable_convolution.shift.extend(shift)
    wanted = evaluate(network, arrays)[output.name]
    assert np.array_equal(stepper.outputs()[0][0], wanted)


@pytest.mark.parametrize(
    ("shift", "found"),
    [([0.0] * 3, "has 3 entries"), ([0.0, float("nan")], r"shift\[1\] is NaN")],
)
def test_a_shift_that_is_not_allowed_is_refused(shift: list[float], found: str) -> None:
    network, arrays = deformable_network()
    stepper = FrameStepper(pack_file(network), stack(network, [arrays]), 1)
    with pytest.raises(OptionError, match=found):
        stepper.set_shift(0, shift)
    with pytest.raises(OptionError, match="neither a convolution nor an inner product"):
        stepper.bias(0)


def deformable_network() -> tuple[pb.Network, dict[str, Array]]:
    """One layer of a single tap and two output channels."""
    network = pb.Network(name="deformed")
    kind = {"element_type": pb.ELEMENT_TYPE_S8, "scale": 0.5}
    constant = np.array([1, -2], np.int8).tobytes()
    network.tensors.add(name="x", shape=[1, 2, 2, 1], **kind)
    network.tensors.add(name="offsets", shape=[1, 2, 2, 2], **kind)
    network.tensors.add(name="weight", shape=[2, 1, 1, 1], constant=constant, **kind)
    network.tensors.add(name="y", shape=[1, 2, 2, 2], **kind)
    layer = network.layers.add(name="layer", inputs=[0, 1], output=3).deformable_convolution
    layer.weight, layer.groups, layer.offset_groups = 2, 1, 1
    layer.stride[:], layer.dilation[:], layer.pad[:] = [1, 1], [1, 1], [0, 0]
    layer.gain[:], layer.shift[:] = [1.0], [0.0]
    layer.clamp_min, layer.clamp_max = -128, 127
    network.inputs[:], network.outputs[:] = [0, 1], [3]
    return network, {
        "x": np.arange(4, dtype=np.int8).reshape(1, 2, 2, 1),
        "offsets": np.ones((1, 2, 2, 2), np.int8),
    }


@relaxed
@given(data=st.data())
def test_window_sums_of_a_float_layout_equal_those_of_the_network(data: st.DataObject) -> None:
    network = data.draw(single_layers("convolution"))
    layer = network.layers[0].convolution
    source = network.tensors[network.layers[0].inputs[0]]
    output = network.tensors[network.layers[0].output]
    stepper = FrameStepper(pack_file(network), stack(network, [data.draw(frames(network))]), 1)
    features = stepper.tensor(source.name)[0].astype(np.float32) - source.zero_point
    skip = 4 - features.ndim
    window = WindowSums(
        list(network.tensors[layer.weight].shape)[1 + skip : 3],
        list(layer.stride)[skip:],
        list(layer.dilation)[skip:],
        list(layer.pad)[skip:],
        list(output.shape)[1:-1],
    )
    window.update(np.moveaxis(features, -1, 1))
    sums = stepper.input_sums(0, 0, 1)
    np.testing.assert_array_equal(
        window.sums.reshape(len(window.sums), *sums.shape[:2]), np.moveaxis(sums, -1, 0)
    )
    assert window.positions == stepper.output_positions(0)


@relaxed
@given(data=st.data(), threads=st.sampled_from((1, 3)))
def test_a_set_bias_is_that_of_a_network_lowered_with_it(data: st.DataObject, threads: int) -> None:
    network = data.draw(any_network)
    each = [data.draw(frames(network)) for _ in range(2)]
    inputs = stack(network, each)
    stepper = FrameStepper(pack_file(network), inputs, threads)
    edges = st.sampled_from([0, 1, -1, 1 << 20, -(1 << 31), 1 << 47, -(1 << 47)])
    for index in weighted(network):
        stepper.advance(index)
        old = bias_of(network.layers[index])
        assert stepper.bias(index) == old
        bias = data.draw(st.lists(edges, min_size=len(old), max_size=len(old)))
        stepper.set_bias(index, bias)
        layer = network.layers[index]
        op = layer.convolution if layer.HasField("convolution") else layer.inner_product
        op.bias[:] = bias
        assert stepper.bias(index) == bias
    stepper.advance(len(stepper.layers))
    expected = Engine(pack_file(network), 1).run(inputs)
    assert bytes_of(stepper.outputs()) == bytes_of(expected)
    stepper.restart()
    stepper.advance(len(stepper.layers))
    assert bytes_of(stepper.outputs()) == bytes_of(expected)


@pytest.mark.parametrize("isa", isa_available())
@pytest.mark.parametrize("threads", [1, 3])
def test_a_real_network_ends_as_the_engine_does(
    demo: tuple[bytes, list[Array]], isa: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, inputs = demo
    expected = bytes_of(Engine(file, 1).run(inputs))
    monkeypatch.setenv("TIDLQ_ISA", isa)
    stepper = FrameStepper(file, inputs, threads)
    assert (stepper.frames, stepper.threads) == (len(inputs[0]), threads)
    assert stepper.frame_bytes == Engine(file, 1).feature_bytes > 0
    for _ in range(2):
        for layer in range(len(stepper.layers)):
            assert stepper.position == layer
            stepper.advance(layer + 1)
        assert bytes_of(stepper.outputs()) == expected
        stepper.restart()


def test_sums_of_a_real_network_are_those_of_its_accumulators(
    demo: tuple[bytes, list[Array]],
) -> None:
    file, inputs = demo
    network = unpack_file(file)
    stepper = FrameStepper(file, inputs, 2)
    layers = weighted(network)
    assert {network.layers[i].WhichOneof("op") for i in layers} == {"convolution", "inner_product"}
    for index in layers:
        stepper.advance(index)
        features = stepper.tensor(network.tensors[network.layers[index].inputs[0]].name)
        expected = accumulators(network, network.layers[index], features)
        assert summed(network, stepper, index, 0, len(features)) == expected.sum(axis=0).tolist()


def test_the_callers_arrays_may_change(demo: tuple[bytes, list[Array]]) -> None:
    file, inputs = demo
    copies = [array.copy() for array in inputs]
    stepper = FrameStepper(file, copies, 1)
    for array in copies:
        array[...] = 0
    stepper.advance(len(stepper.layers))
    assert bytes_of(stepper.outputs()) == bytes_of(Engine(file, 1).run(inputs))


@pytest.fixture
def stepper(demo: tuple[bytes, list[Array]]) -> FrameStepper:
    return FrameStepper(*demo, 1)


@pytest.mark.parametrize(
    ("bias", "found"),
    [
        ([0.5], "0.5 at entry 0"),
        ([1, 1 << 80], f"{1 << 80} at entry 1"),
        ([None], "None at entry 0"),
        (5, "of type int"),
        ([0], "1 entries"),
    ],
)
def test_a_bias_that_is_no_list_of_integers_is_refused(
    stepper: FrameStepper, bias: object, found: str
) -> None:
    index = weighted_layer(stepper)
    before = stepper.bias(index)
    with pytest.raises(OptionError) as error:
        stepper.set_bias(index, bias)  # type: ignore[arg-type]
    assert found in str(error.value)
    assert stepper.layers[index] in str(error.value)
    assert stepper.bias(index) == before


def test_a_bias_beyond_its_bound_is_refused(stepper: FrameStepper) -> None:
    index = weighted_layer(stepper)
    bias = stepper.bias(index)
    bias[-1] = -(1 << 47) - 1
    with pytest.raises(OptionError, match="allowed is -140737488355328 to 140737488355328"):
        stepper.set_bias(index, bias)


def test_an_array_of_integers_is_a_bias(stepper: FrameStepper) -> None:
    index = weighted_layer(stepper)
    bias = np.arange(len(stepper.bias(index)), dtype=np.int64)
    stepper.set_bias(index, bias)  # type: ignore[arg-type]
    assert stepper.bias(index) == bias.tolist()


def test_steps_that_are_not_possible_say_why(stepper: FrameStepper) -> None:
    layers, first = len(stepper.layers), weighted_layer(stepper)
    with pytest.raises(OptionError, match=f"network has {layers} layers"):
        stepper.advance(layers + 1)
    with pytest.raises(OptionError, match="Layer -1 does not exist"):
        stepper.bias(-1)
    with pytest.raises(OptionError, match="neither a convolution nor an inner product"):
        stepper.output_positions(0)
    with pytest.raises(OptionError, match="The outputs exist after all"):
        stepper.outputs()
    stepper.advance(first)
    for start, stop in [(0, 100), (-1, 1), (2, 1)]:
        with pytest.raises(OptionError, match=f"Frames {start} to {stop} are asked for"):
            stepper.input_sums(first, start, stop)
    stepper.advance(first + 1)
    with pytest.raises(OptionError, match="is not the next to run"):
        stepper.input_sums(first, 0, 1)
    with pytest.raises(OptionError, match=f"already stand before layer {first + 1}"):
        stepper.advance(first)


def test_frames_that_pass_once_have_the_same_sums_and_outputs(
    demo: tuple[bytes, list[Array]],
) -> None:
    file, inputs = demo
    kept, once = FrameStepper(file, inputs, 2), FrameStepper(file, inputs, 2, once=True)
    for index in weighted(unpack_file(file)):
        kept.advance(index)
        once.advance(index)
        frames = len(inputs[0])
        assert np.array_equal(kept.input_sums(index, 0, frames), once.input_sums(index, 0, frames))
        bias = [value + 3 for value in kept.bias(index)]
        kept.set_bias(index, bias)
        once.set_bias(index, bias)
    kept.advance(len(kept.layers))
    once.advance(len(once.layers))
    assert bytes_of(once.outputs()) == bytes_of(kept.outputs())
    with pytest.raises(OptionError, match="pass once"):
        once.restart()


def weighted_layer(stepper: FrameStepper) -> int:
    """The first layer with a bias."""
    for index in range(len(stepper.layers)):
        try:
            stepper.bias(index)
        except OptionError:
            continue
        return index
    raise AssertionError("no layer has a bias")


def test_a_tensor_that_is_not_there_is_refused(demo: tuple[bytes, list[Array]]) -> None:
    file, inputs = demo
    stepper = FrameStepper(file, inputs, 1)
    name = unpack_file(file).tensors[unpack_file(file).layers[0].output].name
    with pytest.raises(OptionError, match="not written yet, or reused"):
        stepper.tensor(name)
    with pytest.raises(OptionError, match=f"Did you mean '{name}'"):
        stepper.tensor(name + "x")
    stepper.advance(len(stepper.layers))
    with pytest.raises(OptionError, match="not written yet, or reused"):
        stepper.tensor(name)


class InterruptionError(Exception):
    """What the test's signal raises, where Python's own would be a KeyboardInterrupt."""


@pytest.fixture
def alarm() -> Iterator[list[bool]]:
    """A signal every 100 microseconds, which raises an error while the list is not empty."""
    armed: list[bool] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        if armed:
            raise InterruptionError

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 1e-4, 1e-4)
    yield armed
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no interval timers here")
def test_an_interrupted_advance_can_be_repeated(
    demo: tuple[bytes, list[Array]], alarm: list[bool]
) -> None:
    file, inputs = demo
    inputs = [np.repeat(array, 10, axis=0) for array in inputs]
    expected = bytes_of(Engine(file, 1).run(inputs))
    stepper = FrameStepper(file, inputs, 1)
    end, was_uneven = len(stepper.layers), False
    for _ in range(1000):
        stepper.restart()
        try:
            alarm.append(True)
            stepper.advance(end)
            alarm.clear()
        except InterruptionError:
            alarm.clear()
        was_uneven = was_uneven or is_uneven(stepper)
        stepper.advance(end)
        assert bytes_of(stepper.outputs()) == expected
        if was_uneven:
            return
    raise AssertionError("no advance was interrupted between two frames")


def is_uneven(stepper: FrameStepper) -> bool:
    """Whether the frames stand at different layers."""
    if stepper.position == len(stepper.layers):
        return False
    with pytest.raises(OptionError) as error:
        stepper.outputs()
    return "An interrupted advance left the frames at different layers" in str(error.value)


def test_inputs_and_files_are_checked_as_the_engine_does(demo: tuple[bytes, list[Array]]) -> None:
    file, inputs = demo
    with pytest.raises(ArtifactError, match="TIDLQNET"):
        FrameStepper(b"ONNX", inputs)
    with pytest.raises(DataError, match="0 input arrays"):
        FrameStepper(file, [])
    with pytest.raises(DataError, match="has shape"):
        FrameStepper(file, [inputs[0][..., :3]])
    with pytest.raises(OptionError, match="Threads is -1"):
        FrameStepper(file, inputs, -1)
