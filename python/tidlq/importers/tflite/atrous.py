"""Dilated convolutions that are stored as three operators.

SPACE_TO_BATCH_ND, a convolution without padding and BATCH_TO_SPACE_ND compute what a convolution
computes whose taps are a block apart: the pads of the first operator, less the crops of the last,
are its pads. In integers the two are equal as well, since padding holds zeros in both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tidlq.importers.tflite.constants import stored_values
from tidlq.importers.tflite.contents import StoredModel, StoredOperator

_CONVOLUTIONS = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D"})
_VALID = 1


@dataclass(frozen=True)
class Atrous:
    """A convolution between blocks.

    Attributes:
        source: tensor that the blocks are made of.
        result: tensor that is put together again.
        dilations: height and width of a block.
        pads: top, left, bottom, right.
        others: indices of the two operators around the convolution.
    """

    source: int
    result: int
    dilations: tuple[int, int]
    pads: tuple[int, int, int, int]
    others: tuple[int, int]


def find_atrous(model: StoredModel) -> Mapping[int, Atrous]:
    """Dilated convolutions in three operators, by the index of the convolution."""
    reads = Counter(index for operator in model.operators for index in operator.inputs)
    reads.update(model.outputs)
    before = _by_tensor(model, "SPACE_TO_BATCH_ND", is_written=True)
    after = _by_tensor(model, "BATCH_TO_SPACE_ND", is_written=False)
    found: dict[int, Atrous] = {}
    for operator in model.operators:
        if operator.is_custom or operator.code not in _CONVOLUTIONS or not operator.inputs:
            continue
        first, last = before.get(operator.inputs[0]), after.get(operator.outputs[0])
        if first is None or last is None or not _is_plain(operator):
            continue
        if reads[operator.inputs[0]] != 1 or reads[operator.outputs[0]] != 1:
            continue
        if (atrous := _read(model, first, last)) is not None:
            found[operator.index] = atrous
    return found


def _by_tensor(model: StoredModel, code: str, *, is_written: bool) -> dict[int, StoredOperator]:
    """Operators of one kind by the tensor that they write, or by the one that they read."""
    return {
        operator.outputs[0] if is_written else operator.inputs[0]: operator
        for operator in model.operators
        if operator.code == code and len(operator.inputs) == 3 and len(operator.outputs) == 1
    }


def _is_plain(operator: StoredOperator) -> bool:
    names = ("Padding", "StrideH", "StrideW", "DilationHFactor", "DilationWFactor")
    return tuple(operator.options.get(name) for name in names) == (_VALID, 1, 1, 1, 1)


def _read(model: StoredModel, first: StoredOperator, last: StoredOperator) -> Atrous | None:
    tables: list[list[int]] = []
    for operator in (first, last):
        for index in operator.inputs[1:]:
            if index < 0 or model.tensors[index].data is None:
                return None
            tables.append(np.asarray(stored_values(model.tensors[index])).reshape(-1).tolist())
    blocks, padding, blocks_after, crops = tables
    if len(blocks) != 2 or blocks != blocks_after or len(padding) != 4 or len(crops) != 4:
        return None
    top, bottom, left, right = (p - c for p, c in zip(padding, crops, strict=True))
    if min(top, bottom, left, right, *crops, *padding) < 0 or min(blocks) < 1:
        return None
    return Atrous(
        first.inputs[0],
        last.outputs[0],
        (int(blocks[0]), int(blocks[1])),
        (top, left, bottom, right),
        (first.index, last.index),
    )
