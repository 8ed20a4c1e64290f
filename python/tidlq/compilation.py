"""From a float model to artifacts: the whole road, top to bottom."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidlq.artifacts import Artifacts, StageFile
from tidlq.calibration import CalibrationLevel, measure_features, select_ranges
from tidlq.calibration.stated import find_stated_ranges
from tidlq.errors import DataError, QuantProtoError
from tidlq.graph.layers import LayerKind
from tidlq.graph.model import Graph
from tidlq.graph.partition import Partition, StageKind, partition
from tidlq.graph.recognition import find_layers
from tidlq.importers.frames import Data, FrameSource, open_frames
from tidlq.importers.onnx_model import import_onnx
from tidlq.importers.preprocessing import Preprocessing
from tidlq.lowering.island import build_island
from tidlq.lowering.lower import lower_stage
from tidlq.lowering.network_file import pack_network
from tidlq.lowering.placement import PlacementLists, find_allowed, find_denied
from tidlq.precision.parameter_ranges import measure_parameters
from tidlq.precision.plan import make_plan, ranged_features
from tidlq.quantproto import (
    TEXT_SUFFIXES,
    Provenance,
    SavedRanges,
    check_fingerprint,
    format_quant_params,
    read_quant_params,
    resolve_ranges,
    write_quant_params,
)
from tidlq.quantproto.network_ranges import expected_layers, feature_ranges, to_saved
from tidlq.report.layers import layer_report
from tidlq.spec import QuantPlan, Range, Ranges
from tidlq.target import Options, TidlLayerType, is_asymmetric, scheme_of
from tidlq.version import __version__

if TYPE_CHECKING:
    import onnx

Progress = Callable[[str, int, int | None], None]
"""Called with a step's name, the units done and the total (None: not known)."""

FLOAT_SCHEME = "float"
FEATURE_BITS = 8
PROTO_OPTION = "advanced_options:quant_params_proto_path"


