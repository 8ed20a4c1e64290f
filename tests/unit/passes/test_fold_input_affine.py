"""Mean, scale and batch-norm at the input go into the first convolution, borders included."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from numpy.typing import NDArray

from oracle.float_reference import assert_close, run_float, run_ir, text_model
from tidlq.passes.fold_input_affine import FoldInputAffine
from tidlq.passes.infer_shapes import InferShapes

DRAW = np.random.default_rng(5)


def floats(*sizes: int) -> NDArray[np.float32]:
    return DRAW.normal(size=sizes).astype(np.float32)


CONSTANTS = {
    "w": floats(6, 4, 3, 3),
    "wg": floats(6, 2, 3, 3),
    "wd": floats(4, 1, 3, 3),
    "b": floats(6),
    "g": floats(4),
    "s": floats(4),
    "m": floats(4),
    "v": floats(4) ** 2,
    "mean": floats(1, 4, 1, 1),
    "std": np.abs(floats(4, 1, 1)) + np.float32(0.5),
    "half": np.array(127.5, np.float32),
    "one": np.array(1, np.float32),
    "means": floats(4),
    "zeros": np.array([1, 0, 2, 3], np.float32).reshape(4, 1, 1),
}
PADDED = "Conv<pads = [1, 1, 1, 1]>"
IMAGE = "float[1, 4, 6, 5] x"
NHWC = "float[1, 6, 5, 4] x"
NORM = "p = BatchNormalization(x, g, s, m, v)"
TO_NCHW = "t = Transpose<perm = [0, 3, 1, 2]>(p)"

# given, body, operators that are left
CASES = {
    "batch-norm": (IMAGE, f"{NORM} y = Conv(p, w, b)", ["Conv"]),
    "batch-norm, no bias": (IMAGE, f"{NORM} y = Conv(p, w)", ["Conv"]),
    "batch-norm, grouped": (IMAGE, f"{NORM} y = Conv<group = 2>(p, wg)", ["Conv"]),
    "batch-norm, depthwise": (IMAGE, f"{NORM} y = Conv<group = 4>(p, wd)", ["Conv"]),
    "batch-norm, padded": (IMAGE, f"{NORM} y = {PADDED}(p, w, b)", ["Add", "Conv"]),
    "batch-norm, same": (IMAGE, f'{NORM} y = Conv<auto_pad = "SAME_UPPER">(p, w)', ["Add", "Conv"]),
    "batch-norm, valid": (IMAGE, f'{NORM} y = Conv<auto_pad = "VALID">(p, w)', ["Conv"]),
    "scale, padded": (IMAGE, f"p = Mul(x, std) y = {PADDED}(p, w)", ["Conv"]),
    "mean then scale": (IMAGE, "q = Sub(x, mean) p = Div(q, std) y = Conv(p, w)", ["Conv"]),
    "mean then scale, padded": (
        IMAGE,
        f"q = Sub(x, mean) p = Div(q, std) y = {PADDED}(p, w)",
        ["Add", "Conv"],
    ),
    "scale then mean, padded": (
        IMAGE,
        f"q = Div(x, half) p = Sub(q, one) y = {PADDED}(p, w)",
        ["Add", "Conv"],
    ),
    "mean alone, padded": (IMAGE, f"p = Sub(x, mean) y = {PADDED}(p, w)", ["Sub", "Conv"]),
    "channels last": (
        NHWC,
        f"q = Sub(x, means) p = Div(q, half) {TO_NCHW} y = Conv(t, w)",
        ["Transpose", "Conv"],
    ),
    "channels last, padded": (
        NHWC,
        f"q = Sub(x, means) p = Div(q, half) {TO_NCHW} y = {PADDED}(t, w)",
        ["Add", "Transpose", "Conv"],
    ),
    "around a transpose, padded": (
        NHWC,
        f"p = Sub(x, means) {TO_NCHW} u = Div(t, std) y = {PADDED}(u, w)",
        ["Transpose", "Add", "Conv"],
    ),
    "scale of zero, padded": (
        IMAGE,
        f"q = Mul(x, zeros) p = Sub(q, mean) y = {PADDED}(p, w)",
        ["Mul", "Sub", "Conv"],
    ),
    "scale of zero": (IMAGE, "q = Mul(x, zeros) p = Sub(q, mean) y = Conv(p, w)", ["Conv"]),
    "two readers": (
        IMAGE,
        "p = Mul(x, std) a = Conv(p, w) r = Relu(p) c = Conv(r, w) y = Add(a, c)",
        ["Mul", "Conv", "Relu", "Conv", "Add"],
    ),
    "behind a ReLU": (IMAGE, "r = Relu(x) p = Mul(r, std) y = Conv(p, w)", ["Relu", "Mul", "Conv"]),
    "per pixel": (NHWC, f"p = Mul(x, x) {TO_NCHW} y = Conv(t, w)", ["Mul", "Transpose", "Conv"]),
}


@pytest.mark.parametrize("case", CASES)
def test_the_input_is_prepared_as_before(case: str) -> None:
    given, body, left = CASES[case]
    words = set(body.replace("(", " ").replace(")", " ").replace(",", " ").split())
    proto = text_model(
        f"g ({given}) => (float[N, C, H, W] y) {{ {body} }}",
        {name: array for name, array in CONSTANTS.items() if name in words},
    )
    model = ir.from_proto(proto)
    InferShapes()(model)
    FoldInputAffine()(model)
    assert [node.op_type for node in model.graph] == left
    shape = [int(size) for size in model.graph.inputs[0].shape.numpy()]
    feeds = {"x": floats(*shape)}
    assert_close(run_ir(model, feeds), run_float(proto, feeds))


def test_an_integer_image_is_cast_first() -> None:
    proto = text_model(
        """g (uint8[1, 4, 6, 5] x) => (float[N, C, H, W] y)
        { f = Cast<to = 1>(x) p = Div(f, half) y = Conv<pads = [1, 1, 1, 1]>(p, w) }""",
        {name: CONSTANTS[name] for name in ("half", "w")},
    )
    model = ir.from_proto(proto)
    InferShapes()(model)
    assert FoldInputAffine()(model).modified
    assert [node.op_type for node in model.graph] == ["Cast", "Conv"]
    feeds = {"x": DRAW.integers(0, 256, (1, 4, 6, 5)).astype(np.uint8)}
    assert_close(run_ir(model, feeds), run_float(proto, feeds))
