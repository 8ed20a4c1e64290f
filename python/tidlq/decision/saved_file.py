"""A saved quantization proto, opened for a model: what it gives, what it lacks."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tidlq.decision.placement import place_layers, rescale
from tidlq.decision.statements import Prepared, Statements, unquantized_outputs
from tidlq.graph.model import Graph
from tidlq.graph.partition import Partition
from tidlq.graph.recognition.fusions import FusionChoice
from tidlq.precision.parameter_ranges import measure_parameters
from tidlq.quantproto import (
    ExpectedLayer,
    ProtoForm,
    SavedRanges,
    adopt,
    find_changes,
    find_contradictions,
    find_missing,
    form_of_path,
    is_of_model,
    parse_quant_params,
    stale_error,
)
from tidlq.quantproto.files import name_of, read_content
from tidlq.quantproto.forms import form_of_content
from tidlq.quantproto.network_ranges import expected_layers
from tidlq.quantproto.outline import outline
from tidlq.spec import Ranges
from tidlq.target import Options

_SHOWN_CONTRADICTIONS = 3


@dataclass(frozen=True)
class OpenedProto:
    """A proto beside the network that it is for.

    Attributes:
        where: names the file in messages.
        content: as it was read.
        form: of the content.
        saved: what it says, in the model's names.
        graph: the Graph with channels rescaled as the file says.
        partition: its stages.
        own: the ranges of the graph's parameters.
        expected: what the network needs.
        is_stale: it was written for another model.
        notices: what the user should know, in plain sentences.
    """

    where: str
    content: bytes
    form: ProtoForm
    saved: SavedRanges
    graph: Graph
    partition: Partition
    own: Ranges
    expected: Sequence[ExpectedLayer]
    is_stale: bool
    notices: tuple[str, ...]

    @property
    def is_complete(self) -> bool:
        """It can replace calibration."""
        return not find_missing(self.saved, self.expected)


def open_proto(
    prepared: Prepared, options: Options, path: Path, *, allow_stale: bool
) -> OpenedProto:
    """Reads a proto for a model; `fit_proto` says how.

    Raises:
        QuantProtoError: The file cannot be read, is of another model, or its equalization does not
            fit.
    """
    form, where = form_of_path(path), name_of(path)
    return fit_proto(prepared, options, read_content(path), form, where, allow_stale=allow_stale)


def fit_proto(
    prepared: Prepared,
    options: Options,
    content: bytes,
    form: ProtoForm | None,
    where: str,
    *,
    allow_stale: bool,
) -> OpenedProto:
    """Holds a proto against a model.

    Of a stale one, ranges of features hold for layers that are still there, under whatever name;
    parameters of layers with other weights are the model's own.

    Args:
        prepared: the Graph and its stages.
        options: of the compilation.
        content: of the proto.
        form: of the content; None tells it from the content.
        where: names the proto in messages.
        allow_stale: a proto of another model is taken.

    Raises:
        QuantProtoError: The content cannot be parsed, is of another model, or its equalization does
            not fit.
    """
    graph = prepared.graph
    form = form or form_of_content(content)
    saved = parse_quant_params(content, form, where)
    parts = _showing(prepared, options, saved)
    notices = list(_contradictions(saved, where))
    reweighted: tuple[str, ...] = ()
    is_stale = not is_of_model(saved, graph.fingerprint)
    if is_stale:
        current = outline(graph, parts, measure_parameters(graph, parts.layers))
        changes = find_changes(saved, current)
        if not allow_stale:
            assert saved.provenance is not None
            written_for = saved.provenance.graph_fingerprint
            raise stale_error(where, written_for, graph.fingerprint, changes)
        saved, reweighted = adopt(saved, current, changes), changes.reweighted
        notices.append(f"{_capital(where)} is of another model: {changes.describe()}.")
    graph, parts = rescale(graph, parts, options, saved.equalization, where)
    own = measure_parameters(graph, parts.layers)
    if reweighted:
        saved = _with_own_parameters(saved, outline(graph, parts, own), reweighted)
    floats = unquantized_outputs(graph, parts, prepared.statements)
    expected = expected_layers(parts, own, floats)
    return OpenedProto(
        where, content, form, saved, graph, parts, own, expected, is_stale, tuple(notices)
    )


def _showing(prepared: Prepared, options: Options, saved: SavedRanges) -> Partition:
    """The stages, with layers of their own for all that the file states."""
    hidden = prepared.partition.hidden_tensors(prepared.graph)
    stated = {tensor.name for layer in saved.layers for tensor in layer.outputs}
    if prepared.statements is not Statements.NONE or stated.isdisjoint(hidden):
        return prepared.partition
    choice = FusionChoice(options.left_out, stated & hidden)
    return place_layers(prepared.graph, options, fusions=choice)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _contradictions(saved: SavedRanges, where: str) -> Sequence[str]:
    found = [fault.text for fault in find_contradictions(saved)]
    if not found:
        return ()
    more = len(found) - _SHOWN_CONTRADICTIONS
    shown = "; ".join(found[:_SHOWN_CONTRADICTIONS]) + (f"; and {more} more" if more > 0 else "")
    return (f"{_capital(where)} states scales that are not used, ranges decide: {shown}.",)


def _with_own_parameters(
    saved: SavedRanges, current: SavedRanges, names: Collection[str]
) -> SavedRanges:
    """The proto with the model's parameters in some layers."""
    return replace(
        saved,
        layers=tuple(
            layer
            if layer.name not in names or layer.name not in current.layers_by_name
            else layer.with_roles(
                {
                    role: tensors
                    for role, tensors in current.layers_by_name[layer.name].roles.items()
                    if role != "outputs"
                }
            )
            for layer in saved.layers
        ),
    )
