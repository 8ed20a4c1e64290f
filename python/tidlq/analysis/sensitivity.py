"""Sensitivity: how a network's outputs change with the precision of a part of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from tidlq.analysis.in_order import results_in_order
from tidlq.analysis.measures import ErrorTotal, OutputError, Pair, compare_frames
from tidlq.analysis.stages import LARGEST_PATCHES, StageVariant, VariedStages
from tidlq.errors import DataError, ModelError
from tidlq.graph.layers import Layer
from tidlq.graph.model import Graph, TensorSignature
from tidlq.graph.partition import Partition
from tidlq.spec import Precision, QuantPlan

Array = NDArray[np.generic]
Frame = Mapping[str, Array]

Metric = Callable[[Frame, Frame], float]
"""A user's measure of one frame, from the float network's outputs and the quantized one's, both by
name and of the outputs' shapes."""

LARGEST_FEATURES = 256 << 20
"""Bytes of features in memory at a time: more frames are taken in turns."""


MATCHED_FRAMES = 4
"""Frames over which a variant's biases are moved: they make up for differences between two
networks, which vary far less over frames than what either computes."""


PREPARED_AHEAD = 8
"""Variants that are planned, lowered and loaded while the engine runs earlier ones."""

_Measured = tuple[Mapping[str, Pair], Sequence[float]]
"""Errors by tensor, of the network's outputs and (`_local`) of features, and the user's metric."""


class FloatNetwork(Protocol):
    """Runs the float network."""

    def run(self, frame: Frame) -> Mapping[str, Array]:
        """The wanted tensors of a frame, by name."""


FloatMeans = Callable[[Graph, Sequence[Layer], Sequence[Frame]], Mapping[str, NDArray[np.float64]]]
"""By layer with a bias, the float network's means before the non-linearity, float64 [C_out], over
frames."""

OpenFeatures = Callable[[Graph, Sequence[str]], FloatNetwork]
"""Opens a float network of which the named tensors are wanted."""


@dataclass(frozen=True)
class Variant:
    """A precision whose effect is wanted.

    Attributes:
        group: name of the part whose precision is another one.
        state: the precision that this part has, for the reader.
        precision: of the whole network.
        features: tensors whose own error is wanted.
    """

    group: str
    state: str
    precision: Precision
    features: tuple[str, ...] = ()


@dataclass(frozen=True)
class GroupSensitivity:
    """The errors of a variant.

    Attributes:
        group, state: as in `Variant`.
        outputs: by output of the network.
        local: by feature of the group.
        metric: mean of the user's metric over frames; None without one.
    """

    group: str
    state: str
    outputs: Mapping[str, OutputError]
    local: Mapping[str, OutputError] = field(default_factory=dict)
    metric: float | None = None

    @property
    def relative_error(self) -> float:
        """Sum over outputs of  sum of error^2 / sum of reference^2."""
        return math.fsum(error.relative for error in self.outputs.values())


@dataclass(frozen=True)
class Sensitivity:
    """Errors of a base network and of its variants, on the same frames.

    Attributes:
        base: of the base network; `local` has every feature that a variant asked for.
        variants: in the order asked for.
        frames: how many they were measured on.
    """

    base: GroupSensitivity
    variants: tuple[GroupSensitivity, ...]
    frames: int

    def gain(self, variant: GroupSensitivity) -> float:
        """Part of the outputs' relative squared error that a variant takes away.

        Sum over outputs of  (sum of error^2 / sum of reference^2), the base's less the variant's.
        Negative where the variant is worse.
        """
        return self.base.relative_error - variant.relative_error


