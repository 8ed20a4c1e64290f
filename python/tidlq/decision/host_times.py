"""Times of layers on this machine, measured with the engine."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from tidlq._core import FrameStepper
from tidlq.calibration import stage_inputs
from tidlq.graph.model import Graph
from tidlq.graph.partition import Partition, StageKind
from tidlq.lowering.lower import lower_stage
from tidlq.lowering.network_file import pack_network
from tidlq.spec import QuantPlan

REPEATS = 7
"""Runs of which the fastest counts, layer by layer."""

Array = NDArray[np.generic]


def layer_seconds(
    graph: Graph, partition: Partition, plan: QuantPlan, frame: Mapping[str, Array]
) -> dict[str, float]:
    """Seconds that each fixed-point layer takes for one frame with one thread.

    What lowering puts in front of a layer, a change of layout, counts as its own.

    Args:
        graph: the canonical Graph.
        partition: its stages.
        plan: of the network.
        frame: the network's inputs.

    Raises:
        ModelError: ONNX Runtime fails on an island.
    """
    known = {layer.name for layer in partition.layers}
    values = stage_inputs(graph, partition, plan, frame)
    found: dict[str, float] = {}
    for number, stage in enumerate(partition.stages):
        if stage.kind is not StageKind.FIXED:
            continue
        file = pack_network(lower_stage(graph, stage, plan, f"stage_{number}"))
        arrays = [values[name] for name in stage.inputs]
        names = FrameStepper(file, arrays, 1).layers
        least = np.min([_run(file, arrays, len(names)) for _ in range(REPEATS)], axis=0)
        waiting = 0.0
        for name, seconds in zip(names, least.tolist(), strict=True):
            waiting += seconds
            if name in known:
                found[name], waiting = found.get(name, 0.0) + waiting, 0.0
    return found


def _run(file: bytes, arrays: list[Array], count: int) -> list[float]:
    """Seconds of each layer of a Network."""
    stepper = FrameStepper(file, arrays, 1)
    seconds: list[float] = []
    for index in range(count):
        started = time.perf_counter()
        stepper.advance(index + 1)
        seconds.append(time.perf_counter() - started)
    return seconds
