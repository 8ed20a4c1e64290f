"""Partition: which parts of a Graph run in fixed point and which are float islands."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import onnx_ir as ir

from tidlq.graph.layers import FloatNode, Layer, LayerKind, LayerTable
from tidlq.graph.model import Graph
from tidlq.graph.work import element_count, operation_count

Unit = Layer | FloatNode


class StageKind(enum.Enum):
    """Who executes a stage."""

    FIXED = "fixed"
    FLOAT = "float"


@dataclass(frozen=True)
class Stage:
    """A part of the network that one executor runs; its border tensors are float32 features, or
    positions that it writes.

    Attributes:
        kind: the integer engine or ONNX Runtime.
        layers: fixed stages only, in execution order.
        float_nodes: float stages only, in execution order.
        inputs: tensors it reads from the network's inputs or from earlier stages.
        outputs: tensors that later stages or the network's outputs read.
    """

    kind: StageKind
    layers: tuple[Layer, ...] = ()
    float_nodes: tuple[FloatNode, ...] = ()
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()

    @property
    def node_names(self) -> tuple[str, ...]:
        """Graph nodes of the stage; a split, which is several layers, once."""
        names = [name for layer in self.layers for name in layer.nodes]
        names += [node.name for node in self.float_nodes]
        return tuple(dict.fromkeys(names))


@dataclass(frozen=True)
class Partition:
    """All stages of a network in execution order."""

    stages: tuple[Stage, ...]

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Every fixed-point layer, in execution order."""
        return tuple(layer for stage in self.stages for layer in stage.layers)

    def hidden_tensors(self, graph: Graph) -> frozenset[str]:
        """Outputs of nodes inside fixed-point layers, which have no quantization of their own."""
        layers = {name: layer for layer in self.layers for name in layer.nodes[:-1]}
        return frozenset(
            value.name
            for node in graph.nodes
            if node.name in layers
            for value in node.outputs
            if value.name and value.name != layers[node.name].output
        )

    @property
    def float_nodes(self) -> tuple[FloatNode, ...]:
        """Every node in a float island, in execution order."""
        return tuple(node for stage in self.stages for node in stage.float_nodes)


_ARITHMETIC = frozenset(LayerKind) - {
    LayerKind.RESHAPE,
    LayerKind.TRANSPOSE,
    LayerKind.SLICE,
    LayerKind.GATHER,
    LayerKind.SCATTER,
    LayerKind.REARRANGEMENT,
    LayerKind.PAD,
    LayerKind.CONCAT,
    LayerKind.SOFTMAX,
    LayerKind.CLAMP,
}
"""Kinds worth a fixed-point stage of their own."""


def unit_outputs(unit: Unit) -> tuple[str, ...]:
    """Tensors that a layer or float node writes."""
    return (unit.output,) if isinstance(unit, Layer) else tuple(filter(None, unit.outputs))


def partition(graph: Graph, table: LayerTable, max_fixed_stages: int = 16) -> Partition:
    """Groups layers and float nodes into stages that run one after another.

    A fixed stage becomes float when it has no arithmetic (it only moves elements), when a sequence
    would have to pass by, when it computes less than its border to float islands costs, and, of
    more than `max_fixed_stages`, when it computes least.
    """
    units = _ordered_units(graph, table)
    while True:
        stages = _stages(graph, units)
        fixed = [stage for stage in stages if stage.kind is StageKind.FIXED]
        dropped = [s for s in fixed if not any(x.kind in _ARITHMETIC for x in s.layers)]
        reason = "its fixed-point stage would only move elements"
        if not dropped:
            dropped = _passed_by_sequences(graph, stages)
            reason = "a sequence of tensors would have to pass by its fixed-point stage"
        if not dropped and graph.stated is None:
            dropped = _outweighed_by_border(graph, stages)
            reason = "its fixed-point stage would compute less than its border costs"
        if not dropped and len(fixed) > max_fixed_stages:
            dropped = [min(fixed, key=lambda stage: _work(graph, stage))]
            reason = f"the network has more than {max_fixed_stages} fixed-point stages"
        if not dropped:
            return Partition(tuple(stages))
        names = {layer.name for stage in dropped for layer in stage.layers}
        units = _demote(graph, units, names, reason)


def _work(graph: Graph, stage: Stage) -> int:
    return sum(operation_count(graph, layer) for layer in stage.layers)


