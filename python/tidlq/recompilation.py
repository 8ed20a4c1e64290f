"""Compiling a model again, as the artifacts that were made from it say."""

from __future__ import annotations

import os
from pathlib import Path

from tidlq.artifacts import QUANT_PARAMS, Artifacts, load_artifacts
from tidlq.compilation import PROTO_OPTION, Compiled
from tidlq.compilation import compile as compile_
from tidlq.errors import ArtifactError, ModelError, OptionError, QuantProtoError
from tidlq.importers.model import import_model
from tidlq.importers.preprocessing import Preprocessing
from tidlq.quantproto import read_quant_params
from tidlq.target import Options
from tidlq.version import __version__


def recompile(artifacts: str | os.PathLike[str], model: str | os.PathLike[str]) -> Compiled:
    """The compilation that wrote a folder of artifacts, without its data.

    The options and the quantization proto in the folder decide everything that data decided.

    Args:
        artifacts: a folder that `tidlq compile` wrote.
        model: the model that it was written from.

    Returns:
        The compilation; its Networks are those of the folder, byte for byte.

    Raises:
        ArtifactError: The folder is damaged, or its network runs in float.
        ModelError: The model cannot be read, or is not the one that the artifacts were made from.
    """
    folder = Path(artifacts)
    saved = load_artifacts(folder)
    if not saved.quant_params:
        raise ArtifactError(
            f"The artifacts in {str(folder)!r} run in float only: they have no {QUANT_PARAMS}."
        )
    proto = folder / QUANT_PARAMS
    read_quant_params(proto)
    options = Options.parse({**saved.options, PROTO_OPTION: str(proto)})
    shapes = {item.name: item.shape for item in saved.inputs if all(item.shape)}
    declared = Preprocessing.parse(saved.preprocessing) if saved.preprocessing else None
    try:
        compiled = compile_(Path(model), None, options, input_shapes=shapes, preprocessing=declared)
    except (QuantProtoError, OptionError) as error:
        raise _another_model(model, folder, saved) from error
    except ModelError as error:
        # Unless the file is at fault by itself, its inputs are others than the artifacts'.
        import_model(Path(model))
        raise _another_model(model, folder, saved) from error
    if compiled.artifacts.networks != saved.networks:
        raise _another_model(model, folder, saved)
    return compiled


def _another_model(model: str | os.PathLike[str], folder: Path, artifacts: Artifacts) -> ModelError:
    version = ""
    if artifacts.tool_version != __version__:
        version = f" (by tidlq {artifacts.tool_version}; this is {__version__})"
    return ModelError(
        f"{str(model)!r} is not the model that the artifacts in {str(folder)!r} were made "
        f"from{version}: it gives other Networks."
    )
