"""Networks that add or multiply every pair of two 8-bit types' integers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from oracle.bigint.tensors import DTYPES, limits_of
from oracle.networks.builder import NetworkBuilder
from tidlq.lowering import network_pb2 as pb

PAIR_KINDS = ("sum", "difference", "product")


def every_pair(kind: str, seed: int) -> tuple[pb.Network, dict[str, NDArray[np.generic]]]:
    """A FLOAT Sum or Product of all U8 with all S8 integers, and the frame that holds them.

    The scales are ordinary float32 values whose ratios make whole and half steps common, so a
    product by 1 / scale in place of a division, or another order of the operations, is seen.
    """
    rng = np.random.default_rng(seed)
    types = (pb.ELEMENT_TYPE_U8, pb.ELEMENT_TYPE_S8, pb.ELEMENT_TYPE_S16)
    step = float(np.float32(rng.uniform(0.01, 1.0)))
    second = 2.0**-2 if kind == "product" else step
    scales = (step, second, step * int(rng.choice([1, 2, 4])))
    zeros = [int(rng.integers(low, high + 1)) for low, high in map(limits_of, types[:2])]
    net = NetworkBuilder(kind)
    net.input(types[0], (256, 1), scales[0], zeros[0])
    net.input(types[1], (1, 256), scales[1], zeros[1])
    output = net.feature(types[2], (256, 256), scales[2], 11)
    requantize = pb.Requantize(
        mode=pb.Requantize.MODE_FLOAT,
        scale=[scales[0], -scales[1] if kind == "difference" else scales[1]],
        zero_point=11,
        clamp_min=-32768,
        clamp_max=32767,
    )
    if kind == "product":
        net.layer([0, 1], output, product=pb.Product(requantize=requantize))
    else:
        net.layer([0, 1], output, sum=pb.Sum(requantize=requantize))
    arrays = {}
    for name, element_type, shape in zip(("t0", "t1"), types, ((256, 1), (1, 256)), strict=False):
        low, high = limits_of(element_type)
        arrays[name] = np.arange(low, high + 1).astype(DTYPES[element_type]).reshape(shape)
    return net.finish(), arrays
