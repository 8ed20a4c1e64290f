"""Cycles of a layer on a device: matrix unit, memory, fixed overhead, changes of precision.

A model with few constants, for comparing precisions of one network: T_16 / T_8 of a layer follows
from rates that are published; absolute times are rough (docs/mixed-precision.md has the spread).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType

from tidlq.target.devices import Device

LAYER_OVERHEAD = 16_000
"""Cycles of a layer whatever it does: its setup, filling and draining the DMA pipeline. TI's sample
of a per-layer profile has 14,000 to 33,000 beside the kernel, half of them below this."""
MOVED_BYTES_PER_CYCLE = 32
"""Bytes that a layer without matrix products reads and writes per cycle."""
STREAM_EFFICIENCY = 0.7
"""Part of the external memory's peak that long transfers reach."""


@dataclass(frozen=True)
class MemoryFacts:
    """Memory of a device, as its data sheet has it.

    Attributes:
        on_chip_bytes: shared or level-2 memory that features stay in.
        on_chip_bytes_per_cycle: between it and the matrix unit.
        external_gb_per_s: peak of the external memory.
    """

    on_chip_bytes: int
    on_chip_bytes_per_cycle: int
    external_gb_per_s: float


_MEMORY = MappingProxyType(
    {
        Device.TDA4VM: MemoryFacts(8 << 20, 64, 17.0),
        Device.AM62A: MemoryFacts(5 << 18, 32, 14.9),
        Device.AM67A: MemoryFacts(9 << 18, 32, 16.0),
        Device.AM68A: MemoryFacts(4 << 20, 64, 34.1),
        Device.AM69A: MemoryFacts(8 << 20, 64, 68.3),
    }
)


@dataclass(frozen=True)
class MatrixWork:
    """Products of a layer:  per group, [positions, terms] x [terms, columns].

    Attributes:
        positions: output positions.
        terms: products per output.
        columns: output channels of a group.
        groups: of channels.
        width: positions in a row of the output.
        row_passes: rows of the window times input channels of a group: what a row of outputs takes
            where the window slides inside of the unit; 0 where it cannot.
    """

    positions: int
    terms: int
    columns: int
    groups: int = 1
    width: int = 1
    row_passes: int = 0

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return self.positions * self.terms * self.columns * self.groups


@dataclass(frozen=True)
class LayerWork:
    """What a layer does, whatever its precision.

    Attributes:
        name: the layer's.
        inputs: feature maps that it reads, with their elements.
        output: the feature map that it writes.
        output_elements: its elements.
        parameters: elements of its weight, slope or constant operand.
        matrix: its products; None where it has none.
        is_view: it only gives its input another shape.
    """

    name: str
    inputs: tuple[tuple[str, int], ...]
    output: str
    output_elements: int
    parameters: int = 0
    matrix: MatrixWork | None = None
    is_view: bool = False


@dataclass(frozen=True)
class LayerBits:
    """Bits of a layer's inputs, in order, of its parameters, and of its output."""

    inputs: tuple[int, ...]
    parameters: int
    output: int


def layer_cycles(work: LayerWork, bits: LayerBits, device: Device) -> float:
    """Cycles of a layer on one core:  overhead + max(products, memory) + changes of precision.

    Products run at the full rate for 8 x 8 bits, at half of it for 8 x 16 (two passes over the
    bytes of the wider operand), at a quarter for 16 x 16. A weight comes from external memory;
    features stay on the chip where input and output fit together. An input of other bits than the
    output is converted: read and written once more.

    Args:
        work: of the layer.
        bits: of its tensors.
        device: gives rates.
    """
    if work.is_view:
        return 0.0
    facts, memory = device.facts, _MEMORY[device]
    external = memory.external_gb_per_s * STREAM_EFFICIENCY / facts.clock_ghz
    read = sum(n * b // 8 for (_, n), b in zip(work.inputs, bits.inputs, strict=True))
    moved = read + work.output_elements * bits.output // 8
    is_on_chip = moved <= memory.on_chip_bytes
    moving = moved / (memory.on_chip_bytes_per_cycle if is_on_chip else external)
    moving = max(moving, work.parameters * bits.parameters / 8 / external)
    if work.matrix is None:
        computing = moved / MOVED_BYTES_PER_CYCLE
    else:
        # Without a parameter, the second input is the matrix.
        left, right = bits.inputs if len(bits.inputs) == 2 else (max(bits.inputs), bits.parameters)
        computing = matrix_cycles(work.matrix, left, right, facts.mma_size)
    converted = sum(
        n * (b + bits.output) / 8
        for (_, n), b in zip(work.inputs, bits.inputs, strict=True)
        if b != bits.output
    )
    return LAYER_OVERHEAD + max(computing, moving) + converted / memory.on_chip_bytes_per_cycle


def matrix_cycles(work: MatrixWork, feature_bits: int, parameter_bits: int, size: int) -> float:
    """Cycles of the products on a unit of size x size 8-bit elements.

    The unit multiplies a vector by a matrix per cycle. Either a position's terms meet a matrix of
    terms and channels, or a row of inputs meets the band matrix of a window's row; padding of a
    matrix to the unit's size is lost. At 16 x 16 bits the unit has half the size on both sides.

    Args:
        work: the products.
        feature_bits: 8 or 16, of the widest input.
        parameter_bits: 8 or 16.
        size: of the unit, at 8 bits.
    """
    passes = 1
    if feature_bits == 16 and parameter_bits == 16:
        size //= 2
    elif feature_bits == 16 or parameter_bits == 16:
        passes = 2
    tiles = math.ceil(work.terms / size) * math.ceil(work.columns / size)
    cycles = work.positions * work.groups * tiles
    if work.row_passes:
        rows = work.positions // work.width * math.ceil(work.width / size)
        cycles = min(cycles, rows * work.groups * work.columns * work.row_passes)
    return float(passes * cycles)
