"""From a float model to artifacts: the whole road, top to bottom."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidlq.artifacts import PROGRESS, Artifacts, StageFile
from tidlq.calibration import BiasCalibration
from tidlq.decision import Decision, MixedPrecision, Progress, decide, prepare
from tidlq.errors import DataError, ModelError, OptionError, QuantProtoError
from tidlq.export import BUNDLE_CONFIG, TidlBundle, qdq_model, tidl_bundle
from tidlq.graph.model import Graph
from tidlq.graph.paged_weights import with_paged_weights
from tidlq.graph.partition import Partition, StageKind
from tidlq.graph.statements import rounded_features
from tidlq.importers.frames import Data, FrameSource, open_frames
from tidlq.importers.model import import_model
from tidlq.importers.preprocessing import Preprocessing
from tidlq.importers.zoo_config import read_zoo_config
from tidlq.lowering.island import build_island, keeps_layout
from tidlq.lowering.lower import lower_stage
from tidlq.lowering.network_file import pack_network, without_fingerprint
from tidlq.paging import give_back_freed_memory
from tidlq.quantproto import find_left_out, find_unsuitable, write_quant_params
from tidlq.quantproto.network_ranges import feature_ranges
from tidlq.report.calibration import calibration_report
from tidlq.report.layers import layer_report
from tidlq.report.precision import precision_report
from tidlq.spec import QuantPlan, Ranges
from tidlq.target import EqualizationChoice, Options
from tidlq.version import __version__

if TYPE_CHECKING:
    import onnx

FLOAT_SCHEME = "float"
MOST_THREADS = 1024  # as in the engine
PROTO_OPTION = "advanced_options:quant_params_proto_path"


@dataclass(frozen=True)
class Compiled:
    """A compilation: its nouns and the artifacts.

    Attributes:
        graph: the Graph that was quantized; channels may be rescaled.
        partition: fixed and float stages.
        ranges: every range; empty for a float network.
        plan: every decision; None for a float network.
        artifacts: what `save` writes.
        frames: calibration frames used; 0 when a saved proto replaced calibration.
        bias: what bias calibration did; None where there was none.
        resumed_frames: calibration frames that an interrupted compilation had measured.
        notices: what the user should know, in plain sentences.
        mixed: the automatic choice of 16-bit layers; None where there was none.
    """

    graph: Graph
    partition: Partition
    ranges: Ranges
    plan: QuantPlan | None
    artifacts: Artifacts
    frames: int = 0
    bias: BiasCalibration | None = None
    resumed_frames: int = 0
    notices: tuple[str, ...] = ()
    mixed: MixedPrecision | None = None

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Writes the artifacts, whole or not at all.

        Raises:
            OutputError: The place cannot be written, or holds something else than artifacts.
        """
        return self.artifacts.save(folder)

    def to_qdq(self) -> onnx.ModelProto:
        """The network as an ONNX model with QuantizeLinear and DequantizeLinear nodes.

        Raises:
            ModelError: The network runs in float only, or is too large for one file.
        """
        if self.plan is None:
            raise ModelError(
                f"The network {self.graph.name!r} runs in float only; QDQ needs scales."
            )
        return qdq_model(self.graph, self.partition, self.plan)

    def to_tidl(self) -> TidlBundle:
        """The network as a bundle for TI's tools: prepared float model, strict proto, options.

        The bundle is compiled before it is returned: it gives these Networks, byte for byte. Of a
        pre-quantized model whose scales were converted, their fingerprint is another.

        Raises:
            ModelError: The network runs in float only, keeps a pre-quantized model's scales, is too
                large for one file, or is one whose Networks a bundle does not give again.
        """
        if self.plan is None:
            raise ModelError(
                f"The network {self.graph.name!r} runs in float only; a TI bundle needs ranges."
            )
        saved = self.artifacts
        bundle = tidl_bundle(
            self.graph, self.partition, self.ranges, self.plan, saved.options, saved.preprocessing
        )
        _check_bundle(bundle, saved, is_stated=self.graph.stated is not None)
        return bundle


