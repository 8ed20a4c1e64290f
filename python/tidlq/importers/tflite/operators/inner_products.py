"""Inner products: fully connected layers and products of matrices."""

from __future__ import annotations

import onnx_ir as ir

from tidlq.importers.tflite.layout import Layout
from tidlq.importers.tflite.operators.activations import activated
from tidlq.importers.tflite.operators.parameters import read_bias, read_weight
from tidlq.importers.tflite.rewrite import Rewrite
from tidlq.passes.node_reading import sizes_product
from tidlq.passes.stated import state_feature

_PLAIN_WEIGHTS = 0


def rewrite_fully_connected(rewrite: Rewrite) -> None:
    """FULLY_CONNECTED as Gemm; other ranks than 2 are reshaped around it."""
    if rewrite.integer("WeightsFormat") != _PLAIN_WEIGHTS:
        raise rewrite.fault("has shuffled weights, which are not supported.")
    if rewrite.rank(1) != 2:
        raise rewrite.fault(f"has a weight with {rewrite.rank(1)} axes; 2 are needed.")
    outputs, inputs = rewrite.shape(1)
    shape = rewrite.shape(0)
    count = sizes_product(shape)
    if not inputs or count % inputs:
        raise rewrite.fault(f"has {count} input elements, which rows of {inputs} do not divide.")
    keeps = rewrite.flag("KeepNumDims")
    if keeps and (not shape or shape[-1] != inputs):
        raise rewrite.fault(f"keeps the axes of an input of shape {list(shape)}.")
    if rewrite.has_input(2) and rewrite.shape(2) != (outputs,):
        raise rewrite.fault(f"has a bias of shape {list(rewrite.shape(2))} for {outputs} outputs.")
    rows = _rows(rewrite, count // inputs, inputs)
    value = rewrite.emit(
        "Gemm", rows, read_weight(rewrite, 1, (0, 1)), read_bias(rewrite, 2), transB=1
    )
    value = activated(rewrite, value)
    if keeps and len(shape) != 2:
        state_feature(value, rewrite.output_quant())
        sizes = rewrite.integers_constant((*shape[:-1], outputs), "shape")
        value = rewrite.emit("Reshape", value, sizes, role="unfolded")
    rewrite.write(value)


def _rows(rewrite: Rewrite, count: int, length: int) -> ir.Value:
    """The features as rows: [count, length]."""
    if rewrite.shape(0) == (count, length):
        return rewrite.read(0)
    sizes = rewrite.integers_constant((count, length), "rows_shape")
    return rewrite.emit("Reshape", read_in_order(rewrite, 0), sizes, role="rows")


def read_in_order(rewrite: Rewrite, position: int) -> ir.Value:
    """A tensor whose elements stand in TFLite's order, in whichever layout that needs no work.

    A feature map of one pixel, or of one channel, has that order in both layouts.
    """
    index = rewrite.index(position)
    tensors = rewrite.tensors
    if not tensors.has(index, Layout.OWN) and tensors.has(index, Layout.CHANNELS_FIRST):
        _, *spatial, channels = rewrite.shape(position)
        if channels == 1 or sizes_product(spatial) == 1:
            return rewrite.read(position, Layout.CHANNELS_FIRST)
    return rewrite.read(position)


def rewrite_batch_matmul(rewrite: Rewrite) -> None:
    """BATCH_MATMUL as MatMul, its operands transposed first where the options say so."""
    operands = [_operand(rewrite, 0, "AdjX"), _operand(rewrite, 1, "AdjY")]
    rewrite.write(rewrite.emit("MatMul", *operands))


def _operand(rewrite: Rewrite, position: int, adjoint: str) -> ir.Value:
    rank = rewrite.rank(position)
    if rank < 2:
        raise rewrite.fault(f"has an operand with {rank} axes; 2 or more are needed.")
    perm = list(range(rank))
    if rewrite.flag(adjoint):
        perm[-2:] = reversed(perm[-2:])
    if rewrite.array(position) is not None:
        return read_weight(rewrite, position, perm, features=1 - position)
    value = rewrite.read(position)
    if not rewrite.flag(adjoint):
        return value
    return rewrite.emit("Transpose", value, role=adjoint.lower(), perm=perm)
