"""What a quantization proto says, as frozen values that know no protobuf."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tidlq.spec import Equalization, IntegerType, Range

FLOAT32_MAX = float(np.finfo(np.float32).max)


def tidl_scale(step: float) -> float:
    """TIDL's multiplicative scale of a step: S = float32(1 / s), at most the largest float32.

    Args:
        step: real value of one integer unit, positive.
    """
    with np.errstate(over="ignore"):
        return min(float(np.float32(1.0 / step)), FLOAT32_MAX)


@dataclass(frozen=True)
class SavedTensor:
    """What a file states about one tensor.

    Attributes:
        name: the tensor's name in the graph; empty in files that carry no names.
        range: smallest and largest value, or None where the file does not know them.
        size: number of elements.
        values: the elements in real units (a bias has all of them).
        channels: ranges of the output channels of a weight, where the scheme has one scale each;
            of the same origin as `range`.
        type: integer type, informative.
        scales: TIDL's multiplicative scales, one or one per channel, informative.
        zero_points: one or one per channel, informative.
        is_float: a feature map that is not quantized, and needs no range.
    """

    name: str
    range: Range | None
    size: int
    values: tuple[float, ...] = ()
    channels: Sequence[Range] = ()
    type: IntegerType | None = None
    scales: tuple[float, ...] = ()
    zero_points: tuple[int, ...] = ()
    is_float: bool = False


@dataclass(frozen=True)
class SavedLayer:
    """What a file states about one layer.

    Attributes:
        name: the layer's name, unique in the file.
        layer_type: TIDL's name of the layer's type, `TIDL_ConvolutionLayer` and the like.
        outputs: the layer's output features.
        weights: weight tensors.
        bias: bias tensors, each with all its values.
        slope: slope tensors of a PReLU.
        bit_depth: bits of the output features: 8 or 16; where these are float32, the parameters'.
        parameter_bit_depth: bits of the parameters, 8 or 16; None: those of the features.
        equalization: factor of each output channel by which the layer's outputs were divided before
            anything was quantized; empty: none.
        equalization_bound: largest of the bounds per channel that stand for the Clip at the layer's
            output after that division; None: the Clip is as it was.
        parameter_digest: tells the layer's parameters, as the model has them, from others; empty
            where there are none or the file does not say.
    """

    name: str
    layer_type: str
    outputs: tuple[SavedTensor, ...]
    weights: tuple[SavedTensor, ...] = ()
    bias: tuple[SavedTensor, ...] = ()
    slope: tuple[SavedTensor, ...] = ()
    bit_depth: int = 8
    parameter_bit_depth: int | None = None
    equalization: tuple[float, ...] = ()
    equalization_bound: float | None = None
    parameter_digest: str = ""

    @property
    def roles(self) -> Mapping[str, tuple[SavedTensor, ...]]:
        """The layer's tensors by what they are to it."""
        return {
            "outputs": self.outputs,
            "weights": self.weights,
            "bias": self.bias,
            "slope": self.slope,
        }

    def with_roles(self, roles: Mapping[str, Iterable[SavedTensor]]) -> SavedLayer:
        """The layer with other tensors, by what they are to it; roles left out stay."""
        found = {**self.roles, **{role: tuple(tensors) for role, tensors in roles.items()}}
        return replace(
            self,
            outputs=found["outputs"],
            weights=found["weights"],
            bias=found["bias"],
            slope=found["slope"],
        )


@dataclass(frozen=True)
class Provenance:
    """Where a file comes from.

    Attributes:
        tool_version: version of tidlq that wrote the file.
        graph_fingerprint: SHA-256 (hex) of the float graph and its weights.
        scheme: name of the quantization scheme.
        accuracy_level: calibration level.
        frames: calibration frames used.
        options: options in force, ordered by key.
        calibration_method: how ranges were searched for; empty where none was.
        ingredients: what advanced calibration did, as options: activation_clipping and the like.
    """

    tool_version: str
    graph_fingerprint: str
    scheme: str
    accuracy_level: int
    frames: int
    options: tuple[tuple[str, str], ...] = ()
    calibration_method: str = ""
    ingredients: tuple[str, ...] = ()


@dataclass(frozen=True)
class SavedRanges:
    """Contents of a quantization proto.

    Attributes:
        layers: in execution order; network inputs are layers of type `TIDL_DataLayer`.
        symmetric: zero points are 0.
        per_channel: parameters have one scale for each output channel.
        provenance: None in files that another tool wrote, and in strict ones.
    """

    layers: tuple[SavedLayer, ...]
    symmetric: bool = True
    per_channel: bool = False
    provenance: Provenance | None = None

    @functools.cached_property
    def layers_by_name(self) -> Mapping[str, SavedLayer]:
        """The layers by name."""
        return {layer.name: layer for layer in self.layers}

    @property
    def equalization(self) -> Equalization:
        """By which factors channels were divided before anything was quantized."""
        return Equalization(
            {layer.name: layer.equalization for layer in self.layers if layer.equalization},
            {
                layer.name: layer.equalization_bound
                for layer in self.layers
                if layer.equalization_bound is not None
            },
        )
