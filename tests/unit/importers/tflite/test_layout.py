"""Where transpositions stand, and which tensors have which names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from tflite_models import TfliteOperator, TfliteTensor, constant, tflite_model
from tidlq.graph.model import Graph
from tidlq.importers.tflite.model import import_tflite

IMAGE = (1, 6, 6, 4)
STRIDES = {"strideW": 1, "strideH": 1}


def convolution(source: str, result: str, **options: object) -> TfliteOperator:
    return TfliteOperator("CONV_2D", (source, "w", "b"), (result,), {**STRIDES, **options})


def network(
    operators: Sequence[TfliteOperator],
    outputs: Sequence[str],
    shapes: dict[str, tuple[int, ...]] | None = None,
    constants: Sequence[TfliteTensor] = (),
) -> Graph:
    """A network with input x [1, 6, 6, 4] and every other tensor of that shape unless stated."""
    shapes = {"x": IMAGE, **(shapes or {})}
    known = {"w", "b", *(tensor.name for tensor in constants)}
    written = [name for operator in operators for name in operator.outputs]
    tensors = [
        constant("w", np.ones((4, 1, 1, 4), np.float32)),
        constant("b", np.zeros(4, np.float32)),
        *constants,
        *(TfliteTensor(n, shapes.get(n, IMAGE)) for n in ["x", *written] if n not in known),
    ]
    return import_tflite(tflite_model(tensors, operators, ["x"], outputs))


def kinds(graph: Graph) -> list[str]:
    return [node.op_type for node in graph.nodes]


def test_a_chain_of_layers_is_transposed_at_its_ends_alone() -> None:
    graph = network(
        [
            convolution("x", "a"),
            TfliteOperator("RELU", ("a",), ("c",)),
            TfliteOperator("ADD", ("c", "a"), ("d",), {"fusedActivationFunction": 1}),
            TfliteOperator("PAD", ("d", "pads"), ("e",)),
            TfliteOperator("CONCATENATION", ("e", "e"), ("f",), {"axis": 1}),
            TfliteOperator("LOGISTIC", ("f",), ("g",)),
            convolution("g", "h"),
        ],
        ["h"],
        constants=[constant("pads", np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32))],
    )
    found = kinds(graph)
    assert found.count("Transpose") == 2
    assert (found[0], found[-1]) == ("Transpose", "Transpose")


def test_preprocessing_stands_behind_the_transposition() -> None:
    graph = network(
        [
            TfliteOperator("MUL", ("x", "scale"), ("a",)),
            TfliteOperator("SUB", ("a", "mean"), ("c",)),
            convolution("c", "h"),
        ],
        ["h"],
        constants=[
            constant("scale", np.float32(2).reshape(1)),
            constant("mean", np.ones(4, np.float32)),
        ],
    )
    # Both go into the convolution.
    assert kinds(graph) == ["Transpose", "Conv", "Transpose"]


def test_a_network_without_such_layers_keeps_its_layout() -> None:
    graph = network(
        [
            TfliteOperator("ADD", ("x", "x"), ("a",)),
            TfliteOperator("SOFTMAX", ("a",), ("c",), {"beta": 1.0}),
            TfliteOperator("MEAN", ("c", "axes"), ("d",)),
        ],
        ["d"],
        {"d": (1, 4)},
        [constant("axes", np.array([1, 2], np.int32))],
    )
    assert kinds(graph) == ["Add", "Softmax", "ReduceMean"]


def test_a_pixel_is_reshaped_without_a_transposition() -> None:
    graph = network(
        [
            convolution("x", "a"),
            TfliteOperator(
                "AVERAGE_POOL_2D",
                ("a",),
                ("c",),
                {**STRIDES, "filterWidth": 6, "filterHeight": 6, "padding": 1},
            ),
            TfliteOperator("RESHAPE", ("c", "rows"), ("d",)),
        ],
        ["d"],
        {"c": (1, 1, 1, 4), "d": (1, 4)},
        [constant("rows", np.array([1, 4], np.int32))],
    )
    assert kinds(graph) == ["Transpose", "Conv", "AveragePool", "Reshape"]


def test_a_mean_over_the_plane_needs_no_transposition() -> None:
    graph = network(
        [convolution("x", "a"), TfliteOperator("MEAN", ("a", "axes"), ("c",))],
        ["c"],
        {"c": (1, 4)},
        [constant("axes", np.array([1, 2], np.int32))],
    )
    assert kinds(graph) == ["Transpose", "Conv", "ReduceMean"]


def test_tensors_keep_the_names_of_the_file() -> None:
    graph = network(
        [convolution("x", "a", fusedActivationFunction=1), convolution("a", "h")], ["h"]
    )
    names = [(node.op_type, node.name, node.outputs[0].name) for node in graph.nodes]
    assert names == [
        ("Transpose", "x_nchw", "x_nchw"),
        ("Conv", "a", "a_conv"),
        ("Relu", "a_relu", "a"),
        ("Conv", "h", "h_nchw"),
        ("Transpose", "h_nhwc", "h"),
    ]
    assert set(graph.model.graph.initializers) == {"w", "b"}


def test_a_tensor_inside_is_named_by_its_first_form() -> None:
    graph = network(
        [
            convolution("x", "a"),
            TfliteOperator("RESHAPE", ("a", "rows"), ("c",)),
            convolution("a", "h"),
        ],
        ["c", "h"],
        {"c": (36, 4)},
        [constant("rows", np.array([36, 4], np.int32))],
    )
    assert graph.shape("a") == (1, 4, 6, 6)
    assert graph.shape("a_nhwc") == IMAGE


def test_repeated_and_missing_names_become_unique() -> None:
    same = [TfliteTensor(name, IMAGE) for name in ("x", "p", "q", "r")]
    operators = [
        TfliteOperator("ADD", ("x", "x"), ("p",)),
        TfliteOperator("MUL", ("p", "x"), ("q",)),
        TfliteOperator("SUB", ("q", "p"), ("r",)),
    ]
    data = tflite_model(same, operators, ["x"], ["r"])
    # The names are stored as text of one byte, so they can be exchanged in place.
    for old, new in ((b"p", b"r"), (b"q", b"r")):
        data = data.replace(
            b"\x01\x00\x00\x00" + old + b"\x00", b"\x01\x00\x00\x00" + new + b"\x00"
        )
    graph = import_tflite(data)
    assert [node.outputs[0].name for node in graph.nodes] == ["r_1", "r_2", "r"]


def test_an_output_may_be_an_input_a_constant_or_listed_twice() -> None:
    tensors = [
        TfliteTensor("x", (2,)),
        TfliteTensor("y", (2,)),
        constant("c", np.ones(2, np.float32)),
    ]
    operators = [TfliteOperator("NEG", ("x",), ("y",))]
    graph = import_tflite(tflite_model(tensors, operators, ["x"], ["y", "y", "x", "c"]))
    assert [s.name for s in graph.outputs] == ["y", "y_output", "x_output", "c"]
    assert Counter(kinds(graph))["Identity"] == 3


def test_a_free_leading_axis_is_kept_at_the_interface() -> None:
    tensors = [
        TfliteTensor("x", (1, 3), shape_signature=(-1, 3)),
        TfliteTensor("y", (1, 3), shape_signature=(-1, 3)),
    ]
    data = tflite_model(tensors, [TfliteOperator("NEG", ("x",), ("y",))], ["x"], ["y"])
    graph = import_tflite(data)
    assert graph.free_batch
    assert graph.inputs[0].interface_shape == ("batch", 3)
    assert graph.outputs[0].interface_shape == ("batch", 3)
    given = import_tflite(data, input_shapes={"x": [5, 3]})
    assert not given.free_batch
    assert given.outputs[0].shape == (5, 3)


def test_shape_arithmetic_folds() -> None:
    tensors = [
        TfliteTensor("x", (1, 6, 6, 4), shape_signature=(-1, 6, 6, 4)),
        TfliteTensor("s", (4,), np.int32),
        TfliteTensor("n", (), np.int32),
        TfliteTensor("t", (2,), np.int32),
        TfliteTensor("y", (1, 144), shape_signature=(-1, 144)),
        *(constant(n, np.array([v], np.int32)) for n, v in (("zero", 0), ("one", 1))),
        constant("rest", np.array(-1, np.int32)),
    ]
    operators = [
        TfliteOperator("SHAPE", ("x",), ("s",), {"outType": 2}),
        TfliteOperator("STRIDED_SLICE", ("s", "zero", "one", "one"), ("n",), {"shrinkAxisMask": 1}),
        TfliteOperator("PACK", ("n", "rest"), ("t",), {"valuesCount": 2}),
        TfliteOperator("RESHAPE", ("x", "t"), ("y",)),
    ]
    graph = import_tflite(tflite_model(tensors, operators, ["x"], ["y"]))
    assert kinds(graph) == ["Reshape"]
    assert graph.free_batch
    assert graph.shape("y") == (1, 144)


def test_a_dilated_convolution_in_three_operators_is_one() -> None:
    pads = np.array([[2, 2], [2, 2]], np.int32)
    graph = network(
        [
            TfliteOperator("SPACE_TO_BATCH_ND", ("x", "block", "pads"), ("a",)),
            TfliteOperator("CONV_2D", ("a", "w3", "b"), ("c",), {**STRIDES, "padding": 1}),
            TfliteOperator("BATCH_TO_SPACE_ND", ("c", "block", "crops"), ("d",)),
        ],
        ["d"],
        {"a": (4, 5, 5, 4), "c": (4, 3, 3, 4)},
        [
            constant("w3", np.ones((4, 3, 3, 4), np.float32)),
            constant("block", np.array([2, 2], np.int32)),
            constant("pads", pads),
            constant("crops", np.zeros((2, 2), np.int32)),
        ],
    )
    assert kinds(graph) == ["Transpose", "Conv", "Transpose"]
    node = list(graph.nodes)[1]
    assert tuple(node.attributes["dilations"].as_ints()) == (2, 2)
    assert tuple(node.attributes["pads"].as_ints()) == (2, 2, 2, 2)
    assert graph.outputs[0].shape == IMAGE
