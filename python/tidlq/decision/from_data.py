"""What calibration frames decide.

The features are measured; an equalization is chosen, and kept where it lowers the error of the
integer network's outputs; ranges of features and weights follow, and the plan from them; then the
biases are calibrated on the integer network of that plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from tidlq.calibration import (
    LEAST_FRAMES,
    BiasCalibration,
    BiasFrames,
    BiasSweeps,
    Checkpoints,
    FloatReference,
    FrameSplit,
    KeptFrames,
    MeasuredFeatures,
    RangeChoice,
    RangeRule,
    RangeSearch,
    clip_weights,
    find_stated_ranges,
    frame_bytes,
    is_trained_for,
    judge_of_all,
    load_frames,
    measure_features,
    measure_reference,
    output_error,
    split_frames,
)
from tidlq.decision.given import Given
from tidlq.decision.latency import latency_model
from tidlq.decision.mixed_precision import MixedPrecision, PrecisionChoice
from tidlq.decision.outcome import Decision, Progress
from tidlq.decision.placement import rescalable_groups, rescale
from tidlq.decision.plain_orders import plain_orders
from tidlq.decision.relevant_ranges import relevant_ranges
from tidlq.decision.rescaling import find_rescaling, groups_worth_rescaling, is_certain
from tidlq.decision.trials import PrecisionTrials
from tidlq.equalization import ChannelGroup
from tidlq.errors import DataError
from tidlq.graph.channels import input_axis
from tidlq.graph.model import Graph
from tidlq.graph.partition import Partition
from tidlq.precision.assignment import Assignment, assign_precision, asymmetry_of
from tidlq.precision.parameter_ranges import measure_parameters
from tidlq.precision.plan import ChooseRange, make_plan, ranged_features
from tidlq.precision.variants import VariantPlans
from tidlq.quantproto import Provenance, format_quant_params
from tidlq.quantproto.network_ranges import to_saved
from tidlq.quantproto.outline import parameter_digests
from tidlq.spec import (
    Equalization,
    ParameterRole,
    Precision,
    QuantPlan,
    Range,
    Ranges,
    parameter_name,
)
from tidlq.target import (
    CalibrationIngredients,
    EqualizationChoice,
    Options,
    scheme_of,
)
from tidlq.version import __version__

WORTH_RESCALING = 0.9
"""Part of the error that rescaled channels may leave to be chosen: their bounds cost layers."""

_EQUALIZATION = "equalization"


@dataclass(frozen=True)
class _Candidate:
    """A way to quantize the network, before its biases are calibrated.

    Attributes:
        graph, parts: the network, its channels perhaps rescaled.
        measured: what its features hold.
        reference: what its float form says about the frames of bias calibration.
    """

    graph: Graph
    parts: Partition
    ranges: Ranges
    plan: QuantPlan
    measured: MeasuredFeatures
    reference: FloatReference | None = None


class DataDecision:
    """Decides from calibration frames what no proto has decided."""

    def __init__(
        self,
        graph: Graph,
        parts: Partition,
        options: Options,
        frames: KeptFrames,
        threads: int,
        report: Progress,
        checkpoints: Checkpoints,
        given: Given | None = None,
    ) -> None:
        self.given = given or Given()
        self.graph = graph
        self.parts = parts
        self.options = options
        self.kept = frames
        self.frames: KeptFrames | BiasFrames = frames
        self.threads = threads
        self.report = report
        self.checkpoints = checkpoints
        self.scheme = scheme_of(options)
        self.groups: tuple[ChannelGroup, ...] = ()
        self.split: FrameSplit | None = None
        self.notices: list[str] = []
        self.mixed: MixedPrecision | None = None
        self.ingredients = self._ingredients()

    def _ingredients(self) -> CalibrationIngredients:
        """What the options ask for; level 1 leaves the weights of a QAT network as they are."""
        asked, stated = self.options.ingredients, find_stated_ranges(self.graph, self.parts.layers)
        is_trained = is_trained_for(stated, ranged_features(self.parts))
        if self.options.accuracy_level != 1 or not is_trained:
            return asked
        self.notices.append(
            "The network states learnt ranges of its feature maps: its weights are neither clipped "
            "nor rescaled (accuracy_level 9 does both)."
        )
        is_forced = asked.equalization is EqualizationChoice.ON
        equalization = EqualizationChoice.ON if is_forced else EqualizationChoice.OFF
        return replace(asked, weight_clipping=False, equalization=equalization)

    def run(self) -> Decision:
        """Measures, chooses, calibrates.

        Raises:
            DataError: The frames do not fit, or hold or lead to values that are not finite.
        """
        graph, parts = self.given.rescaled(self.graph, self.parts, self.options)
        choice = self.ingredients.equalization
        if choice is not EqualizationChoice.OFF and not self.given.equalization:
            groups = [x for x in rescalable_groups(graph, self.options) if not self._is_given(x)]
            is_forced = choice is EqualizationChoice.ON
            self.groups = groups_worth_rescaling(graph, groups, self.scheme, is_forced)
        if self.kept.length is not None:
            self.split = self._split(min(self.kept.length, self.options.calibration_frames))
        chosen = self._candidate(graph, parts, self.given.equalization)
        count, resumed = chosen.measured.frames, chosen.measured.resumed
        held, seen = self._load(count), chosen.reference
        if held is not None and seen is not None and seen.split != held.split:
            # How many frames there are, and so which of them judge, was not known.
            tensors = chosen.measured.tensors
            seen = measure_reference(graph, parts, held, self.threads, tensors)
            chosen = replace(chosen, reference=seen)
        chosen, sweeps = self._equalized(chosen, held)
        if self.options.is_mixed and self.graph.inputs:
            chosen, sweeps = self._mixed(chosen, held)
        bias = None
        if sweeps is not None:
            self._calibrate(sweeps)
            bias = sweeps.outcome
        # The integer network and the frames have done their part.
        sweeps, held, self.frames = None, None, self.kept
        chosen.graph.rest_weights()
        if bias is not None:
            chosen = self._with_biases(chosen, bias)
        self._tell_given(chosen)
        assignment = self._assignment(chosen.graph, chosen.parts)
        saved = to_saved(
            chosen.graph,
            chosen.parts,
            chosen.ranges,
            chosen.plan,
            self._provenance(count, chosen),
            parameter_digests(self.graph, self.parts),
        )
        chosen.graph.rest_weights()
        return Decision(
            chosen.graph,
            chosen.parts,
            chosen.ranges,
            chosen.plan,
            count,
            format_quant_params(saved),
            saved,
            bias,
            resumed,
            (*self.checkpoints.notices, *self.notices, *assignment.notices),
            assignment,
            self.mixed,
        )

    def _split(self, count: int) -> FrameSplit | None:
        """The frames that biases are calibrated on and that judge, if any are needed."""
        is_judged = self.groups or self.ingredients.bias_calibration or self.options.is_mixed
        if not self.graph.inputs or not is_judged:
            return None
        bits = self.options.tensor_bits
        return split_frames(count, frame_bytes(self.graph, self.parts.layers, bits))

    def _load(self, count: int) -> BiasFrames | None:
        """The frames of bias calibration, of `count` that calibration saw."""
        self.split = self._split(count)
        if self.split is None:
            if self._split(LEAST_FRAMES) is not None:
                self.notices.append(
                    f"The number of calibration frames, {count}, is too small to hold some out: "
                    "biases are not calibrated, and channels are not rescaled unless asked for."
                )
            return None
        held = load_frames(self.frames, self.split)
        if held.count == count:
            self.frames = held
            self.kept.release()
        return held

    def _candidate(self, graph: Graph, parts: Partition, equalization: Equalization) -> _Candidate:
        """Measures a graph and makes its plan."""
        stated = find_stated_ranges(graph, parts.layers) | dict(self.given.ranges.features)
        reference = None
        if self.ingredients.bias_calibration and self.graph.inputs:
            reference = FloatReference(graph, parts, self.split)
        measured = self._measure(graph, parts, stated, reference)
        own = chosen = measure_parameters(graph, parts.layers)
        if self.ingredients.weight_clipping:
            chosen = clip_weights(
                graph,
                parts,
                own,
                measured.channels,
                self.scheme,
                self._precision(graph, parts),
                has_bias_calibration=self.ingredients.bias_calibration,
                threads=self.threads,
            )
        chosen = self.given.over(chosen, own)
        choose = self._choice(graph, parts, measured)
        plan = self._plan(graph, parts, chosen, choose)
        ranges = replace(chosen, features=dict(choose.chosen), equalization=equalization)
        return _Candidate(graph, parts, ranges, plan, measured, reference)

    def _measure(
        self,
        graph: Graph,
        parts: Partition,
        stated: Mapping[str, Range],
        watch: FloatReference | None,
    ) -> MeasuredFeatures:
        # A stated range needs no data, but a NaN that leaves a stage must not go unseen.
        leaving = {name for stage in parts.stages for name in stage.outputs}
        wanted = [x for x in ranged_features(parts) if x not in stated or x in leaving]
        axes: dict[str, int] = {}
        if self.ingredients.weight_clipping or self.groups:
            axes = {x.inputs[0]: input_axis(x) for x in parts.layers if x.kind.has_output_channels}
        if graph is self.graph:
            axes |= {name: 1 for group in self.groups for name in group.tensors}
        total = self.kept.length
        graph.rest_weights()  # And those of the network that it was made from.
        measured = measure_features(
            graph,
            wanted,
            self.frames,
            channel_axes=axes,
            limit=self.options.calibration_frames,
            threads=self.threads,
            progress=lambda done: self.report("calibrate", done, total),
            checkpoints=self.checkpoints.of(graph.fingerprint),
            watch=watch,
        )
        graph.rest_weights()
        return measured

    def _range_search(self) -> RangeSearch:
        level = self.options.accuracy_level
        if self.ingredients.activation_clipping:
            rule = RangeRule(self.options.calibration_method.value)
            return RangeSearch(rule, self.options.percentile)
        return RangeSearch(RangeRule.MEAN_OF_FRAMES if level == 0 else RangeRule.EXTREMES)

    def _sweeps(self, candidate: _Candidate, held: BiasFrames | None) -> BiasSweeps | None:
        """Bias calibration of a candidate, not yet begun; None where there is to be none."""
        if held is None or not self.ingredients.bias_calibration:
            return None
        graph, parts, seen = candidate.graph, candidate.parts, candidate.reference
        basis = f"{graph.fingerprint} {candidate.measured.digest}"
        if self.mixed is not None:
            basis += f" {self.mixed.chosen.states}"
        kept, fixed = self.checkpoints.of(basis), self._fixed_biases(parts)
        if all(x.name in fixed for x in parts.layers if x.kind.has_output_channels):
            return None
        return BiasSweeps(graph, parts, candidate.plan, held, self.threads, kept, fixed, seen)

    def _equalized(
        self, plain: _Candidate, held: BiasFrames | None
    ) -> tuple[_Candidate, BiasSweeps | None]:
        """The candidate with rescaled channels, where that is asked for or lowers the error.

        The errors are those of the network's outputs after a first sweep of bias calibration, which
        takes most of it away, and more of it from the one than from the other. They need not be
        measured where the noise model is in no doubt.
        """
        choice = self.checkpoints.of(plain.measured.digest)
        is_forced = self.ingredients.equalization is EqualizationChoice.ON
        is_better = choice.load(_EQUALIZATION, lambda state: state["is_better"] == b"1")
        gain = None
        if is_better is not False and self.groups:
            gain = find_rescaling(
                plain.graph, plain.parts, self.groups, plain.measured, self.options, is_forced
            )
        if gain is None or not gain.equalization or (held is None and not is_forced):
            return plain, self._sweeps(plain, held)
        graph, parts = rescale(plain.graph, plain.parts, self.options, gain.equalization, "")
        rescaled = self._candidate(graph, parts, gain.equalization)
        other = self._sweeps(rescaled, held)
        if is_forced or held is None or is_better or is_certain(gain):
            return rescaled, other
        sweeps = self._sweeps(plain, held)
        before, after = self._error(plain, sweeps, held), self._error(rescaled, other, held)
        is_better = after < WORTH_RESCALING * before
        choice.save(_EQUALIZATION, lambda: {"is_better": b"1" if is_better else b"0"})
        return (rescaled, other) if is_better else (plain, sweeps)

    def _error(self, candidate: _Candidate, sweeps: BiasSweeps | None, held: BiasFrames) -> float:
        """Error of the outputs on the held-out frames, after one sweep where there are sweeps."""
        if sweeps is not None:
            sweeps.advance(1)
            return sweeps.outcome.error_after
        return output_error(candidate.graph, candidate.parts, candidate.plan, held, self.threads)

    def _mixed(
        self, narrow: _Candidate, held: BiasFrames | None
    ) -> tuple[_Candidate, BiasSweeps | None]:
        """The candidate with the layers of 16 bits that are worth their latency."""
        if held is None:
            raise DataError(
                "The choice of 16-bit layers (mixed_precision_factor, target_sqnr) is judged on "
                f"calibration frames that are held out; it needs at least {LEAST_FRAMES} frames."
            )
        graph, parts, precision = narrow.graph, narrow.parts, self._precision
        fixed = frozenset({*self.given.features, *self.given.parameters})
        trials = PrecisionTrials(
            graph,
            parts,
            self._variant_plans(narrow),
            held,
            self.threads,
            has_bias_calibration=self.ingredients.bias_calibration,
            fixed=self._fixed_biases(parts),
        )
        choice = PrecisionChoice(
            graph,
            parts,
            self.options,
            precision(graph, parts),
            latency_model(self.options, parts, trials.layer_times),
            trials,
            self.checkpoints.of(f"{graph.fingerprint} {narrow.measured.digest}"),
            fixed=fixed,
            tell=lambda done, total: self.report("choose 16-bit layers", done, total),
            orders=plain_orders(graph, parts, narrow.plan, held, self.threads),
        )
        mixed = choice.run()
        self.notices += mixed.notices
        return self._best_calibrated(narrow, held, mixed)

    def _best_calibrated(
        self, narrow: _Candidate, held: BiasFrames, mixed: MixedPrecision
    ) -> tuple[_Candidate, BiasSweeps | None]:
        """The finalist with the least judged error over all frames, its biases calibrated."""
        judge = judge_of_all(narrow.graph, narrow.parts, held, self.threads)
        found: list[tuple[float, float, MixedPrecision, _Candidate, BiasSweeps | None]] = []
        for finalist in mixed.finalists:
            self.mixed = mixed.with_chosen(finalist)
            candidate = self._variant(narrow, self.mixed.precision)
            sweeps, error = self._sweeps(candidate, held), finalist.error
            if sweeps is not None:
                self._calibrate(sweeps)
                error = judge.typical_error(sweeps.best_outputs())
            judged = mixed.judged_error(finalist, error)
            found.append((judged, error, self.mixed, candidate, sweeps))
            if mixed.is_enough(error):
                return candidate, sweeps
        _, error, self.mixed, chosen, calibrated = min(found, key=lambda item: item[0])
        mixed.check_reached(error)
        return chosen, calibrated

    def _variant_plans(self, narrow: _Candidate, choose: ChooseRange | None = None) -> VariantPlans:
        """Plans of the candidate with other bits: 16-bit parameters are not clipped."""
        own = measure_parameters(narrow.graph, narrow.parts.layers)
        return VariantPlans(
            narrow.graph,
            narrow.parts,
            narrow.ranges,
            self.scheme,
            is_asymmetric=asymmetry_of(self.options),
            choose=choose or self._choice(narrow.graph, narrow.parts, narrow.measured),
            wide=self.given.over(own, own),
        )

    def _variant(self, narrow: _Candidate, precision: Precision) -> _Candidate:
        """A candidate with other bits."""
        choose = self._choice(narrow.graph, narrow.parts, narrow.measured)
        plans = self._variant_plans(narrow, choose)
        plan = plans.plan(precision)
        ranges = replace(plans.ranges_of(precision), features=dict(choose.chosen))
        return replace(narrow, ranges=ranges, plan=plan)

    def _choice(self, graph: Graph, parts: Partition, measured: MeasuredFeatures) -> RangeChoice:
        relevant = {bits: relevant_ranges(graph, parts, measured, bits) for bits in (8, 16)}
        stated = find_stated_ranges(graph, parts.layers) | dict(self.given.ranges.features)
        return RangeChoice(self._range_search(), measured.features, stated, relevant)

    def _fixed_biases(self, parts: Partition) -> frozenset[str]:
        names = (x.name for x in parts.layers if x.kind.has_output_channels)
        return frozenset(x for x in names if _bias_of(x) in self.given.ranges.biases)

    def _with_biases(self, chosen: _Candidate, bias: BiasCalibration) -> _Candidate:
        if not bias.biases:
            return chosen
        biases = {_bias_of(x): values for x, values in bias.biases.items()}
        ranges = replace(chosen.ranges, biases={**biases, **self.given.ranges.biases})
        plan = self._plan(chosen.graph, chosen.parts, ranges)
        return replace(chosen, ranges=ranges, plan=plan)

    def _calibrate(self, sweeps: BiasSweeps) -> None:
        iterations = self.options.calibration_iterations
        sweeps.advance(iterations, lambda done: self.report("calibrate biases", done, iterations))

    def _plan(
        self, graph: Graph, parts: Partition, ranges: Ranges, choose: ChooseRange | None = None
    ) -> QuantPlan:
        return make_plan(
            graph,
            parts,
            ranges,
            self.scheme,
            precision=self._precision(graph, parts),
            is_asymmetric=asymmetry_of(self.options),
            choose=choose,
        )

    def _precision(self, graph: Graph, parts: Partition) -> Precision:
        if self.mixed is not None:
            return self.mixed.precision
        return self.given.over_precision(self._assignment(graph, parts).precision)

    def _assignment(self, graph: Graph, parts: Partition) -> Assignment:
        return assign_precision(self.options, graph, parts)

    def _is_given(self, group: ChannelGroup) -> bool:
        """Ranges are given that hold for the channels as they are."""
        weights = {x.name for x in (*group.producers, *group.consumers)}
        names = [parameter_name(layer, ParameterRole.WEIGHT) for layer in weights]
        names += [_bias_of(x.name) for x in group.producers]
        return self.given.concerns([*group.tensors, *names])

    def _tell_given(self, chosen: _Candidate) -> None:
        """Says how many ranges are the file's, and how many were found."""
        if not self.given.name:
            return
        needed = ranged_features(chosen.parts)
        count = sum(name in self.given.ranges.features for name in needed)
        name = self.given.name
        self.notices.append(
            f"{name[:1].upper()}{name[1:]} is not complete: {count} of {len(needed)} ranges of "
            "feature maps are its own; what it lacks was calibrated (the complete proto is in the "
            "artifacts)."
        )

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


def _bias_of(layer: str) -> str:
    return parameter_name(layer, ParameterRole.BIAS)
