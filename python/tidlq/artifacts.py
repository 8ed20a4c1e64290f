"""Artifacts: the folder that a compilation leaves, and its manifest."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tidlq.atomic_writes import check_folder, replace_folder
from tidlq.errors import ArtifactError
from tidlq.graph.model import TensorSignature
from tidlq.graph.partition import StageKind
from tidlq.spec import FeatureQuant, IntegerType

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
QUANT_PARAMS = "quant_params.prototxt"
REPORT = "report.json"
PROGRESS = "calibration_progress.bin"
"""What an interrupted compilation leaves, beside earlier artifacts or alone."""
PARTIAL_PROGRESS = f"{PROGRESS}.part"
"""The same while it is written."""
BEST_LAYERS = "best_16bit_layers.yaml"
"""Options that ask for the best 16-bit layers found so far, while they are being chosen."""
_PASSING = (PROGRESS, PARTIAL_PROGRESS, BEST_LAYERS, f"{BEST_LAYERS}.part")


@dataclass(frozen=True)
class StageFile:
    """One executable part: a `.tidlq` Network or a float `.onnx` island.

    Attributes:
        kind: who executes it.
        file: name in the folder.
        inputs, outputs: border tensors, in the order of the file's own inputs and outputs.
        content: the file's bytes.
        keeps_layout: an island whose convolutions sum in the order of the plain layout.
    """

    kind: StageKind
    file: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    content: bytes = field(repr=False)
    keeps_layout: bool = False


@dataclass(frozen=True)
class Artifacts:
    """Everything that running, inspecting and recompiling a network needs.

    Attributes:
        name: the model's name.
        tool_version: version of tidlq that compiled it.
        graph_fingerprint: of the float graph.
        scheme: the quantization scheme's name.
        free_batch: inputs take any batch; frames are independent.
        inputs, outputs: the network's interface.
        stages: in execution order.
        options: options in force, by TIDL's names.
        preprocessing: how pictures become inputs, as declared at compilation; may be empty.
        quant_params: the quantization proto, text format; empty for a float network.
        report: what was decided for every layer.
    """

    name: str
    tool_version: str
    graph_fingerprint: str
    scheme: str
    free_batch: bool
    inputs: tuple[TensorSignature, ...]
    outputs: tuple[TensorSignature, ...]
    stages: tuple[StageFile, ...]
    options: Mapping[str, Any]
    preprocessing: Mapping[str, Any]
    quant_params: bytes
    report: Mapping[str, Any]

    @property
    def networks(self) -> tuple[bytes, ...]:
        """Files of the fixed-point stages, in execution order."""
        return tuple(stage.content for stage in self.stages if stage.kind is StageKind.FIXED)

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Writes the folder whole or not at all; earlier artifacts in it are replaced.

        Raises:
            OutputError: The place cannot be written, or holds something else than artifacts.
        """
        target = Path(folder)
        check_target(target)
        replace_folder(target, self._files())
        return target

    def _files(self) -> dict[str, bytes]:
        files = {stage.file: stage.content for stage in self.stages}
        if self.quant_params:
            files[QUANT_PARAMS] = self.quant_params
        return {**files, REPORT: _json(self.report), MANIFEST: _json(self._manifest())}

    def _manifest(self) -> dict[str, Any]:
        return {
            "format_version": FORMAT_VERSION,
            "tool_version": self.tool_version,
            "name": self.name,
            "graph_fingerprint": self.graph_fingerprint,
            "scheme": self.scheme,
            "free_batch": self.free_batch,
            "inputs": [_signature_to_json(s) for s in self.inputs],
            "outputs": [_signature_to_json(s) for s in self.outputs],
            "stages": [
                {
                    "kind": stage.kind.value,
                    "file": stage.file,
                    "inputs": list(stage.inputs),
                    "outputs": list(stage.outputs),
                }
                | ({"keeps_layout": True} if stage.keeps_layout else {})
                for stage in self.stages
            ],
            "options": dict(self.options),
            "preprocessing": dict(self.preprocessing),
        }