def _check_bundle(bundle: TidlBundle, artifacts: Artifacts, *, is_stated: bool) -> None:
    """Refuses a bundle that does not give the Networks of the artifacts.

    What a pre-quantized model states counts in the fingerprint, and is not in the bundle.
    """
    with tempfile.TemporaryDirectory(prefix="tidlq-") as folder:
        stated = read_zoo_config(bundle.save(Path(folder) / "bundle") / BUNDLE_CONFIG)
        assert stated.model_path is not None
        try:
            again = compile(stated.model_path, None, stated.options)
        except (ModelError, OptionError, QuantProtoError, DataError) as error:
            raise ModelError(
                f"The network {artifacts.name!r} cannot be bundled: importing the bundle fails "
                f"({error})"
            ) from error
    made, wanted = again.artifacts.networks, artifacts.networks
    if is_stated:
        made, wanted = (tuple(map(without_fingerprint, files)) for files in (made, wanted))
    if made != wanted:
        raise ModelError(
            f"The network {artifacts.name!r} cannot be bundled: importing the prepared model with "
            "the strict quantization proto would give another network."
        )


def _silent(_step: str, _done: int, _total: int | None) -> None:
    """Progress that nobody asked for."""


def compile(  # noqa: A001 - the package's main verb; users write tidlq.compile
    model: str | os.PathLike[str] | bytes | onnx.ModelProto,
    calibration: Data | None = None,
    options: Options | Mapping[str, object] | None = None,
    *,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    preprocessing: Preprocessing | None = None,
    threads: int = 0,
    progress: Progress | None = None,
    progress_folder: str | os.PathLike[str] | None = None,
    allow_stale: bool = False,
    tidl_strict: bool = False,
) -> Compiled:
    """Turns an ONNX or TFLite model into a fixed-point network.

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
        progress_folder: keeps the calibration's progress in a file, every few seconds; a call that
            repeats an interrupted one continues there, with the same result. Name the folder of the
            artifacts: saving them replaces the file.
        allow_stale: take a quantization proto that was written for another model: its ranges of
            layers that are still there, with the model's own weights where these changed. A notice
            says what changed.
        tidl_strict: write the quantization proto as TI's tools read it, without what only tidlq
            states; a notice says what that is.

    Raises:
        ModelError: The model cannot be read or is not valid.
        DataError: Calibration frames are missing or do not fit.
        OptionError: An option is unknown or not allowed, or names an unknown layer.
        QuantProtoError: The saved proto is incomplete or of another model.
        OutputError: The quantization proto cannot be written.
    """
    options = options if isinstance(options, Options) else Options.parse(options or {})
    if not 0 <= threads <= MOST_THREADS:
        raise OptionError(f"Threads is {threads}, allowed is 0 (one per core) to {MOST_THREADS}.")
    strict_notices: tuple[str, ...] = ()
    if tidl_strict:
        options, strict_notices = _without_rescaling(options)
    report = progress or _silent
    report("import", 0, None)
    graph = with_paged_weights(
        import_model(
            model, input_shapes=input_shapes or {}, pre_batchnorm_fold=options.pre_batchnorm_fold
        )
    )
    prepared = prepare(graph, options, has_data=calibration is not None)
    graph = prepared.graph
    give_back_freed_memory()
    decided = Decision(graph, prepared.partition, Ranges({}, {}, {}))
    if any(stage.kind is StageKind.FIXED for stage in prepared.partition.stages):
        limit = options.calibration_frames
        open_calibration = partial(_open_data, calibration, graph, preprocessing, limit)
        progress_file = None if progress_folder is None else Path(progress_folder) / PROGRESS
        decided = decide(
            prepared,
            options,
            open_calibration,
            threads,
            report,
            progress_file,
            has_data=calibration is not None,
            allow_stale=allow_stale,
        )
    elif options.tensor_bits != 32:
        notice = "No layer of the network runs in fixed point; the artifacts are its float form."
        decided = replace(decided, notices=(notice,))
    report("lower", 0, None)
    artifacts = _assemble(
        graph, decided, options, preprocessing.to_mapping() if preprocessing else {}
    )
    strict_notices += _write_proto(options, decided, strict=tidl_strict)
    return Compiled(
        decided.graph,
        decided.partition,
        decided.ranges,
        decided.plan,
        artifacts,
        decided.frames,
        decided.bias,
        decided.resumed_frames,
        (*prepared.notices, *decided.notices, *strict_notices),
        decided.mixed,
    )


