"""What a pre-quantized model's statements are used for, and where its layers run then."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from tidlq.decision.placement import place_layers
from tidlq.errors import OptionError
from tidlq.graph.model import Graph
from tidlq.graph.partition import Partition
from tidlq.graph.statements import find_incomplete, float_outputs
from tidlq.quantproto import read_quant_params
from tidlq.spec import Requantization, StatedQuantization
from tidlq.target import Options

_TYPE = "advanced_options:quantization_scale_type"
_PREQUANTIZED = "advanced_options:prequantized_model"
_SHOWN_NAMES = 8


class Statements(enum.Enum):
    """What scales and zero points of a pre-quantized model are used for.

    NONE: there are none, or the options ignore them: ranges come from data.
    KEPT: they are the network's.
    CONVERTED: they give the ranges from which another scale type takes its scales.
    """

    NONE = "none"
    KEPT = "kept"
    CONVERTED = "converted"


@dataclass(frozen=True)
class Prepared:
    """A Graph with the use of its statements, and its stages.

    Attributes:
        graph: without statements where these are ignored.
        partition: its stages.
        statements: what the statements are used for.
        notices: what the user should know, in plain sentences.
    """

    graph: Graph
    partition: Partition
    statements: Statements
    notices: tuple[str, ...] = ()


def prepare(graph: Graph, options: Options, *, has_data: bool = False) -> Prepared:
    """Decides what the statements of a model are used for, and places its layers.

    Layers that the statements do not cover run in float, unless calibration data are at hand, or a
    saved proto that has their ranges.

    Args:
        graph: the canonical Graph.
        options: of the compilation.
        has_data: calibration frames are given.

    Raises:
        OptionError: Options ask for what the model or the device does not have.
        QuantProtoError: The saved proto cannot be read.
    """
    use = _use_of(graph, options)
    if use is Statements.NONE:
        graph = replace(graph, stated=None)
        return Prepared(graph, place_layers(graph, options), use)
    whole = place_layers(graph, options)
    # Another scale type's layers all write integers.
    needs_ranges = use is Statements.CONVERTED
    incomplete = find_incomplete(graph, whole.layers, needs_ranges=needs_ranges)
    notices = list(_hints(options, use))
    if not incomplete:
        return Prepared(graph, whole, use, tuple(notices))
    if has_data or _is_in_proto(options, incomplete):
        notices.append(f"Not fully quantized by the model, so calibrated: {_listed(incomplete)}.")
        return Prepared(graph, whole, use, tuple(notices))
    placed = place_layers(graph, options, only_stated=True, needs_ranges=needs_ranges)
    notices.append(
        f"Not fully quantized by the model, so in float: {_listed(_left_in_float(whole, placed))} "
        "(calibration data would give the missing ranges)."
    )
    return Prepared(graph, placed, use, tuple(notices))


def unquantized_outputs(graph: Graph, parts: Partition, use: Statements) -> frozenset[str]:
    """Outputs of fixed-point layers that have no scale.

    These are positions, and what stays float32 because the model does not quantize it.

    Args:
        graph: the canonical Graph.
        parts: its stages.
        use: what the statements are used for.
    """
    positions = frozenset(layer.output for layer in parts.layers if layer.writes_positions)
    return positions | (
        float_outputs(graph, parts.layers) if use is Statements.KEPT else frozenset()
    )


def _left_in_float(whole: Partition, placed: Partition) -> list[str]:
    """Layers that run in float for want of statements."""
    floats = {node.name for node in placed.float_nodes}
    return [layer.name for layer in whole.layers if floats & set(layer.nodes)]


def _is_in_proto(options: Options, names: Iterable[str]) -> bool:
    """A saved proto was written with these layers in fixed point."""
    path = options.quant_params_proto_path
    if path is None or not Path(path).exists():
        return False
    saved = read_quant_params(Path(path)).layers_by_name
    return all(name in saved for name in names)


def _use_of(graph: Graph, options: Options) -> Statements:
    stated, scale_type = graph.stated, options.quantization_scale_type
    is_given = "quantization_scale_type" in options.model_fields_set
    if stated is None:
        if options.prequantized_model:
            raise OptionError(
                f"option {_PREQUANTIZED!r} is 1, but the model states no scales: it has no "
                "QuantizeLinear and DequantizeLinear around its feature maps; allowed: 0."
            )
        if scale_type == 3:
            raise OptionError(_no_tflite("the model is not a fully quantized TFLite model"))
        return Statements.NONE
    if scale_type == 3 and stated.requantization is not Requantization.TWICE_ROUNDED:
        raise OptionError(_no_tflite("the model is pre-quantized ONNX, not TFLite"))
    if options.prequantized_model is False:
        if scale_type == 3:
            raise OptionError(f"option {_TYPE!r} is 3, which {_PREQUANTIZED!r} 0 forbids.")
        return Statements.NONE
    if options.tensor_bits == 32:
        return Statements.NONE
    if is_given and scale_type != 3 and not (scale_type == 4 and _is_type_4(stated)):
        return Statements.CONVERTED
    _check_device(options, stated)
    return Statements.KEPT


def _is_type_4(stated: StatedQuantization) -> bool:
    """ONNX scales that are what scale type 4 has: symmetric weights."""
    is_symmetric = not any(any(p.zero_points) for p in stated.parameters.values())
    return is_symmetric and stated.requantization is not Requantization.TWICE_ROUNDED


def _check_device(options: Options, stated: StatedQuantization) -> None:
    if options.device is None:
        return
    facts, name = options.device.facts, options.device.value
    if stated.requantization is Requantization.TWICE_ROUNDED and not facts.tflite_import:
        raise OptionError(
            f"device {name} does not run TFLite's arithmetic (scale type 3); {_TYPE} 0 or 1 turns "
            "the model's scales into the device's."
        )
    if not facts.asymmetric and any(quant.zero_point for quant in stated.features.values()):
        raise OptionError(
            f"device {name} has no zero points, which the model states; {_TYPE} 0 or 1 turns its "
            "scales into the device's."
        )


def _no_tflite(reason: str) -> str:
    return f"option {_TYPE!r} is 3 (pre-quantized TFLite), but {reason}; allowed: 0, 1, 4."


def _hints(options: Options, use: Statements) -> tuple[str, ...]:
    if use is Statements.CONVERTED:
        notice = (
            "The model is pre-quantized; its scales give the ranges from which scale type "
            f"{options.quantization_scale_type} takes its own."
        )
        return (notice,)
    if options.prequantized_model is None and options.quantization_scale_type != 3:
        notice = (
            "The model is pre-quantized: its own scales and zero points are used "
            f"({_PREQUANTIZED} 1; 0 calibrates instead)."
        )
        return (notice,)
    return ()


def _listed(names: Iterable[str]) -> str:
    found = list(names)
    shown = ", ".join(map(repr, found[:_SHOWN_NAMES]))
    more = len(found) - _SHOWN_NAMES
    return f"layer{'s' if len(found) > 1 else ''} {shown}" + (
        f" and {more} more" if more > 0 else ""
    )
