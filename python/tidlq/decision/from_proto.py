"""What a saved quantization proto decides."""

from __future__ import annotations

from dataclasses import replace

from tidlq.decision.from_statements import plan_of_statements
from tidlq.decision.given import with_channels
from tidlq.decision.outcome import Decision
from tidlq.decision.saved_file import OpenedProto
from tidlq.decision.statements import Prepared
from tidlq.graph.model import Graph
from tidlq.graph.partition import Partition
from tidlq.precision.assignment import precision_of
from tidlq.quantproto import (
    ProtoForm,
    check_complete,
    format_quant_params,
    resolve_ranges,
)
from tidlq.quantproto.network_ranges import to_saved
from tidlq.quantproto.outline import parameter_digests
from tidlq.spec import Precision, QuantPlan, Ranges
from tidlq.target import Options
from tidlq.version import __version__


def decide_from_proto(prepared: Prepared, options: Options, opened: OpenedProto) -> Decision:
    """Ranges and bits as a saved proto has them.

    Args:
        prepared: the canonical Graph, its stages and the use of its statements.
        options: of the compilation.
        opened: the proto.

    Raises:
        QuantProtoError: The proto is incomplete.
    """
    check_complete(opened.saved, opened.expected, opened.where)
    decisions = resolve_ranges(opened.saved, opened.expected)
    ranges = with_channels(opened.own, decisions.ranges, opened.graph.channel_ranges)
    ranges = replace(ranges, biases=decisions.values, equalization=opened.saved.equalization)
    graph, parts, use = opened.graph, opened.partition, prepared.statements
    precision = decisions.precision
    if opened.saved.provenance is None:
        precision = _with_listed_parameters(precision, options, graph, parts)
    plan = plan_of_statements(graph, parts, ranges, options, use, precision)
    content = _content(prepared, opened, ranges, plan)
    notices = opened.notices
    if options.is_mixed:
        notices = (*notices, f"No 16-bit layers are chosen: {opened.where} decides the bits.")
    return Decision(graph, parts, ranges, plan, quant_params=content, notices=notices)


def _with_listed_parameters(
    precision: Precision, options: Options, graph: Graph, parts: Partition
) -> Precision:
    """Bits of parameters as the options have them: the published schema cannot say them."""
    asked = precision_of(options, graph, parts)
    wide = {layer: bits for layer, bits in asked.parameters.items() if bits > 8}
    # Only what stands in front of an activation has wide features from narrow parameters.
    narrow = {
        layer.name: 8
        for layer in parts.layers
        if asked.features.get(layer.output) == 16 and asked.parameter_bits(layer.name) == 8
    }
    return replace(precision, parameters={**precision.parameters, **wide, **narrow})


def _content(prepared: Prepared, opened: OpenedProto, ranges: Ranges, plan: QuantPlan) -> bytes:
    """The proto as artifacts have it: text, and of this model."""
    if not opened.is_stale:
        is_text = opened.form is ProtoForm.TEXT
        return opened.content if is_text else format_quant_params(opened.saved)
    assert opened.saved.provenance is not None
    provenance = replace(
        opened.saved.provenance,
        tool_version=__version__,
        graph_fingerprint=prepared.graph.fingerprint,
        scheme=plan.scheme.name,
    )
    digests = parameter_digests(prepared.graph, prepared.partition)
    saved = to_saved(opened.graph, opened.partition, ranges, plan, provenance, digests)
    return format_quant_params(saved)