def measure_sensitivity(
    graph: Graph,
    partition: Partition,
    plan_of: Callable[[Precision], QuantPlan],
    variants: Sequence[Variant],
    frames: Iterable[Frame],
    open_features: OpenFeatures,
    *,
    base: Precision | None = None,
    limit: int | None = None,
    threads: int = 0,
    metric: Metric | None = None,
    float_means: FloatMeans | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> Sensitivity:
    """Measures the outputs of variants of a network against the float network.

    A variant runs the layers in which its plan differs from the base's and what follows them, from
    the base's kept features; the result is that of the variant's whole network, bit for bit, with
    the biases that `float_means` gives it.

    Args:
        graph: the canonical Graph.
        partition: its stages.
        plan_of: the plan of a precision (`VariantPlans.plan`).
        variants: what to measure.
        frames: checked frames (`KeptFrames`), read once.
        open_features: opens the float network (`FloatFeatures`).
        base: the precision that variants are relative to; None: 8 bits.
        limit: frames at most; None takes all.
        threads: 0 means one per core; the result is the same.
        metric: a measure of one's own.
        float_means: means that the layers that differ are to keep (`float_accumulator_means`):
            their biases move to where calibration would about move them. Without it, they are those
            of `plan_of`, which were calibrated for the base.
        progress: called with the variants measured so far and how many there are, over all turns of
            frames; None where the number of frames is not known yet.

    Raises:
        DataError: There are no frames.
        ModelError: No output of the network can be compared, or ONNX Runtime fails.
        QuantProtoError, ModelError: A plan cannot be made.
    """
    meter = VariantMeter(
        graph,
        partition,
        plan_of,
        open_features,
        base=base,
        threads=threads,
        metric=metric,
        float_means=float_means,
    )
    return meter.measure(variants, islice(frames, limit), progress)


class VariantMeter:
    """Measures variants of one base network; see `measure_sensitivity` for the arguments."""

    def __init__(
        self,
        graph: Graph,
        partition: Partition,
        plan_of: Callable[[Precision], QuantPlan],
        open_features: OpenFeatures,
        *,
        base: Precision | None = None,
        threads: int = 0,
        metric: Metric | None = None,
        float_means: FloatMeans | None = None,
    ) -> None:
        self._graph = graph
        self._plan_of = plan_of
        self._open_features = open_features
        self._metric = metric
        self._float_means = float_means
        self._threads = threads
        self._base = Variant("", "", base or Precision())
        self._stages = VariedStages(graph, partition, plan_of(self._base.precision), threads)
        written = {name for stage in partition.stages for name in stage.outputs}
        signatures = [s for s in graph.outputs if s.name in written and _is_numeric(graph, s)]
        if not signatures:
            raise ModelError(
                f"network {graph.name!r} has no output of numbers that a layer computes; there is "
                "nothing to compare."
            )
        self._kinds = {s.name: _kind(graph, s) for s in signatures}
        # The engine compares real values; positions are integers without a scale.
        self._is_real = all(s.dtype.kind == "f" or s.quant is not None for s in signatures)

    def measure(
        self,
        variants: Sequence[Variant],
        frames: Iterable[Frame],
        progress: Callable[[int, int | None], None] | None = None,
    ) -> Sensitivity:
        """Measures variants on frames."""
        wanted = dict.fromkeys(name for variant in variants for name in variant.features)
        local = [name for name in wanted if self._stages.layout(name) is not None]
        everything = Variant("", "", self._base.precision, tuple(local))
        all_variants = (everything, *variants)
        network = self._open_features(self._graph, [*self._kinds, *local])
        totals = [_Total() for _ in all_variants]
        prepared = _Prepared(self._plan_of, self._stages)
        ahead = 0 if self._threads == 1 else PREPARED_AHEAD
        count = 0
        for turn in self._turns(frames, local):
            references = self._load(turn, network, local)
            if self._float_means is not None and prepared.means is None:
                # All turns of frames see the biases that the first frames give.
                prepared.frames = min(MATCHED_FRAMES, len(turn))
                first = turn[: prepared.frames]
                layers = self._stages.weighted_layers
                prepared.means = self._float_means(self._graph, layers, first)
            comparisons = (
                self._comparison(prepared.of(variant), references) for variant in all_variants
            )
            for index, measured in enumerate(results_in_order(comparisons, ahead)):
                totals[index].add(*measured)
                if progress is not None:
                    progress(index, len(variants))
            count += len(turn)
        if not count:
            raise DataError("there are no frames to measure the sensitivity on.")
        results = [x.result(v) for x, v in zip(totals, all_variants, strict=True)]
        return Sensitivity(results[0], tuple(results[1:]), count)

    def _turns(self, frames: Iterable[Frame], local: Sequence[str]) -> Iterator[list[Frame]]:
        """Frames, as many at a time as their features leave room for."""
        sizes = (math.prod(self._graph.shape(name) or ()) for name in (*self._kinds, *local))
        bytes_each = self._stages.frame_bytes + 4 * sum(sizes)
        most = max(MATCHED_FRAMES, LARGEST_FEATURES // max(bytes_each, 1))
        iterator = iter(frames)
        while turn := [_copied(frame) for frame in islice(iterator, most)]:
            yield turn

    def _load(
        self, frames: Sequence[Frame], network: FloatNetwork, local: Sequence[str]
    ) -> dict[str, Array]:
        """Runs frames in float and through the base; gives the float features.

        Of outputs [frames, *shape], of other features likewise in the layout of probes.
        """
        inputs = {s.name: np.stack([f[s.name] for f in frames]) for s in self._graph.inputs}
        rows = [network.run(frame) for frame in frames]
        self._stages.run(inputs, len(frames))
        references: dict[str, Array] = {}
        for name in self._kinds:
            found = [np.asarray(row[name]) for row in rows]
            if len({array.shape for array in found}) == 1:
                references[name] = np.ascontiguousarray(np.stack(found), np.float32)
            else:
                references[name] = _of_objects(found)
        for name in local:
            layout = self._stages.layout(name) or ()
            arrays = [np.transpose(np.asarray(row[name]), layout) for row in rows]
            references[_local(name)] = np.ascontiguousarray(np.stack(arrays), np.float32)
        return references

    def _comparison(
        self, variants: tuple[StageVariant, ...], references: Mapping[str, Array]
    ) -> Callable[[], _Measured]:
        """Measures a variant on the loaded frames when it is called."""
        stage = self._stages.only_stage
        outputs = () if stage is None else stage.stage.outputs
        is_plain = self._is_real and self._metric is None
        if not variants or not is_plain or set(outputs) != self._kinds.keys():
            measured = self._measured(variants, references)
            return lambda: measured
        (variant,) = variants
        names = (*outputs, *map(_local, variant.probes))
        given = [
            (references[name].astype(np.float32, copy=False), self._kinds.get(name, "plain"))
            for name in names
        ]
        patch = self._stages.patch(variant)
        return lambda: (dict(zip(names, patch.compare(given), strict=True)), ())

    def _measured(
        self, variants: tuple[StageVariant, ...], references: Mapping[str, Array]
    ) -> _Measured:
        """Measures a variant on the loaded frames, by its outputs."""
        values, probes = self._stages.outputs(variants)
        found = {name: values[name] for name in self._kinds}
        pairs = {
            name: compare_frames(kind, references[name], found[name])
            for name, kind in self._kinds.items()
        }
        for name, array in probes.items():
            pairs[_local(name)] = compare_frames("plain", references[_local(name)], array)
        metrics: list[float] = []
        if self._metric is not None:
            for index in range(len(next(iter(found.values())))):
                wanted = {name: references[name][index] for name in found}
                value = {name: array[index] for name, array in found.items()}
                metrics.append(float(self._metric(wanted, value)))
        return pairs, metrics


@dataclass
class _Prepared:
    """Variants in the form that runs; kept for more frames while they are small."""

    plan_of: Callable[[Precision], QuantPlan]
    stages: VariedStages
    means: Mapping[str, NDArray[np.float64]] | None = None
    frames: int = 0
    size: int = 0
    kept: dict[int, tuple[StageVariant, ...]] = field(default_factory=dict)
    plans: dict[int, QuantPlan] = field(default_factory=dict)

    def of(self, variant: Variant) -> tuple[StageVariant, ...]:
        found = self.kept.get(id(variant))
        if found is None:
            plan = self.plans.get(id(variant)) or self.plan_of(variant.precision)
            # The base, which is what no layer differs in, keeps its calibrated biases.
            if self.means is not None and id(variant) not in self.plans:
                plan, found = self.stages.matched_variants(
                    plan, variant.features, self.means, self.frames
                )
                self.plans[id(variant)] = plan
            else:
                found = self.stages.variants(plan, variant.features)
            self.size += sum(stage.size for stage in found)
            if self.size <= LARGEST_PATCHES:
                self.kept[id(variant)] = found
        return found


@dataclass
class _Total:
    """A variant's sums so far, by output, and by feature under its `_local` name."""

    errors: dict[str, ErrorTotal] = field(default_factory=dict)
    metrics: list[float] = field(default_factory=list)

    def add(self, pairs: Mapping[str, Pair], metrics: Sequence[float]) -> None:
        for name, pair in pairs.items():
            self.errors.setdefault(name, ErrorTotal()).merge(pair)
        self.metrics.extend(metrics)

    def result(self, variant: Variant) -> GroupSensitivity:
        results = {name: total.result for name, total in self.errors.items()}
        local = {_local(name): name for name in variant.features}
        return GroupSensitivity(
            variant.group,
            variant.state,
            {name: error for name, error in results.items() if not _is_local(name)},
            {local[name]: error for name, error in results.items() if name in local},
            math.fsum(self.metrics) / len(self.metrics) if self.metrics else None,
        )


# A NUL is in no tensor's name.
_LOCAL = "\0"


def _local(name: str) -> str:
    return _LOCAL + name


def _is_local(name: str) -> bool:
    return name.startswith(_LOCAL)


def _copied(frame: Frame) -> Frame:
    """A frame that its source may not change any more."""
    return {name: array.copy() for name, array in frame.items()}


def _of_objects(arrays: Sequence[Array]) -> Array:
    joined = np.empty(len(arrays), np.object_)
    for index, array in enumerate(arrays):
        joined[index] = array
    return joined


def _is_numeric(graph: Graph, signature: TensorSignature) -> bool:
    value = graph.values[signature.name]
    is_tensor = not isinstance(value.type, (ir.SequenceType, ir.OptionalType))
    return is_tensor and signature.dtype.kind in "fiub"


_PASSING = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"})


def _kind(graph: Graph, signature: TensorSignature) -> str:
    """What an output's values are: a classifier's logits or probabilities, or anything."""
    shape = signature.shape
    if signature.dtype.kind != "f" or not shape or not isinstance(shape[-1], int) or shape[-1] < 2:
        return "plain"
    node = graph.values[signature.name].producer()
    while node is not None and node.op_type in _PASSING and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    is_row = math.prod(shape) == shape[-1]
    if node is not None and node.op_type == "Softmax" and is_row:
        return "probabilities"
    return "logits" if is_row else "plain"
