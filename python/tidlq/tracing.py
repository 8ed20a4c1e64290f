"""Traces: what every layer of a compiled network computes, beside its float network."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tidlq._core import ErrorStatistics
from tidlq.calibration import FloatFeatures
from tidlq.compilation import Compiled
from tidlq.errors import DataError, ModelError, OutputError
from tidlq.export.agreement import IntegerTrace
from tidlq.inference import write_archive
from tidlq.spec import FeatureQuant

Array = NDArray[np.generic]
TRACE = "trace.json"


@dataclass(frozen=True)
class TracedLayer:
    """A layer's output over the traced frames.

    Attributes:
        layer: the layer's name.
        op_type: its leading operator.
        tensor: the tensor that it writes.
        type: of its integers: u8, s8, u16 or s16.
        scale: x = scale * (q - zero_point).
        zero_point: the same.
        sqnr_db: against the float network; None where there is no error.
        max_abs_error: the largest error.
        clipped: part of the float elements beyond what the integers can say.
    """

    layer: str
    op_type: str
    tensor: str
    type: str
    scale: float
    zero_point: int
    sqnr_db: float | None
    max_abs_error: float
    clipped: float


@dataclass
class _Total:
    error: ErrorStatistics
    clipped: int = 0
    count: int = 0


def write_trace(
    compiled: Compiled,
    frames: Iterable[Mapping[str, Array]],
    folder: str | os.PathLike[str],
    *,
    threads: int = 0,
    progress: Callable[[int], None] | None = None,
) -> tuple[TracedLayer, ...]:
    """Runs frames layer by layer and writes what each layer computed, whole or not at all.

    For each frame the folder gets `frame_0_fixed.npz`, the integers by tensor, and
    `frame_0_float.npz`, the same tensors of the float network, both in ONNX's axes; `trace.json`
    has the layers with scales and errors. Channels that calibration rescaled are so in both.

    Args:
        compiled: the network.
        frames: of the inputs' static shapes.
        folder: to be made; it must not exist.
        threads: worker threads; 0 means one per core.
        progress: called with the number of frames done.

    Raises:
        ModelError: The network runs in float only.
        DataError: There is no frame, or one does not fit the inputs.
        OutputError: The folder exists or cannot be written.
    """
    if compiled.plan is None:
        raise ModelError(f"The network {compiled.graph.name!r} runs in float only.")
    target = Path(folder)
    check_trace_folder(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise OutputError(f"output {str(target)!r} cannot be written: {error.strerror}.") from None
    try:
        layers = _write_frames(compiled, frames, scratch, threads, progress)
        scratch.chmod(0o755)
        scratch.rename(target)
    except OSError as error:
        raise OutputError(f"output {str(target)!r} cannot be written: {error.strerror}.") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return layers


def check_trace_folder(target: Path) -> None:
    """Refuses a folder that is there, before any work is done.

    Raises:
        OutputError: The name is taken.
    """
    if target.exists():
        raise OutputError(f"output {str(target)!r} exists; name a new folder.")


def _write_frames(
    compiled: Compiled,
    frames: Iterable[Mapping[str, Array]],
    folder: Path,
    threads: int,
    progress: Callable[[int], None] | None,
) -> tuple[TracedLayer, ...]:
    assert compiled.plan is not None
    features = compiled.plan.features
    writers = {x.output: x for x in compiled.partition.layers if x.output in features}
    engine = IntegerTrace(
        compiled.graph, compiled.partition, compiled.plan, compiled.artifacts.stages, threads
    )
    reference = FloatFeatures(compiled.graph, list(writers), threads=threads)
    totals = {name: _Total(ErrorStatistics()) for name in writers}
    count = 0
    for frame in frames:
        integers, floats = engine.run(frame), reference.run(frame)
        for name, total in totals.items():
            _add(total, integers[name], floats[name], features[name])
        write_archive(folder / f"frame_{count}_fixed.npz", {n: integers[n] for n in writers})
        write_archive(folder / f"frame_{count}_float.npz", {n: floats[n] for n in writers})
        count += 1
        if progress is not None:
            progress(count)
    if count == 0:
        raise DataError("the input holds no frame.")
    layers = tuple(_traced(compiled, name, total) for name, total in totals.items())
    content = {"frames": count, "layers": [asdict(layer) for layer in layers]}
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / TRACE).write_text(text + "\n", encoding="utf-8")
    return layers


def _add(total: _Total, integers: Array, floats: Array, quant: FeatureQuant) -> None:
    values = np.float32(quant.scale) * (integers.astype(np.float32) - quant.zero_point)
    total.error.update(
        np.ascontiguousarray(floats, np.float32), np.ascontiguousarray(values, np.float32)
    )
    low, high = quant.range.min, quant.range.max
    beyond = (np.asarray(floats, np.float32) < low) | (np.asarray(floats, np.float32) > high)
    total.clipped += int(np.count_nonzero(beyond))
    total.count += integers.size


def _traced(compiled: Compiled, tensor: str, total: _Total) -> TracedLayer:
    assert compiled.plan is not None
    quant = compiled.plan.features[tensor]
    layer = next(x for x in compiled.partition.layers if x.output == tensor)
    sqnr = total.error.sqnr_db
    return TracedLayer(
        layer.name,
        layer.op_type,
        tensor,
        f"{'s' if quant.type.signed else 'u'}{quant.type.bits}",
        quant.scale,
        quant.zero_point,
        round(sqnr, 2) if np.isfinite(sqnr) else None,
        total.error.max_abs_error,
        total.clipped / max(total.count, 1),
    )
