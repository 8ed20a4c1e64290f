"""LiteRT's reference kernels as the oracle of a TFLite model, every tensor of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray

Array = NDArray[np.generic]


class ReferenceInterpreter:
    """LiteRT with its reference kernels and no delegate.

    Args:
        model: path of the file.
        keep: keep every tensor of a run.
    """

    def __init__(self, model: Path, *, keep: bool = False) -> None:
        self._interpreter = Interpreter(
            str(model),
            num_threads=1,
            experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
            experimental_preserve_all_tensors=keep,
        )
        self._interpreter.allocate_tensors()
        self.input: Mapping[str, Any] = self._interpreter.get_input_details()[0]
        self._by_name: dict[str, list[Mapping[str, Any]]] = {}
        for detail in self._interpreter.get_tensor_details():
            self._by_name.setdefault(detail["name"], []).append(detail)

    def quantized(self, x: NDArray[np.float32]) -> Array:
        """A real input as the model's input takes it."""
        return quantized(x, self.input)

    def run(self, x: Array) -> list[Array]:
        """The outputs."""
        self._interpreter.set_tensor(self.input["index"], x)
        self._interpreter.invoke()
        details = self._interpreter.get_output_details()
        return [self._interpreter.get_tensor(detail["index"]) for detail in details]

    @property
    def outputs(self) -> list[Mapping[str, Any]]:
        """Descriptions of the outputs."""
        found: list[Mapping[str, Any]] = self._interpreter.get_output_details()
        return found

    def tensors(self, name: str) -> Iterator[Array]:
        """What the last run left in the tensors of a name."""
        for detail in self._by_name.get(name, ()):
            try:
                yield self._interpreter.get_tensor(detail["index"])
            except ValueError:  # a constant of a fused operator, never computed
                continue


def quantized(x: NDArray[np.float32], detail: Mapping[str, Any]) -> Array:
    """round(x / scale) + zero point, saturated to the tensor's type; floats as they are."""
    dtype, (scale, zero_point) = np.dtype(detail["dtype"]), detail["quantization"]
    if dtype == np.float32:
        return x
    info = np.iinfo(dtype)
    q = np.round(x / np.float32(scale)) + zero_point
    return np.asarray(np.clip(q, info.min, info.max).astype(dtype))


def dequantized(y: Array, detail: Mapping[str, Any]) -> Array:
    """Real values of an output's integers; class numbers and floats as they are."""
    scale, zero_point = detail["quantization"]
    if y.dtype.kind == "f" or not scale:
        return y
    return np.asarray((y.astype(np.float32) - np.float32(zero_point)) * np.float32(scale))


def unequal_elements(ours: Array, theirs: Array) -> int | None:
    """Elements of a feature map that differ, whichever of the two layouts; None if it is another.

    Args:
        ours: integers, channels first where there are spatial axes.
        theirs: channels last.
    """
    if ours.dtype != theirs.dtype or ours.size != theirs.size:
        return None
    candidates = [ours.reshape(theirs.shape)]
    if ours.ndim > 2:
        turned = np.moveaxis(ours, 1, -1)
        if turned.shape == theirs.shape:
            candidates.append(turned)
    return min(int(np.count_nonzero(candidate != theirs)) for candidate in candidates)
