"""How far ONNX Runtime agrees with the engine on an export, layer by layer.

A model whose every QuantizeLinear ends, and whose every DequantizeLinear begins at an interface of
its own, computes each layer by itself. Fed with the engine's integers, it shows what a single layer
makes of them, undisturbed by the layers before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from tidlq.artifacts import StageFile
from tidlq.engine import FixedStage
from tidlq.export.qdq import QdqExport
from tidlq.float_runtime import FloatSession, open_float_session
from tidlq.graph.layers import LayerKind
from tidlq.graph.model import Graph
from tidlq.graph.partition import Partition, StageKind
from tidlq.lowering.lower import build_stage
from tidlq.spec import FeatureQuant, QuantPlan

Array = NDArray[np.generic]
Frame = Mapping[str, Array]


@dataclass(frozen=True)
class TensorAgreement:
    """What ONNX Runtime makes of the integers that the engine made of the same inputs.

    Attributes:
        tensor: name in the Graph.
        layer: that writes it; empty for what is quantized as it enters a stage.
        kind: of the layer; None likewise.
        count: elements, over all frames.
        equal: those of them that are the same integer.
        largest: the largest difference, in steps.
    """

    tensor: str
    layer: str
    kind: LayerKind | None
    count: int
    equal: int
    largest: int


class IntegerTrace:
    """Runs a network in the engine and returns the integers of all its tensors.

    Args:
        graph: the canonical Graph.
        partition: its stages.
        plan: the decisions for its fixed stages.
        stages: what was made of them.
        threads: worker threads; 0 means one per core.
    """

    def __init__(
        self,
        graph: Graph,
        partition: Partition,
        plan: QuantPlan,
        stages: Sequence[StageFile],
        threads: int = 0,
    ) -> None:
        self._stages: list[_TracedStage | _Island] = []
        for stage, file in zip(partition.stages, stages, strict=True):
            if stage.kind is StageKind.FLOAT:
                session = open_float_session(
                    file.content, threads=threads, keeps_layout=file.keeps_layout
                )
                self._stages.append(_Island(session, file.inputs, file.outputs))
                continue
            builder = build_stage(graph, stage, plan, "trace")
            places = {
                name: (builder.network.tensors[form.index].name, form.layout)
                for name, form in {**builder.float_forms, **builder.integer_forms}.items()
            }
            engine = FixedStage(file.content, file.inputs, file.outputs, threads)
            quants = {name: plan.features[name] for name in places if name in plan.features}
            self._stages.append(_TracedStage(engine, places, quants))

    def run(self, frame: Frame) -> dict[str, Array]:
        """Integers by tensor of the Graph, in the Graph's layout.

        Args:
            frame: the network's inputs.
        """
        floats: dict[str, Array] = dict(frame)
        integers: dict[str, Array] = {}
        for stage in self._stages:
            if isinstance(stage, _Island):
                floats |= stage.run(floats)
                continue
            outputs, traced = stage.run(floats)
            floats |= outputs
            # A tensor between two stages keeps the form that it was written in.
            integers = traced | integers
        return integers


@dataclass(frozen=True)
class _Island:
    session: FloatSession
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def run(self, floats: Frame) -> dict[str, Array]:
        results = self.session.run(self.outputs, {name: floats[name] for name in self.inputs})
        return dict(zip(self.outputs, results, strict=True))


@dataclass(frozen=True)
class _TracedStage:
    stage: FixedStage
    places: Mapping[str, tuple[str, tuple[int, ...]]]
    quants: Mapping[str, FeatureQuant]

    def run(self, floats: Frame) -> tuple[dict[str, Array], dict[str, Array]]:
        found = self.stage.trace({name: floats[name] for name in self.stage.inputs})
        integers = {
            tensor: _quantized(found[name], self.quants[tensor]).transpose(np.argsort(layout))
            for tensor, (name, layout) in self.places.items()
            if tensor in self.quants
        }
        names = [item.name for item in self.stage.engine.outputs]
        outputs = (found[name] for name in names)
        return dict(zip(self.stage.outputs, outputs, strict=True)), integers


def _quantized(values: Array, quant: FeatureQuant) -> Array:
    """The integers of a tensor that the stage may only have in float32."""
    if values.dtype == quant.type.dtype:
        return values
    q = np.rint(values.astype(np.float32) / np.float32(quant.scale)) + quant.zero_point
    return np.asarray(np.clip(q, quant.type.lowest, quant.type.highest), quant.type.dtype)


def cut_model(graph: Graph, model: onnx.ModelProto, integers: Mapping[str, str]) -> onnx.ModelProto:
    """An export with an interface between QuantizeLinears and their DequantizeLinears.

    Inputs are called like the outputs of the QuantizeLinears with `/fed` behind.

    Args:
        graph: gives shapes.
        model: an export of that Graph; it stays as it is.
        integers: where to cut: outputs of QuantizeLinears, by tensor of the Graph.
    """
    source, model = model, onnx.ModelProto()
    model.CopyFrom(source)
    tensors = {output: tensor for tensor, output in integers.items()}
    types: dict[str, int] = {}
    zero_points = {item.name: item.data_type for item in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear" and node.output[0] in tensors:
            types[node.output[0]] = zero_points[node.input[2]]
        if node.op_type == "DequantizeLinear" and node.input[0] in tensors:
            node.input[0] = f"{node.input[0]}/fed"
    for info in model.graph.input:
        # Frames are compared one by one.
        shape = graph.shape(info.name) or ()
        info.CopyFrom(
            helper.make_tensor_value_info(info.name, info.type.tensor_type.elem_type, shape)
        )
    for output, tensor in tensors.items():
        shape = graph.shape(tensor) or ()
        value = helper.make_tensor_value_info(output, types[output], shape)
        model.graph.output.append(value)
        value = helper.make_tensor_value_info(f"{output}/fed", types[output], shape)
        model.graph.input.append(value)
    return model


@dataclass
class _Count:
    count: int = 0
    equal: int = 0
    largest: int = 0

    def add(self, ours: Array, theirs: Array) -> None:
        difference = np.abs(ours.astype(np.int64) - theirs.astype(np.int64))
        self.count += difference.size
        self.equal += int((difference == 0).sum())
        self.largest = max(self.largest, int(difference.max(initial=0)))


@dataclass
class LayerAgreement:
    """Counts, frame after frame, where ONNX Runtime agrees with the engine.

    Args:
        graph: the canonical Graph.
        partition: its stages.
        plan: the decisions for its fixed stages, which have the tensors that are compared.
        export: of that Graph.
        is_optimized: let ONNX Runtime rewrite the model.
        threads: of ONNX Runtime; 0 means one per core.
    """

    graph: Graph
    partition: Partition
    plan: QuantPlan
    export: QdqExport
    is_optimized: bool = True
    threads: int = 0
    _counts: dict[str, _Count] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        integers = self.export.integers
        self._integers = {name: integers[name] for name in self.plan.features if name in integers}
        model = cut_model(self.graph, self.export.model, self._integers)
        self._session = open_float_session(
            model.SerializeToString(), threads=self.threads, is_optimized=self.is_optimized
        )

    def update(self, frame: Frame, integers: Frame) -> None:
        """Compares one frame.

        Args:
            frame: the network's inputs.
            integers: what `IntegerTrace.run` made of them.
        """
        names = self._integers
        feeds = {name: frame[name] for name in (item.name for item in self.graph.inputs)}
        feeds |= {f"{output}/fed": integers[tensor] for tensor, output in names.items()}
        feeds = {name: np.asarray(array, order="C") for name, array in feeds.items()}
        results = self._session.run(list(names.values()), feeds)
        for tensor, result in zip(names, results, strict=True):
            self._counts.setdefault(tensor, _Count()).add(integers[tensor], result)

    def tensors(self) -> Sequence[TensorAgreement]:
        """The result so far, in execution order."""
        writers = {layer.output: layer for layer in self.partition.layers}
        return tuple(
            TensorAgreement(
                tensor,
                writers[tensor].name if tensor in writers else "",
                writers[tensor].kind if tensor in writers else None,
                found.count,
                found.equal,
                found.largest,
            )
            for tensor, found in self._counts.items()
        )


def measure_agreement(
    trace: IntegerTrace, agreement: LayerAgreement, frames: Iterable[Frame]
) -> Sequence[TensorAgreement]:
    """Runs frames through engine and ONNX Runtime and compares all integers."""
    for frame in frames:
        agreement.update(frame, trace.run(frame))
    return agreement.tensors()
