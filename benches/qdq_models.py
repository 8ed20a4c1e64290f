"""QDQ models that onnxruntime.quantization makes of the data folder's float models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from network import Array, Network, input_name
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from peers.onnx_models import prepare


@dataclass(frozen=True)
class Types:
    """Integer types of a QDQ model, and whether each output channel's weights have a scale."""

    features: QuantType
    weights: QuantType
    per_channel: bool


TYPES: Mapping[str, Types] = MappingProxyType(
    {
        "u8s8 per channel": Types(QuantType.QUInt8, QuantType.QInt8, True),
        "s8s8 per channel": Types(QuantType.QInt8, QuantType.QInt8, True),
        "u8u8 per tensor": Types(QuantType.QUInt8, QuantType.QUInt8, False),
        "u16s8 per channel": Types(QuantType.QUInt16, QuantType.QInt8, True),
        "s16s16 per channel": Types(QuantType.QInt16, QuantType.QInt16, True),
    }
)
SIXTEEN_BITS = frozenset({"fmnist_mbv2", "mlperf_kws_fp32", "resnet20_cifar10"})
"""Networks that are made with 16 bits; ONNX Runtime has no integer kernels for these."""


def types_of(network: Network) -> list[str]:
    """The keys of TYPES that a network is made with."""
    return [t for t in TYPES if "16" not in t or network.name in SIXTEEN_BITS]


class _Frames(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, network: Network, limit: int) -> None:
        name = input_name(network.model)
        self._frames: Iterator[dict[str, Array]] = network.frames(name, limit)

    def get_next(self) -> dict[str, Array] | None:
        return next(self._frames, None)


def make_qdq(network: Network, types: str, folder: Path, frames: int = 100) -> Path:
    """The network's QDQ model, made when there is none.

    Args:
        network: a float network.
        types: a key of TYPES.
        folder: for the models; each network has its own in it.
        frames: most calibration frames.
    """
    home = folder / network.name
    target = home / f"{types.replace(' ', '_')}.onnx"
    if target.exists():
        return target
    home.mkdir(parents=True, exist_ok=True)
    prepared = home / "prepared.onnx"
    if not prepared.exists():
        prepare(network.model, home)
    wanted = TYPES[types]
    part = target.with_suffix(".part")
    quantize_static(
        str(prepared),
        str(part),
        _Frames(network, frames),
        per_channel=wanted.per_channel,
        activation_type=wanted.features,
        weight_type=wanted.weights,
    )
    part.replace(target)
    return target
