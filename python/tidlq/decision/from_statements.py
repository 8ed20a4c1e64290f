"""What a pre-quantized model's own scales decide, with or without data for what it lacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from tidlq.calibration import RangeChoice, RangeRule, RangeSearch, measure_features
from tidlq.decision.given import Given
from tidlq.decision.outcome import Decision, Progress
from tidlq.decision.statements import Statements, unquantized_outputs
from tidlq.graph.model import Graph
from tidlq.graph.partition import Partition
from tidlq.graph.statements import resolve_features
from tidlq.importers.frame_source import FrameSource
from tidlq.precision.assignment import assign_precision, asymmetry_of
from tidlq.precision.parameter_ranges import measure_parameters
from tidlq.precision.plan import make_plan, ranged_features
from tidlq.precision.stated_plan import make_stated_plan, stated_scheme
from tidlq.quantproto import Provenance, format_quant_params
from tidlq.quantproto.network_ranges import to_saved
from tidlq.quantproto.outline import parameter_digests
from tidlq.spec import FeatureScales, Precision, QuantPlan, Range, Ranges, Scheme
from tidlq.target import Options, scheme_of
from tidlq.version import __version__

_NOT_MIXED = (
    "No 16-bit layers are chosen: the model's own scales are used "
    "(advanced_options:prequantized_model 0 and calibration data would choose)."
)


@dataclass(frozen=True)
class StatementsDecision:
    """Decides from statements.

    Attributes:
        graph: with statements.
        parts: its stages.
        options: of the compilation.
        use: KEPT or CONVERTED.
        open_calibration: called where ranges are missing.
        threads: worker threads; 0 means one per core.
        report: told about the progress.
        given: ranges that a proto states; they win.
    """

    graph: Graph
    parts: Partition
    options: Options
    use: Statements
    open_calibration: Callable[[], FrameSource]
    threads: int
    report: Progress
    given: Given = field(default_factory=Given)

    def run(self) -> Decision:
        """Takes what is stated, measures what is not.

        Raises:
            DataError: Calibration frames are missing or do not fit.
        """
        given = self.given
        graph, parts = given.rescaled(self.graph, self.parts, self.options)
        stated = resolve_features(graph, parts.layers)
        known = {name: quant.range for name, quant in stated.items()} | dict(given.ranges.features)
        needed = ranged_features(parts)
        features = {name: known[name] for name in needed if name in known}
        floats = unquantized_outputs(graph, parts, self.use)
        missing = [name for name in needed if name not in known and name not in floats]
        frames = 0
        if missing:
            measured, frames = self._measure(graph, missing)
            features |= measured
        own = measure_parameters(graph, parts.layers)
        ranges = replace(given.over(own, own), features=features, equalization=given.equalization)
        scheme = scheme_in_use(graph, self.options, self.use)
        assignment = assign_precision(self.options, graph, parts)
        precision = given.over_precision(assignment.precision)
        plan = plan_of_statements(graph, parts, ranges, self.options, self.use, precision)
        provenance = Provenance(
            tool_version=__version__,
            graph_fingerprint=self.graph.fingerprint,
            scheme=scheme.name,
            accuracy_level=self.options.accuracy_level,
            frames=frames,
        )
        digests = parameter_digests(self.graph, self.parts)
        saved = to_saved(graph, parts, ranges, plan, provenance, digests)
        notices = assignment.notices
        if self.options.is_mixed:
            notices = (*notices, _NOT_MIXED)
        return Decision(
            graph,
            parts,
            ranges,
            plan,
            frames,
            format_quant_params(saved),
            saved,
            notices=notices,
            assignment=assignment,
        )

    def _measure(self, graph: Graph, names: list[str]) -> tuple[Mapping[str, Range], int]:
        """Ranges of feature maps without a statement, and the number of frames behind them."""
        source = self.open_calibration()
        total = source.length
        measured = measure_features(
            graph,
            names,
            source,
            limit=self.options.calibration_frames,
            threads=self.threads,
            progress=lambda done: self.report("calibrate", done, total),
        )
        rules = {0: RangeRule.MEAN_OF_FRAMES, 2: RangeRule.EXTREMES}
        search = RangeSearch(rules.get(self.options.accuracy_level, RangeRule.MSE))
        choice = RangeChoice(search, measured.features, {})
        for name in names:
            choice(name, FeatureScales(8, asymmetric=True))
        return choice.chosen, measured.frames


def scheme_in_use(graph: Graph, options: Options, use: Statements) -> Scheme:
    """The scheme of a plan: the options' one, or the model's own where its statements are kept."""
    if use is not Statements.KEPT:
        return scheme_of(options)
    assert graph.stated is not None
    return stated_scheme(graph.stated.requantization)


def plan_of_statements(
    graph: Graph,
    parts: Partition,
    ranges: Ranges,
    options: Options,
    use: Statements,
    precision: Precision,
) -> QuantPlan:
    """The plan of ranges: with the model's own scales where its statements are kept.

    Args:
        graph: the canonical Graph.
        parts: its stages.
        ranges: of features and parameters.
        options: of the compilation.
        use: what statements are used for.
        precision: bits of features and parameters.
    """
    scheme = scheme_in_use(graph, options, use)
    if use is Statements.KEPT:
        return make_stated_plan(graph, parts, ranges, scheme, precision)
    return make_plan(
        graph,
        parts,
        ranges,
        scheme,
        precision=precision,
        is_asymmetric=asymmetry_of(options),
    )