def load_artifacts(folder: str | os.PathLike[str]) -> Artifacts:
    """Reads a folder of artifacts.

    Raises:
        ArtifactError: Not a folder of artifacts, damaged, or of a newer format version.
    """
    path = Path(folder)
    manifest = _read_manifest(path)
    try:
        stages = tuple(
            StageFile(
                StageKind(stage["kind"]),
                stage["file"],
                tuple(stage["inputs"]),
                tuple(stage["outputs"]),
                _read(path, stage["file"]),
                bool(stage.get("keeps_layout", False)),
            )
            for stage in manifest["stages"]
        )
        return Artifacts(
            name=str(manifest["name"]),
            tool_version=str(manifest["tool_version"]),
            graph_fingerprint=str(manifest["graph_fingerprint"]),
            scheme=str(manifest["scheme"]),
            free_batch=bool(manifest["free_batch"]),
            inputs=tuple(map(_signature_from_json, manifest["inputs"])),
            outputs=tuple(map(_signature_from_json, manifest["outputs"])),
            stages=stages,
            options=dict(manifest["options"]),
            preprocessing=dict(manifest["preprocessing"]),
            quant_params=_read(path, QUANT_PARAMS) if (path / QUANT_PARAMS).exists() else b"",
            report=json.loads(_read(path, REPORT)),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"The artifacts in {str(path)!r} are damaged: {MANIFEST} or {REPORT} lacks or garbles "
            f"{error}."
        ) from None


def _read_manifest(path: Path) -> dict[str, Any]:
    if not path.is_dir():
        raise ArtifactError(f"{str(path)!r} is not a folder of artifacts: no such folder.")
    if not (path / MANIFEST).is_file() and (path / PROGRESS).is_file():
        raise ArtifactError(
            f"{str(path)!r} holds no artifacts yet: their compilation was interrupted, or goes on."
        )
    if not (path / MANIFEST).is_file():
        raise ArtifactError(f"{str(path)!r} is not a folder of artifacts: it has no {MANIFEST}.")
    try:
        manifest = json.loads(_read(path, MANIFEST))
        version = manifest["format_version"]
        if not isinstance(version, int):
            raise TypeError("format_version")
    except (ValueError, KeyError, TypeError):
        raise ArtifactError(f"{str(path / MANIFEST)!r} is damaged: it is not a manifest.") from None
    if version > FORMAT_VERSION:
        raise ArtifactError(
            f"The artifacts in {str(path)!r} have format version {version}, written by tidlq "
            f"{manifest.get('tool_version', 'of unknown version')}; this tidlq reads up to "
            f"{FORMAT_VERSION}."
        )
    assert isinstance(manifest, dict)
    return manifest


def _read(folder: Path, name: str) -> bytes:
    if Path(name).name != name:
        raise ArtifactError(f"The manifest in {str(folder)!r} names {name!r}, outside the folder.")
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        raise ArtifactError(
            f"The artifacts in {str(folder)!r} are incomplete: {name!r}: {error.strerror}."
        ) from None


def check_target(folder: str | os.PathLike[str]) -> None:
    """Refuses a folder that could not be written, before any work is done.

    Raises:
        OutputError: The place is a file, or holds something else than artifacts.
    """
    check_folder(Path(folder), "artifacts", _foreign_entry)


def _foreign_entry(folder: Path, entries: Sequence[str]) -> str | None:
    """The name of something in a folder that its own manifest does not account for."""
    entries = [entry for entry in entries if entry not in _PASSING]
    if not entries:
        return None
    try:
        manifest = _read_manifest(folder)
        known = {MANIFEST, REPORT, QUANT_PARAMS, *(stage["file"] for stage in manifest["stages"])}
    except (ArtifactError, KeyError, TypeError):
        return MANIFEST if MANIFEST in entries else entries[0]
    return next((entry for entry in entries if entry not in known), None)


def _json(content: Mapping[str, Any]) -> bytes:
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    return text.encode()


def _signature_to_json(signature: TensorSignature) -> dict[str, Any]:
    content = {**dataclasses.asdict(signature), "dtype": signature.dtype.name}
    del content["quant"]
    if signature.quant is not None:
        content |= {"scale": signature.quant.scale, "zero_point": signature.quant.zero_point}
    return content


def _signature_from_json(content: Mapping[str, Any]) -> TensorSignature:
    dtype, quant = np.dtype(content["dtype"]), None
    if "scale" in content:
        type_ = IntegerType(8 * dtype.itemsize, signed=dtype.kind == "i")
        quant = FeatureQuant(type_, float(content["scale"]), int(content["zero_point"]))
    return TensorSignature(
        name=str(content["name"]),
        dtype=dtype,
        quant=quant,
        shape=tuple(map(int, content["shape"])),
        interface_shape=tuple(
            size if isinstance(size, str) else int(size) for size in content["interface_shape"]
        ),
    )
