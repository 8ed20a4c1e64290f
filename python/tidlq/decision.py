"""Everything that is decided about a network: ranges from data or from a saved proto, and the plan.

From data: the features are measured; an equalization is chosen, and kept where it lowers the error
of the integer network's outputs; ranges of features and weights follow, and the plan from them;
then the biases are calibrated on the integer network of that plan.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from tidlq import _core
from tidlq.calibration import (
    BiasCalibration,
    BiasFrames,
    KeptFrames,
    MeasuredFeatures,
    RangeChoice,
    RangeRule,
    RangeSearch,
    calibrate_biases,
    clip_weights,
    find_stated_ranges,
    load_frames,
    measure_features,
    measure_output_error,
)
from tidlq.equalization import (
    ChannelGroup,
    ChannelStatistics,
    equalize,
    find_channel_groups,
    find_equalization,
)
from tidlq.errors import QuantProtoError
from tidlq.graph.layers import Layer, LayerKind
from tidlq.graph.model import Graph
from tidlq.graph.partition import Partition, partition
from tidlq.graph.recognition import find_layers
from tidlq.importers.frame_source import FrameSource
from tidlq.lowering.placement import PlacementLists, find_allowed, find_denied
from tidlq.precision.assignment import precision_of
from tidlq.precision.parameter_ranges import measure_parameters
from tidlq.precision.plan import make_plan, ranged_features
from tidlq.quantproto import (
    TEXT_SUFFIXES,
    Provenance,
    SavedRanges,
    check_fingerprint,
    format_quant_params,
    read_quant_params,
    resolve_ranges,
)
from tidlq.quantproto.network_ranges import expected_layers, to_saved
from tidlq.spec import (
    Equalization,
    ParameterRole,
    QuantPlan,
    Range,
    Ranges,
    ScaleRule,
    parameter_name,
)
from tidlq.target import (
    CalibrationMethod,
    EqualizationChoice,
    Options,
    TidlLayerType,
    is_asymmetric,
    scheme_of,
)
from tidlq.version import __version__

Progress = Callable[[str, int, int | None], None]
"""Called with a step's name, the units done and the total (None: not known)."""

SATURATION_WEIGHT = 1.0


@dataclass(frozen=True)
class Decision:
    """What was decided, and how.

    Attributes:
        graph: the Graph that is quantized: channels may be rescaled.
        partition: its stages.
        ranges: every range.
        plan: every decision.
        frames: calibration frames used; 0 where a saved proto decided.
        quant_params: the quantization proto, text form.
        to_write: what a new quantization proto is to hold; None where one was read.
        bias: what bias calibration did; None where there was none.
        notices: what the user should know, in plain sentences.
    """

    graph: Graph
    partition: Partition
    ranges: Ranges
    plan: QuantPlan | None = None
    frames: int = 0
    quant_params: bytes = b""
    to_write: SavedRanges | None = None
    bias: BiasCalibration | None = None
    notices: tuple[str, ...] = field(default=())


def place_layers(graph: Graph, options: Options, added: Sequence[str] = ()) -> Partition:
    """Says which layers run in fixed point and which nodes in float islands.

    Args:
        graph: the canonical Graph.
        options: those that place layers count.
        added: layers that the options' lists cannot know; they are allowed.

    Raises:
        OptionError: A list of the options names a layer or operator that the network does not have.
    """
    allowed = options.allow_list_layer_name
    lists = PlacementLists(
        options.deny_list_layer_type,
        options.deny_list_layer_name,
        options.deny_list,
        (*allowed, *added) if allowed else (),
        "tensor_bits is 32" if options.tensor_bits == 32 else None,
    )
    table = find_layers(graph, find_denied(graph, lists), find_allowed(graph, lists))
    return partition(graph, table, options.max_num_subgraphs)


