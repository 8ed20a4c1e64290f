"""A network's stages over frames, with every feature kept, and variants that start from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tidlq._core import Baseline, Patch
from tidlq.errors import ModelError
from tidlq.float_runtime import FloatSession, open_float_session, refusal_reason
from tidlq.graph.layers import Layer
from tidlq.graph.model import Graph
from tidlq.graph.partition import Partition, Stage, StageKind
from tidlq.lowering.island import build_island
from tidlq.lowering.network_file import pack_network
from tidlq.lowering.network_pb2 import Network
from tidlq.lowering.patch import PatchableStage, weighted_names
from tidlq.spec import LayerQuant, QuantPlan

Array = NDArray[np.generic]

LARGEST_PATCHES = 256 << 20
"""Bytes of patches that are kept for more frames; others are made again."""


@dataclass(frozen=True, eq=False)
class _FixedStage:
    """A fixed stage and its features."""

    lowered: PatchableStage
    file: bytes
    baseline: Baseline


@dataclass(frozen=True, eq=False)
class StageVariant:
    """A variant of one fixed stage.

    Attributes:
        stage: its number.
        network: the layers that differ.
        inputs, outputs: as in `StagePatch`.
        probes: tensors of the Graph that are looked at.
        weighted: by layer of the Graph with a bias that it holds, its name among the network's.
        size: bytes of the network.
    """

    stage: int
    network: Network
    inputs: tuple[str, ...]
    outputs: tuple[str | None, ...]
    probes: tuple[str, ...]
    weighted: Mapping[str, str]
    size: int


class VariedStages:
    """Runs a network's base plan over frames, and variants of it from the kept features.

    A variant runs the layers in which it differs and what follows them. Where a float island
    follows, the island and the stages behind it run as a whole.

    Args:
        graph: the canonical Graph.
        partition: its stages.
        base: the plan that variants are relative to.
        threads: 0 means one per core; results do not depend on it.

    Raises:
        ModelError: ONNX Runtime cannot load an island.
    """

    def __init__(self, graph: Graph, partition: Partition, base: QuantPlan, threads: int) -> None:
        self._stages = partition.stages
        self._threads = threads
        self._fixed: dict[int, _FixedStage] = {}
        self._islands: dict[int, FloatSession] = {}
        for number, stage in enumerate(self._stages):
            name = f"stage_{number}"
            if stage.kind is StageKind.FIXED:
                lowered = PatchableStage(graph, stage, base, name)
                file = pack_network(lowered.network)
                self._fixed[number] = _FixedStage(lowered, file, Baseline(file, threads))
            else:
                model = build_island(graph, stage, name).SerializeToString()
                self._islands[number] = open_float_session(model, threads=threads)
        self._values: dict[str, Array] = {}
        self._frames = 0
        self._patches: dict[StageVariant, Patch] = {}
        self._patch_bytes = 0

    @property
    def frame_bytes(self) -> int:
        """Bytes of the features that a frame keeps."""
        return sum(fixed.baseline.frame_bytes for fixed in self._fixed.values())

    @property
    def only_stage(self) -> PatchableStage | None:
        """The one stage of a network that runs in fixed point as a whole."""
        if len(self._stages) != 1 or not self._fixed:
            return None
        return self._fixed[0].lowered

    def layout(self, tensor: str) -> tuple[int, ...] | None:
        """The layout in which probes give a tensor; None where no fixed stage has it."""
        for fixed in self._fixed.values():
            stage = fixed.lowered.stage
            if tensor in stage.inputs or any(x.output == tensor for x in stage.layers):
                return fixed.lowered.layout(tensor)
        return None

    def run(self, inputs: Mapping[str, Array], frames: int) -> None:
        """Runs frames and keeps their features in the place of earlier ones.

        Args:
            inputs: [frames, *shape] by name.
            frames: how many.
        """
        self._values, self._frames = dict(inputs), frames
        for number, stage in enumerate(self._stages):
            if number in self._fixed:
                fixed = self._fixed[number]
                fixed.baseline.run([self._values[name] for name in stage.inputs])
                self._values |= _network_outputs(fixed, stage)
            else:
                self._values |= self._run_island(number, stage, self._values)

    def variants(self, plan: QuantPlan, probes: Sequence[str] = ()) -> tuple[StageVariant, ...]:
        """The fixed stages in which a plan differs, or of which tensors are to be looked at."""
        found: list[StageVariant] = []
        for number, fixed in self._fixed.items():
            stage = fixed.lowered.stage
            own = {*stage.inputs, *(layer.output for layer in stage.layers)}
            looked_at = tuple(name for name in probes if name in own)
            patch = fixed.lowered.patch(plan, looked_at)
            if patch.outputs:
                found.append(
                    StageVariant(
                        number,
                        patch.network,
                        patch.inputs,
                        patch.outputs,
                        looked_at,
                        weighted_names(patch.network, patch.layers),
                        patch.network.ByteSize(),
                    )
                )
        return tuple(found)

    @property
    def weighted_layers(self) -> tuple[Layer, ...]:
        """Fixed-point layers with a bias, in execution order."""
        stages = (fixed.lowered.stage for fixed in self._fixed.values())
        return tuple(x for stage in stages for x in stage.layers if x.kind.has_weight)

    def matched_variants(
        self,
        plan: QuantPlan,
        probes: Sequence[str],
        means: Mapping[str, NDArray[np.float64]],
        frames: int,
    ) -> tuple[QuantPlan, tuple[StageVariant, ...]]:
        """A plan whose biases, where it differs, bring its accumulators' means to wanted ones.

        The biases of the base take back what its own rounding shifts on average; in a layer that
        rounds otherwise they would be an error. So the bias of each layer that differs moves until
        the means of its channels before the non-linearity are those of the float network, over the
        first frames that are loaded, in execution order. It stays within what leaves the plan's
        scales as they are.

        Args:
            plan: of the same network.
            probes: as in `variants`.
            means: by layer, float64 [C_out], over these frames; other layers keep their biases.
            frames: how many.

        Returns:
            The plan, and its `variants`.
        """
        layers = dict(plan.layers)
        found = self.variants(plan, probes)
        for variant in found:
            self._match_biases(variant, plan, layers, means, frames)
        return replace(plan, layers=layers), found

    def _match_biases(
        self,
        variant: StageVariant,
        plan: QuantPlan,
        layers: dict[str, LayerQuant],
        means: Mapping[str, NDArray[np.float64]],
        frames: int,
    ) -> None:
        """Moves the biases of a variant of a plan, in its network and in `layers`."""
        fixed = self._fixed[variant.stage]
        sources = {layer.name: layer.inputs[0] for layer in fixed.lowered.stage.layers}
        names = [x for x in variant.weighted if x in means and plan.layers[x].largest_bias]
        if not names:
            return
        steps = {name: _steps(plan, name, sources[name]) for name in names}
        matched = [
            (
                variant.weighted[name],
                steps[name].tolist(),
                means[name].tolist(),
                list(plan.layers[name].largest_bias),
            )
            for name in names
        ]
        patch = self._load(variant, fixed.baseline)
        own = {layer.name: layer for layer in variant.network.layers}
        is_loaded = True
        for name, bias in zip(names, patch.match_means(frames, matched), strict=True):
            values = np.asarray(bias, np.float64) * steps[name]
            layers[name] = replace(layers[name], bias=tuple(values.tolist()))
            # What a lowering of the new plan would write.
            integers = layers[name].quantize_bias(plan.features[sources[name]].scale).tolist()
            layer = own[variant.weighted[name]]
            getattr(layer, layer.WhichOneof("op") or "").bias[:] = integers
            is_loaded = is_loaded and integers == bias
        if is_loaded:
            self._keep(variant, patch)

    def patch(self, variant: StageVariant) -> Patch:
        """A variant, ready to run over the frames that are loaded."""
        patch = self._patches.get(variant)
        if patch is None:
            patch = self._load(variant, self._fixed[variant.stage].baseline)
            self._keep(variant, patch)
        return patch

    def _keep(self, variant: StageVariant, patch: Patch) -> None:
        if self._patch_bytes + variant.size <= LARGEST_PATCHES:
            self._patch_bytes += variant.size
            self._patches[variant] = patch

    def outputs(
        self, variants: Sequence[StageVariant]
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """Runs a variant of the network over all frames.

        Returns:
            What crosses the stages' borders by name, and what was looked at: [frames, *shape],
            probes in the layout of `layout`; one array per frame where an island's output has a
            shape that depends on the data.
        """
        by_stage = {variant.stage: variant for variant in variants}
        values, probes = dict(self._values), dict[str, Array]()
        changed: set[str] = set()
        for number, stage in enumerate(self._stages):
            is_fed = not changed.isdisjoint(stage.inputs)
            if not is_fed and number not in by_stage:
                continue
            if number in self._islands:
                found = self._run_island(number, stage, values)
            else:
                variant = by_stage.get(number)
                found = self._run_fixed(number, variant, values, probes, is_fed=is_fed)
            changed.update(n for n, array in found.items() if not _is_equal(array, values[n]))
            values |= found
        return values, probes

    def _run_fixed(
        self,
        number: int,
        variant: StageVariant | None,
        values: Mapping[str, Array],
        probes: dict[str, Array],
        *,
        is_fed: bool,
    ) -> dict[str, Array]:
        fixed, stage = self._fixed[number], self._stages[number]
        if not is_fed:
            assert variant is not None
            patch = self.patch(variant)
        else:
            baseline = Baseline(fixed.file, self._threads)
            baseline.run([values[name] for name in stage.inputs])
            if variant is None:
                return _network_outputs(_FixedStage(fixed.lowered, fixed.file, baseline), stage)
            patch = self._load(variant, baseline)
        arrays = patch.outputs()
        count = len(stage.outputs)
        probes |= dict(zip(variant.probes, arrays[count:], strict=True))
        return dict(zip(stage.outputs, arrays[:count], strict=True))

    def _load(self, variant: StageVariant, baseline: Baseline) -> Patch:
        file = pack_network(variant.network)
        return Patch(baseline, file, list(variant.inputs), list(variant.outputs))

    def _run_island(
        self, number: int, stage: Stage, values: Mapping[str, Array]
    ) -> dict[str, Array]:
        rows: list[list[Array]] = []
        for index in range(self._frames):
            feeds = {name: np.asarray(values[name][index]) for name in stage.inputs}
            try:
                rows.append(self._islands[number].run(stage.outputs, feeds))
            except Exception as error:
                nodes = ", ".join(map(repr, stage.node_names))
                raise ModelError(
                    f"ONNX Runtime cannot run the float layers {nodes}: {refusal_reason(error)}."
                ) from None
        columns = zip(*rows, strict=True)
        return {n: _joined(arrays) for n, arrays in zip(stage.outputs, columns, strict=True)}


def _steps(plan: QuantPlan, layer: str, source: str) -> NDArray[np.float64]:
    """Real value of one unit of a layer's accumulator, by output channel."""
    quant = plan.layers[layer]
    assert quant.weight is not None, layer
    scales = np.asarray(quant.weight.scales, np.float64) * plan.features[source].scale
    return np.broadcast_to(scales, (len(quant.largest_bias),))


def _network_outputs(fixed: _FixedStage, stage: Stage) -> dict[str, Array]:
    network = fixed.lowered.network
    names = [network.tensors[index].name for index in network.outputs]
    pairs = zip(stage.outputs, names, strict=True)
    return {output: fixed.baseline.tensor(name) for output, name in pairs}


def _joined(arrays: Sequence[Array]) -> Array:
    """[frames, *shape]; an array of objects for sequences, or shapes that depend on the data."""
    are_arrays = all(isinstance(array, np.ndarray) for array in arrays)
    if are_arrays and len({array.shape for array in arrays}) == 1:
        return np.stack(arrays)
    joined = np.empty(len(arrays), np.object_)
    for index, array in enumerate(arrays):
        joined[index] = array
    return joined


def _is_equal(one: Array, other: Array) -> bool:
    return one.dtype != np.object_ and one.dtype == other.dtype and np.array_equal(one, other)
