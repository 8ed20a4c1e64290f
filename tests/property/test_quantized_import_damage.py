"""Quantized models of any make-up import or are refused in one sentence, never anything else."""

from __future__ import annotations

import math

import numpy as np
import onnx
from hypothesis import given
from hypothesis import strategies as st

from oracle.float_reference import random_feeds, run_float
from oracle.stated_reference import run_stated
from tidlq.errors import ModelError
from tidlq.graph.model import Graph
from tidlq.graph.recognition import find_layers
from tidlq.importers.onnx_model import import_onnx

TYPES = (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.float32, np.int64)
DOMAINS = ("", "com.microsoft")


class Builder:
    """Draws nodes that read tensors drawn before.

    Parameters may not fit, unless the model is to be valid: then also no tensor is quantized that
    another node reads raw, which is where the Graph departs from the model.
    """

    def __init__(self, data: st.DataObject, *, is_valid: bool) -> None:
        self.data = data
        self.is_valid = is_valid
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.floats, self.integers = ["x"], []
        self.forms: dict[str, list[str]] = {}
        self.dequantized: set[str] = set()

    def draw(self, strategy: st.SearchStrategy[object]) -> object:
        return self.data.draw(strategy)

    def pick(self, *items: object) -> object:
        return self.data.draw(st.sampled_from(items))

    def constant(self, array: np.ndarray) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(onnx.numpy_helper.from_array(array, name))
        return name

    def node(self, op_type: str, inputs: list[str], domain: str = "", **attributes: object) -> str:
        name = f"t{len(self.nodes)}"
        made = onnx.helper.make_node(op_type, inputs, [name], domain=domain, **attributes)
        self.nodes.append(made)
        return name

    def parameters(self, channels: int) -> tuple[list[str], dict[str, object]]:
        """Scale and zero point: mostly sound, sometimes of a wrong shape, type or value."""
        sound = self.is_valid or self.pick(True, True, True, False)
        sizes = (1,) if self.is_valid else (1, channels)
        size = self.pick(*sizes) if sound else self.pick(0, 1, 2, 3, channels)
        dtype = self.pick(*TYPES[: 4 if sound else 7])
        scales = st.floats(2.0**-7, 2.0**-1, width=32)
        if not sound:
            scales = st.floats(width=32)
        scale = np.array([self.draw(scales) for _ in range(size)], np.float32)
        zero = np.full(size, self.draw(st.integers(0, 100)), dtype)
        if size == 1 and self.pick(True, False):
            scale, zero = scale.reshape(()), zero.reshape(())
        if not sound and self.pick(True, False):
            scale = scale.reshape(1, -1)
        names = [self.constant(scale)]
        if not sound and self.pick(True, False, False):
            names = ["x"]
        if self.is_valid or self.pick(True, True, False):
            names.append(self.constant(zero))
        attributes: dict[str, object] = {}
        if self.pick(True, False) or size > 1:
            attributes["axis"] = self.pick(0, 1) if sound else self.pick(-9, -1, 0, 1, 2, 9)
        return names, attributes

    def quantize(self) -> None:
        names, attributes = self.parameters(4)
        domain = self.pick(*DOMAINS)
        read = {name for node in self.nodes for name in node.input} - self.dequantized
        free = [name for name in self.floats if not self.is_valid or name not in read]
        if not free:
            return
        source = str(self.pick(*free))
        if self.is_valid and source not in self.dequantized:
            self.floats.remove(source)
        made = self.node("QuantizeLinear", [source, *names], domain, **attributes)
        self.integers.append(made)
        self.forms[made] = names
        if not self.floats or self.pick(True, True, False):
            if not self.is_valid and self.pick(True, False, False, False):
                names, attributes = self.parameters(4)
            back = self.node("DequantizeLinear", [made, *names], domain, **attributes)
            self.floats.append(back)
            self.dequantized.add(back)

    def weighted(self) -> None:
        names, attributes = self.parameters(4)
        array = np.random.default_rng(7).integers(-90, 90, (4, 4, 1, 1))
        dtype = next((c.data_type for c in self.constants if c.name == names[-1]), 3)
        kind = onnx.helper.tensor_dtype_to_np_dtype(dtype)
        stored = self.constant(array.astype(kind if kind.kind in "iu" else np.int8))
        weight = self.node("DequantizeLinear", [stored, *names], "", **attributes)
        operands = [self.pick(*self.floats), weight]
        if self.pick(True, False):
            bias = self.constant(np.arange(4, dtype=np.int32))
            scale = self.constant(np.float32(2.0**-9).reshape(()))
            operands.append(self.node("DequantizeLinear", [bias, scale]))
        self.floats.append(self.node("Conv", operands))

    def plain(self) -> None:
        kinds = ("Relu", "Sigmoid", "Add", "MaxPool", "Transpose", "Concat2")
        # Without an Identity, its two tensors are one: a raw reader of it again.
        kind = self.pick(*kinds) if self.is_valid else self.pick(*kinds, "Identity")
        pool = self.floats
        # ONNX Runtime pools no integers of 16 bits.
        movers = (
            ("Identity", "Transpose") if self.is_valid else ("Identity", "MaxPool", "Transpose")
        )
        if kind in movers and self.integers and self.pick(0, 1):
            pool = self.integers
        source = str(self.pick(*pool))
        if kind == "Add":
            made = self.node("Add", [source, str(self.pick(*self.floats))])
        elif kind == "MaxPool":
            made = self.node(kind, [source], kernel_shape=[2, 1], pads=[0, 0, 1, 0])
        elif kind == "Transpose":
            made = self.node(kind, [source], perm=[0, 1, 3, 2])
        elif kind == "Concat2":
            both = self.node("Concat", [source, source], axis=2)
            made = self.node("MaxPool", [both], kernel_shape=[2, 1], strides=[2, 1])
        else:
            made = self.node(str(kind), [source])
        pool.append(made)
        if pool is self.integers and source in self.forms:
            self.forms[made] = self.forms[source]
            back = self.node("DequantizeLinear", [made, *self.forms[source]])
            self.floats.append(back)
            self.dequantized.add(back)

    def model(self) -> onnx.ModelProto:
        for _ in range(self.data.draw(st.integers(1, 8))):
            self.pick(self.quantize, self.quantize, self.weighted, self.plain)()
        outputs = {str(self.pick(*self.floats)) for _ in range(2)}
        if self.integers and self.pick(True, False):
            outputs.add(str(self.pick(*self.integers)))
        outputs.discard("x")
        if not outputs:
            outputs.add(self.node("Relu", ["x"]))
        graph = onnx.helper.make_graph(
            self.nodes,
            "drawn",
            [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 4, 3, 3])],
            [onnx.ValueInfoProto(name=name) for name in sorted(outputs)],
            self.constants,
        )
        opset = 21 if self.is_valid else self.pick(10, 13, 18, 21)
        imports = [onnx.helper.make_opsetid("", opset), onnx.helper.make_opsetid(DOMAINS[1], 1)]
        return onnx.helper.make_model(graph, opset_imports=imports, ir_version=10)


