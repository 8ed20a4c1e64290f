"""Patches: the layers in which another plan's Network differs from one that is lowered already.

A layer differs where its own numbers do, or the quantization of what it reads or writes. It is
lowered by itself, between tensors that both Networks have: what it reads is an input of the patch,
what it writes stands in for the Network's own tensor. A tensor whose quantization differs lives
within the patch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from operator import attrgetter

from tidlq.graph.layers import Layer
from tidlq.graph.model import Graph
from tidlq.graph.partition import Stage
from tidlq.lowering.builder import Layout, NetworkBuilder, Placed, identity, permuted
from tidlq.lowering.lower import close_stage, lower_layer, open_stage
from tidlq.lowering.network_pb2 import Network
from tidlq.spec import LayerQuant, QuantPlan

Forms = tuple[tuple[Placed, ...], tuple[Placed, ...]]


@dataclass(frozen=True, eq=False)
class StagePatch:
    """Layers of another plan, as a Network of their own.

    Attributes:
        network: the layers.
        layers: the Graph's layers that it holds, in execution order.
        inputs: the tensor of the stage's Network that each of its inputs is.
        outputs: the tensor that each of its outputs stands in for; None for probes, which come
            last, in the order asked for.
    """

    network: Network
    layers: tuple[Layer, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str | None, ...]


class PatchableStage:
    """A fixed stage, lowered, of which other plans can be made by patches.

    Args:
        graph: the canonical Graph.
        stage: a fixed stage of its partition.
        plan: the plan that patches are relative to.
        name: the Network's name.
    """

    def __init__(self, graph: Graph, stage: Stage, plan: QuantPlan, name: str) -> None:
        self.stage = stage
        self._graph = graph
        self._plan = plan
        self._forms: dict[str, Mapping[str, Forms]] = {}
        builder = open_stage(graph, stage, plan, name)
        for layer in stage.layers:
            lower_layer(builder, layer)
            tensors = (*layer.inputs, layer.output)
            self._forms[layer.name] = {tensor: builder.forms_of(tensor) for tensor in tensors}
        close_stage(builder, stage)
        self._builder = builder

    @property
    def network(self) -> Network:
        """The stage's integer program."""
        return self._builder.network

    def layout(self, tensor: str) -> Layout:
        """The layout in which a tensor of the Graph was written, and in which probes give it."""
        return self._builder.any_layout(tensor)

    def differing(self, plan: QuantPlan) -> tuple[Layer, ...]:
        """The stage's layers in which another plan differs, in execution order."""
        base = self._plan
        names = {x for layer in self.stage.layers for x in (*layer.inputs, layer.output)}
        changed = {x for x in names if plan.features.get(x) != base.features.get(x)}

        def is_other(layer: Layer) -> bool:
            if layer.output in changed or not changed.isdisjoint(layer.inputs):
                return True
            return not _is_same(base.layers[layer.name], plan.layers[layer.name])

        return tuple(layer for layer in self.stage.layers if is_other(layer))

    def patch(self, plan: QuantPlan, probes: Iterable[str] = ()) -> StagePatch:
        """What turns the stage's Network into another plan's.

        Args:
            plan: made for the same Graph and partition by the same scheme.
            probes: tensors of the stage whose values are wanted: each becomes a float32 output in
                the layout of `layout`.
        """
        return _PatchBuilder(self, plan).build(tuple(probes))

    def forms_after(self, layer: str, tensor: str) -> Forms:
        """Forms of a tensor when a layer that reads or writes it had been lowered."""
        return self._forms[layer][tensor]

    def final_forms(self, tensor: str) -> Forms:
        """All forms of a tensor."""
        return self._builder.forms_of(tensor)

    @property
    def joined_in_float(self) -> frozenset[str]:
        """Outputs of concats that join float32 forms."""
        return self._builder.joined_in_float

    def is_same_feature(self, plan: QuantPlan, tensor: str) -> bool:
        """Another plan quantizes a tensor as this one does."""
        return plan.features.get(tensor) == self._plan.features.get(tensor)

    def shape(self, tensor: str) -> tuple[int, ...]:
        """Logical shape of a Graph tensor."""
        return self._builder.shape(tensor)

    def new_builder(self, plan: QuantPlan) -> NetworkBuilder:
        """An empty Network for layers of another plan."""
        name = self.network.name
        return NetworkBuilder(self._graph, plan, name, self.joined_in_float)

    def is_feature(self, tensor: str) -> bool:
        """The tensor is computed, not a constant operand."""
        return self._graph.constant(tensor) is None


