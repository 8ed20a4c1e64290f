"""Random float networks of every kind of layer, with float islands, for hypothesis."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import TensorProto, helper

from small_networks import SmallNetwork

Shape = tuple[int, ...]
Draw = Callable[[st.SearchStrategy], object]


class RandomNetwork:
    """A network under construction; `grow` adds a node that some tensor so far allows."""

    def __init__(self, draw: Draw) -> None:
        self.draw = draw
        self.net = SmallNetwork(int(draw(st.integers(0, 999))))
        self.shapes: dict[str, Shape] = {}
        self.read: set[str] = set()
        for _ in range(int(draw(st.integers(1, 2)))):
            shape = (1, 4, 6, 6)
            self.shapes[self.net.input(*shape)] = shape

    def grow(self) -> None:
        kind = str(self.draw(st.sampled_from(sorted(_KINDS))))
        fitting = [name for name, shape in self.shapes.items() if len(shape) in _KINDS[kind][0]]
        if fitting:
            # Later tensors more often, so that networks grow deep.
            index = int(self.draw(st.integers(0, len(fitting) - 1)))
            source = fitting[max(index, len(fitting) - 3)] if index else fitting[-1]
            _KINDS[kind][1](self, source)

    def add(self, shape: Shape, op: str, *inputs: str, **attributes: object) -> str:
        name = self.net.node(op, *inputs, **attributes)
        self.read.update(inputs)
        self.shapes[name] = shape
        return name

    def model(self) -> onnx.ModelProto:
        """What nobody reads are outputs, and maybe one tensor that somebody does."""
        inputs = set(self.net.inputs)
        outputs = [n for n in self.shapes if n not in self.read and n not in inputs]
        inner = [n for n in self.shapes if n in self.read and n not in inputs]
        if inner and self.draw(st.booleans()):
            outputs.append(inner[int(self.draw(st.integers(0, len(inner) - 1)))])
        if not outputs:
            outputs.append(self.net.node("Relu", next(iter(self.shapes))))
        return self.net.model(*outputs)


def _conv(n: RandomNetwork, x: str) -> None:
    _, channels, height, width = n.shapes[x]
    depthwise = bool(n.draw(st.booleans()))
    out = channels if depthwise else int(n.draw(st.sampled_from((3, 4))))
    weight = n.net.random(out, 1 if depthwise else channels, 3, 3)
    inputs = [x, weight, n.net.random(out)] if n.draw(st.booleans()) else [x, weight]
    groups = channels if depthwise else 1
    y = n.add((1, out, height, width), "Conv", *inputs, pads=[1] * 4, group=groups)
    clamp = n.draw(st.sampled_from(("none", "relu", "clip", "both")))
    if clamp in ("relu", "both"):
        y = n.add(n.shapes[y], "Relu", y)
    if clamp in ("clip", "both"):
        bounds = n.net.constant(n.draw(st.sampled_from((0.0, -1.0, 0.5)))), n.net.constant(6.0)
        n.add(n.shapes[y], "Clip", y, *bounds)


def _transposed(n: RandomNetwork, x: str) -> None:
    _, channels, height, width = n.shapes[x]
    if height * width > 150:
        return
    weight = n.net.random(channels, 3, 2, 2)
    inputs = [x, weight, n.net.random(3)] if n.draw(st.booleans()) else [x, weight]
    n.add((1, 3, 2 * height, 2 * width), "ConvTranspose", *inputs, strides=[2, 2])


def _gemm(n: RandomNetwork, x: str) -> None:
    rows, columns = n.shapes[x]
    transposed = int(n.draw(st.integers(0, 1)))
    weight = n.net.random(*((5, columns) if transposed else (columns, 5)))
    inputs = [x, weight, n.net.random(5)] if n.draw(st.booleans()) else [x, weight]
    alpha = n.draw(st.sampled_from((1.0, 0.5)))
    n.add((rows, 5), "Gemm", *inputs, transB=transposed, alpha=alpha)


def _matmul(n: RandomNetwork, x: str) -> None:
    shape = n.shapes[x]
    y = n.add((*shape[:-1], 5), "MatMul", x, n.net.random(shape[-1], 5))
    if n.draw(st.booleans()):
        n.add(n.shapes[y], "Add", y, n.net.random(5))


def _batch_norm(n: RandomNetwork, x: str) -> None:
    shape = n.shapes[x]
    variance = n.net.constant(n.net.rng.uniform(0.5, 2, size=shape[1]))
    parameters = [n.net.random(shape[1]) for _ in range(3)]
    n.add(shape, "BatchNormalization", x, *parameters, variance)


def _prelu(n: RandomNetwork, x: str) -> None:
    shape = n.shapes[x]
    slope = (shape[1], *[1] * (len(shape) - 2)) if n.draw(st.booleans()) else (1,)
    n.add(shape, "PRelu", x, n.net.random(*slope))


def _function(n: RandomNetwork, x: str) -> None:
    op = n.draw(
        st.sampled_from(("Sigmoid", "Tanh", "HardSigmoid", "LeakyRelu", "Relu", "LpNormalization"))
    )
    n.add(n.shapes[x], str(op), x)


def _join(n: RandomNetwork, x: str) -> None:
    shape = n.shapes[x]
    others = [name for name, other in n.shapes.items() if other == shape]
    other = others[int(n.draw(st.integers(0, len(others) - 1)))]
    op = str(n.draw(st.sampled_from(("Add", "Sub", "Mul", "Concat"))))
    if op == "Concat":
        n.add((shape[0], 2 * shape[1], *shape[2:]), op, x, other, axis=1)
    elif other != x:
        n.add(shape, op, x, other)


def _constant(n: RandomNetwork, x: str) -> None:
    shape = n.shapes[x]
    op = str(n.draw(st.sampled_from(("Add", "Sub", "Mul", "Div"))))
    values = n.net.rng.uniform(0.5, 2, size=(shape[-1],)) * n.net.rng.choice((-1, 1))
    n.add(shape, op, x, n.net.constant(values))


def _pool(n: RandomNetwork, x: str) -> None:
    _, channels, height, width = n.shapes[x]
    if min(height, width) < 2:
        return
    op = str(n.draw(st.sampled_from(("MaxPool", "AveragePool"))))
    size = (1, channels, (height - 2) // 2 + 1, (width - 2) // 2 + 1)
    n.add(size, op, x, kernel_shape=[2, 2], strides=[2, 2])


def _global_pool(n: RandomNetwork, x: str) -> None:
    n.add((*n.shapes[x][:2], 1, 1), "GlobalAveragePool", x)


def _flatten(n: RandomNetwork, x: str) -> None:
    shape = n.shapes[x]
    n.add((1, math.prod(shape)), "Reshape", x, n.net.integers([1, math.prod(shape)]))


def _rows(n: RandomNetwork, x: str) -> None:
    shape = (1, n.shapes[x][1], math.prod(n.shapes[x][2:]))
    n.add(shape, "Reshape", x, n.net.integers(shape))


def _transpose(n: RandomNetwork, x: str) -> None:
    shape = n.shapes[x]
    perm = [0, *range(2, len(shape)), 1]
    n.add(tuple(shape[axis] for axis in perm), "Transpose", x, perm=perm)


def _pad(n: RandomNetwork, x: str) -> None:
    _, channels, height, width = n.shapes[x]
    value = n.net.constant(n.draw(st.sampled_from((0.0, 0.75))))
    pads = n.net.integers([0, 0, 1, 0, 0, 0, 0, 1])
    n.add((1, channels, height + 1, width + 1), "Pad", x, pads, value)


def _slice(n: RandomNetwork, x: str) -> None:
    shape = n.shapes[x]
    if shape[1] > 1:
        ends = n.net.integers([shape[1]])
        size = (shape[0], shape[1] - 1, *shape[2:])
        n.add(size, "Slice", x, n.net.integers([1]), ends, n.net.integers([1]))


def _split(n: RandomNetwork, x: str) -> None:
    shape = n.shapes[x]
    if shape[1] % 2:
        return
    name = f"split{len(n.net.nodes)}"
    outputs = [f"{name}_{index}" for index in range(2)]
    n.net.nodes.append(helper.make_node("Split", [x], outputs, name=name, axis=1))
    n.read.add(x)
    n.shapes |= dict.fromkeys(outputs, (shape[0], shape[1] // 2, *shape[2:]))


def _resize(n: RandomNetwork, x: str) -> None:
    _, channels, height, width = n.shapes[x]
    if height * width > 150:
        return
    mode = str(n.draw(st.sampled_from(("nearest", "linear"))))
    scales = n.net.constant([1, 1, 2, 2])
    shape = (1, channels, 2 * height, 2 * width)
    n.add(
        shape, "Resize", x, "", scales, mode=mode, nearest_mode="floor",
        coordinate_transformation_mode="asymmetric",
    )  # fmt: skip


def _softmax(n: RandomNetwork, x: str) -> None:
    n.add(n.shapes[x], "Softmax", x, axis=1)


_KINDS: dict[str, tuple[tuple[int, ...], Callable[[RandomNetwork, str], None]]] = {
    "conv": ((4,), _conv),
    "conv again": ((4,), _conv),
    "transposed conv": ((4,), _transposed),
    "gemm": ((2,), _gemm),
    "matmul": ((2, 3), _matmul),
    "batch-norm": ((3, 4), _batch_norm),
    "prelu": ((3, 4), _prelu),
    "function": ((2, 3, 4), _function),
    "join": ((2, 3, 4), _join),
    "constant": ((2, 3, 4), _constant),
    "pool": ((4,), _pool),
    "global pool": ((4,), _global_pool),
    "flatten": ((3, 4), _flatten),
    "rows": ((4,), _rows),
    "transpose": ((3, 4), _transpose),
    "pad": ((4,), _pad),
    "slice": ((2, 3, 4), _slice),
    "split": ((2, 3, 4), _split),
    "resize": ((4,), _resize),
    "softmax": ((2, 3, 4), _softmax),
}


@st.composite
def random_models(draw: Draw, most_nodes: int = 10) -> onnx.ModelProto:
    """ONNX models; the batch of half of them is free."""
    network = RandomNetwork(draw)
    for _ in range(int(draw(st.integers(1, most_nodes)))):
        network.grow()
    model = network.model()
    if draw(st.booleans()):
        for value in (*model.graph.input, *model.graph.output):
            if value.type.tensor_type.elem_type == TensorProto.FLOAT:
                value.type.tensor_type.shape.dim[0].dim_param = "batch"
        del model.graph.value_info[:]
    return model


def frames_for(model: onnx.ModelProto, count: int, seed: int = 0) -> list[dict[str, np.ndarray]]:
    """Random frames of batch 1."""
    rng = np.random.default_rng(seed)
    constants = {tensor.name for tensor in model.graph.initializer}
    shapes = {
        value.name: [dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim]
        for value in model.graph.input
        if value.name not in constants
    }
    return [
        {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
        for _ in range(count)
    ]
