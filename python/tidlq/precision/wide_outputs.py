"""Feature maps that only leave a network of several heads, which 16 bits keep from coarse steps."""

from __future__ import annotations

from collections.abc import Mapping, Set

from tidlq.graph.layers import Layer, LayerKind
from tidlq.graph.model import Graph
from tidlq.graph.partition import Partition, StageKind


def find_wide_outputs(graph: Graph, partition: Partition) -> frozenset[str]:
    """Feature maps that no integer arithmetic reads: they are moved about, and leave as float32.

    A layer's accumulator holds more than 8 bits of its answer. Where nothing computes with the
    integers that it writes, 16 bits cost hardly more than 8 and keep what the accumulator knows,
    such as the order of low scores of a detector. Logits count as such in front of a softmax whose
    probabilities leave. None of a network with one head only: its largest class is the same, and
    its export needs no 16-bit operators. None of a pre-quantized model, which states what is
    rounded.

    Args:
        graph: the canonical Graph.
        partition: its stages.
    """
    if graph.stated is not None:
        return frozenset()
    return _Reading(partition).found()


class _Reading:
    def __init__(self, partition: Partition) -> None:
        fixed = [stage for stage in partition.stages if stage.kind is StageKind.FIXED]
        self.entering = frozenset(name for stage in fixed for name in stage.inputs)
        self.layers = tuple(layer for stage in fixed for layer in stage.layers)
        self.writers: Mapping[str, Layer] = {layer.output: layer for layer in self.layers}
        self.readers: dict[str, list[Layer]] = {}
        for layer in self.layers:
            for name in layer.inputs:
                self.readers.setdefault(name, []).append(layer)

    def found(self) -> frozenset[str]:
        """From the last layer back: a tensor is wide where all that read it allow that.

        Tensors that one layer joins are wide together, so what one of them forbids is taken back
        from the others, until nothing changes.
        """
        wide = {layer.output for layer in self.layers if not layer.writes_positions}
        wide -= self.entering
        while kept := {name for name in wide if self._may_be_wide(name, wide)}:
            if kept == wide:
                break
            wide = kept
        return frozenset(kept if self._has_heads(kept) else ())

    def _has_heads(self, wide: Set[str]) -> bool:
        """More than one layer computes what leaves."""
        inside = {name for layer in self.layers if _is_softmax(layer) for name in layer.inputs}
        ends = [x for x in self.layers if x.output in wide - inside and not _moves(x)]
        return len(ends) > 1

    def _may_be_wide(self, name: str, wide: Set[str]) -> bool:
        readers = self.readers.get(name, [])
        is_read_so = all(_hands_on(layer) and _is_in(layer, wide) for layer in readers)
        writer = self.writers[name]
        if _moves(writer):
            return is_read_so and all(source in wide for source in writer.inputs)
        return is_read_so


def _moves(layer: Layer) -> bool:
    """The output is made of the inputs' integers, so they have the same bits."""
    return layer.keeps_quantization or layer.kind is LayerKind.CONCAT


def _hands_on(layer: Layer) -> bool:
    """The layer computes nothing from the integers but what leaves."""
    return _moves(layer) or layer.writes_positions or _is_softmax(layer)


def _is_softmax(layer: Layer) -> bool:
    return layer.kind is LayerKind.SOFTMAX


def _is_in(layer: Layer, wide: Set[str]) -> bool:
    return layer.writes_positions or layer.output in wide
