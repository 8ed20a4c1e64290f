"""ONNX Runtime as the float oracle: a model before import against the Graph after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
from numpy.typing import NDArray

from tidlq.graph.model import Graph

Arrays = Mapping[str, NDArray[np.generic]]

# Folding a scale into weights moves one rounding (2^-24) to another place; through some fifty
# layers that stays below 2^-16 of the largest value.
RELATIVE = 2.0**-16


def text_model(text: str, arrays: Arrays | None = None, *, opset: int = 18) -> onnx.ModelProto:
    """A model from ONNX's text form of a graph, with constants given as arrays."""
    header = f'<ir_version: 8, opset_import: ["" : {opset}]>'
    model: onnx.ModelProto = onnx.parser.parse_model(header + text)
    for name, array in (arrays or {}).items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array), name))
    return model


def run_float(model: onnx.ModelProto | Path, feeds: Arrays) -> dict[str, NDArray[np.generic]]:
    """Runs a model without graph optimization."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    session = ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feeds)), strict=True))


def run_ir(model: ir.Model, feeds: Arrays) -> dict[str, NDArray[np.generic]]:
    """Runs an `onnx_ir` model without graph optimization."""
    return run_float(ir.to_proto(model), feeds)


def random_feeds(graph: Graph, seed: int = 0) -> dict[str, NDArray[np.generic]]:
    """Normally distributed values for every input."""
    draw = np.random.default_rng(seed)
    return {
        signature.name: np.asarray(2 * draw.normal(size=signature.shape), signature.dtype)
        for signature in graph.inputs
    }


def assert_close(
    found: Arrays, expected: Arrays, *, relative: float = RELATIVE, names: Sequence[str] = ()
) -> None:
    """Same names in the same order, dtypes, shapes, and values up to float32 rounding."""
    assert names or list(found) == list(expected)
    for name in names or expected:
        assert found[name].dtype == expected[name].dtype, name
        assert found[name].shape == expected[name].shape, name
        # The floor serves results of a cancellation, such as a sigmoid near zero.
        finite = expected[name][np.isfinite(expected[name])]
        bound = relative * float(np.abs(finite).max(initial=0)) + 2.0**-22
        np.testing.assert_allclose(
            np.asarray(found[name], np.float64),
            np.asarray(expected[name], np.float64),
            rtol=0,
            atol=bound,
            equal_nan=True,
            err_msg=name,
        )


def largest_difference(found: Arrays, expected: Arrays) -> float:
    """Largest absolute difference over all outputs."""
    return max(
        float(np.abs(np.asarray(found[name], np.float64) - expected[name]).max(initial=0))
        for name in expected
    )