@dataclass(frozen=True)
class Compiled:
    """A compilation: its nouns and the artifacts.

    Attributes:
        graph: the canonical Graph.
        partition: fixed and float stages.
        ranges: every range; empty for a float network.
        plan: every decision; None for a float network.
        artifacts: what `save` writes.
        frames: calibration frames used; 0 when a saved proto replaced calibration.
        notices: what the user should know, in plain sentences.
    """

    graph: Graph
    partition: Partition
    ranges: Ranges
    plan: QuantPlan | None
    artifacts: Artifacts
    frames: int = 0
    notices: tuple[str, ...] = ()

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Writes the artifacts, whole or not at all.

        Raises:
            OutputError: The place cannot be written, or holds something else than artifacts.
        """
        return self.artifacts.save(folder)


def _silent(_step: str, _done: int, _total: int | None) -> None:
    """Progress that nobody asked for."""


@dataclass(frozen=True)
class _Decided:
    ranges: Ranges
    plan: QuantPlan | None = None
    frames: int = 0
    quant_params: bytes = b""
    to_write: SavedRanges | None = None
    notices: tuple[str, ...] = field(default=())


def compile(  # noqa: A001 - the package's main verb; users write tidlq.compile
    model: str | os.PathLike[str] | bytes | onnx.ModelProto,
    calibration: Data | None = None,
    options: Options | Mapping[str, object] | None = None,
    *,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    preprocessing: Preprocessing | None = None,
    threads: int = 0,
    progress: Progress | None = None,
) -> Compiled:
    """Turns a float ONNX model into a fixed-point network.

    Args:
        model: path, bytes or message of the model.
        calibration: frames, each a mapping of input name to array, or anything else that
            `tidlq.importers.frames.open_frames` takes (folder, glob, files, function); not needed
            when the options name an existing quantization proto, or for a float network
            (`tensor_bits` 32).
        options: validated options, or a mapping of TIDL's names.
        input_shapes: sizes for inputs whose shape is symbolic beyond the batch.
        preprocessing: how pictures become inputs; kept in the artifacts for later runs.
        threads: worker threads of calibration; 0 means one per core. The result is the same.
        progress: called as the work proceeds.

    Raises:
        ModelError: The model cannot be read or is not valid.
        DataError: Calibration frames are missing or do not fit.
        OptionError: An option is unknown or not allowed, or names an unknown layer.
        QuantProtoError: The saved proto is incomplete or of another model.
        OutputError: The quantization proto cannot be written.
    """
    options = options if isinstance(options, Options) else Options.parse(options or {})
    report = progress or _silent
    report("import", 0, None)
    graph = import_onnx(
        model, input_shapes=input_shapes or {}, pre_batchnorm_fold=options.pre_batchnorm_fold
    )
    parts = place_layers(graph, options)
    has_fixed = any(stage.kind is StageKind.FIXED for stage in parts.stages)
    decided = _Decided(Ranges({}, {}, {}))
    if has_fixed:
        limit = options.calibration_frames
        open_calibration = partial(_open_data, calibration, graph, preprocessing, limit)
        decided = _decide(graph, parts, options, open_calibration, threads, report)
    elif options.tensor_bits != 32:
        notice = "No layer of the network runs in fixed point; the artifacts are its float form."
        decided = _Decided(Ranges({}, {}, {}), notices=(notice,))
    report("lower", 0, None)
    artifacts = _assemble(
        graph, parts, decided, options, preprocessing.to_mapping() if preprocessing else {}
    )
    if options.quant_params_proto_path is not None and decided.to_write is not None:
        write_quant_params(options.quant_params_proto_path, decided.to_write)
    return Compiled(
        graph,
        parts,
        decided.ranges,
        decided.plan,
        artifacts,
        decided.frames,
        (*options.notices(), *decided.notices),
    )


def _open_data(
    data: Data | None, graph: Graph, preprocessing: Preprocessing | None, limit: int
) -> FrameSource:
    if data is None:
        raise DataError(
            "Calibration frames are missing: give data, or a quantization proto "
            "(advanced_options:quant_params_proto_path) that exists."
        )
    return open_frames(data, graph.inputs, preprocessing, limit)


def place_layers(graph: Graph, options: Options) -> Partition:
    """Says which layers run in fixed point and which nodes in float islands.

    Raises:
        OptionError: A list of the options names a layer or operator that the network does not have.
    """
    lists = PlacementLists(
        options.deny_list_layer_type,
        options.deny_list_layer_name,
        options.deny_list,
        options.allow_list_layer_name,
        "tensor_bits is 32" if options.tensor_bits == 32 else None,
    )
    table = find_layers(graph, find_denied(graph, lists), find_allowed(graph, lists))
    return partition(graph, table, options.max_num_subgraphs)


def _decide(
    graph: Graph,
    parts: Partition,
    options: Options,
    open_calibration: Callable[[], FrameSource],
    threads: int,
    report: Progress,
) -> _Decided:
    """Ranges, from data or from the saved proto, and the plan that follows from them."""
    scheme = scheme_of(options)
    own = measure_parameters(graph, parts.layers)
    path = options.quant_params_proto_path
    asymmetry = _asymmetry(options)
    if path is not None and Path(path).exists():
        saved = read_quant_params(path)
        ranges = _saved_ranges(graph, parts, own, saved, Path(path))
        plan = make_plan(graph, parts, ranges, scheme, is_asymmetric=asymmetry)
        is_text = Path(path).suffix.lower() in TEXT_SUFFIXES
        content = Path(path).read_bytes() if is_text else format_quant_params(saved)
        return _Decided(ranges, plan, quant_params=content)
    features, frames = _calibrate(graph, parts, options, open_calibration(), threads, report)
    ranges = Ranges(features, own.parameters, own.channels)
    plan = make_plan(graph, parts, ranges, scheme, is_asymmetric=asymmetry)
    provenance = Provenance(
        tool_version=__version__,
        graph_fingerprint=graph.fingerprint,
        scheme=scheme.name,
        accuracy_level=options.effective_accuracy_level,
        frames=frames,
    )
    saved = to_saved(graph, parts, ranges, plan, provenance)
    return _Decided(ranges, plan, frames, format_quant_params(saved), to_write=saved)


def _saved_ranges(
    graph: Graph, parts: Partition, own: Ranges, saved: SavedRanges, path: Path
) -> Ranges:
    """The saved proto's ranges.

    Channel ranges that it does not state are the weights' own, within the range of the whole.
    """
    check_fingerprint(saved, graph.fingerprint, str(path))
    _check_bits(saved, path)
    decisions = resolve_ranges(saved, expected_layers(graph, parts, own), str(path))
    ranges = decisions.ranges
    channels: dict[str, Sequence[Range]] = {**own.channels, **ranges.channels}
    for name in own.channels.keys() - ranges.channels.keys():
        whole = ranges.parameters[name]
        if own.parameters[name].clipped(whole) != own.parameters[name]:
            channels[name] = tuple(channel.clipped(whole) for channel in own.channels[name])
    return Ranges(ranges.features, ranges.parameters, channels, decisions.values)


def _check_bits(saved: SavedRanges, path: Path) -> None:
    for layer in saved.layers:
        bits = max(layer.bit_depth, layer.parameter_bit_depth or layer.bit_depth)
        if bits != FEATURE_BITS:
            raise QuantProtoError(
                f"Quantization proto {str(path)!r} states {bits} bits for layer {layer.name!r}; "
                f"this version compiles {FEATURE_BITS} bits."
            )


def _calibrate(
    graph: Graph,
    parts: Partition,
    options: Options,
    calibration: FrameSource,
    threads: int,
    report: Progress,
) -> tuple[dict[str, Range], int]:
    """Measures what the model does not state."""
    stated = find_stated_ranges(graph, parts.layers)
    wanted = ranged_features(parts)
    measured = [name for name in wanted if name not in stated]
    total = calibration.length
    statistics = measure_features(
        graph,
        measured,
        calibration,
        limit=options.calibration_frames,
        threads=threads,
        progress=lambda done: report("calibrate", done, total),
    )
    level = CalibrationLevel(options.effective_accuracy_level)
    ranges = select_ranges(level, statistics.features)
    features = {name: stated.get(name) or ranges[name] for name in wanted}
    return features, statistics.frames


def _asymmetry(options: Options) -> Callable[[LayerKind | None], bool]:
    """The device's restriction of asymmetric features, by kind of layer."""
    types = {
        LayerKind.CONVOLUTION: TidlLayerType.CONVOLUTION,
        LayerKind.INNER_PRODUCT: TidlLayerType.INNER_PRODUCT,
        LayerKind.CONCAT: TidlLayerType.CONCAT,
        LayerKind.SUM: TidlLayerType.ELTWISE,
        LayerKind.SOFTMAX: TidlLayerType.SOFTMAX,
    }
    return lambda kind: (
        options.device is None or (kind in types and is_asymmetric(types[kind], options.device))
    )


