"""One operator twice: as a TFLite model, and as a Graph whose statements are the model's.

Feature maps of rank 4 and 3 are channels-last in the model and channels-first in the Graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from small_networks import SmallNetwork
from tflite_models import TfliteOperator, TfliteTensor, constant, run_reference, tflite_model
from tidlq.engine import FixedStage
from tidlq.graph.model import Graph
from tidlq.graph.partition import Stage, StageKind, partition
from tidlq.graph.recognition import find_layers
from tidlq.importers.onnx_model import import_onnx
from tidlq.lowering.lower import lower_stage
from tidlq.lowering.network_file import pack_network
from tidlq.precision.parameter_ranges import measure_parameters
from tidlq.precision.stated_plan import make_stated_plan, stated_scheme
from tidlq.spec import (
    FeatureQuant,
    IntegerType,
    Requantization,
    StatedParameter,
    StatedQuantization,
)

Array = NDArray[np.generic]
Integers = NDArray[np.int64]

TYPES = {
    np.dtype(np.int8): IntegerType(8, signed=True),
    np.dtype(np.uint8): IntegerType(8, signed=False),
    np.dtype(np.int16): IntegerType(16, signed=True),
}


def quant(dtype: type[np.generic], scale: float, zero_point: int = 0) -> FeatureQuant:
    """The quantization of a TFLite feature map; the scale is rounded to float32."""
    return FeatureQuant(TYPES[np.dtype(dtype)], float(np.float32(scale)), zero_point)


def _is_image(shape: Sequence[int]) -> bool:
    return len(shape) in (3, 4)


def channels_first(array: Array) -> Array:
    """From TFLite's order to the Graph's."""
    return np.moveaxis(array, -1, 1) if _is_image(array.shape) else array


def channels_last(array: Array) -> Array:
    """From the Graph's order to TFLite's."""
    return np.moveaxis(array, 1, -1) if _is_image(array.shape) else array


@dataclass
class LitertCase:
    """An operator under construction.

    Attributes:
        net: the Graph's nodes so far.
        tensors: the model's tensors.
        features: statements about feature maps, by name.
        parameters: statements about constants, by name.
        biases: integers of biases, by name.
    """

    net: SmallNetwork = field(default_factory=lambda: SmallNetwork(opset=20))
    tensors: list[TfliteTensor] = field(default_factory=list)
    operators: list[TfliteOperator] = field(default_factory=list)
    features: dict[str, FeatureQuant] = field(default_factory=dict)
    parameters: dict[str, StatedParameter] = field(default_factory=dict)
    biases: dict[str, tuple[int, ...]] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)

    def input(self, shape: Sequence[int], own: FeatureQuant) -> str:
        """A feature map that is fed; shape in TFLite's order."""
        shape = tuple(shape)
        first = (shape[0], shape[-1], *shape[1:-1]) if _is_image(shape) else shape
        name = self.net.input(*first)
        self._feature(name, shape, own)
        self.inputs.append(name)
        return name

    def _feature(self, name: str, shape: tuple[int, ...], own: FeatureQuant) -> None:
        dtype = own.type.dtype.type
        self.tensors.append(TfliteTensor(name, shape, dtype, (own.scale,), (own.zero_point,)))
        self.features[name] = own

    def parameter(
        self,
        values: Array,
        scales: Sequence[float],
        zero_points: Sequence[int] = (),
        *,
        axis: int = 0,
        to_graph: Callable[[Array], Array] = lambda array: array,
        graph_axis: int = 0,
    ) -> str:
        """A constant of integers; the Graph has its real values."""
        scales = tuple(float(np.float32(scale)) for scale in scales)
        zero_points = tuple(zero_points) or (0,) * len(scales)
        shape = [1] * values.ndim
        if len(scales) > 1:
            shape[axis] = len(scales)
        steps = np.reshape(np.array(scales, np.float64), shape if len(scales) > 1 else [])
        zeros = np.reshape(np.array(zero_points), shape if len(scales) > 1 else [])
        real = (values.astype(np.float64) - zeros) * steps
        name = self.net.constant(to_graph(real))
        self.tensors.append(constant(name, values, scales, zero_points, axis))
        if values.dtype in TYPES:
            own = TYPES[values.dtype]
            self.parameters[name] = StatedParameter(own, scales, zero_points, graph_axis)
        return name

    def bias(self, values: Array, scales: Sequence[float]) -> str:
        """A bias of 32 or 64 bits at the accumulator's scale."""
        name = self.parameter(values, scales)
        self.biases[name] = tuple(values.astype(object).tolist())
        bits = 8 * values.dtype.itemsize
        own = tuple(float(np.float32(scale)) for scale in scales)
        stored = StatedParameter(IntegerType(bits, signed=True), own, (0,) * len(own))
        self.parameters[name] = stored
        return name

    def plain(self, values: Array) -> str:
        """A constant that only the model has."""
        name = f"plain{len(self.tensors)}"
        self.tensors.append(constant(name, values))
        return name

    def output(
        self,
        name: str,
        shape: Sequence[int],
        own: FeatureQuant,
        op: str,
        inputs: Sequence[str],
        options: Mapping[str, object] | None = None,
    ) -> str:
        """The model's operator, which writes what the Graph calls `name`."""
        self._feature(name, tuple(shape), own)
        self.operators.append(TfliteOperator(op, tuple(inputs), (name,), options or {}))
        return name

    # --- running

    def graph(self, output: str) -> Graph:
        """The Graph with the model's statements."""
        graph = import_onnx(self.net.model(output))
        stated = StatedQuantization(
            self.features, self.parameters, self.biases, Requantization.TWICE_ROUNDED
        )
        return replace(graph, stated=stated)

    def model(self, output: str) -> bytes:
        """The TFLite model."""
        return tflite_model(self.tensors, self.operators, self.inputs, [output])

    def random_inputs(self, rng: np.random.Generator) -> dict[str, Array]:
        """Integers of every input: spread over the type, with its ends."""
        tensors = {tensor.name: tensor for tensor in self.tensors}
        found: dict[str, Array] = {}
        for name in self.inputs:
            own = self.features[name].type
            shape = tensors[name].shape
            values = rng.integers(own.lowest, own.highest + 1, shape)
            ends = rng.choice([own.lowest, own.highest, self.features[name].zero_point], shape)
            values = np.where(rng.random(shape) < 0.1, ends, values)
            found[name] = values.astype(own.dtype)
        return found