def decide(
    graph: Graph,
    parts: Partition,
    options: Options,
    open_calibration: Callable[[], FrameSource],
    threads: int,
    report: Progress,
) -> Decision:
    """Ranges, from data or from the saved proto, and the plan that follows from them.

    Args:
        graph: the canonical Graph.
        parts: its stages, at least one of them fixed.
        options: of the compilation.
        open_calibration: called where data are needed.
        threads: worker threads; 0 means one per core.
        report: told about the progress.

    Raises:
        DataError: Calibration frames are missing or do not fit.
        QuantProtoError: The saved proto is incomplete or of another model.
    """
    path = options.quant_params_proto_path
    if path is not None and Path(path).exists():
        return _decide_from_proto(graph, parts, options, Path(path))
    source = open_calibration()
    frames = KeptFrames(graph, source, options.calibration_frames)
    return _DataDecision(graph, parts, options, frames, threads, report).run()


def _decide_from_proto(graph: Graph, parts: Partition, options: Options, path: Path) -> Decision:
    saved = read_quant_params(path)
    check_fingerprint(saved, graph.fingerprint, str(path))
    graph, parts = rescale(graph, parts, options, saved.equalization, str(path))
    own = measure_parameters(graph, parts.layers)
    decisions = resolve_ranges(saved, expected_layers(parts, own), str(path))
    ranges = _with_channels(own, decisions.ranges)
    ranges = replace(ranges, biases=decisions.values, equalization=saved.equalization)
    plan = make_plan(
        graph,
        parts,
        ranges,
        scheme_of(options),
        precision=decisions.precision,
        is_asymmetric=_asymmetry(options),
    )
    is_text = path.suffix.lower() in TEXT_SUFFIXES
    content = path.read_bytes() if is_text else format_quant_params(saved)
    return Decision(graph, parts, ranges, plan, quant_params=content)


def rescale(
    graph: Graph, parts: Partition, options: Options, equalization: Equalization, where: str
) -> tuple[Graph, Partition]:
    """The Graph with rescaled channels, and its stages.

    Raises:
        QuantProtoError: The equalization names a layer whose channels cannot be rescaled, or has
            another number of factors.
    """
    if not equalization:
        return graph, parts
    groups = find_channel_groups(graph, parts)
    _check_equalization(groups, equalization, where)
    changed = equalize(graph, groups, equalization)
    added = sorted({node.name or "" for node in changed.nodes} - {n.name for n in graph.nodes})
    return changed, place_layers(changed, options, added)


def _check_equalization(
    groups: Sequence[ChannelGroup], equalization: Equalization, where: str
) -> None:
    channels = {layer.name: group.channels for group in groups for layer in group.producers}
    clipped = {layer.name for group in groups for layer in group.clipped}
    for name, factors in equalization.factors.items():
        if len(factors) != channels.get(name, 0):
            raise QuantProtoError(
                f"Quantization proto {where!r} has {len(factors)} equalization factors for layer "
                f"{name!r}, which takes {channels.get(name, 0)}."
            )
    for name in equalization.bounds.keys() - (clipped & equalization.factors.keys()):
        raise QuantProtoError(
            f"Quantization proto {where!r} has an equalization_bound for layer {name!r}, which has "
            "no Clip whose channels are rescaled."
        )


def _with_channels(own: Ranges, ranges: Ranges) -> Ranges:
    """Channel ranges that a proto does not state are the weights' own, within the whole's range."""
    channels: dict[str, Sequence[Range]] = {**own.channels, **ranges.channels}
    for name in own.channels.keys() - ranges.channels.keys():
        whole = ranges.parameters[name]
        if own.parameters[name].clipped(whole) != own.parameters[name]:
            channels[name] = tuple(channel.clipped(whole) for channel in own.channels[name])
    return replace(ranges, channels=channels)


def _asymmetry(options: Options) -> Callable[[LayerKind | None], bool]:
    """The device's restriction of asymmetric features, by kind of layer."""
    types = {
        LayerKind.CONVOLUTION: TidlLayerType.CONVOLUTION,
        LayerKind.INNER_PRODUCT: TidlLayerType.INNER_PRODUCT,
        LayerKind.CONCAT: TidlLayerType.CONCAT,
        LayerKind.SUM: TidlLayerType.ELTWISE,
        LayerKind.SOFTMAX: TidlLayerType.SOFTMAX,
    }
    return lambda kind: (
        options.device is None or (kind in types and is_asymmetric(types[kind], options.device))
    )