def _assemble(
    graph: Graph,
    parts: Partition,
    decided: _Decided,
    options: Options,
    preprocessing: Mapping[str, Any],
) -> Artifacts:
    stages: list[StageFile] = []
    for number, stage in enumerate(parts.stages):
        name = f"stage_{number}"
        if stage.kind is StageKind.FIXED:
            assert decided.plan is not None
            network = lower_stage(graph, stage, decided.plan, name)
            file, content = f"{name}.tidlq", pack_network(network)
        else:
            file, content = f"{name}.onnx", build_island(graph, stage, name).SerializeToString()
        stages.append(StageFile(stage.kind, file, stage.inputs, stage.outputs, content))
    known = Ranges(
        feature_ranges(parts, decided.ranges), decided.ranges.parameters, decided.ranges.channels
    )
    return Artifacts(
        name=graph.name,
        tool_version=__version__,
        graph_fingerprint=graph.fingerprint,
        scheme=decided.plan.scheme.name if decided.plan else FLOAT_SCHEME,
        free_batch=graph.free_batch,
        inputs=graph.inputs,
        outputs=graph.outputs,
        stages=tuple(stages),
        options={key: value for key, value in options.to_tidl().items() if key != PROTO_OPTION},
        preprocessing=preprocessing,
        quant_params=decided.quant_params,
        report=layer_report(graph, parts, known, decided.plan),
    )
