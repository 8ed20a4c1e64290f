"""Builds Network messages tensor by tensor and layer by layer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from google.protobuf.message import Message
from numpy.typing import NDArray

from tidlq.lowering import network_pb2 as pb

_TYPE_OF_DTYPE = {
    "uint8": pb.ELEMENT_TYPE_U8,
    "int8": pb.ELEMENT_TYPE_S8,
    "uint16": pb.ELEMENT_TYPE_U16,
    "int16": pb.ELEMENT_TYPE_S16,
    "float32": pb.ELEMENT_TYPE_F32,
}
_QUANTIZED = {
    pb.ELEMENT_TYPE_U8,
    pb.ELEMENT_TYPE_S8,
    pb.ELEMENT_TYPE_U16,
    pb.ELEMENT_TYPE_S16,
}


class NetworkBuilder:
    """A Network under construction; tensors are named and handed out by index."""

    def __init__(self, name: str = "test") -> None:
        self.network = pb.Network(name=name)

    def tensor(self, index: int) -> pb.Tensor:
        """The message of a tensor."""
        return self.network.tensors[index]

    def feature(
        self, element_type: int, shape: Sequence[int], scale: float = 1.0, zero_point: int = 0
    ) -> int:
        """Adds a tensor for a layer to write."""
        has_no_scale = element_type not in _QUANTIZED
        self.network.tensors.add(
            name=f"t{len(self.network.tensors)}",
            element_type=element_type,
            shape=shape,
            scale=0.0 if has_no_scale else scale,
            zero_point=0 if has_no_scale else zero_point,
        )
        return len(self.network.tensors) - 1

    def input(
        self, element_type: int, shape: Sequence[int], scale: float = 1.0, zero_point: int = 0
    ) -> int:
        """Adds a network input."""
        index = self.feature(element_type, shape, scale, zero_point)
        self.network.inputs.append(index)
        return index

    def constant(self, values: NDArray[np.generic], scale: float = 1.0, zero_point: int = 0) -> int:
        """Adds a constant tensor; the array's dtype decides its type."""
        index = self.feature(_TYPE_OF_DTYPE[values.dtype.name], values.shape, scale, zero_point)
        self.tensor(index).constant = values.astype(values.dtype.newbyteorder("<")).tobytes()
        return index

    def layer(self, inputs: Sequence[int], output: int, **op: Message) -> int:
        """Adds a layer, its kind given as one keyword; returns the output tensor."""
        self.network.layers.add(
            name=f"l{len(self.network.layers)}", inputs=inputs, output=output, **op
        )
        return output

    def finish(self, outputs: Sequence[int] = ()) -> pb.Network:
        """The Network; its outputs are those given and every layer's output that none reads."""
        written = [layer.output for layer in self.network.layers]
        read = {index for layer in self.network.layers for index in layer.inputs}
        wanted = {*outputs, *(index for index in written if index not in read)}
        self.network.outputs[:] = sorted(wanted)
        return self.network
