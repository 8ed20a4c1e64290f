"""Appends layers that compute with whole rows."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from oracle.networks import draws
from oracle.networks.builder import NetworkBuilder
from tidlq.lowering import network_pb2 as pb

_MATRIX_AXES = 2


def matrix_product(draw: DrawFn, net: NetworkBuilder, source: int) -> int:
    """With a second input whose leading axes are missing, 1 or the same."""
    shape = list(net.tensor(source).shape)
    lead, depth = shape[:-_MATRIX_AXES], shape[-1]
    kept = draw(st.integers(0, len(lead)))
    own = [draw(st.sampled_from([1, size])) for size in lead[len(lead) - kept :]]
    columns = draw(st.integers(1, 5))
    element_type = draw(st.sampled_from(draws.INTEGER_TYPES))
    zero_point = draws.zero_points(draw, element_type)
    second = net.input(element_type, (*own, columns, depth), draws.scales(draw), zero_point)
    output = draws.features(draw, net, (*shape[:-1], columns))
    spans = draws.span(net.tensor(source)) * draws.span(net.tensor(second)) / 4
    requantize = draws.requantizations(draw, net.tensor(output), spans * depth**0.5)
    layer = pb.MatrixProduct(requantize=requantize)
    return net.layer([source, second], output, matrix_product=layer)


def normalization(draw: DrawFn, net: NetworkBuilder, source: int) -> int:
    """With a gain and a shift of one, per element of a row, or per row."""
    shape = net.tensor(source).shape
    output = draws.features(draw, net, shape)
    by_row = draw(st.booleans())
    rows = 1 if len(shape) == 1 else shape[-2]
    length = rows if by_row else shape[-1]
    rng = draws.generator(draw)
    reach = draws.span(net.tensor(output)) / 3

    def numbers() -> list[float]:
        return list(rng.normal(0, reach, draw(st.sampled_from([1, length]))).tolist())

    layer = pb.Normalization(
        centred=draw(st.booleans()),
        epsilon=draw(st.sampled_from([0.0, 1e-5, 12.5, 1e12])),
        gain=numbers(),
        shift=numbers(),
        by_row=by_row,
    )
    return net.layer([source], output, normalization=layer)
