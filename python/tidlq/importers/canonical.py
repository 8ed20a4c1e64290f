"""The canonical form of a model, whatever file it came from."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import common

from tidlq.passes.detach_constant_outputs import DetachConstantOutputs
from tidlq.passes.dynamic_to_float import DynamicToFloat
from tidlq.passes.fold_affine import FoldAffine
from tidlq.passes.fold_constants import FoldConstants
from tidlq.passes.fold_input_affine import FoldInputAffine
from tidlq.passes.fold_quantization import FoldQuantization
from tidlq.passes.infer_shapes import InferShapes, has_open_shapes
from tidlq.passes.lift_integers import LiftIntegers
from tidlq.passes.matmul_to_gemm import MatMulToGemm
from tidlq.passes.name_nodes import NameNodes
from tidlq.passes.remove_no_ops import RemoveNoOps
from tidlq.passes.split_gemm import SplitGemm
from tidlq.passes.spread_statements import SpreadStatements
from tidlq.passes.state_biases import StateBiases
from tidlq.passes.strip_quantization import StripQuantization
from tidlq.passes.to_runnable_domain import ToRunnableDomain

# Each round folds at least one level of shape arithmetic that hid the shapes of the next.
_MOST_ROUNDS = 64


def canonicalize(
    model: ir.Model, *, pre_batchnorm_fold: bool, is_fully_stated: bool = False
) -> None:
    """Folds and simplifies until nothing changes, then names what has no name.

    Quantization becomes statements about float tensors (`tidlq.passes.stated`).

    Args:
        model: changed in place; its shapes are inferred.
        pre_batchnorm_fold: fold a batch-norm, or mean and scale, that stands between an input and
            the first convolution.
        is_fully_stated: the model quantizes every tensor that is meant to be, and has no node
            without effect: one that seems to have none stands between two quantizations, or got a
            neutral constant by rounding.
    """
    has_no_ops = not is_fully_stated
    _simplify(model, has_no_ops=has_no_ops)
    # A list: both rewrite.
    if any([DynamicToFloat()(model).modified, LiftIntegers()(model).modified]):
        _simplify(model, has_no_ops=has_no_ops)
    strip = StripQuantization(is_fully_stated=is_fully_stated)
    if strip(model).modified and not is_fully_stated:
        SpreadStatements()(model)
    if StateBiases()(model).modified:
        if has_open_shapes(model.graph):
            # Onnx does not infer behind ONNX Runtime's own DequantizeLinear.
            InferShapes()(model)
        _simplify(model, has_no_ops=has_no_ops)
    SplitGemm()(model)
    MatMulToGemm()(model)
    FoldAffine()(model)
    if pre_batchnorm_fold:
        FoldInputAffine()(model)
    common.RemoveUnusedNodesPass()(model)
    ToRunnableDomain()(model)
    common.RemoveUnusedOpsetsPass()(model)
    DetachConstantOutputs()(model)
    NameNodes()(model)
    model.ir_version = max(model.ir_version, 8)


def _simplify(model: ir.Model, *, has_no_ops: bool) -> None:
    for _ in range(_MOST_ROUNDS):
        modified = FoldConstants()(model).modified
        modified |= FoldQuantization()(model).modified
        if has_no_ops:
            modified |= RemoveNoOps()(model).modified
        if not modified:
            break
        if has_open_shapes(model.graph):
            InferShapes()(model)
