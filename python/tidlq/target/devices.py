"""The TI devices that a plan can be made for, as data."""

# Aliases are how several part names mean one device.
# ruff: noqa: PIE796

from __future__ import annotations

import enum
from dataclasses import dataclass
from types import MappingProxyType

from tidlq.errors import OptionError, nearest_names


@dataclass(frozen=True)
class DeviceFacts:
    """What a device can do.

    Attributes:
        asymmetric: quantization_scale_type 4 (zero points, per-channel weights) is available.
        tflite_import: TFLite int8 models are imported as they are (quantization_scale_type 3).
        mma_size: rows (and columns) of the matrix unit, in 8-bit elements.
        macs_per_cycle: 8-bit multiply-accumulates per cycle and core.
        cores: matrix units.
        clock_ghz: clock of the matrix units, GHz.
        bias_bits: signed bits that a bias must fit into.
        deconvolution_16bit: 16-bit deconvolution is available.
    """

    asymmetric: bool
    tflite_import: bool
    mma_size: int
    macs_per_cycle: int
    cores: int
    clock_ghz: float
    bias_bits: int
    deconvolution_16bit: bool

    @property
    def macs_per_cycle_16bit(self) -> int:
        """16-bit multiply-accumulates per cycle and core: a quarter of the 8-bit rate."""
        return self.macs_per_cycle // 4


class Device(enum.Enum):
    """A TI device; names of parts with the same engine are aliases of one member."""

    TDA4VM = "TDA4VM"
    AM62A = "AM62A"
    AM67A = "AM67A"
    AM68A = "AM68A"
    AM69A = "AM69A"

    AM68PA = TDA4VM
    J721E = TDA4VM
    J722S = AM67A
    TDA4VL = AM68A
    TDA4AL = AM68A
    J721S2 = AM68A
    TDA4VH = AM69A
    TDA4AH = AM69A
    J784S4 = AM69A

    @property
    def facts(self) -> DeviceFacts:
        """What the device can do."""
        return _FACTS[self]


_FACTS = MappingProxyType(
    {
        Device.TDA4VM: DeviceFacts(
            asymmetric=False,
            tflite_import=False,
            mma_size=64,
            macs_per_cycle=4096,
            cores=1,
            clock_ghz=1.0,
            bias_bits=16,
            deconvolution_16bit=True,
        ),
        Device.AM62A: DeviceFacts(
            asymmetric=True,
            tflite_import=True,
            mma_size=32,
            macs_per_cycle=1024,
            cores=1,
            clock_ghz=1.0,
            bias_bits=32,
            deconvolution_16bit=False,
        ),
        Device.AM67A: DeviceFacts(
            asymmetric=True,
            tflite_import=True,
            mma_size=32,
            macs_per_cycle=1024,
            cores=2,
            clock_ghz=1.0,
            bias_bits=32,
            deconvolution_16bit=False,
        ),
        Device.AM68A: DeviceFacts(
            asymmetric=True,
            tflite_import=True,
            mma_size=64,
            macs_per_cycle=4096,
            cores=1,
            clock_ghz=1.0,
            bias_bits=32,
            deconvolution_16bit=True,
        ),
        Device.AM69A: DeviceFacts(
            asymmetric=True,
            tflite_import=True,
            mma_size=64,
            macs_per_cycle=4096,
            cores=4,
            clock_ghz=1.0,
            bias_bits=32,
            deconvolution_16bit=True,
        ),
    }
)


def find_device(name: str) -> Device:
    """Returns the device of a name or alias, whatever its case.

    Args:
        name: a part name such as "AM68A" or "J722S".

    Raises:
        OptionError: No device has this name.
    """
    wanted = name.strip().upper()
    known = Device.__members__
    if wanted in known:
        return known[wanted]
    raise OptionError(
        f"option 'device' is {name!r}, allowed: {', '.join(known)}." + nearest_names(wanted, known)
    )