class _PatchBuilder:
    def __init__(self, base: PatchableStage, plan: QuantPlan) -> None:
        self._base = base
        self._plan = plan
        self._builder = base.new_builder(plan)
        # By index in the stage's Network: the patch's tensor.
        self._seeded: dict[int, int] = {}
        self._replaced: dict[int, int] = {}
        # Tensors of the Graph that the patch makes itself.
        self._own: set[str] = set()

    def build(self, probes: tuple[str, ...]) -> StagePatch:
        base, builder, stage = self._base, self._builder, self._base.stage
        for tensor in stage.inputs:
            if not base.is_same_feature(self._plan, tensor):
                index = base.network.inputs[stage.inputs.index(tensor)]
                self._seed(tensor, ((), (Placed(index, identity(len(base.shape(tensor)))),)))
                self._own.add(tensor)
        layers = base.differing(self._plan)
        for layer in layers:
            for tensor in dict.fromkeys(layer.inputs):
                if tensor not in self._own and base.is_feature(tensor):
                    self._seed(tensor, base.forms_after(layer.name, tensor))
            lower_layer(builder, layer)
            self._own.add(layer.output)
            if base.is_same_feature(self._plan, layer.output):
                self._replace_forms(layer)
        for tensor, output in zip(stage.outputs, base.network.outputs, strict=True):
            if tensor in self._own and not base.is_same_feature(self._plan, tensor):
                self._replace(output, builder.floating(tensor, identity(len(base.shape(tensor)))))
        outputs: list[str | None] = []
        for other, own in self._replaced.items():
            builder.network.outputs.append(own)
            outputs.append(base.network.tensors[other].name)
        for tensor in probes:
            if tensor not in self._own:
                self._seed(tensor, base.final_forms(tensor))
            builder.network.outputs.append(self._probe(tensor))
            outputs.append(None)
        builder.network.inputs.extend(self._seeded.values())
        return StagePatch(
            builder.network,
            layers,
            tuple(base.network.tensors[index].name for index in self._seeded),
            tuple(outputs),
        )

    def _probe(self, tensor: str) -> int:
        """The real values of a tensor's integers, or of its float form where it has no others."""
        builder, layout = self._builder, self._base.layout(tensor)
        integers, _ = self._base.final_forms(tensor)
        if not integers:
            return builder.floating(tensor, layout)
        source, shape = builder.integer(tensor, layout), permuted(builder.shape(tensor), layout)
        index = builder.add_tensor(f"{tensor}/probe", shape, None)
        builder.add_layer(f"{tensor}/probe", [source], index).dequantize.SetInParent()
        return index

    def _seed(self, tensor: str, forms: Forms) -> None:
        """Takes forms of a tensor over from the stage's Network."""
        integers, floats = forms
        for form in integers:
            index = self._input(form.index)
            if not self._has(tensor, index, form.layout):
                self._builder.place_integer(tensor, index, form.layout)
        for form in floats:
            index = self._input(form.index)
            if not self._has(tensor, index, form.layout):
                self._builder.place_float(tensor, index, form.layout)

    def _has(self, tensor: str, index: int, layout: Layout) -> bool:
        integers, floats = self._builder.forms_of(tensor)
        return Placed(index, layout) in (*integers, *floats)

    def _input(self, other: int) -> int:
        """The patch's input that is a tensor of the stage's Network."""
        if other not in self._seeded:
            tensor = self._base.network.tensors[other]
            network = self._builder.network
            index = self._builder.add_tensor(tensor.name, tensor.shape, None)
            own = network.tensors[index]
            own.element_type, own.scale = tensor.element_type, tensor.scale
            own.zero_point = tensor.zero_point
            self._seeded[other] = index
        return self._seeded[other]

    def _replace_forms(self, layer: Layer) -> None:
        """What a layer wrote stands in for what it had written."""
        found = self._builder.forms_of(layer.output)
        wanted = self._base.forms_after(layer.name, layer.output)
        for own_forms, other_forms in zip(found, wanted, strict=True):
            by_layout = {form.layout: form.index for form in own_forms}
            for form in other_forms:
                if form.layout in by_layout:
                    self._replace(form.index, by_layout[form.layout])

    def _replace(self, other: int, own: int) -> None:
        if own not in self._seeded.values():
            self._replaced.setdefault(other, own)


_WEIGHTED_OPERATORS = ("convolution", "transposed_convolution", "inner_product")


def weighted_names(network: Network, layers: Iterable[Layer]) -> dict[str, str]:
    """By layer of the Graph with a weight and a bias, the name of the Network's that holds them.

    Args:
        network: holds exactly these layers, and others without weights.
        layers: in execution order.
    """
    found = [x.name for x in network.layers if x.WhichOneof("op") in _WEIGHTED_OPERATORS]
    weighted = [layer.name for layer in layers if layer.kind.has_weight]
    return dict(zip(weighted, found, strict=True))


# Of what decides a layer's integers.
_decided = attrgetter(
    *(
        part.name
        for part in fields(LayerQuant)
        if part.name not in ("headroom_bits", "largest_bias")
    )
)


def _is_same(one: LayerQuant, other: LayerQuant) -> bool:
    """Two decisions give the same integers."""
    return one is other or bool(_decided(one) == _decided(other))
