"""What a saved quantization proto decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tidlq.decision.from_statements import plan_of_statements
from tidlq.decision.outcome import Decision
from tidlq.decision.placement import rescale
from tidlq.decision.statements import Statements, unquantized_outputs
from tidlq.graph.model import Graph
from tidlq.graph.partition import Partition
from tidlq.precision.parameter_ranges import measure_parameters
from tidlq.quantproto import (
    TEXT_SUFFIXES,
    check_fingerprint,
    format_quant_params,
    read_quant_params,
    resolve_ranges,
)
from tidlq.quantproto.files import name_of
from tidlq.quantproto.network_ranges import expected_layers
from tidlq.spec import Range, Ranges
from tidlq.target import Options


def decide_from_proto(
    graph: Graph, parts: Partition, options: Options, use: Statements, path: Path
) -> Decision:
    """Ranges and bits as a saved proto has them.

    Args:
        graph: the canonical Graph.
        parts: its stages.
        options: of the compilation.
        use: what the statements of a pre-quantized model are used for.
        path: the proto.

    Raises:
        QuantProtoError: The proto is incomplete, or of another model.
    """
    saved = read_quant_params(path)
    check_fingerprint(saved, graph.fingerprint, name_of(path))
    graph, parts = rescale(graph, parts, options, saved.equalization, str(path))
    own = measure_parameters(graph, parts.layers)
    expected = expected_layers(parts, own, unquantized_outputs(graph, parts, use))
    decisions = resolve_ranges(saved, expected, name_of(path))
    ranges = _with_channels(own, decisions.ranges)
    ranges = replace(ranges, biases=decisions.values, equalization=saved.equalization)
    plan = plan_of_statements(graph, parts, ranges, options, use, decisions.precision)
    is_text = path.suffix.lower() in TEXT_SUFFIXES
    content = path.read_bytes() if is_text else format_quant_params(saved)
    return Decision(graph, parts, ranges, plan, quant_params=content)


def _with_channels(own: Ranges, ranges: Ranges) -> Ranges:
    """Channel ranges that a proto does not state are the weights' own, within the whole's range."""
    channels: dict[str, Sequence[Range]] = {**own.channels, **ranges.channels}
    for name in own.channels.keys() - ranges.channels.keys():
        whole = ranges.parameters[name]
        if own.parameters[name].clipped(whole) != own.parameters[name]:
            channels[name] = tuple(channel.clipped(whole) for channel in own.channels[name])
    return replace(ranges, channels=channels)
