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


def export_network(
    artifacts: p.ArtifactsFolder,
    model: Annotated[
        Path,
        typer.Option(metavar="MODEL", help="The model that the artifacts were compiled from."),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE.onnx", help="The file to write.")
    ],
    to: Annotated[
        Form,
        typer.Option(
            help="qdq: an ONNX model with QuantizeLinear and DequantizeLinear nodes, which ONNX "
            "Runtime and other software execute."
        ),
    ] = Form.QDQ,
    json: p.Json = False,
    quiet: p.Quiet = False,
) -> None:
    """Write a compiled network as a QDQ ONNX model.

    Compiles the model again as the artifacts say, without data, and refuses a model that gives
    other Networks.
    """
    terminal = Terminal(json, quiet)

    from tidlq.export import check_export_file, write_export
    from tidlq.recompilation import recompile

    check_export_file(output)
    with naming_written(output):
        exported = recompile(artifacts, model).to_qdq()
        size = write_export(exported, output)
    document = {"artifacts": str(artifacts), "form": to.value, **describe_export(exported)}
    document |= {"output": str(output), "bytes": size}
    if terminal.json or not quiet:
        terminal.result(document, facts_table(_facts(document)))


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


def _facts(document: dict[str, Any]) -> list[tuple[str, str]]:
    facts = [("file", f"{document['output']}  {format_bytes(document['bytes'])}")]
    facts += [
        (role[:-1], f"{item['name']}  {format_shape(item['shape'])}")
        for role in ("inputs", "outputs")
        for item in document[role]
    ]
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