@dataclass(frozen=True)
class _Candidate:
    """A way to quantize the network, before its biases are calibrated."""

    graph: Graph
    parts: Partition
    ranges: Ranges
    plan: QuantPlan
    measured: MeasuredFeatures


class _DataDecision:
    """Decides from calibration frames."""

    def __init__(
        self,
        graph: Graph,
        parts: Partition,
        options: Options,
        frames: KeptFrames,
        threads: int,
        report: Progress,
    ) -> None:
        self.graph = graph
        self.parts = parts
        self.options = options
        self.frames = frames
        self.threads = threads
        self.report = report
        self.ingredients = options.ingredients
        self.scheme = scheme_of(options)
        self.groups: tuple[ChannelGroup, ...] = ()
        self.notices: list[str] = []

    def run(self) -> Decision:
        choice = self.ingredients.equalization
        if choice is EqualizationChoice.ON or (
            choice is EqualizationChoice.AUTO and not self.scheme.channel_wise
        ):
            self.groups = find_channel_groups(self.graph, self.parts)
        chosen = self._candidate(self.graph, self.parts, Equalization())
        count = chosen.measured.frames
        held = None
        if self.groups or self.ingredients.bias_calibration:
            held = load_frames(self.frames, count, self._frame_bytes())
            if held is None:
                self.notices.append(
                    f"{count} calibration frames are too few to hold some out: biases are not "
                    "calibrated, and channels are not rescaled unless asked for."
                )
        if self.groups:
            chosen = self._equalized(chosen, held)
        bias = None
        if self.ingredients.bias_calibration and held is not None:
            chosen, bias = self._with_biases(chosen, held)
        saved = to_saved(
            chosen.graph, chosen.parts, chosen.ranges, chosen.plan, self._provenance(count, chosen)
        )
        return Decision(
            chosen.graph,
            chosen.parts,
            chosen.ranges,
            chosen.plan,
            count,
            format_quant_params(saved),
            saved,
            bias,
            tuple(self.notices),
        )

    def _candidate(self, graph: Graph, parts: Partition, equalization: Equalization) -> _Candidate:
        """Measures a graph and makes its plan."""
        stated = find_stated_ranges(graph, parts.layers)
        measured = self._measure(graph, parts, stated)
        own = measure_parameters(graph, parts.layers)
        precision = precision_of(self.options, graph, parts)
        if self.ingredients.weight_clipping:
            own = clip_weights(
                graph,
                parts,
                own,
                measured.channels,
                self.scheme,
                precision,
                has_bias_calibration=self.ingredients.bias_calibration,
            )
        choose = RangeChoice(self._range_search(), measured.features, stated)
        plan = make_plan(
            graph,
            parts,
            own,
            self.scheme,
            precision=precision,
            is_asymmetric=_asymmetry(self.options),
            choose=choose,
        )
        ranges = replace(own, features=dict(choose.chosen), equalization=equalization)
        return _Candidate(graph, parts, ranges, plan, measured)

    def _measure(
        self, graph: Graph, parts: Partition, stated: Mapping[str, Range]
    ) -> MeasuredFeatures:
        wanted = [name for name in ranged_features(parts) if name not in stated]
        axes: dict[str, int] = {}
        if self.ingredients.weight_clipping or self.groups:
            axes = {x.inputs[0]: _channel_axis(x) for x in parts.layers if x.kind.has_weight}
        if graph is self.graph:
            axes |= {name: 1 for group in self.groups for name in group.tensors}
        total = self.frames.length
        return measure_features(
            graph,
            wanted,
            self.frames,
            channel_axes=axes,
            limit=self.options.calibration_frames,
            threads=self.threads,
            progress=lambda done: self.report("calibrate", done, total),
        )

    def _range_search(self) -> RangeSearch:
        level = self.options.accuracy_level
        if self.ingredients.activation_clipping:
            method = self.options.calibration_method
            parameter = SATURATION_WEIGHT
            if method is CalibrationMethod.PERCENTILE:
                parameter = self.options.percentile
            return RangeSearch(RangeRule(method.value), parameter)
        return RangeSearch(RangeRule.MEAN_OF_FRAMES if level == 0 else RangeRule.EXTREMES)

    def _frame_bytes(self) -> int:
        """Upper bound of what a frame takes while the integer network runs over all of them."""
        inputs = sum(math.prod(s.shape) * s.dtype.itemsize for s in self.graph.inputs)
        sizes = [
            math.prod(self.graph.shape(layer.output) or ()) * self.options.tensor_bits // 8
            for layer in self.parts.layers
        ]
        return inputs + 4 * max(sizes, default=0)

    def _equalized(self, plain: _Candidate, held: BiasFrames | None) -> _Candidate:
        """The candidate with rescaled channels, where that is asked for or lowers the error."""
        statistics = {n: _channel_statistics(c) for n, c in plain.measured.channels.items()}
        gain = find_equalization(
            plain.graph,
            plain.parts,
            self.groups,
            statistics,
            is_power_of_two=self.scheme.weight_rule is ScaleRule.POWER_OF_TWO,
        )
        is_forced = self.ingredients.equalization is EqualizationChoice.ON
        if not gain.equalization or (held is None and not is_forced):
            return plain
        graph, parts = rescale(plain.graph, plain.parts, self.options, gain.equalization, "")
        rescaled = self._candidate(graph, parts, gain.equalization)
        if is_forced or held is None:
            return rescaled
        before, after = (
            measure_output_error(x.graph, x.parts, x.plan, held, self.threads)
            for x in (plain, rescaled)
        )
        return rescaled if after < before else plain

    def _with_biases(
        self, chosen: _Candidate, held: BiasFrames
    ) -> tuple[_Candidate, BiasCalibration]:
        iterations = self.options.calibration_iterations
        bias = calibrate_biases(
            chosen.graph,
            chosen.parts,
            chosen.plan,
            held,
            iterations=iterations,
            threads=self.threads,
            progress=lambda done: self.report("calibrate biases", done, iterations),
        )
        if not bias.biases:
            return chosen, bias
        names = {x: parameter_name(x, ParameterRole.BIAS) for x in bias.biases}
        biases = {names[layer]: values for layer, values in bias.biases.items()}
        ranges = replace(chosen.ranges, biases=biases)
        plan = make_plan(
            chosen.graph,
            chosen.parts,
            ranges,
            self.scheme,
            precision=precision_of(self.options, chosen.graph, chosen.parts),
            is_asymmetric=_asymmetry(self.options),
        )
        return replace(chosen, ranges=ranges, plan=plan), bias

    def _provenance(self, frames: int, chosen: _Candidate) -> Provenance:
        did = {
            "activation_clipping": self.ingredients.activation_clipping,
            "weight_clipping": self.ingredients.weight_clipping,
            "bias_calibration": bool(chosen.ranges.biases),
            "cross_layer_equalization": bool(chosen.ranges.equalization),
        }
        rule = self._range_search().rule
        return Provenance(
            tool_version=__version__,
            graph_fingerprint=self.graph.fingerprint,
            scheme=self.scheme.name,
            accuracy_level=self.options.accuracy_level,
            frames=frames,
            calibration_method=rule.value if rule.is_search else "",
            ingredients=tuple(name for name, done in did.items() if done),
        )


def _channel_axis(layer: Layer) -> int:
    return -1 if layer.kind is LayerKind.INNER_PRODUCT else 1


def _channel_statistics(seen: _core.ChannelStatistics) -> ChannelStatistics:
    means = seen.sums / seen.count
    variances = np.maximum(seen.sums_of_squares / seen.count - means**2, 0.0)
    magnitudes = np.maximum(np.abs(seen.minima), np.abs(seen.maxima)).astype(np.float64)
    return ChannelStatistics(magnitudes, variances)
