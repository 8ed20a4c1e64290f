"""Blocks of pixels that become channels or batches, and back."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from tidlq.importers.tflite.layout import Layout
from tidlq.importers.tflite.rewrite import Rewrite
from tidlq.passes.node_reading import sizes_product
from tidlq.passes.stated import state_feature

_NCHW = Layout.CHANNELS_FIRST


def rewrite_depth_to_space(rewrite: Rewrite) -> None:
    """DEPTH_TO_SPACE as DepthToSpace: the block's place is the slower part of a channel."""
    value = rewrite.emit(
        "DepthToSpace", rewrite.read(0, _NCHW), blocksize=_block_size(rewrite), mode="DCR"
    )
    rewrite.write(value, _NCHW)


def rewrite_space_to_depth(rewrite: Rewrite) -> None:
    """SPACE_TO_DEPTH as SpaceToDepth."""
    size = _block_size(rewrite)
    height, width = rewrite.shape(0)[1:3]
    if height % size or width % size:
        raise rewrite.fault(f"cuts {height}x{width} pixels into blocks of {size}.")
    rewrite.write(rewrite.emit("SpaceToDepth", rewrite.read(0, _NCHW), blocksize=size), _NCHW)


def _block_size(rewrite: Rewrite) -> int:
    size = rewrite.integer("BlockSize")
    if size < 1 or rewrite.rank(0) != 4:
        raise rewrite.fault(f"has blocks of {size} for {rewrite.rank(0)} axes; 4 are needed.")
    return size


def _table(rewrite: Rewrite, position: int, count: int) -> list[tuple[int, int]]:
    array = rewrite.needed_array(position, "a table of pads or crops")
    if array.shape != (count, 2) or array.dtype.kind not in "iu" or array.min(initial=0) < 0:
        raise rewrite.fault(f"has a table of shape {list(array.shape)} for {count} axes.")
    return [(int(before), int(after)) for before, after in array]


def _blocks(rewrite: Rewrite, shape: tuple[int, ...]) -> tuple[int, ...]:
    blocks = rewrite.listed(1, "block sizes")
    if not 0 < len(blocks) < len(shape) or min(blocks) < 1:
        raise rewrite.fault(f"has blocks of {list(blocks)} for {len(shape)} axes.")
    return blocks


def _rearranged(
    rewrite: Rewrite,
    value: ir.Value,
    split: list[int],
    perm: list[int],
    joined: list[int],
) -> ir.Value:
    """A Reshape that splits axes, a Transpose, and a Reshape that joins them."""
    value = rewrite.emit("Reshape", value, rewrite.integers_constant(split, "split"), role="blocks")
    value = rewrite.emit("Transpose", value, role="exchanged", perm=perm)
    return rewrite.emit(
        "Reshape", value, rewrite.integers_constant(joined, "joined"), role="joined"
    )


def rewrite_space_to_batch(rewrite: Rewrite) -> None:
    """SPACE_TO_BATCH_ND: padded, then every place of the block becomes a batch of its own."""
    shape = rewrite.shape(0)
    blocks = _blocks(rewrite, shape)
    count, rest = len(blocks), shape[1 + len(blocks) :]
    pads = [(0, 0), *_table(rewrite, 2, count), *[(0, 0)] * len(rest)]
    value = rewrite.read(0)
    sizes = [size + sum(pad) for size, pad in zip(shape, pads, strict=True)][1 : 1 + count]
    if any(size % block for size, block in zip(sizes, blocks, strict=True)):
        raise rewrite.fault(f"cuts {sizes} into blocks of {list(blocks)}.")
    if any(map(any, pads)):
        assert value.dtype is not None
        listed = rewrite.integers_constant([pad[side] for side in (0, 1) for pad in pads], "pads")
        zero = rewrite.constant(np.array(0, value.dtype.numpy()), "zero")
        value = rewrite.emit("Pad", value, listed, zero, role="padded")
        state_feature(value, rewrite.quant(0))
    outer = [size // block for size, block in zip(sizes, blocks, strict=True)]
    split = [shape[0], *(n for pair in zip(outer, blocks, strict=True) for n in pair), *rest]
    perm = [
        *range(2, 1 + 2 * count, 2),
        0,
        *range(1, 1 + 2 * count, 2),
        *range(1 + 2 * count, len(split)),
    ]
    joined = [shape[0] * sizes_product(blocks), *outer, *rest]
    rewrite.write(_rearranged(rewrite, value, split, perm, joined))


def rewrite_batch_to_space(rewrite: Rewrite) -> None:
    """BATCH_TO_SPACE_ND: batches become places of a block again, then the edges are cropped."""
    shape = rewrite.shape(0)
    blocks = _blocks(rewrite, shape)
    count, rest = len(blocks), shape[1 + len(blocks) :]
    crops = _table(rewrite, 2, count)
    batch, left = divmod(shape[0], sizes_product(blocks))
    if left:
        raise rewrite.fault(f"makes blocks of {list(blocks)} of {shape[0]} batches.")
    outer = shape[1 : 1 + count]
    split = [*blocks, batch, *outer, *rest]
    perm = [count]
    for axis in range(count):
        perm += [count + 1 + axis, axis]
    perm += range(1 + 2 * count, len(split))
    sizes = [size * block for size, block in zip(outer, blocks, strict=True)]
    value = _rearranged(rewrite, rewrite.read(0), split, perm, [batch, *sizes, *rest])
    if any(map(any, crops)):
        if any(before + after > n for (before, after), n in zip(crops, sizes, strict=True)):
            raise rewrite.fault(f"crops {crops} of {sizes}.")
        starts = [before for before, _ in crops]
        stops = [n - after for (_, after), n in zip(crops, sizes, strict=True)]
        value = rewrite.emit(
            "Slice",
            value,
            rewrite.integers_constant(starts, "starts"),
            rewrite.integers_constant(stops, "stops"),
            rewrite.integers_constant(range(1, 1 + count), "axes"),
        )
    rewrite.write(value)
