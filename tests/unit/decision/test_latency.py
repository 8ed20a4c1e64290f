"""Latency models as the options name them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tidlq
from small_networks import SmallNetwork, parts_of
from tidlq.decision.latency import latency_model
from tidlq.precision.work import layer_work
from tidlq.target import LayerBits, Options

NET = SmallNetwork()
GRAPH = NET.graph(
    NET.conv(NET.conv(NET.input(1, 3, 16, 16), (8, 3, 3, 3), name="a"), (8, 8, 3, 3), name="b")
)
PARTS = parts_of(GRAPH)
FIRST, SECOND = layer_work(GRAPH, PARTS)
NARROW, DEEP, WIDE = (LayerBits((i,), p, i) for i, p in ((8, 8), (8, 16), (16, 16)))


def test_the_device_of_the_options_gives_the_model() -> None:
    model = latency_model(Options.parse({"device": "AM62A"}), PARTS)
    assert model.name == "model of AM62A"
    assert latency_model(Options(), PARTS).name == "model of AM68A"
    assert model.layer_cost(SECOND, NARROW) < model.layer_cost(SECOND, WIDE)


def test_measured_cycles_replace_the_model_where_there_are_some(tmp_path: Path) -> None:
    path = tmp_path / "cycles.csv"
    path.write_text("layer,8x8,8x16,16x16\na_out,1e6,,4e6\n")
    options = Options.parse({"cost_model": str(path)})
    model, device = latency_model(options, PARTS), latency_model(Options(), PARTS)
    assert model.name == "measured cycles of 1 of 2 layers (cycles.csv)"
    assert model.layer_cost(FIRST, NARROW) == 1.0
    assert model.layer_cost(FIRST, WIDE) == 4.0
    growth = device.layer_cost(FIRST, DEEP) / device.layer_cost(FIRST, NARROW)
    assert model.layer_cost(FIRST, DEEP) == pytest.approx(growth)
    assert model.layer_cost(SECOND, WIDE) == device.layer_cost(SECOND, WIDE)


def test_cycles_of_another_network_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "cycles.csv"
    path.write_text("layer,8x8\nother,5\n")
    with pytest.raises(tidlq.OptionError, match="1 rows name none of the network's layers"):
        latency_model(Options.parse({"cost_model": str(path)}), PARTS)


def test_times_of_this_machine_are_a_model() -> None:
    options = Options.parse({"cost_model": "host"})
    model = latency_model(options, PARTS, lambda: {"a": (1e-3, 2e-3, 3e-3)})
    assert model.name == "measured on this machine"
    found = [model.layer_cost(FIRST, bits) for bits in (NARROW, DEEP, WIDE)]
    assert found == pytest.approx([1, 2, 3])
    device = latency_model(Options(), PARTS)
    assert model.layer_cost(SECOND, WIDE) == device.layer_cost(SECOND, WIDE)


def test_a_choice_can_go_by_times_of_this_machine() -> None:
    rng = np.random.default_rng(0)
    frames = [{"input0": rng.normal(size=(1, 3, 16, 16)).astype(np.float32)} for _ in range(8)]
    options = {"cost_model": "host", "mixed_precision_factor": 1.5}
    compiled = tidlq.compile(NET.model("b_out"), frames, options)
    assert compiled.mixed is not None
    assert compiled.mixed.latency_model == "measured on this machine"
    assert compiled.mixed.factor <= 1.5
