"""Single layers of a compiled network, fed with somebody else's integers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tidlq.engine import FixedStage
from tidlq.graph.layers import Layer
from tidlq.graph.model import Graph
from tidlq.graph.partition import Partition, Stage, StageKind
from tidlq.lowering.lower import lower_stage
from tidlq.lowering.network_file import pack_network
from tidlq.spec import FeatureQuant, QuantPlan

Integers = NDArray[np.integer]


@dataclass(frozen=True)
class Difference:
    """How far integers are from the expected ones.

    Attributes:
        elements: compared.
        equal: of them.
        within_one: of them, equal ones included.
        largest: difference, in steps.
    """

    elements: int = 0
    equal: int = 0
    within_one: int = 0
    largest: int = 0

    def __add__(self, other: Difference) -> Difference:
        return Difference(
            self.elements + other.elements,
            self.equal + other.equal,
            self.within_one + other.within_one,
            max(self.largest, other.largest),
        )


def compare(found: Integers, expected: Integers) -> Difference:
    """Counts differences of integers of one shape."""
    assert found.shape == expected.shape, (found.shape, expected.shape)
    steps = np.abs(found.astype(np.int64) - expected.astype(np.int64))
    return Difference(
        steps.size,
        int(np.count_nonzero(steps == 0)),
        int(np.count_nonzero(steps <= 1)),
        int(steps.max(initial=0)),
    )


def real_values(integers: Integers, quant: FeatureQuant) -> NDArray[np.float32]:
    """float32 values that quantize to exactly these integers."""
    steps = (integers.astype(np.int64) - quant.zero_point).astype(np.float32)
    return steps * np.float32(quant.scale)


def integers_of(values: NDArray[np.float32], quant: FeatureQuant) -> Integers:
    """The integers behind dequantized values."""
    steps = np.rint(values.astype(np.float64) / quant.scale).astype(np.int64)
    return steps + quant.zero_point


class LayerCut:
    """The layers between feature maps with known integers and the next one with known integers.

    Args:
        graph: the canonical Graph.
        plan: of the compilation.
        layers: in execution order; the last one's output is known.
        inputs: feature maps they read.
    """

    def __init__(
        self, graph: Graph, plan: QuantPlan, layers: tuple[Layer, ...], inputs: tuple[str, ...]
    ) -> None:
        self.layers, self.inputs, self.output = layers, inputs, layers[-1].output
        self._quants = plan.features
        stage = Stage(StageKind.FIXED, layers, (), inputs, (self.output,))
        network = lower_stage(graph, stage, plan, "cut")
        self._stage = FixedStage(pack_network(network), inputs, (self.output,), threads=1)

    @property
    def label(self) -> str:
        """Kinds of the layers."""
        return " + ".join(layer.kind.value for layer in self.layers)

    def run(self, integers: Mapping[str, Integers]) -> Integers:
        """The engine's integers of the output.

        Args:
            integers: [*shape] by feature map.
        """
        feeds = {
            name: real_values(integers[name], self._quants[name])[None] for name in self.inputs
        }
        values = self._stage.run(feeds)[self.output][0]
        return integers_of(np.asarray(values, np.float32), self._quants[self.output])


def cut_layers(
    graph: Graph, parts: Partition, plan: QuantPlan, known: Collection[str]
) -> list[LayerCut]:
    """A cut per layer whose output is known, with the layers before it whose outputs are not.

    Layers in whose past a network input or a float island is unknown have none.

    Args:
        graph: the canonical Graph.
        parts: its stages.
        plan: of the compilation.
        known: feature maps whose integers are at hand.
    """
    cuts: list[LayerCut] = []
    for stage in parts.stages:
        if stage.kind is not StageKind.FIXED:
            continue
        producers = {layer.output: layer for layer in stage.layers}
        for layer in stage.layers:
            if layer.output not in known:
                continue
            wanted, inputs = [layer], dict[str, None]()
            members = {layer.name}
            while wanted:
                for name in wanted.pop().inputs:
                    if graph.constant(name) is not None:
                        continue
                    if name in known or name not in producers:
                        inputs[name] = None
                    elif producers[name].name not in members:
                        members.add(producers[name].name)
                        wanted.append(producers[name])
            if all(name in known for name in inputs):
                layers = tuple(x for x in stage.layers if x.name in members)
                cuts.append(LayerCut(graph, plan, layers, tuple(inputs)))
    return cuts
