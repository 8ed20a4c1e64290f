"""The integer network over a fixed set of frames, stage by stage, with biases that can change."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidlq._core import FrameStepper
from tidlq.errors import ModelError
from tidlq.float_runtime import FloatSession, open_float_session, refusal_reason
from tidlq.graph.layers import Layer
from tidlq.graph.model import Graph
from tidlq.graph.parameters import layer_parameters
from tidlq.graph.partition import Partition, Stage, StageKind
from tidlq.lowering.island import build_island
from tidlq.lowering.lower import lower_stage
from tidlq.lowering.network_file import pack_network
from tidlq.paging import give_back_freed_memory, page_out
from tidlq.spec import ParameterQuant, QuantPlan, bias_integers

Array = NDArray[np.generic]
Float64 = NDArray[np.float64]

_DEFORMABLE = "deformable_convolution"
_WEIGHTED_OPERATORS = ("convolution", "transposed_convolution", "inner_product", _DEFORMABLE)


@dataclass(frozen=True, eq=False)
class WeightedLayer:
    """A layer whose bias can be corrected.

    Attributes:
        layer: the layer.
        index: of its Network's layers.
        weight: integers [C_out, ...] of the Network.
        steps: float64 [C_out]. Real value of one unit of the accumulator.
        limits: float64 [C_out]. Largest |bias| that leaves the plan as it is.
        quant: of the weight.
        input_scale: of the layer's input.
        output_step: of the layer's output.
        bits: of the stored bias.
        is_sampled: a deformable convolution, to whose real sums the bias is added as it is.
    """

    layer: Layer
    index: int
    weight: NDArray[np.number]
    steps: Float64
    limits: Float64
    quant: ParameterQuant
    input_scale: float
    output_step: float
    bits: int
    is_sampled: bool = False

    def stored(self, bias: Float64) -> NDArray[np.number]:
        """What the Network holds of a bias in real units: integers, or steps of the output."""
        if self.is_sampled:
            return np.asarray(bias.astype(np.float32) / np.float64(self.output_step))
        return bias_integers(bias, self.quant, self.input_scale, self.bits)

    def set_bias(self, stepper: FrameStepper, stored: NDArray[np.number]) -> None:
        """Gives the layer another bias, as the Network holds it."""
        change = stepper.set_shift if self.is_sampled else stepper.set_bias
        change(self.index, stored.tolist())


Visit = Callable[[WeightedLayer, FrameStepper], None]
"""Called before each layer that can be corrected runs."""


class IntegerStages:
    """Everything of a plan that does not change while biases do.

    Args:
        graph: the canonical Graph.
        partition: its stages.
        plan: the decisions.
        threads: 0 means one per core; results do not depend on it.
    """

    def __init__(self, graph: Graph, partition: Partition, plan: QuantPlan, threads: int) -> None:
        self._stages = partition.stages
        self._threads = threads
        arrays: dict[str, Array] = {}
        places: dict[int, list[int]] = {}
        self._islands: dict[int, FloatSession] = {}
        for number, stage in enumerate(self._stages):
            if stage.kind is StageKind.FIXED:
                network = lower_stage(graph, stage, plan, f"stage_{number}")
                graph.rest_weights()
                arrays[_file_of(number)] = np.frombuffer(pack_network(network), np.uint8)
                # Weighted layers keep their order, whatever other layers lowering puts between.
                places[number] = [
                    index
                    for index, layer in enumerate(network.layers)
                    if layer.WhichOneof("op") in _WEIGHTED_OPERATORS
                ]
                del network
                arrays |= {layer.name: _integers(graph, plan, layer) for layer in _weighted(stage)}
            else:
                model = build_island(graph, stage, f"stage_{number}").SerializeToString()
                self._islands[number] = open_float_session(model, threads=threads)
        self._pages = page_out(arrays)
        self._arrays = arrays if self._pages is None else self._pages.arrays
        self.layers: dict[int, tuple[WeightedLayer, ...]] = {
            number: tuple(
                _described(plan, layer, place, self._arrays[layer.name])
                for layer, place in zip(_weighted(self._stages[number]), found, strict=True)
            )
            for number, found in places.items()
        }
        del arrays
        self.rest()
        graph.rest_weights()

    def rest(self) -> None:
        """Gives back what memory it can, until the next run."""
        if self._pages is not None:
            self._pages.rest()
        give_back_freed_memory()

    @property
    def weighted(self) -> tuple[WeightedLayer, ...]:
        """All layers whose bias can be corrected, in execution order."""
        return tuple(layer for layers in self.layers.values() for layer in layers)

    def run(
        self,
        inputs: Mapping[str, Array],
        biases: Mapping[str, NDArray[np.number]],
        visit: Visit | None = None,
    ) -> dict[str, Array]:
        """Runs all frames through all stages.

        Args:
            inputs: [frames, *shape] by name.
            biases: as the Network holds them, by layer, for those that differ from the plan's.
            visit: sees, and may set the bias of, each weighted layer before it runs.

        Returns:
            Every stage's outputs, [frames, *shape] by name; one array per frame where an island's
            output has a shape that depends on the data.

        Raises:
            ModelError: ONNX Runtime fails on an island.
        """
        values = dict(inputs)
        frames = len(next(iter(inputs.values())))
        for number, stage in enumerate(self._stages):
            if stage.kind is StageKind.FIXED:
                values |= self._run_fixed(number, stage, values, biases, visit)
            else:
                values |= _run_island(self._islands[number], stage, values, frames)
        self.rest()
        return values

    def _run_fixed(
        self,
        number: int,
        stage: Stage,
        values: Mapping[str, Array],
        biases: Mapping[str, NDArray[np.number]],
        visit: Visit | None,
    ) -> dict[str, Array]:
        arrays = [values[name] for name in stage.inputs]
        file = self._arrays[_file_of(number)].tobytes()
        stepper = FrameStepper(file, arrays, self._threads, once=True)
        del file
        self.rest()
        for weighted in self.layers[number]:
            given = biases.get(weighted.layer.name)
            if given is not None:
                weighted.set_bias(stepper, given)
        if visit is not None:
            for weighted in self.layers[number]:
                stepper.advance(weighted.index)
                visit(weighted, stepper)
        stepper.advance(len(stepper.layers))
        return dict(zip(stage.outputs, stepper.outputs(), strict=True))


def stage_inputs(
    graph: Graph, partition: Partition, plan: QuantPlan, frame: Mapping[str, Array]
) -> dict[str, Array]:
    """What every stage reads, and the outputs, of one frame: [1, *shape] by name.

    Args:
        graph: the canonical Graph.
        partition: its stages.
        plan: the decisions.
        frame: the network's inputs.

    Raises:
        ModelError: ONNX Runtime fails on an island.
    """
    inputs = {name: np.asarray(value)[None, ...] for name, value in frame.items()}
    return {**inputs, **IntegerStages(graph, partition, plan, 1).run(inputs, {})}


def _file_of(stage: int) -> str:
    """A name that no layer has: names of layers are not empty."""
    return f"{stage}\0"


def _weighted(stage: Stage) -> list[Layer]:
    return [layer for layer in stage.layers if layer.kind.has_output_channels]


def _integers(graph: Graph, plan: QuantPlan, layer: Layer) -> NDArray[np.signedinteger]:
    weight = plan.layers[layer.name].weight
    assert weight is not None, layer.name
    return weight.quantize(layer_parameters(graph, layer).weight)


def _described(plan: QuantPlan, layer: Layer, place: int, weight: NDArray[Any]) -> WeightedLayer:
    quant, scale = plan.layers[layer.name], plan.features[layer.inputs[0]].scale
    assert quant.weight is not None, layer.name
    is_sampled = not layer.kind.has_weight
    # What offsets are scaled by is in positions, not in values.
    factors = [plan.features[name].scale for name in layer.inputs[2:]] if is_sampled else []
    steps = np.asarray(quant.weight.scales, np.float64) * scale * math.prod(factors)
    # A real bias decides no scale.
    limits = np.inf if is_sampled else np.asarray(quant.largest_bias, np.float64)
    return WeightedLayer(
        layer,
        place,
        weight,
        np.broadcast_to(steps, (len(weight),)),
        np.broadcast_to(limits, (len(weight),)),
        quant.weight,
        scale,
        plan.features[layer.output].scale,
        quant.bias_bits,
        is_sampled,
    )


def _run_island(
    session: FloatSession, stage: Stage, values: Mapping[str, Array], frames: int
) -> dict[str, Array]:
    rows: list[list[Array]] = []
    for index in range(frames):
        feeds = {name: np.asarray(values[name][index]) for name in stage.inputs}
        try:
            rows.append(session.run(stage.outputs, feeds))
        except Exception as error:
            nodes = ", ".join(map(repr, stage.node_names))
            raise ModelError(
                f"ONNX Runtime cannot run the float layers {nodes}: {refusal_reason(error)}."
            ) from None
    columns = zip(*rows, strict=True)
    return {name: _joined(arrays) for name, arrays in zip(stage.outputs, columns, strict=True)}


def _joined(arrays: Sequence[Array]) -> Array:
    """[frames, *shape]; an array of objects for sequences, or shapes that depend on the data."""
    if all(isinstance(array, np.ndarray) for array in arrays):
        shapes = {array.shape for array in arrays}
        if len(shapes) == 1:
            return np.stack(arrays)
    joined = np.empty(len(arrays), np.object_)
    for index, array in enumerate(arrays):
        joined[index] = array
    return joined
