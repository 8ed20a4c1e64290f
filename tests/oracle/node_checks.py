"""ONNX's own examples on the integer engine, and how many of them it runs.

Inputs lie on the quantized grid and the float network has the quantized parameters' values, so a
result may differ by its own rounding and that of what the layer computes with, both of which the
plan tells.
"""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import dataclass

import numpy as np
import onnx

import tidlq
from oracle.float_reference import run_float
from oracle.node_examples import NodeExample, node_examples
from tidlq.compilation import Compiled
from tidlq.errors import TidlqError
from tidlq.graph.partition import StageKind
from tidlq.graph.recognition import RECOGNISERS
from tidlq.spec import FeatureQuant

_INTERPOLATING = ("Resize", "Upsample", "GridSample")


@dataclass(frozen=True)
class ExampleCount:
    """Examples of the operators that the engine runs.

    Attributes:
        passed: those that ran in integers, within their own rounding.
        left: those that are no network of features or run in float, by reason.
    """

    passed: int
    left: Counter[str]

    @property
    def total(self) -> int:
        return self.passed + self.left.total()


def on_grid(quant: FeatureQuant, values: np.ndarray) -> np.ndarray:
    q = np.clip(
        np.rint(values / quant.scale) + quant.zero_point, quant.type.lowest, quant.type.highest
    )
    return np.asarray((q - quant.zero_point) * quant.scale, np.float32)


def parameter_error(example: NodeExample, compiled: Compiled, feeds: dict) -> np.ndarray | float:
    """Greatest difference that the rounding of parameters makes: a step's half for each product."""
    assert compiled.plan is not None
    if example.operator == "Softmax":
        # Of the float32 numbers that the exponentials are taken of.
        return float(np.max([np.abs(x).max() for x in feeds.values()])) * 2.0**-22
    quant = compiled.plan.layers.get("example")
    if quant is None or quant.weight is None:
        return 0.0
    model = onnx.ModelProto()
    model.CopyFrom(example.model)
    # The largest weight of a symmetric scheme may saturate by a whole step.
    step = max(quant.weight.scales)
    feed, *places = feeds
    # What else is read tells where, and how much.
    x = {name: np.abs(values) for name, values in feeds.items()}
    x |= {name: feeds[name] for name in places[:1]}
    if example.operator not in ("Conv", "ConvTranspose", "DeformConv", "Gemm"):
        return float(np.abs(feeds[feed]).max()) * step
    node = model.graph.node[-1]
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if tensor.name == node.input[1]:
            changed = np.full(values.shape, step, np.float32)
        else:
            changed = np.zeros(values.shape, values.dtype)
        tensor.CopyFrom(onnx.numpy_helper.from_array(changed, tensor.name))
    (bound,) = run_float(model, x).values()
    return np.abs(bound)


def check(example: NodeExample, bits: int) -> str | None:
    """The reason why the engine leaves an example in float, if it does."""
    options = {"quantization_scale_type": 4, "accuracy_level": 2, "tensor_bits": bits}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled = tidlq.compile(example.model, [example.feeds], options)
    if [stage.kind for stage in compiled.partition.stages] != [StageKind.FIXED]:
        return "; ".join(x.reason for x in compiled.partition.float_nodes)
    assert compiled.plan is not None
    session = tidlq.InferenceSession(compiled.artifacts)
    feeds = {
        name: on_grid(compiled.plan.features[name], values)
        for name, values in example.feeds.items()
    }
    expected = run_float(example.model, feeds)
    beyond = parameter_error(example, compiled, feeds)
    for got, (name, want) in zip(session.run(None, feeds), expected.items(), strict=True):
        if want.dtype == np.int64:
            assert got.dtype == want.dtype
            assert np.array_equal(got, want), example.name
            continue
        quant = compiled.plan.features[name]
        low = (quant.type.lowest - quant.zero_point) * quant.scale
        high = (quant.type.highest - quant.zero_point) * quant.scale
        # Of weights that have 11 or 15 bits in each of two axes.
        shares = 2 * (high - low) * 2.0 ** -(11 if bits == 8 else 15)
        allowed = quant.scale * (0.5 + (0.002 if bits == 8 else 0.2)) + beyond
        allowed = allowed + (shares if example.operator in _INTERPOLATING else 0.0)
        # What saturates shows the end of its range; Softmax writes float32.
        is_clipped = example.operator != "Softmax"
        error = np.abs(got - (np.clip(want, low, high) if is_clipped else want))
        assert got.shape == want.shape, example.name
        is_defined = np.isfinite(want)
        assert np.all((error <= allowed) | ~is_defined), (
            f"{example.name}: {np.nanmax(np.where(is_defined, error - allowed, 0)) / quant.scale} "
            f"steps too many"
        )
    return None


def count_examples(bits: int) -> ExampleCount:
    """Runs every example of the operators that the engine runs.

    Raises:
        AssertionError: A result differs by more than its rounding.
    """
    passed, left = 0, Counter[str]()
    for example in node_examples(frozenset(RECOGNISERS) - {"Identity"}):
        if isinstance(example, tuple):
            left[example[1]] += 1
            continue
        try:
            reason = check(example, bits)
        except TidlqError as error:
            reason = f"{type(error).__name__}: {str(error)[:70]}"
        passed += reason is None
        left.update([reason] if reason else [])
    return ExampleCount(passed, left)
