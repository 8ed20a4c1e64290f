"""Looking at networks and saved ranges without compiling."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tidlq.artifacts import QUANT_PARAMS, Artifacts, load_artifacts
from tidlq.decision import Prepared, Statements, decide, fit_proto, prepare
from tidlq.engine import FixedStage
from tidlq.errors import ArtifactError, DataError, ModelError, QuantProtoError
from tidlq.graph.layers import Layer
from tidlq.graph.model import Graph
from tidlq.graph.partition import StageKind, Unit, unit_outputs
from tidlq.importers.frame_source import FrameSource
from tidlq.importers.model import import_model
from tidlq.quantproto import (
    Findings,
    ProtoForm,
    SavedRanges,
    find_missing,
    parse_quant_params,
    validate_content,
)
from tidlq.target import Options


@dataclass(frozen=True)
class Footprint:
    """What artifacts take.

    Attributes:
        fixed_layers: layers that the integer engine runs.
        float_nodes: nodes that ONNX Runtime runs.
        network_bytes: of all `.tidlq` files.
        island_bytes: of all float islands.
        feature_bytes: of the engine's feature maps for one frame, with reuse; the largest stage.
    """

    fixed_layers: int
    float_nodes: int
    network_bytes: int
    island_bytes: int
    feature_bytes: int


def measure_footprint(artifacts: Artifacts) -> Footprint:
    """Counts layers and bytes of artifacts.

    Raises:
        ArtifactError: A Network is not valid.
    """
    places = [layer["runs_in"] for stage in artifacts.report["stages"] for layer in stage["layers"]]
    fixed = [stage for stage in artifacts.stages if stage.kind is StageKind.FIXED]
    features = [
        FixedStage(stage.content, stage.inputs, stage.outputs, 1).engine.feature_bytes
        for stage in fixed
    ]
    total = sum(len(stage.content) for stage in artifacts.stages)
    network = sum(len(stage.content) for stage in fixed)
    return Footprint(
        fixed_layers=places.count("fixed"),
        float_nodes=places.count("float"),
        network_bytes=network,
        island_bytes=total - network,
        feature_bytes=max(features, default=0),
    )


def inspect_model(
    model: str | os.PathLike[str],
    options: Options,
    input_shapes: Mapping[str, Sequence[int]],
) -> tuple[Graph, dict[str, Any]]:
    """Tells where every layer of a model would run, and why.

    Args:
        model: the ONNX file.
        options: those that place layers count.
        input_shapes: sizes of inputs whose shape is not fixed.

    Returns:
        The Graph; and as JSON values its stages with their layers, and `notices`: what the user
        should know, in plain sentences.

    Raises:
        ModelError: The model cannot be read or is not valid.
        OptionError: A list names a layer that the network does not have.
    """
    prepared = _prepare(model, options, input_shapes)
    graph, parts = prepared.graph, prepared.partition
    stages = [
        {
            "stage": number,
            "kind": stage.kind.value,
            "inputs": list(stage.inputs),
            "outputs": list(stage.outputs),
            "layers": [
                *(_unit(graph, layer) for layer in stage.layers),
                *(_unit(graph, node) for node in stage.float_nodes),
            ],
        }
        for number, stage in enumerate(parts.stages)
    ]
    return graph, {"stages": stages, "notices": list(prepared.notices)}


def review_proto(
    content: bytes,
    form: ProtoForm | None,
    where: str,
    model: str | os.PathLike[str] | None,
    options: Options,
    input_shapes: Mapping[str, Sequence[int]],
) -> Findings:
    """Returns everything that keeps a quantization proto from replacing calibration.

    Args:
        content: of the proto.
        form: of the content; None tells it from the content.
        where: names the proto in messages.
        model: the model that it is for; None checks the proto by itself.
        options: those that the model is going to be compiled with.
        input_shapes: sizes of inputs whose shape is not fixed.

    Raises:
        ModelError: The model cannot be read.
    """
    found = validate_content(content, form, where)
    if model is None:
        return found
    try:
        parse_quant_params(content, form, where)
    except QuantProtoError as error:
        # What the reader refuses, the list of problems already names.
        return found if found.problems else replace(found, problems=(str(error),))
    prepared = _prepare(model, options, input_shapes)
    try:
        opened = fit_proto(prepared, options, content, form, where, allow_stale=False)
    except QuantProtoError as error:
        return replace(found, problems=(*found.problems, str(error)))
    missing = [f"the file lacks {x}" for x in find_missing(opened.saved, opened.expected)]
    return replace(found, problems=(*found.problems, *missing))


@dataclass(frozen=True)
class StatedRanges:
    """The ranges that a pre-quantized model states.

    Attributes:
        saved: as a quantization proto has them.
        notices: what the user should know, in plain sentences.
    """

    saved: SavedRanges
    notices: tuple[str, ...]


def stated_ranges(
    model: str | os.PathLike[str], options: Options, input_shapes: Mapping[str, Sequence[int]]
) -> StatedRanges:
    """Reads the ranges of a pre-quantized model.

    Args:
        model: the ONNX or TFLite file.
        options: those that the model is going to be compiled with.
        input_shapes: sizes of inputs whose shape is not fixed.

    Raises:
        ModelError: The model cannot be read, or states no ranges.
        OptionError: The options ask for what the model does not have.
    """
    prepared = _prepare(model, options, input_shapes)
    if prepared.statements is Statements.NONE:
        raise ModelError(
            f"{os.fspath(model)} states no ranges: it is not pre-quantized; 'tidlq compile' with "
            "calibration data writes a quantization proto (option quant_params_proto_path)."
        )
    if not prepared.partition.layers:
        raise ModelError(f"{os.fspath(model)} has no layer whose quantization is stated in full.")

    def no_data() -> FrameSource:
        raise DataError("Calibration frames are missing.")

    decided = decide(prepared, options, no_data, 0, lambda *_: None, has_data=False)
    assert decided.to_write is not None
    return StatedRanges(decided.to_write, (*prepared.notices, *decided.notices))


def artifact_ranges(folder: str | os.PathLike[str]) -> StatedRanges:
    """Reads the ranges that artifacts were compiled with.

    Raises:
        ArtifactError: The folder is damaged, or its network runs in float.
    """
    artifacts = load_artifacts(folder)
    where = f"{os.fspath(folder)}/{QUANT_PARAMS}"
    if not artifacts.quant_params:
        raise ArtifactError(
            f"The artifacts in {os.fspath(folder)!r} run in float only: they have no ranges."
        )
    return StatedRanges(parse_quant_params(artifacts.quant_params, ProtoForm.TEXT, where), ())


def _prepare(
    model: str | os.PathLike[str], options: Options, input_shapes: Mapping[str, Sequence[int]]
) -> Prepared:
    graph = import_model(
        model, input_shapes=input_shapes, pre_batchnorm_fold=options.pre_batchnorm_fold
    )
    return prepare(graph, options)


def _unit(graph: Graph, unit: Unit) -> dict[str, Any]:
    outputs = unit_outputs(unit)
    known: dict[str, Any] = {
        "name": unit.name,
        "op_type": unit.op_type,
        "outputs": list(outputs),
        "shape": list(graph.shape(outputs[0]) or ()) if outputs else [],
    }
    if isinstance(unit, Layer):
        return {**known, "runs_in": "fixed", "kind": unit.kind.value, "nodes": list(unit.nodes)}
    return {**known, "runs_in": "float", "reason": unit.reason}
