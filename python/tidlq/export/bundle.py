"""A bundle for TI's tools: a float model, the strict quantization proto that fits it, the options.

TI's import then reproduces a plan without calibrating, and so does importing it here, to the last
byte of the Networks.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir

from tidlq.atomic_writes import check_folder, replace_folder
from tidlq.errors import ModelError
from tidlq.export.bundle_options import (
    Value,
    bundle_options,
    config_yaml,
    options_module,
    published_options,
)
from tidlq.graph.model import Graph
from tidlq.graph.partition import Partition, StageKind
from tidlq.importers.bundle_facts import BundleFacts
from tidlq.precision.parameter_ranges import measure_parameters
from tidlq.quantproto import find_unsuitable, format_quant_params
from tidlq.quantproto.network_ranges import to_saved
from tidlq.spec import ChannelRanges, QuantPlan, Ranges, Requantization
from tidlq.version import __version__

MODEL = "model.onnx"
QUANT_PARAMS = "quant_params.prototxt"
BUNDLE_CONFIG = "model_config.yaml"
OPTIONS = "runtime_options.py"
_FILES = (MODEL, QUANT_PARAMS, BUNDLE_CONFIG, OPTIONS)
_CACHE = "__pycache__"  # of whoever imports the options
_LARGEST_FILE = (1 << 31) - 1


@dataclass(frozen=True, eq=False)
class TidlBundle:
    """What leaves for TI's tools.

    Attributes:
        model: the float network as the plan assumes it: batch-norms folded, channels rescaled,
            names of layers kept, biases as they are without quantization.
        quant_params: the strict quantization proto of that model, text; it has the biases' values
            after calibration.
        options: TI's runtime options by published name, without the proto's path.
        config: the same as a configuration file of TI's model zoo, with the model, its
            preprocessing and the options that only tidlq knows.
        module: the options as a Python module.
        notices: what TI's own tools do not take, in plain sentences.
    """

    model: onnx.ModelProto
    quant_params: bytes = field(repr=False)
    options: Mapping[str, Value]
    config: bytes = field(repr=False)
    module: bytes = field(repr=False)
    notices: tuple[str, ...] = ()

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Writes the folder whole or not at all; an earlier bundle in it is replaced.

        Raises:
            OutputError: The place cannot be written, or holds something else than a bundle.
        """
        target = Path(folder)
        check_bundle_folder(target)
        model = self.model.SerializeToString(deterministic=True)
        contents = (model, self.quant_params, self.config, self.module)
        replace_folder(target, dict(zip(_FILES, contents, strict=True)))
        return target


def check_bundle_folder(folder: str | os.PathLike[str]) -> None:
    """Refuses a folder that could not be written, before any work is done.

    Raises:
        OutputError: The place is a file, or holds something else than a bundle.
    """
    check_folder(Path(folder), "a TI bundle", _foreign_entry)


def _foreign_entry(_folder: Path, entries: Sequence[str]) -> str | None:
    foreign = [entry for entry in entries if entry not in (*_FILES, _CACHE)]
    if foreign or not entries or BUNDLE_CONFIG in entries:
        return next(iter(foreign), None)
    # A model or a proto alone may be anybody's.
    return entries[0]


def tidl_bundle(
    graph: Graph,
    partition: Partition,
    ranges: Ranges,
    plan: QuantPlan,
    options: Mapping[str, Value],
    preprocessing: Mapping[str, Any],
) -> TidlBundle:
    """The bundle of a compilation.

    Args:
        graph: the Graph as it was quantized.
        partition: its stages.
        ranges: that made the plan.
        plan: the decisions for its fixed stages.
        options: of the compilation, by published name.
        preprocessing: how pictures become inputs; may be empty.

    Raises:
        ModelError: The plan keeps the scales of a pre-quantized model, which ranges cannot say; or
            lists of names cannot say its bits; or the model would not fit a file of 2 GiB.
    """
    _check_scheme(graph, plan)
    # Lists and statements of the source may place the layers of this Graph elsewhere.
    is_changed = bool(ranges.equalization) or graph.stated is not None
    found = bundle_options(options, graph, partition, plan, is_changed=is_changed)
    saved = to_saved(graph, partition, ranges, plan, None)
    channels = _decided_channels(graph, partition, ranges, plan)
    model = _prepared_model(graph, channels)
    return TidlBundle(
        model,
        format_quant_params(saved, strict=True),
        published_options(found),
        config_yaml(found, MODEL, QUANT_PARAMS, preprocessing),
        options_module(found, MODEL, QUANT_PARAMS),
        (*find_unsuitable(saved), *_notices(partition, channels)),
    )


def _check_scheme(graph: Graph, plan: QuantPlan) -> None:
    if not plan.is_stated:
        return
    what = "ONNX"
    if plan.scheme.requantization is Requantization.TWICE_ROUNDED:
        what = "TFLite"
    raise ModelError(
        f"The plan of {graph.name!r} keeps the scales of a pre-quantized {what} model, which the "
        "ranges of a TI bundle cannot say; compile with quantization_scale_type 0, 1 or 4 and "
        "prequantized_model not given to turn them into ranges, or export --to qdq."
    )


def _prepared_model(graph: Graph, channels: Mapping[str, ChannelRanges]) -> onnx.ModelProto:
    sizes = (value.const_value for value in graph.model.graph.initializers.values())
    size = sum(tensor.nbytes for tensor in sizes if tensor is not None)
    if size > _LARGEST_FILE:
        raise ModelError(
            f"The prepared form of {graph.name!r} has {size} bytes of constants; an ONNX file "
            f"holds at most {_LARGEST_FILE}."
        )
    model = ir.serde.serialize_model(graph.model)
    model.producer_name, model.producer_version = "tidlq", __version__
    model.graph.name = graph.name
    batch = str(graph.inputs[0].interface_shape[0]) if graph.free_batch else ""
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, BundleFacts(batch, channels).to_properties())
    return model


def _decided_channels(
    graph: Graph, partition: Partition, ranges: Ranges, plan: QuantPlan
) -> dict[str, ChannelRanges]:
    """Ranges of channels that are not the weights' own."""
    if not plan.scheme.channel_wise:
        return {}
    own = measure_parameters(graph, partition.layers).channels
    decided = {n: c for n, c in ranges.channels.items() if n in own and tuple(c) != tuple(own[n])}
    return {name: ChannelRanges.of(channels) for name, channels in decided.items()}


def _notices(partition: Partition, channels: Mapping[str, ChannelRanges]) -> tuple[str, ...]:
    notices = []
    count = sum(stage.kind is StageKind.FIXED for stage in partition.stages)
    if count > 1:
        notices.append(
            f"The network has {count} fixed-point subgraphs; TI's reader takes a quantization "
            "proto for a single one."
        )
    if channels:
        weights = f"{len(channels)} weight{'s' if len(channels) > 1 else ''}"
        notices.append(
            f"Ranges of single channels of {weights} were narrowed, which only the model's "
            "metadata say; TI's tools do not read them (accuracy_level 9 with weight_clipping 0 "
            "does without)."
        )
    return tuple(notices)
