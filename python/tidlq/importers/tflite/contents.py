"""What a TFLite file holds, as plain values: tensors, operators and the network's ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

OptionValue = int | float | tuple[int, ...]


@dataclass(frozen=True)
class StoredQuantization:
    """Scales and zero points as stored.

    Attributes:
        scales: one, or one per index of `axis`.
        zero_points: as many.
        axis: quantized dimension of the tensor as stored.
        is_special: the file gives further parameters, in a form that is not read.
    """

    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    axis: int = 0
    is_special: bool = False


@dataclass(frozen=True)
class SparseDimension:
    """One dimension of a sparse constant: dense of a size, or lists of segments and indices."""

    dense_size: int
    segments: tuple[int, ...] | None = None
    indices: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Sparsity:
    """How a sparse constant is laid out.

    Attributes:
        order: dimensions (and, behind them, block dimensions) in the order of storage.
        block_map: the dimension that each block dimension splits.
        dimensions: in the order of storage.
    """

    order: tuple[int, ...]
    block_map: tuple[int, ...]
    dimensions: tuple[SparseDimension, ...]


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """A tensor of the file.

    Attributes:
        index: in the file.
        name: as stored; may be empty or repeat.
        type: the schema's name of the element type; `type 99` where it has none.
        shape: sizes as stored.
        signature: sizes as declared, -1 where free; as `shape` where the file does not say.
        quantization: None where there are no scales.
        data: bytes of a constant; None of a computed tensor.
        is_variable: state that lives from run to run.
        sparsity: of a sparse constant.
    """

    index: int
    name: str
    type: str
    shape: tuple[int, ...]
    signature: tuple[int, ...]
    quantization: StoredQuantization | None = None
    data: memoryview | None = None
    is_variable: bool = False
    sparsity: Sparsity | None = None


@dataclass(frozen=True, eq=False)
class StoredOperator:
    """An operator of the file.

    Attributes:
        index: in the file.
        code: the schema's name, such as CONV_2D; of a custom operator, its own.
        is_custom: not one of the schema's.
        inputs: indices of tensors, -1 where absent.
        outputs: indices of tensors.
        table: name of the options table that the operator comes with; empty for none.
        options: its fields by accessor name.
        custom_options: of a custom operator.
    """

    index: int
    code: str
    is_custom: bool
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    table: str = ""
    options: Mapping[str, OptionValue] = field(default_factory=dict)
    custom_options: bytes = b""

    @property
    def label(self) -> str:
        """How messages call it."""
        return f"operator {self.index} ({self.code})"


@dataclass(frozen=True, eq=False)
class StoredModel:
    """The main subgraph of a file: tensors by index, operators in order, the network's ends."""

    name: str
    tensors: tuple[StoredTensor, ...]
    operators: tuple[StoredOperator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
