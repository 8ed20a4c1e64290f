"""Batch-norms and per-channel arithmetic go into the layer before, where that is the same."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from numpy.typing import NDArray

from oracle.float_reference import assert_close, run_float, run_ir, text_model
from tidlq.passes.fold_affine import FoldAffine
from tidlq.passes.infer_shapes import InferShapes

DRAW = np.random.default_rng(11)


def floats(*sizes: int) -> NDArray[np.float32]:
    return DRAW.normal(size=sizes).astype(np.float32)


CONV_INPUT = "float[1, 4, 6, 5] x"
LAYERS = {
    "Conv": (CONV_INPUT, 4, "Conv<pads = [1, 1, 1, 1]>(x, w)", {"w": floats(6, 4, 3, 3)}),
    "Conv with bias": (CONV_INPUT, 4, "Conv(x, w, b)", {"w": floats(6, 4, 3, 3), "b": floats(6)}),
    "depthwise Conv": (CONV_INPUT, 4, "Conv<group = 4>(x, w)", {"w": floats(4, 1, 3, 3)}),
    "grouped Conv": (CONV_INPUT, 4, "Conv<group = 2>(x, w)", {"w": floats(6, 2, 3, 3)}),
    "1-D Conv": ("float[1, 4, 9] x", 3, "Conv(x, w)", {"w": floats(6, 4, 3)}),
    "ConvTranspose": (
        CONV_INPUT,
        4,
        "ConvTranspose<strides = [2, 2]>(x, w)",
        {"w": floats(4, 6, 3, 3)},
    ),
    "grouped ConvTranspose": (
        CONV_INPUT,
        4,
        "ConvTranspose<group = 2>(x, w, b)",
        {"w": floats(4, 3, 3, 3), "b": floats(6)},
    ),
    "grouped DeformConv": (
        "float[1, 4, 6, 5] x, float[1, 18, 4, 3] o",
        4,
        "DeformConv<group = 2>(x, w, o)",
        {"w": floats(6, 2, 3, 3)},
    ),
    "Gemm": ("float[3, 5] x", 2, "Gemm(x, w, b)", {"w": floats(5, 6), "b": floats(6)}),
    "transposed Gemm": (
        "float[3, 5] x",
        2,
        "Gemm<transB = 1, alpha = 0.5, beta = 0.25>(x, w, b)",
        {"w": floats(6, 5), "b": floats(1, 6)},
    ),
    "Gemm without bias": ("float[3, 5] x", 2, "Gemm(x, w)", {"w": floats(5, 6)}),
}
AFFINES = ["BatchNormalization", "Mul", "Div", "Add", "Sub", "c - x", "scalar Mul"]


def affine(kind: str, channels: int, rank: int) -> tuple[str, dict[str, NDArray[np.float32]]]:
    per_channel = (channels, *[1] * (rank - 2)) if rank > 2 else (channels,)
    if kind == "BatchNormalization":
        arrays = {name: floats(channels) for name in ("g", "s", "m")}
        return "BatchNormalization<epsilon = 0.01>(a, g, s, m, v)", {
            **arrays,
            "v": floats(channels) ** 2,
        }
    if kind == "c - x":
        return "Sub(c, a)", {"c": floats(*per_channel)}
    if kind == "scalar Mul":
        return "Mul(c, a)", {"c": floats()}
    return f"{kind}(a, c)", {"c": floats(*per_channel) + np.float32(4)}


def channels_of(layer: str) -> int:
    return 4 if layer == "depthwise Conv" else 6


@pytest.mark.parametrize("kind", AFFINES)
@pytest.mark.parametrize("layer", LAYERS)
def test_folding_keeps_the_result(layer: str, kind: str) -> None:
    given, rank, call, constants = LAYERS[layer]
    following, more = affine(kind, channels_of(layer), rank)
    sizes = ", ".join("NCHW"[:rank])
    proto = text_model(
        f"g ({given}) => (float[{sizes}] y) {{ a = {call} n = {following} y = Relu(n) }}",
        {**constants, **more},
        opset=19,
    )
    model = ir.from_proto(proto)
    InferShapes()(model)
    assert FoldAffine()(model).modified
    assert len(model.graph) == 2
    feeds = {value.name: floats(*value.shape.numpy()) for value in model.graph.inputs}
    assert_close(run_ir(model, feeds), run_float(proto, feeds))


def folded(text: str, constants: dict[str, NDArray[np.generic]]) -> ir.Model:
    proto = text_model(text, constants)
    model = ir.from_proto(proto)
    for index, node in enumerate(model.graph):
        node.name = f"n{index}"
    InferShapes()(model)
    FoldAffine()(model)
    feeds = {
        value.name: floats(*(int(size) for size in value.shape.numpy()))
        for value in model.graph.inputs
    }
    assert_close(run_ir(model, feeds), run_float(proto, feeds))
    return model


NORM = {name: np.abs(floats(6)) + np.float32(0.5) for name in ("g", "s", "m", "v")}
CONV = {"w": floats(6, 4, 3, 3)}


def test_a_chain_folds_into_one_node() -> None:
    model = folded(
        """g (float[1, 4, 6, 6] x) => (float[1, 6, 4, 4] y)
        { a = Conv(x, w) b = BatchNormalization(a, g, s, m, v) c = Mul(b, k) y = Add(c, t) }""",
        {**CONV, **NORM, "k": floats(6, 1, 1), "t": floats(1, 6, 1, 1)},
    )
    assert [node.name for node in model.graph] == ["n0"]


def test_the_layer_keeps_its_name_and_writes_the_folded_tensor() -> None:
    model = folded(
        """g (float[1, 4, 6, 6] x) => (float[1, 6, 4, 4] y)
        { a = Conv(x, w) y = BatchNormalization(a, g, s, m, v) }""",
        {**CONV, **NORM},
    )
    (node,) = model.graph
    assert (node.name, node.op_type, node.outputs[0].name) == ("n0", "Conv", "y")
    assert [value.name for value in node.inputs] == ["x", "w", "n0_bias"]


def test_a_weight_that_two_layers_share_is_changed_for_one_only() -> None:
    model = folded(
        """g (float[1, 4, 6, 6] x) => (float[1, 6, 4, 4] y, float[1, 6, 4, 4] z)
        { a = Conv(x, w) y = BatchNormalization(a, g, s, m, v) z = Conv(x, w) }""",
        {**CONV, **NORM},
    )
    assert [node.inputs[1].name for node in model.graph] == ["n0_weight", "w"]


@pytest.mark.parametrize(
    ("body", "constants"),
    [
        ("a = Conv(x, w) b = BatchNormalization(a, g, s, m, v) c = Relu(a) y = Add(b, c)", NORM),
        ("a = Conv(x, w) y = Mul(a, k)", {"k": floats(4)}),
        ("a = Conv(x, w) y = Mul(a, k)", {"k": floats(6, 4, 1)}),
        ("a = Conv(x, w) y = Div(k, a)", {"k": floats(6, 1, 1)}),
        (
            "a = Conv(x, w) y = Div(a, k)",
            {
                "k": floats(6, 1, 1)
                * np.float32([[[1]]])
                * (np.arange(6) > 0).astype(np.float32)[:, None, None]
            },
        ),
        ("a = Conv(x, w) b = Relu(a) y = BatchNormalization(b, g, s, m, v)", NORM),
        ("a = Conv(x, w) y = Mul(a, k)", {"k": np.full((6, 1, 1), 3e38, np.float32)}),
    ],
    ids=[
        "two readers",
        "per column",
        "per row",
        "reciprocal",
        "division by zero",
        "behind a ReLU",
        "overflow of a weight",
    ],
)
def test_what_is_not_per_channel_or_not_alone_stays(
    body: str, constants: dict[str, NDArray[np.generic]]
) -> None:
    model = ir.from_proto(
        text_model(
            f"g (float[1, 4, 6, 6] x) => (float[1, 6, 4, 4] y) {{ {body} }}", {**CONV, **constants}
        )
    )
    InferShapes()(model)
    assert not FoldAffine()(model).modified


def test_a_layer_whose_output_the_graph_shows_stays() -> None:
    model = ir.from_proto(
        text_model(
            """g (float[1, 4, 6, 6] x) => (float[1, 6, 4, 4] a, float[1, 6, 4, 4] y)
            { a = Conv(x, w) y = BatchNormalization(a, g, s, m, v) }""",
            {**CONV, **NORM},
        )
    )
    InferShapes()(model)
    assert not FoldAffine()(model).modified


def test_a_batch_norm_that_trains_stays() -> None:
    model = ir.from_proto(
        text_model(
            """g (float[1, 4, 6, 6] x) => (float[1, 6, 4, 4] y)
            { a = Conv(x, w) y = BatchNormalization<training_mode = 1>(a, g, s, m, v) }""",
            {**CONV, **NORM},
        )
    )
    InferShapes()(model)
    assert not FoldAffine()(model).modified
