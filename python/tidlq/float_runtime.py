"""The door to ONNX Runtime: float sessions, opened late, whose failures are one sentence.

ONNX Runtime is imported on first use: a compilation from saved ranges does not need it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]

# What ONNX Runtime puts around a reason: its own codes, and the place in its sources.
_CODE = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")
_PLACE = re.compile(r"\S+\.(?:cc|cpp|h|hpp):\d+ [^(]*\([^)]*\) ")
_RUNNING = re.compile(
    r"^Non-zero status code .* running (\w+) node\. Name:('.*?') Status Message: "
)
_LONGEST_REASON = 300
_SILENT = 4


class FloatSession(Protocol):
    """What this package uses of an ONNX Runtime session."""

    def run(
        self, output_names: Sequence[str] | None, input_feed: Mapping[str, Array]
    ) -> list[Array]:
        """Executes the model."""


def open_float_session(
    model: bytes | Path,
    *,
    threads: int = 0,
    is_optimized: bool = True,
    is_spinning: bool = True,
    keeps_layout: bool = False,
    plans_memory: bool = True,
) -> FloatSession:
    """Opens an ONNX model on the CPU.

    Args:
        model: serialized ONNX model, or the file of one whose weights are in files beside it. The
            files are not needed any more when the session is open.
        threads: threads of one run; 0 means one per core.
        is_optimized: let ONNX Runtime rewrite the graph, unless it then refuses the result, as
            it does with some transposes in front of a Resize.
        keeps_layout: let it not rewrite convolutions to its blocked layout, which sums in another
            order.
        is_spinning: idle threads wait actively; they then take the cores from other work.
        plans_memory: let it take the memory of all tensors at once, after a first run that tells
            how much that is; where many tensors are outputs, that is up to twice as much.

    Raises:
        Exception: ONNX Runtime's own, on a model that it refuses; `refusal_reason` shortens it.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = _SILENT
    options.enable_mem_pattern = plans_memory
    # Signed features have integer kernels too, which the default leaves to Arm processors.
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    if not is_optimized:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    elif keeps_layout:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    if not is_spinning:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")

    def open_session() -> FloatSession:
        source = str(model) if isinstance(model, Path) else model
        session = ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        # It would keep the model for a fallback to another provider, which there is none of.
        session.disable_fallback()
        session._model_bytes = b""
        found: FloatSession = session
        return found

    try:
        return open_session()
    except Exception as refusal:
        if not is_optimized:
            raise
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            return open_session()
        except Exception:
            raise refusal from None


def runtime_version() -> str:
    """The version of ONNX Runtime."""
    import onnxruntime as ort

    return str(ort.__version__)


def refusal_reason(error: Exception) -> str:
    """One phrase, without a full stop, of what is often several lines with source paths."""
    reason = _CODE.sub("", " ".join(str(error).split()))
    reason = _RUNNING.sub(r"\1 node \2: ", _PLACE.sub("", reason))
    if len(reason) > _LONGEST_REASON:
        reason = reason[:_LONGEST_REASON] + " ..."
    return reason.rstrip(".")
