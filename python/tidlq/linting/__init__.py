"""Linting: what keeps a network from running fast or exactly on a device, before any long work."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from tidlq.errors import OptionError
from tidlq.graph.model import Graph
from tidlq.graph.recognition import find_layers
from tidlq.importers.model import import_model, is_tflite
from tidlq.importers.onnx_source import read_onnx
from tidlq.linting import device_rules
from tidlq.linting.batch_norm_rule import find_bare_convolutions
from tidlq.linting.findings import Finding, LintReport, Rule, Severity
from tidlq.linting.head_rules import find_ends, find_heads
from tidlq.linting.weight_rules import find_weight_faults
from tidlq.target import Device, Options, find_device

if TYPE_CHECKING:
    import onnx

__all__ = ["Finding", "LintReport", "Rule", "Severity", "lint"]

_NO_SHAPES: Mapping[str, Sequence[int]] = MappingProxyType({})
_ORDER = (Severity.ERROR, Severity.WARNING, Severity.HINT)


def lint(
    model: str | os.PathLike[str] | bytes | onnx.ModelProto,
    device: str | Device | None = None,
    options: Options | Mapping[str, object] | None = None,
    *,
    input_shapes: Mapping[str, Sequence[int]] = _NO_SHAPES,
) -> LintReport:
    """Checks a model against the limits of a device and TI's guidelines for accuracy.

    Limits are checked on the network as it is prepared: with constants and batch-norms folded.

    Args:
        model: path, bytes or message of an ONNX or TFLite model.
        device: a part's name; None leaves out what depends on it, unless the options name one.
        options: those that the model is going to be compiled with.
        input_shapes: sizes of inputs whose shape is not fixed.

    Raises:
        ModelError: The model cannot be read or is not valid.
        OptionError: The device or an option is not known.
    """
    options = options if isinstance(options, Options) else Options.parse(options or {})
    chosen = find_device(device) if isinstance(device, str) else device or options.device
    if device is not None and options.device not in (None, chosen):
        raise OptionError("option 'device' names another device than the one to check for.")
    from_tflite = is_tflite(model)
    graph = import_model(
        model, input_shapes=input_shapes, pre_batchnorm_fold=options.pre_batchnorm_fold
    )
    nodes = list(graph.nodes)
    findings = list(device_rules.find_float_outputs(nodes, options))
    refused = 0
    if chosen is not None:
        found, refused = device_rules.find_unaccelerated(graph, chosen, is_tflite=from_tflite)
        findings += found
        findings += device_rules.find_wide_deconvolutions(graph, chosen, options)
        findings += device_rules.find_foreign_scales(graph, chosen)
    source = None if from_tflite else read_onnx(model).proto
    if chosen is not None and source is not None:
        findings += device_rules.find_new_opset(source.opset_import)
    unchecked: tuple[str, ...] = ()
    if graph.stated is None:
        guidelines, unchecked = _guidelines(graph, source, options)
        findings += guidelines
    position = {node.name: index for index, node in enumerate(nodes)}
    findings.sort(
        key=lambda item: (
            _ORDER.index(item.severity),
            position.get(item.layers[0], -1) if item.layers else -1,
        )
    )
    return LintReport(
        graph.name,
        None if chosen is None else chosen.value,
        len(nodes),
        len(nodes) - refused,
        tuple(findings),
        unchecked,
    )


def _guidelines(
    graph: Graph, source: onnx.ModelProto | None, options: Options
) -> tuple[list[Finding], tuple[str, ...]]:
    """TI's guidelines for accuracy; a pre-quantized network has its own answers to them."""
    layers = find_layers(graph).layers
    ends = find_ends(graph)
    bare, unchecked = find_bare_convolutions(
        graph, layers, None if source is None else source.graph, frozenset(ends.last)
    )
    heads = find_heads(ends) if options.tensor_bits == 8 else ()
    return [*bare, *find_weight_faults(graph, layers, options), *heads], unchecked