def _without_rescaling(options: Options) -> tuple[Options, tuple[str, ...]]:
    """A strict proto cannot say how channels were rescaled; unless asked for, they are not."""
    if options.ingredients.equalization is not EqualizationChoice.AUTO:
        return options, ()
    notice = (
        "Channels are not rescaled between layers, because a strict proto cannot say it "
        "(tidlq:cross_layer_equalization on does it nevertheless)."
    )
    return options.override({"tidlq:cross_layer_equalization": "off"}), (notice,)


def _write_proto(options: Options, decided: Decision, *, strict: bool) -> tuple[str, ...]:
    """Writes a new proto where the options ask for one; says what a strict one leaves out."""
    path, saved = options.quant_params_proto_path, decided.to_write
    if path is None or saved is None:
        if strict and path is not None:
            return (f"{str(path)!r} was read, so it is not written strictly.",)
        return ()
    write_quant_params(path, saved, strict=strict)
    if not strict:
        return ()
    left_out = [f"The strict proto leaves out: {text}." for text in find_left_out(saved)]
    return (*left_out, *find_unsuitable(saved))


def _open_data(
    data: Data | None, graph: Graph, preprocessing: Preprocessing | None, limit: int
) -> FrameSource:
    if data is None:
        raise DataError(
            "Calibration frames are missing: give data, or a quantization proto "
            "(advanced_options:quant_params_proto_path) that exists."
        )
    return open_frames(data, graph.inputs, preprocessing, limit)


def _assemble(
    source: Graph,
    decided: Decision,
    options: Options,
    preprocessing: Mapping[str, Any],
) -> Artifacts:
    graph, parts = decided.graph, decided.partition
    is_stated = decided.plan is not None and decided.plan.is_stated
    rounded = rounded_features(graph) if is_stated else {}
    stages: list[StageFile] = []
    for number, stage in enumerate(parts.stages):
        name = f"stage_{number}"
        if stage.kind is StageKind.FIXED:
            assert decided.plan is not None
            network = lower_stage(graph, stage, decided.plan, name)
            file, content, is_plain = f"{name}.tidlq", pack_network(network), False
            graph.rest_weights()
        else:
            island = build_island(graph, stage, name, rounded)
            file, content = f"{name}.onnx", island.SerializeToString()
            is_plain = is_stated and keeps_layout(graph, stage)
        stages.append(StageFile(stage.kind, file, stage.inputs, stage.outputs, content, is_plain))
    known = Ranges(
        feature_ranges(parts, decided.ranges), decided.ranges.parameters, decided.ranges.channels
    )
    return Artifacts(
        name=graph.name,
        tool_version=__version__,
        graph_fingerprint=source.fingerprint,
        scheme=decided.plan.scheme.name if decided.plan else FLOAT_SCHEME,
        free_batch=graph.free_batch,
        inputs=graph.inputs,
        outputs=graph.outputs,
        stages=tuple(stages),
        options=_saved_options(options, decided.plan),
        preprocessing=preprocessing,
        quant_params=decided.quant_params,
        report={
            **layer_report(graph, parts, known, decided.plan),
            "calibration": calibration_report(decided.ranges.equalization, decided.bias),
            "precision": precision_report(decided.assignment, decided.mixed),
        },
    )


def _saved_options(options: Options, plan: QuantPlan | None) -> dict[str, str | int | float]:
    """Options that compile the model again as it was compiled."""
    saved = {key: value for key, value in options.to_tidl().items() if key != PROTO_OPTION}
    if plan is not None and plan.is_stated:
        saved["advanced_options:prequantized_model"] = 1
        del saved["advanced_options:quantization_scale_type"]
    return saved
