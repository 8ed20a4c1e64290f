"""`tidlq export`: a compiled network in the form that other software reads."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidlq.cli import parameters as p
from tidlq.cli.failures import naming_written
from tidlq.cli.tables import facts_table, format_bytes, format_shape
from tidlq.cli.terminal import Terminal

if TYPE_CHECKING:
    import onnx


class Form(enum.Enum):
    """What a network is exported as."""

    QDQ = "qdq"
    TIDL = "tidl"


def export_network(
    artifacts: p.ArtifactsFolder,
    model: Annotated[
        Path,
        typer.Option(metavar="MODEL", help="The model that the artifacts were compiled from."),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", metavar="PATH", help="The .onnx file (qdq) or folder (tidl) to write."
        ),
    ],
    to: Annotated[
        Form,
        typer.Option(
            help="qdq: an ONNX model with QuantizeLinear and DequantizeLinear nodes, which ONNX "
            "Runtime and other software execute. tidl: a folder for TI's tools."
        ),
    ] = Form.QDQ,
    json: p.Json = False,
    quiet: p.Quiet = False,
) -> None:
    """Write a compiled network as a QDQ ONNX model, or as a bundle for TI's tools.

    A bundle is a folder with the float model as the plan assumes it, the strict quantization proto
    that fits it, and TI's runtime options; compiled without data, it gives the same network.

    Compiles the model again as the artifacts say, without data, and refuses a model that gives
    other Networks.
    """
    terminal = Terminal(json, quiet)
    write = _write_qdq if to is Form.QDQ else _write_bundle
    document, facts = write(artifacts, model, output)
    for notice in document.get("notices", ()):
        terminal.warn(notice)
    if terminal.json or not quiet:
        terminal.result(document, facts_table(facts))


def _write_qdq(
    artifacts: Path, model: Path, output: Path
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    from tidlq.export import check_export_file, write_export
    from tidlq.recompilation import recompile

    check_export_file(output)
    with naming_written(output):
        exported = recompile(artifacts, model).to_qdq()
        size = write_export(exported, output)
    document = {"artifacts": str(artifacts), "form": "qdq", **describe_export(exported)}
    document |= {"output": str(output), "bytes": size}
    return document, _facts(document)


def _write_bundle(
    artifacts: Path, model: Path, output: Path
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    from tidlq.export import BUNDLE_CONFIG, check_bundle_folder
    from tidlq.recompilation import recompile

    check_bundle_folder(output)
    with naming_written(output / BUNDLE_CONFIG):
        compiled = recompile(artifacts, model)
        bundle = compiled.to_tidl()
        bundle.save(output)
    equalization = compiled.ranges.equalization
    files = {path.name: path.stat().st_size for path in sorted(output.iterdir()) if path.is_file()}
    document: dict[str, Any] = {
        "artifacts": str(artifacts),
        "form": "tidl",
        "scheme": compiled.artifacts.scheme,
        "inputs": [_signature(value) for value in bundle.model.graph.input],
        "outputs": [_signature(value) for value in bundle.model.graph.output],
        "rescaled_layers": len(equalization.factors),
        "bounds_per_channel": len(equalization.bounds),
        "runtime_options": dict(bundle.options),
        "output": str(output),
        "files": files,
        "notices": list(bundle.notices),
    }
    facts = [("folder", str(output))]
    facts += [("file", f"{name}  {format_bytes(size)}") for name, size in files.items()]
    facts += _interface(document)
    facts.append(("scheme", document["scheme"]))
    return document, facts


def describe_export(model: onnx.ModelProto) -> dict[str, Any]:
    """What a QDQ model holds, as JSON values."""
    operators = [node.op_type for node in model.graph.node]
    return {
        "scheme": next(x.value for x in model.metadata_props if x.key == "tidlq.scheme"),
        "opset": {x.domain or "ai.onnx": x.version for x in model.opset_import},
        "nodes": len(operators),
        "quantize_nodes": operators.count("QuantizeLinear"),
        "dequantize_nodes": operators.count("DequantizeLinear"),
        "inputs": [_signature(value) for value in model.graph.input],
        "outputs": [_signature(value) for value in model.graph.output],
    }


def _signature(value: onnx.ValueInfoProto) -> dict[str, Any]:
    dims = value.type.tensor_type.shape.dim
    return {"name": value.name, "shape": [dim.dim_param or dim.dim_value for dim in dims]}


def _interface(document: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (role[:-1], f"{item['name']}  {format_shape(item['shape'])}")
        for role in ("inputs", "outputs")
        for item in document[role]
    ]


def _facts(document: dict[str, Any]) -> list[tuple[str, str]]:
    facts = [("file", f"{document['output']}  {format_bytes(document['bytes'])}")]
    facts += _interface(document)
    opsets = ", ".join(f"{domain} {version}" for domain, version in document["opset"].items())
    pairs = (
        f"{document['quantize_nodes']} QuantizeLinear, {document['dequantize_nodes']} Dequantize"
    )
    facts += [
        ("scheme", document["scheme"]),
        ("operators", opsets),
        ("nodes", f"{document['nodes']}, of which {pairs}Linear"),
    ]
    return facts
