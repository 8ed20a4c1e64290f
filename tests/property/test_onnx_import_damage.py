"""A damaged ONNX file gives an error of ours or a Graph, never another exception."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle.float_reference import text_model
from tidlq.errors import ModelError
from tidlq.importers.onnx_model import import_onnx

ONES = np.ones(4, np.float32)
CONSTANTS = {
    "w": np.ones((4, 3, 3, 3), np.float32),
    "g": ONES,
    "s": ONES,
    "m": ONES,
    "v": ONES,
    "zero": np.array(0),
    "axes": np.array([0]),
    "rest": np.array([-1]),
    "k": np.ones((36, 5), np.float32),
    "b": np.ones(5, np.float32),
    "low": np.array(0, np.float32),
    "high": np.array(6, np.float32),
    "two": np.array([2, 3]),
    "twice": np.array([1, 1, 2, 2], np.float32),
}


def constants(*names: str) -> dict[str, np.ndarray]:
    return {name: CONSTANTS[name] for name in names}


@functools.cache
def small_models() -> tuple[bytes, ...]:
    """Few weights and many kinds of nodes, so that most damage hits structure."""
    shapes = text_model(
        """net (float[N, 3, 8, 8] x) => (float[N, 5] y)
        { a = Conv<pads = [1, 1, 1, 1], strides = [2, 2]>(x, w)
          n = BatchNormalization(a, g, s, m, v) c = Clip(n, low, high)
          d = MaxPool<kernel_shape = [2, 2]>(c) q = Shape(d) e = Gather(q, zero)
          u = Unsqueeze(e, axes) t = Concat<axis = 0>(u, rest) r = Reshape(d, t)
          o = ConstantOfShape(two) h = Expand(o, two) f = Flatten(h) z = ReduceSum(f)
          p = MatMul(r, k) i = Add(p, b) j = Dropout(i) l = Mul(j, z) y = Softmax(l) }""",
        constants(*"wgsmvkb", "low", "high", "zero", "axes", "rest", "two"),
        opset=13,
    )
    old = text_model(
        """net (float[1, 3, 8, 8] x) => (float[1, 4, 4, 4] y)
        { p = Mul(x, low) a = Conv(p, w) n = BatchNormalization(a, g, s, m, v)
          c = Clip<min = 0.0, max = 6.0>(n) d = Pad<pads = [0, 0, 0, 0, 0, 0, 0, 0]>(c)
          e = Upsample(d, twice) f = Slice<axes = [2, 3], starts = [0, 0], ends = [4, 4]>(e)
          h = Squeeze<axes = [0]>(f) i = Unsqueeze<axes = [0]>(h) j, k = Split<axis = 1>(i)
          l = Concat<axis = 1>(j, k) y = Softmax<axis = 1>(l) }""",
        constants(*"wgsmv", "low", "twice"),
        opset=9,
    )
    return shapes.SerializeToString(), old.SerializeToString()


def import_or_refuse(content: bytes) -> None:
    try:
        graph = import_onnx(content)
    except ModelError as error:
        message = str(error)
    else:
        message = ""
        assert graph.outputs
        assert len(graph.fingerprint) == 64
    assert "\n" not in message


def test_the_undamaged_models_import() -> None:
    for content in small_models():
        assert import_onnx(content).outputs[0].name == "y"


@given(st.integers(0, 1), st.floats(0, 1, exclude_max=True))
def test_a_truncated_model_is_refused_or_read(which: int, place: float) -> None:
    content = small_models()[which]
    import_or_refuse(content[: int(place * len(content))])


@given(
    st.integers(0, 1),
    st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4
    ),
)
def test_a_model_with_flipped_bytes_is_refused_or_read(
    which: int, changes: list[tuple[float, int]]
) -> None:
    content = bytearray(small_models()[which])
    for place, value in changes:
        content[int(place * len(content))] = value
    import_or_refuse(bytes(content))


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(content: bytes) -> None:
    import_or_refuse(content)


@given(st.floats(0, 1, exclude_max=True), st.booleans(), st.integers(0, 255))
def test_a_damaged_real_network_is_refused_or_read(
    demo_folder: Path, place: float, truncate: bool, value: int
) -> None:
    content = bytearray((demo_folder / "fmnist_mbv2.onnx").read_bytes())
    position = int(place * len(content))
    if truncate:
        del content[position:]
    else:
        content[position] = value
    import_or_refuse(bytes(content))


OPERATORS = sorted({schema.name for schema in onnx.defs.get_all_schemas() if not schema.domain})
VALUES: list[object] = [0, 1, -1, 7, 2**62, [1], [-1, 0], [2**40, 2**40], 0.5, float("nan"), "x"]
ATTRIBUTES = [
    "axis",
    "axes",
    "pads",
    "strides",
    "kernel_shape",
    "group",
    "to",
    "perm",
    "epsilon",
    "min",
    "max",
    "mode",
    "split",
    "spatial",
    "scales",
    "start",
    "end",
    "auto_pad",
]


@st.composite
def structural_damage(draw: st.DrawFn) -> onnx.ModelProto:
    """A model that is well formed as a message and wrong as a network."""
    proto = onnx.ModelProto.FromString(draw(st.sampled_from(small_models())))
    node = draw(st.sampled_from(list(proto.graph.node)))
    tensor = draw(st.sampled_from(list(proto.graph.initializer)))
    match draw(st.integers(0, 5)):
        case 0:
            node.op_type = draw(st.sampled_from(OPERATORS))
        case 1:
            del node.input[draw(st.integers(0, len(node.input) - 1))]
        case 2:
            node.input[draw(st.integers(0, len(node.input) - 1))] = tensor.name
        case 3:
            name = draw(st.sampled_from(ATTRIBUTES))
            kept = [attribute for attribute in node.attribute if attribute.name != name]
            value = onnx.helper.make_attribute(name, draw(st.sampled_from(VALUES)))
            del node.attribute[:]
            node.attribute.extend([*kept, value])
        case 4:
            array = onnx.numpy_helper.to_array(tensor)
            array = draw(
                st.sampled_from(
                    [
                        array.T,
                        array.reshape(-1),
                        array[..., None],
                        -array,
                        array.astype(np.float64),
                        array.astype(np.int64),
                        array.reshape(-1)[:0],
                    ]
                )
            )
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(array), tensor.name))
        case 5:
            proto.opset_import[0].version = draw(st.integers(7, onnx.defs.onnx_opset_version()))
    return proto


@given(structural_damage())
def test_a_wrong_network_is_refused_or_read(proto: onnx.ModelProto) -> None:
    import_or_refuse(proto.SerializeToString())


def test_names_that_are_not_text_are_refused() -> None:
    content = small_models()[0].replace(b"BatchNormalization", b"Batch\xfformalization")
    with pytest.raises(ModelError, match="is damaged: a name in it is not UTF-8 text"):
        import_onnx(content)