def imported(proto: onnx.ModelProto) -> Graph | None:
    """The Graph, whose layers can be found; None where the model is refused in one sentence."""
    message = ""
    try:
        graph = import_onnx(proto)
    except ModelError as error:
        message = str(error)
    if message:
        assert "\n" not in message
        return None
    find_layers(graph)
    return graph


@given(st.data())
def test_a_drawn_model_is_imported_or_refused_in_one_sentence(data: st.DataObject) -> None:
    proto = Builder(data, is_valid=False).model()
    graph = imported(proto)
    if graph is None or graph.stated is None:
        return
    for name, quant in graph.stated.features.items():
        assert name in graph.values
        assert math.isfinite(quant.scale)
        assert quant.scale > 0
        assert quant.type.lowest <= quant.zero_point <= quant.type.highest
    for name, stored in graph.stated.parameters.items():
        values = graph.constant(name)
        assert values is not None
        assert len(stored.scales) in (1, values.shape[stored.axis])


@given(st.data())
def test_a_valid_model_keeps_its_interface_and_its_values(data: st.DataObject) -> None:
    proto = Builder(data, is_valid=True).model()
    graph = import_onnx(proto)
    feeds = random_feeds(graph)
    expected, found = run_float(proto, feeds), run_stated(graph, feeds)
    assert list(found) == list(expected)
    for name in expected:
        assert found[name].dtype == expected[name].dtype
        np.testing.assert_array_equal(found[name], expected[name])


OPERATORS = {
    "QLinearAdd": 8,
    "QLinearMul": 8,
    "QLinearConcat": 8,
    "QLinearAveragePool": 5,
    "QLinearGlobalAveragePool": 5,
    "QLinearLeakyRelu": 5,
    "QLinearSigmoid": 5,
    "QLinearSoftmax": 5,
    "QLinearReduceMean": 5,
    "QGemm": 9,
    "DynamicQuantizeMatMul": 5,
    "QLinearConv": 9,
    "QuantizeLinear": 3,
    "DequantizeLinear": 3,
}


@given(
    operator=st.sampled_from(sorted(OPERATORS)),
    domain=st.sampled_from(DOMAINS),
    count=st.integers(-2, 1),
    kinds=st.lists(st.sampled_from("xsfzib "), min_size=9, max_size=9),
    attributes=st.dictionaries(
        st.sampled_from(["axis", "channels_last", "alpha", "transB", "opset", "kernel_shape"]),
        st.sampled_from([0, 1, -7, 0.5, "text", [1, 1], [0.5]]),
        max_size=3,
    ),
)
def test_an_integer_operator_with_any_inputs_is_imported_or_refused(
    operator: str, domain: str, count: int, kinds: list[str], attributes: dict[str, object]
) -> None:
    constants = {
        "s": np.float32(0.5).reshape(()),
        "f": np.float32([0.5, 0.25]),
        "z": np.uint8(3).reshape(()),
        "i": np.arange(4, dtype=np.int8).reshape(2, 2),
        "b": np.int32([1, 2]),
    }
    inputs = [kind.strip() for kind in kinds[: max(OPERATORS[operator] + count, 0)]]
    node = onnx.helper.make_node(operator, inputs, ["q"], domain=domain, **attributes)
    graph = onnx.helper.make_graph(
        [node, onnx.helper.make_node("Identity", ["q"], ["y"])],
        "one",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.UINT8, [2, 2])],
        [onnx.ValueInfoProto(name="y")],
        [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    imports = [onnx.helper.make_opsetid("", 18), onnx.helper.make_opsetid(DOMAINS[1], 1)]
    proto = onnx.helper.make_model(graph, opset_imports=imports, ir_version=10)
    imported(proto)
