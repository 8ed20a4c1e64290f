"""What a device does not accelerate, or not allow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx
import onnx_ir as ir

from tidlq.graph.model import Graph
from tidlq.linting.findings import Finding, Rule, Severity
from tidlq.linting.operations import read_operation
from tidlq.spec import Requantization
from tidlq.target import Device, Options
from tidlq.target.acceleration import (
    NEWEST_OPSET,
    Shortcoming,
    ShortcomingKind,
    find_shortcoming,
)

_RULES = {
    ShortcomingKind.NOT_ACCELERATED: (Rule.NOT_ACCELERATED, Severity.WARNING),
    ShortcomingKind.NOT_VALIDATED: (Rule.NOT_VALIDATED, Severity.HINT),
}


def find_unaccelerated(
    graph: Graph, device: Device, *, is_tflite: bool
) -> tuple[tuple[Finding, ...], int]:
    """Operations that the device leaves to the host, the same faults of one operator together.

    Returns:
        The findings, and how many operations the device does not accelerate.
    """
    groups: dict[tuple[str, Shortcoming], list[str]] = {}
    for node in graph.nodes:
        operation = read_operation(graph, node, is_tflite=is_tflite)
        found = find_shortcoming(operation, device)
        if found is not None:
            groups.setdefault((operation.op_type, found), []).append(node.name or "")
    findings = []
    for (op_type, found), names in groups.items():
        rule, severity = _RULES[found.kind]
        verb = "does not accelerate" if rule is Rule.NOT_ACCELERATED else "may not accelerate"
        sentence = f"{device.value} {verb} {op_type}: {found.reason}."
        findings.append(Finding(rule, severity, tuple(names), sentence))
    refused = [
        names for (_, s), names in groups.items() if s.kind is ShortcomingKind.NOT_ACCELERATED
    ]
    return tuple(findings), sum(map(len, refused))


def find_wide_deconvolutions(graph: Graph, device: Device, options: Options) -> Iterator[Finding]:
    """Transposed convolutions that the options give 16 bits, where the device has none."""
    if device.facts.deconvolution_16bit:
        return
    listed = {*options.output_feature_16bit_names_list, *options.params_16bit_names_list}
    names = tuple(
        node.name or ""
        for node in graph.nodes
        if node.op_type == "ConvTranspose"
        and (options.tensor_bits == 16 or listed & {node.name, node.outputs[0].name})
    )
    if names:
        yield Finding(
            Rule.WIDE_DECONVOLUTION,
            Severity.ERROR,
            names,
            f"{device.value} has no transposed convolution of 16 bits; use 8 bits, or Resize and a "
            "convolution.",
        )


def find_foreign_scales(graph: Graph, device: Device) -> Iterator[Finding]:
    """Scales of a pre-quantized model that the device does not have."""
    stated, facts = graph.stated, device.facts
    if stated is None:
        return
    remedy = "scale type 0 or 1 turns the model's scales into the device's."
    option = "quantization_scale_type=0"
    if stated.requantization is Requantization.TWICE_ROUNDED and not facts.tflite_import:
        sentence = f"{device.value} does not take TFLite's integers as they are; {remedy}"
        yield Finding(Rule.STATED_SCALES, Severity.ERROR, (), sentence, option)
        return
    shifted = sum(quant.zero_point != 0 for quant in stated.features.values())
    if shifted and not facts.asymmetric:
        sentence = (
            f"{device.value} has no zero points, and the model states {shifted} of them; {remedy}"
        )
        yield Finding(Rule.STATED_SCALES, Severity.ERROR, (), sentence, option)


def find_new_opset(opsets: Iterable[onnx.OperatorSetIdProto]) -> Iterator[Finding]:
    """An operator set beyond what TI's import reads."""
    version = max((item.version for item in opsets if item.domain in ("", "ai.onnx")), default=0)
    if version > NEWEST_OPSET:
        yield Finding(
            Rule.OPSET,
            Severity.WARNING,
            (),
            f"the model has opset {version}, and TI's import reads up to {NEWEST_OPSET}; export it "
            "again with an older one.",
        )


def find_float_outputs(nodes: Iterable[ir.Node], options: Options) -> Iterator[Finding]:
    """Layers listed for 16 bits whose output is float anyway."""
    listed = set(options.output_feature_16bit_names_list)
    names = tuple(
        node.name or ""
        for node in nodes
        if node.op_type == "Softmax"
        and listed & {node.name, node.outputs[0].name}
        and node.outputs[0].is_graph_output()
    )
    if names:
        yield Finding(
            Rule.FLOAT_OUTPUT,
            Severity.WARNING,
            names,
            "the output of a final Softmax is float, so 16 bits gain nothing; take it off "
            "output_feature_16bit_names_list.",
        )
