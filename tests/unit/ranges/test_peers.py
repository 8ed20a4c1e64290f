"""Files of other tools fill a table by the names that tensors have in the model."""

from __future__ import annotations

from small_networks import SmallNetwork
from tidlq.quantproto.peers import PeerFile, PeerRange
from tidlq.ranges import RangeTable, Taken, model_names, take_ranges
from tidlq.spec import Range, RangeOrigin


def network() -> SmallNetwork:
    built = SmallNetwork(3)
    tensor = built.input(1, 3, 8, 8)
    tensor = built.conv(tensor, (4, 3, 3, 3), name="first")
    tensor = built.node("Relu", tensor, name="relu")
    tensor = built.node("MaxPool", tensor, name="pool", kernel_shape=[2, 2], strides=[2, 2])
    tensor = built.conv(tensor, (2, 4, 3, 3), name="second")
    built.node("Sigmoid", tensor, name="gate")
    return built


MODEL = network().model("gate_out")
W1, W2 = MODEL.graph.initializer[0].name, MODEL.graph.initializer[2].name


def taken(file: PeerFile, **options: object) -> tuple[RangeTable, Taken]:
    table = RangeTable(MODEL, options)
    return table, take_ranges(table, file)


def given(low: float, high: float) -> Range:
    return Range(low, high, RangeOrigin.SAVED)


def known(low: float, high: float, bits: int | None = None) -> PeerRange:
    return PeerRange(Range(low, high), bits=bits)


def test_features_and_parameters_are_found_by_their_names_in_the_model() -> None:
    file = PeerFile(
        "T",
        {"input0": known(-2, 2), "relu_out": known(0, 5, 16), "elsewhere": known(0, 1)},
        {W1: known(-0.5, 9)},
        left_out=("f (stays in float)",),
    )
    table, found = taken(file)
    own = RangeTable(MODEL)["first.weight"].range
    assert own is not None
    assert table["relu_out"].range == given(0, 5)
    assert table["relu_out"].bits == 16
    assert table["first.weight"].range == given(-0.5, own.max)
    assert (found.features, found.parameters) == (2, 1)
    assert found.missing == ("second_out", "gate_out")
    assert found.unused == ("elsewhere",)
    assert [notice.split(":")[0] for notice in found.notices] == [
        "The file has no range for 2 tensors of it",
        "Nothing follows from 1 tensor of it",
        "The network has no use for 1 tensor of it",
    ]
    assert table.saved.layers_by_name["pool"].bit_depth == 16


def test_a_magnitude_begins_at_zero_where_the_network_cannot_be_negative() -> None:
    names = ("input0", "relu_out", "second_out", "gate_out")
    magnitudes = {name: known(-3, 3) for name in names}
    table, found = taken(PeerFile("T", magnitudes, is_magnitude=True))
    assert [table[name].range for name in names] == [
        given(-3, 3), given(0, 3), given(-3, 3), given(0, 1),
    ]  # fmt: skip
    assert "magnitudes only" in found.notices[0]
    assert found.missing == ()


def test_ranges_of_layers_that_hand_on_are_no_waste() -> None:
    _, found = taken(PeerFile("T", {"relu_out": known(0, 5), "pool_out": known(0, 4)}))
    assert found.unused == ()


def test_channels_lie_within_those_of_the_file() -> None:
    channels = tuple(Range(-0.25 * (i + 1), 100.0) for i in range(4))
    weight = PeerRange(Range(-1, 100), channels, 16)
    table, found = taken(PeerFile("T", {W1: weight, W2: weight}), channel_wise_quantization=1)
    own = RangeTable(MODEL).own_channels("first.weight")
    now = table.saved.layers_by_name["first"].weights
    assert found.parameters == 2
    assert table["first.weight"].bits == 16
    inside = [x.clipped(y) for x, y in zip(own, channels, strict=True)]
    assert now[0].channels == tuple(given(x.min, x.max) for x in inside)
    # Two channels there: four ranges do not fit, their union does.
    assert table.saved.layers_by_name["second"].weights[0].channels == ()


def test_names_of_parameters_in_the_model() -> None:
    assert model_names(RangeTable(MODEL)) == {
        "first.weight": W1,
        "first.bias": MODEL.graph.initializer[1].name,
        "second.weight": W2,
        "second.bias": MODEL.graph.initializer[3].name,
    }
