"""The operator set of an export, and the domain of its QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tidlq.graph.model import Graph

MICROSOFT_DOMAIN = "com.microsoft"

# Scales per axis came with 13, 16-bit integers with 21.
_PER_AXIS_OPSET = 13
_WIDE_OPSET = 21
# What has another meaning or form at 21 than at the Graph's 18; nothing else has.
_CHANGED_BY_21 = frozenset({"GridSample", "DFT", "GroupNormalization"})
_IR_VERSIONS = ((21, 10), (19, 9), (1, 8))


@dataclass(frozen=True)
class ExportOpset:
    """What an exported model declares.

    Attributes:
        imports: version by domain.
        domain: of QuantizeLinear and DequantizeLinear.
        ir_version: of the file.
    """

    imports: Mapping[str, int]
    domain: str
    ir_version: int


def choose_opset(graph: Graph, *, is_wide: bool) -> ExportOpset:
    """The Graph's own operator set where that suffices, 21 for 16 bits.

    A Graph whose nodes cannot be declared at the newer set keeps its own, and quantizes with ONNX
    Runtime's operators of the same names.

    Args:
        graph: the canonical Graph.
        is_wide: some integers have 16 bits.
    """
    imports = dict(graph.model.graph.opset_imports)
    opset = imports.get("", _PER_AXIS_OPSET)
    needed = _WIDE_OPSET if is_wide else _PER_AXIS_OPSET
    domain = ""
    if opset < needed:
        kinds = {node.op_type for node in graph.model.graph.all_nodes() if node.domain == ""}
        if opset >= _PER_AXIS_OPSET and not kinds & _CHANGED_BY_21:
            opset = needed
        else:
            domain = MICROSOFT_DOMAIN
            imports[MICROSOFT_DOMAIN] = 1
    imports[""] = opset
    ir_version = next(version for least, version in _IR_VERSIONS if opset >= least)
    return ExportOpset(imports, domain, max(ir_version, min(graph.model.ir_version, 10)))
