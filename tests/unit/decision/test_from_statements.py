"""Ranges and plans from statements: what is stated is kept, what is not is measured."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from small_networks import random_frame
from stated_networks import output_of, stated_chain, without
from tidlq.decision import Decision, decide, prepare
from tidlq.errors import DataError
from tidlq.graph.model import Graph
from tidlq.importers.frames import FrameSource, open_frames
from tidlq.spec import IntegerType, Requantization
from tidlq.target import Options

TYPE = "quantization_scale_type"


def frames_of(graph: Graph, outlier: float = 0.0) -> Callable[[], FrameSource]:
    frames = [random_frame(graph, seed) for seed in range(3)]
    for values in frames[0].values():
        values.flat[0] += outlier
    return lambda: open_frames(frames, graph.inputs, None, 20)


def no_frames() -> FrameSource:
    raise DataError("no frames")


def decided(
    graph: Graph, opener: Callable[[], FrameSource] = no_frames, **options: object
) -> Decision:
    parsed = Options.parse({"prequantized_model": 1, **options})
    has_data = opener is not no_frames
    prepared = prepare(graph, parsed, has_data=has_data)
    return decide(prepared, parsed, opener, 1, lambda *_: None, None, has_data=has_data)


def test_stated_features_need_no_data_and_are_the_plans() -> None:
    graph = stated_chain()
    found = decided(graph)
    assert found.frames == 0
    assert found.plan is not None
    assert graph.stated is not None
    assert found.plan.features == graph.stated.features
    assert found.plan.is_stated
    assert all(
        found.ranges.features[name] == quant.range for name, quant in graph.stated.features.items()
    )


@pytest.mark.parametrize("arithmetic", [Requantization.FLOAT, Requantization.TWICE_ROUNDED])
def test_kept_layers_have_the_models_arithmetic(arithmetic: Requantization) -> None:
    found = decided(stated_chain(requantization=arithmetic))
    assert found.plan is not None
    assert {quant.requantization for quant in found.plan.layers.values()} == {arithmetic}


@pytest.mark.parametrize(("scale_type", "name"), [(0, "type 0"), (1, "type 1")])
def test_converted_scales_hold_the_stated_ranges(scale_type: int, name: str) -> None:
    graph = stated_chain()
    found = decided(graph, **{TYPE: scale_type})
    assert found.plan is not None
    assert graph.stated is not None
    assert not found.plan.is_stated
    assert name in found.plan.scheme.name
    for tensor, quant in found.plan.features.items():
        own, new = graph.stated.features[tensor].range, quant.range
        assert quant.zero_point == 0
        # The greatest code stands for the end of the range or more, a rounding aside.
        assert new.max >= own.max - quant.scale
        assert new.min <= own.min + quant.scale


def test_what_is_not_stated_is_measured_and_nothing_else_moves() -> None:
    graph = stated_chain(4)
    missing = output_of(graph, "conv1")
    partial = without(graph, missing)
    found = decided(partial, frames_of(partial))
    assert found.frames == 3
    assert found.plan is not None
    assert partial.stated is not None
    kept = {n: quant for n, quant in found.plan.features.items() if n != missing}
    assert kept == partial.stated.features
    quant = found.plan.features[missing]
    assert quant.type == IntegerType(8, signed=False)
    measured = found.ranges.features[missing]
    assert quant.range.max == pytest.approx(measured.max, abs=quant.scale)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_measured_range_follows_the_accuracy_level(level: int) -> None:
    graph = stated_chain(4)
    missing = output_of(graph, "conv1")
    partial = without(graph, missing)
    frames = frames_of(partial, outlier=8)
    found = decided(partial, frames, accuracy_level=level).ranges.features[missing]
    extremes = decided(partial, frames, accuracy_level=2).ranges.features[missing]
    assert found.max <= extremes.max
    assert (found == extremes) == (level == 2)


def test_calibration_without_frames_is_an_error_of_the_data() -> None:
    graph = stated_chain(4)
    missing = output_of(graph, "conv1")
    options = Options.parse({"prequantized_model": 1})
    prepared = prepare(without(graph, missing), options, has_data=True)
    with pytest.raises(DataError, match="no frames"):
        decide(prepared, options, no_frames, 1, lambda *_: None, None, has_data=True)


def test_the_same_statements_give_the_same_proto() -> None:
    first, second = (decided(stated_chain(), **{TYPE: 1}) for _ in range(2))
    assert first.quant_params == second.quant_params
    assert b"conv1" in first.quant_params


def test_a_layer_in_float_has_no_place_in_the_plan() -> None:
    found = decided(without(stated_chain(), "w1"))
    assert found.plan is not None
    assert set(found.plan.layers) == {"conv0", "conv2"}


def test_bits_of_listed_layers_alone_change() -> None:
    graph = stated_chain()
    found = decided(graph, output_feature_16bit_names_list="conv1")
    assert found.plan is not None
    bits = {name: quant.type.bits for name, quant in found.plan.features.items()}
    assert bits[output_of(graph, "conv1")] == 16
    assert sorted(bits.values()) == [8, 8, 8, 16]
