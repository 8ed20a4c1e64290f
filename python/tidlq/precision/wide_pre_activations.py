"""Feature maps inside activations, which 16 bits keep from being rounded twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tidlq.graph.layers import Layer, LayerKind
from tidlq.graph.model import Graph
from tidlq.graph.parameters import operand_index
from tidlq.graph.partition import Partition, Stage, StageKind

_TABLES = frozenset({LayerKind.FUNCTION})
_ACTIVATIONS = _TABLES | {LayerKind.PRELU}
_GATING = frozenset({LayerKind.FUNCTION, LayerKind.BATCH_NORM, LayerKind.CLAMP})
_LONGEST_GATE = 4
_SAMPLING = frozenset({LayerKind.GRID_SAMPLE, LayerKind.DEFORMABLE_CONVOLUTION})


def find_wide_pre_activations(graph: Graph, partition: Partition) -> frozenset[str]:
    """Feature maps that only tables read, and those between a feature map and its gate.

    A table of 65,536 entries takes 16 bits to 8: with them the accumulator is as good as handed to
    the function, and its output is the only thing that is rounded. So it is with the operands of a
    product whose one operand, a gate, is computed from the other, or comes from a function; and
    with the places that a grid sample reads and the offsets and mask of a deformable convolution,
    of which 8 bits tell too few apart. None of a pre-quantized model, which states what is rounded.

    Args:
        graph: the canonical Graph.
        partition: its stages.
    """
    if graph.stated is not None:
        return frozenset()
    stages = [stage for stage in partition.stages if stage.kind is StageKind.FIXED]
    return frozenset[str]().union(*(_StageReading(graph, stage).found() for stage in stages))


def _activations_after(layer: Layer) -> frozenset[LayerKind]:
    """Attention's logits are never an answer: 16 bits show the softmax how they differ."""
    is_product = layer.kind is LayerKind.MATRIX_PRODUCT
    return _ACTIVATIONS | {LayerKind.SOFTMAX} if is_product else _ACTIVATIONS


class _StageReading:
    def __init__(self, graph: Graph, stage: Stage) -> None:
        self.graph = graph
        self.layers = stage.layers
        self.leaving = frozenset(stage.outputs)
        self.writers: Mapping[str, Layer] = {layer.output: layer for layer in stage.layers}
        self.readers: dict[str, list[Layer]] = {}
        for layer in stage.layers:
            for name in layer.inputs:
                self.readers.setdefault(name, []).append(layer)

    def found(self) -> frozenset[str]:
        of_tables = {
            layer.output
            for layer in self.layers
            if layer.kind not in _ACTIVATIONS
            and self._is_read_by(layer.output, _activations_after(layer))
        }
        of_gates = {name for layer in self.layers for name in self._operands_of_gated(layer)}
        own = frozenset(name for name in of_tables | of_gates if self._has_own_bits(name))
        return own | self._places()

    def _has_own_bits(self, name: str) -> bool:
        """A layer of the stage computes it, and nothing outside sees it."""
        writer = self.writers.get(name)
        return writer is not None and not writer.keeps_quantization and name not in self.leaving

    def _places(self) -> frozenset[str]:
        """What tells where, or how much, something samples, and what that is joined or moved of.

        Tables may read it as well: in the usual form, one convolution writes offsets and mask, and
        a sigmoid stands in front of the mask.
        """
        told: dict[str, bool] = {}
        inputs = [name for name in self.readers if name not in self.writers]
        for name in (*(layer.output for layer in reversed(self.layers)), *inputs):
            uses = [self._tells_place(name, reader, told) for reader in self.readers.get(name, [])]
            if uses and None not in uses and name not in self.leaving:
                told[name] = any(uses)
        return frozenset(
            name
            for name, is_place in told.items()
            if is_place and (name not in self.writers or self._has_own_bits(name))
        )

    def _tells_place(self, name: str, reader: Layer, told: Mapping[str, bool]) -> bool | None:
        """Whether a reader takes a feature map for places; None where it takes it for values."""
        if reader.kind in _SAMPLING:
            return True if name != reader.inputs[0] else None
        if reader.keeps_quantization or reader.kind is LayerKind.CONCAT:
            return told.get(reader.output)
        return False if reader.kind in _TABLES else None

    def _is_read_by(self, name: str, kinds: frozenset[LayerKind]) -> bool:
        readers = self.readers.get(name, [])
        return bool(readers) and all(reader.kind in kinds for reader in readers)

    def _operands_of_gated(self, layer: Layer) -> Sequence[str]:
        """The gate of a product, and what it is computed from where that is the other operand."""
        is_product = layer.kind is LayerKind.PRODUCT and len(layer.inputs) == 2
        if not is_product or operand_index(self.graph, layer) is not None:
            return ()
        for carrier, gate in (layer.inputs, layer.inputs[::-1]):
            way = self._way_to(carrier, gate)
            first = self.writers.get(way[-1]) if way else None
            if first is not None and self._readers_are(carrier, (layer, first)):
                return (carrier, *way)
        return [
            name
            for name in layer.inputs
            if name in self.writers
            and self.writers[name].kind is LayerKind.FUNCTION
            and self._readers_are(name, (layer,))
        ]

    def _way_to(self, carrier: str, gate: str) -> list[str]:
        """Tensors from a gate back to the layer that reads the carrier; empty where none does."""
        way: list[str] = []
        for _ in range(_LONGEST_GATE):
            writer = self.writers.get(gate)
            if writer is None or writer.kind not in _GATING or len(self.readers[gate]) != 1:
                return []
            way.append(gate)
            if writer.inputs[0] == carrier:
                return way
            gate = writer.inputs[0]
        return []

    def _readers_are(self, name: str, layers: tuple[Layer, ...]) -> bool:
        names = {layer.name for layer in layers}
        return all(reader.name in names for reader in self.readers.get(name, []))