def _outweighed_by_border(graph: Graph, stages: Sequence[Stage]) -> list[Stage]:
    """The fixed stage with the least work, if that is less than the elements it makes cross.

    Quantizing or dequantizing an element costs about as much as one operation on it. A stage that
    becomes float saves this for all that it exchanges with float islands, and adds it for what it
    exchanges with other fixed stages. A pre-quantized model states its arithmetic, so its stages
    stay.
    """
    kind_of = {name: stage.kind for stage in stages for name in stage.outputs}
    readers: dict[str, list[StageKind]] = {}
    for stage in stages:
        for name in stage.inputs:
            readers.setdefault(name, []).append(stage.kind)
    found: list[tuple[int, int]] = []
    for place, stage in enumerate(stages):
        if stage.kind is not StageKind.FIXED:
            continue
        saved = 0
        for name in stage.inputs:
            if name in kind_of:
                sign = 1 if kind_of[name] is StageKind.FLOAT else -1
                saved += sign * element_count(graph, name)
        for name in stage.outputs:
            if name in readers:
                sign = 1 if StageKind.FIXED not in readers[name] else -1
                saved += sign * element_count(graph, name)
        work = _work(graph, stage)
        if work < saved:
            found.append((work, place))
    return [stages[min(found)[1]]] if found else []


def _passed_by_sequences(graph: Graph, stages: Sequence[Stage]) -> list[Stage]:
    """Fixed stages between one that writes a sequence of tensors and one that reads it."""
    writer = {name: place for place, stage in enumerate(stages) for name in stage.outputs}
    passed: set[int] = set()
    for place, stage in enumerate(stages):
        for name in stage.inputs:
            type_ = graph.values[name].type
            if name in writer and isinstance(type_, (ir.SequenceType, ir.OptionalType)):
                passed |= set(range(writer[name] + 1, place))
    return [stages[place] for place in sorted(passed) if stages[place].kind is StageKind.FIXED]


def _ordered_units(graph: Graph, table: LayerTable) -> list[Unit]:
    position = {node.name or "": index for index, node in enumerate(graph.nodes)}
    units: list[Unit] = [*table.layers, *table.float_nodes]
    return sorted(units, key=lambda u: position[u.nodes[0] if isinstance(u, Layer) else u.name])


def _demote(graph: Graph, units: Sequence[Unit], names: set[str], reason: str) -> list[Unit]:
    """Turns the named layers into the float nodes that they are made of."""
    nodes = {node.name: node for node in graph.nodes}
    result: list[Unit] = []
    done: set[str] = set()
    for unit in units:
        if not isinstance(unit, Layer) or unit.name not in names:
            result.append(unit)
            continue
        for name in unit.nodes:
            if name in done:
                continue
            done.add(name)
            node = nodes[name]
            inputs = tuple(value.name or "" for value in node.inputs if value is not None)
            outputs = tuple(value.name or "" for value in node.outputs)
            result.append(FloatNode(name, node.op_type, inputs, outputs, reason))
    return result


def _stages(graph: Graph, units: Sequence[Unit]) -> list[Stage]:
    """Fixed units get even depths, float units odd ones, never below what they read."""
    depth: dict[str, int] = {}
    groups: dict[int, list[Unit]] = {}
    for unit in units:
        parity = 0 if isinstance(unit, Layer) else 1
        level = max((depth.get(name, 0) for name in unit.inputs), default=0)
        level += (level - parity) % 2
        groups.setdefault(level, []).append(unit)
        depth |= dict.fromkeys(unit_outputs(unit), level)
    stages = [_stage(groups[level]) for level in sorted(groups)]
    return _with_borders(graph, stages)


def _stage(units: Iterable[Unit]) -> Stage:
    members = tuple(units)
    layers = tuple(unit for unit in members if isinstance(unit, Layer))
    float_nodes = tuple(unit for unit in members if isinstance(unit, FloatNode))
    return Stage(StageKind.FIXED if layers else StageKind.FLOAT, layers, float_nodes)


def _with_borders(graph: Graph, stages: Sequence[Stage]) -> list[Stage]:
    needed = {signature.name for signature in graph.outputs}
    result: list[Stage] = []
    for stage in reversed(stages):
        units: tuple[Unit, ...] = (*stage.layers, *stage.float_nodes)
        written = dict.fromkeys(name for unit in units for name in unit_outputs(unit))
        read = dict.fromkeys(name for unit in units for name in unit.inputs)
        inputs = tuple(n for n in read if n not in written and graph.constant(n) is None)
        outputs = tuple(name for name in written if name in needed)
        needed |= set(inputs)
        result.append(replace(stage, inputs=inputs, outputs=outputs))
    return result[::-1]