def run_engine(graph: Graph, feeds: Mapping[str, Array]) -> dict[str, Integers]:
    """The integers of a Graph's outputs, in TFLite's order, from integers of its inputs."""
    assert graph.stated is not None
    features = graph.stated.features
    table = find_layers(graph)
    assert not table.float_nodes, table.float_nodes
    parts = partition(graph, table)
    layers = tuple(table.layers)
    names = tuple(item.name for item in graph.inputs)
    outputs = tuple(item.name for item in graph.outputs)
    stage = Stage(StageKind.FIXED, layers, (), names, outputs)
    parts = replace(parts, stages=(stage,))
    ranges = replace(measure_parameters(graph, layers), features={})
    plan = make_stated_plan(graph, parts, ranges, stated_scheme(graph.stated.requantization))
    network = lower_stage(graph, stage, plan, "case")
    engine = FixedStage(pack_network(network), names, outputs, threads=1)
    reals = {}
    for name in names:
        own = features[name]
        q = channels_first(feeds[name]).astype(np.int64) - own.zero_point
        reals[name] = (np.float32(own.scale) * q.astype(np.float32))[np.newaxis]
    results = engine.run(reals)
    found: dict[str, Integers] = {}
    for name in outputs:
        own = features[name]
        q = np.rint(results[name][0].astype(np.float64) / own.scale) + own.zero_point
        found[name] = channels_last(q.astype(np.int64))
    return found


def assert_same_as_litert(
    case: LitertCase,
    output: str,
    rng: np.random.Generator,
    least: int | None = None,
    *,
    within: int = 0,
) -> None:
    """The engine gives the integers of LiteRT's reference kernels on random inputs.

    Args:
        case: the operator.
        output: the name of what it writes.
        rng: draws the inputs.
        least: the smallest integer of an input, where LiteRT refuses others.
        within: how far apart integers may be.
    """
    graph, model = case.graph(output), case.model(output)
    feeds = case.random_inputs(rng)
    has_reference = all(operator.op != "ELU" for operator in case.operators)
    if least is not None:
        feeds = {name: np.maximum(q, np.asarray(least, q.dtype)) for name, q in feeds.items()}
    expected = run_reference(model, feeds, has_reference=has_reference)[output]
    found = run_engine(graph, feeds)[output]
    apart = np.abs(found.reshape(expected.shape).astype(np.int64) - expected.astype(np.int64))
    assert apart.max(initial=0) <= within
