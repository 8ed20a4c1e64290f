"""A Network that breaks a rule of network.proto is refused at load, before anything runs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from oracle.bigint import pack_file
from oracle.networks import NetworkBuilder
from tidlq._core import Engine
from tidlq.errors import ArtifactError
from tidlq.lowering import network_pb2 as pb

U8, S8, S16, F32 = (
    pb.ELEMENT_TYPE_U8,
    pb.ELEMENT_TYPE_S8,
    pb.ELEMENT_TYPE_S16,
    pb.ELEMENT_TYPE_F32,
)
MODE = pb.Requantize
Break = Callable[[pb.Network], None]


def _fixed(entries: int = 1) -> pb.Requantize:
    return pb.Requantize(
        mode=MODE.MODE_FIXED,
        multiplier=[1 << 20] * entries,
        shift=[24] * entries,
        zero_point=3,
        clamp_min=-128,
        clamp_max=127,
    )


def _window_network() -> pb.Network:
    """Quantize, convolution, average pool, max pool, inner product, dequantize."""
    net = NetworkBuilder()
    net.input(F32, (1, 6, 5, 4))
    net.layer([0], net.feature(U8, (1, 6, 5, 4), 0.5, 7), quantize=pb.Quantize())
    weight = net.constant(np.ones((6, 3, 3, 2), np.int8))
    convolution = pb.Convolution(
        weight=weight,
        bias=[0] * 6,
        stride=[1, 1],
        dilation=[1, 1],
        pad=[1, 1],
        groups=2,
        requantize=_fixed(6),
    )
    net.layer([1], net.feature(S8, (1, 6, 5, 6), 0.5, 3), convolution=convolution)
    pool = pb.AveragePool(
        kernel=[2, 2],
        stride=[2, 2],
        dilation=[1, 1],
        pad=[0, 0, 0, 1],
        count=[2, 4],
        requantize=_fixed(2),
    )
    net.layer([3], net.feature(S8, (1, 3, 3, 6), 0.5, 3), average_pool=pool)
    window = pb.MaxPool(kernel=[3, 3], stride=[1, 1], dilation=[1, 1], pad=[0, 0])
    net.layer([4], net.feature(S8, (1, 1, 1, 6), 0.5, 3), max_pool=window)
    matrix = net.constant(np.ones((2, 6), np.int8))
    product = pb.InnerProduct(weight=matrix, bias=[0, 0], requantize=_fixed(2))
    net.layer([5], net.feature(S8, (1, 1, 1, 2), 0.5, 3), inner_product=product)
    net.layer([7], net.feature(F32, (1, 1, 1, 2)), dequantize=pb.Dequantize())
    return net.finish()


def _element_network() -> pb.Network:
    """Sum, product, prelu, lookup, concat, rescale, slice, pad, transpose, reshape, softmax."""
    net = NetworkBuilder()
    shape = (1, 2, 3, 4)
    net.input(S8, shape, 0.5, 3)
    both = _fixed()
    both.multiplier.append(7)
    net.layer([0, 0], net.feature(S8, shape, 0.5, 3), sum=pb.Sum(requantize=both))
    product = pb.Product(requantize=_fixed())
    net.layer([0, 1], net.feature(S8, shape, 0.5, 3), product=product)
    slope = net.constant(np.ones(4, np.int8))
    prelu = pb.PRelu(slope=slope, positive=_fixed(), negative=_fixed())
    net.layer([2], net.feature(S8, shape, 0.5, 3), prelu=prelu)
    net.layer([4], net.feature(S8, shape, 0.5, 3), lookup=pb.Lookup(value=[-5] * 256))
    net.layer([4, 5], net.feature(S8, (1, 2, 3, 8), 0.5, 3), concat=pb.Concat(axis=3))
    net.layer([6], net.feature(S8, (1, 2, 3, 8), 0.5, 3), rescale=pb.Rescale(requantize=_fixed()))
    cut = pb.Slice(start=[0, 1, 2, 0], step=[1, -1, -2, 3])
    net.layer([7], net.feature(S8, (1, 2, 2, 3), 0.5, 3), slice=cut)
    pad = pb.Pad(begin=[0, 1, 1, 0], end=[0, 0, 1, 0], mode=pb.Pad.MODE_REFLECT)
    net.layer([8], net.feature(S8, (1, 3, 4, 3), 0.5, 3), pad=pad)
    transpose = pb.Transpose(perm=[0, 3, 1, 2])
    net.layer([9], net.feature(S8, (1, 3, 3, 4), 0.5, 3), transpose=transpose)
    net.layer([10], net.feature(S8, (9, 4), 0.5, 3), reshape=pb.Reshape())
    table = np.exp(-np.arange(256) * 0.5).astype(np.float32).tolist()
    net.layer([11], net.feature(F32, (9, 4)), softmax=pb.Softmax(exponential=table))
    return net.finish()


def _resize_network() -> pb.Network:
    net = NetworkBuilder()
    net.input(S8, (1, 2, 3, 4), 0.5, 3)
    rows = pb.Resize.AxisMap(low=[0, 0, 1], high=[1, 1, 1], weight_high=[0, 3, 8])
    columns = pb.Resize.AxisMap(low=[2, 1], high=[2, 0], weight_high=[1, 2])
    resize = pb.Resize(height=rows, width=columns, weight_bits=3, requantize=_fixed())
    net.layer([0], net.feature(S8, (1, 3, 2, 4), 0.5, 3), resize=resize)
    return net.finish()


def _op(network: pb.Network, kind: str) -> pb.Layer:
    return next(layer for layer in network.layers if layer.WhichOneof("op") == kind)


def _set(kind: str, path: str, value: object) -> Break:
    """Sets a field of the layer of a kind; a list field is replaced."""

    def apply(network: pb.Network) -> None:
        target = getattr(_op(network, kind), kind)
        *parents, field = path.split(".")
        for parent in parents:
            target = getattr(target, parent)
        if isinstance(value, list):
            getattr(target, field)[:] = value
        else:
            setattr(target, field, value)

    return apply


def _set_tensor(index: int, field: str, value: object) -> Break:
    def apply(network: pb.Network) -> None:
        tensor = network.tensors[index]
        if isinstance(value, list):
            getattr(tensor, field)[:] = value
        else:
            setattr(tensor, field, value)

    return apply


def _rewire(kind: str, inputs: list[int] | None = None, output: int | None = None) -> Break:
    def apply(network: pb.Network) -> None:
        layer = _op(network, kind)
        if inputs is not None:
            layer.inputs[:] = inputs
        if output is not None:
            layer.output = output

    return apply


NETWORKS = {"windows": _window_network, "elements": _element_network, "resize": _resize_network}

REQUANTIZE_BREAKS: dict[str, Break] = {
    "mode unspecified": _set("rescale", "requantize.mode", 0),
    "mode unknown": _set("rescale", "requantize.mode", 9),
    "no multiplier": _set("rescale", "requantize.multiplier", []),
    "no shift": _set("rescale", "requantize.shift", []),
    "shift 63": _set("rescale", "requantize.shift", [63]),
    "multiplier -2^31": _set("rescale", "requantize.multiplier", [-(2**31)]),
    "zero point of another tensor": _set("rescale", "requantize.zero_point", 4),
    "clamp below the type": _set("rescale", "requantize.clamp_min", -129),
    "clamp above the type": _set("rescale", "requantize.clamp_max", 128),
    "clamps crossed": _set("rescale", "requantize.clamp_min", 127 + 1),
    "sum by shift": _set("sum", "requantize.mode", MODE.MODE_SHIFT),
    "sum with three multipliers": _set("sum", "requantize.multiplier", [1, 1, 1]),
    "product with two multipliers": _set("product", "requantize.multiplier", [1, 1]),
    "prelu with other clamps": _set("prelu", "negative.clamp_min", -100),
    "prelu with two shifts": _set("prelu", "positive.shift", [1, 1]),
}

ELEMENT_BREAKS: dict[str, Break] = {
    **REQUANTIZE_BREAKS,
    "sum of one": _rewire("sum", [0]),
    "product of three": _rewire("product", [0, 1, 0]),
    "lookup too short": _set("lookup", "value", [0] * 255),
    "lookup outside the type": _set("lookup", "value", [128] * 256),
    "concat axis": _set("concat", "axis", 4),
    "concat sizes": _set("concat", "axis", 2),
    "concat of another scale": _set_tensor(5, "scale", 0.25),
    "slice start outside": _set("slice", "start", [0, 2, 2, 0]),
    "slice step 0": _set("slice", "step", [1, 0, -2, 3]),
    "slice end outside": _set("slice", "step", [1, -1, -2, 4]),
    "slice of too few axes": _set("slice", "start", [0, 1, 2]),
    "pad mode unspecified": _set("pad", "mode", 0),
    "pad sizes": _set("pad", "end", [0, 0, 2, 0]),
    "pad mirror too wide": _set("pad", "begin", [0, 2, 1, 0]),
    "transpose repeats an axis": _set("transpose", "perm", [0, 3, 3, 2]),
    "transpose of too few axes": _set("transpose", "perm", [0, 2, 1]),
    "transpose to another shape": _set("transpose", "perm", [0, 1, 2, 3]),
    "reshape to another count": _set_tensor(11, "shape", [9, 5]),
    "softmax table too short": _set("softmax", "exponential", [1.0] * 255),
    "slope of another size": _set_tensor(3, "shape", [2, 2]),
    "slope with a zero point": _set_tensor(3, "zero_point", 1),
    "input not written yet": _rewire("sum", [0, 5]),
    "input of itself": _rewire("product", [0, 2]),
    "output written twice": _rewire("product", output=1),
    "output is an input": _rewire("sum", output=0),
    "output is a constant": _rewire("sum", output=3),
    "input index": _rewire("sum", [0, 99]),
    "output index": _rewire("sum", output=99),
    "no inputs": _rewire("rescale", []),
    "too many inputs": _rewire("rescale", [6, 6]),
    "name empty": _set_tensor(1, "name", ""),
    "name twice": _set_tensor(1, "name", "t0"),
    "size 0": _set_tensor(0, "shape", [1, 0, 3, 4]),
    "huge size": _set_tensor(0, "shape", [2**32 - 1] * 4),
    "element type unspecified": _set_tensor(0, "element_type", 0),
    "element type unknown": _set_tensor(0, "element_type", 17),
    "scale 0": _set_tensor(0, "scale", 0.0),
    "scale negative": _set_tensor(0, "scale", -1.0),
    "scale infinite": _set_tensor(0, "scale", float("inf")),
    "scale NaN": _set_tensor(0, "scale", float("nan")),
    "zero point outside": _set_tensor(0, "zero_point", 128),
    "constant too short": _set_tensor(3, "constant", b"\x01\x01\x01"),
    "constant input": _set_tensor(0, "constant", b"\x01" * 24),
    "layer name twice": lambda network: setattr(network.layers[1], "name", "l0"),
    "layer name empty": lambda network: setattr(network.layers[1], "name", ""),
    "layer of no kind": lambda network: network.layers[2].ClearField("prelu"),
    "network input index": lambda network: network.inputs.append(99),
    "network output index": lambda network: network.outputs.append(99),
}

WINDOW_BREAKS: dict[str, Break] = {
    "stride 0": _set("convolution", "stride", [0, 1]),
    "dilation 0": _set("convolution", "dilation", [1, 0]),
    "stride of one axis": _set("convolution", "stride", [1]),
    "pad of one axis": _set("convolution", "pad", [1]),
    "groups 0": _set("convolution", "groups", 0),
    "groups that do not divide": _set("convolution", "groups", 3),
    "groups of other channels": _set("convolution", "groups", 1),
    "too few biases": _set("convolution", "bias", [0] * 5),
    "bias beyond 2^47": _set("convolution", "bias", [2**47 + 1] * 6),
    "bias beyond -2^47": _set("convolution", "bias", [-(2**47) - 1] * 6),
    "requantize of other channels": _set("convolution", "requantize.shift", [1] * 5),
    "weight is a feature": _set("convolution", "weight", 1),
    "weight index": _set("convolution", "weight", 99),
    "weight with a zero point": _set_tensor(2, "zero_point", 1),
    "weight unsigned": _set_tensor(2, "element_type", U8),
    "float input": _rewire("convolution", [0]),
    "pool kernel 0": _set("max_pool", "kernel", [0, 3]),
    "pool of another scale": _set_tensor(5, "scale", 0.25),
    "pool of another zero point": _set_tensor(5, "zero_point", 4),
    "pool to another type": _set_tensor(5, "element_type", S16),
    "average by shift": _set("average_pool", "requantize.mode", MODE.MODE_SHIFT),
    "divisor missing": _set("average_pool", "count", [3, 4]),
    "divisors not ascending": _set("average_pool", "count", [4, 2]),
    "divisor twice": _set("average_pool", "count", [4, 4]),
    "average pad of two sides": _set("average_pool", "pad", [0, 0]),
    "average lists of another length": _set("average_pool", "requantize.shift", [1, 1, 1]),
    "inner size": _set_tensor(6, "shape", [3, 4]),
    "inner biases": _set("inner_product", "bias", [0]),
    "quantize of integers": _rewire("quantize", [3]),
    "dequantize to integers": _set_tensor(8, "element_type", S8),
    "channels of the output": _set_tensor(3, "shape", [1, 6, 5, 7]),
}

RESIZE_BREAKS: dict[str, Break] = {
    "position outside": _set("resize", "height.low", [0, 0, 2]),
    "high position outside": _set("resize", "width.high", [2, 3]),
    "weight above 2^bits": _set("resize", "height.weight_high", [0, 3, 9]),
    "16 weight bits": _set("resize", "weight_bits", 16),
    "lists of unequal length": _set("resize", "height.high", [0, 1]),
    "map of another size": _set_tensor(1, "shape", [1, 4, 2, 4]),
    "unset axis of another size": lambda network: _op(network, "resize").resize.ClearField("width"),
    "two shifts": _set("resize", "requantize.shift", [1, 1]),
}

CASES = [
    *(("windows", name, apply) for name, apply in WINDOW_BREAKS.items()),
    *(("elements", name, apply) for name, apply in ELEMENT_BREAKS.items()),
    *(("resize", name, apply) for name, apply in RESIZE_BREAKS.items()),
]


@pytest.mark.parametrize("name", NETWORKS)
def test_network_that_keeps_every_rule_is_loaded(name: str) -> None:
    Engine(pack_file(NETWORKS[name]()))


@pytest.mark.parametrize(
    ("name", "rule", "apply"), CASES, ids=[f"{name}: {rule}" for name, rule, _ in CASES]
)
def test_network_that_breaks_a_rule_is_refused(name: str, rule: str, apply: Break) -> None:
    network = NETWORKS[name]()
    apply(network)
    with pytest.raises(ArtifactError) as caught:
        Engine(pack_file(network))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("scale", [float("inf"), float("-inf"), float("nan")])
def test_float_scale_must_be_finite(scale: float) -> None:
    network = _element_network()
    requantize = _op(network, "rescale").rescale.requantize
    requantize.mode = MODE.MODE_FLOAT
    requantize.multiplier[:] = []
    requantize.shift[:] = []
    requantize.scale[:] = [scale]
    with pytest.raises(ArtifactError):
        Engine(pack_file(network))
