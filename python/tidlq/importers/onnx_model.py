"""The ONNX door: a file, bytes or a message becomes the canonical float Graph."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import onnx
import onnx_ir as ir
from onnx_ir.passes import common

from tidlq.errors import ModelError
from tidlq.graph.model import Graph
from tidlq.importers.bundle_facts import BundleFacts
from tidlq.importers.canonical import canonicalize
from tidlq.importers.export_facts import ExportFacts
from tidlq.importers.onnx_checks import check_structure
from tidlq.importers.onnx_shapes import fix_shapes, interface_shapes
from tidlq.importers.onnx_source import OnnxSource, read_onnx
from tidlq.importers.onnx_weights import check_constants, load_constants, refuse_non_finite
from tidlq.passes.infer_shapes import (
    InferShapes,
    refuse_absurd_sizes,
)
from tidlq.passes.name_nodes import NameNodes
from tidlq.passes.node_reading import is_sorted
from tidlq.passes.qoperators_to_qdq import QOperatorsToQdq
from tidlq.passes.raise_opset import RaiseOpset
from tidlq.passes.stated import collect_stated
from tidlq.passes.to_onnx_domain import ToOnnxDomain
from tidlq.passes.widen_floats import WidenFloats
from tidlq.spec import Requantization, StatedQuantization

# ONNX Runtime's own limit for one tensor's element count in most kernels.
_LARGEST_TENSOR = (1 << 31) - 1
_NO_SHAPES: Mapping[str, Sequence[int]] = MappingProxyType({})


def import_onnx(
    source: str | os.PathLike[str] | bytes | onnx.ModelProto,
    *,
    input_shapes: Mapping[str, Sequence[int]] = _NO_SHAPES,
    pre_batchnorm_fold: bool = True,
) -> Graph:
    """Reads an ONNX model and brings it into canonical form.

    The Graph computes what the model computes, up to float32 rounding where batch-norms and other
    per-channel arithmetic are folded into weights. Names and order of inputs and outputs stay.

    Args:
        source: a path, the file's bytes, or a message (left as it is).
        input_shapes: sizes of inputs whose shape is not fixed, by input name. A free leading axis
            need not be given: it becomes 1.
        pre_batchnorm_fold: fold a batch-norm, or mean and scale, that stands between an input and
            the first convolution.

    Returns:
        The Graph; its opset is 18 where the model's could be raised to that, else the model's own.

    Raises:
        ModelError: The model cannot be read, is not valid, or has a shape that is not known.
    """
    origin = read_onnx(source)
    with _naming(origin.label):
        check_structure(origin.proto)
        check_constants(origin.proto, origin.folder)
        model = _to_ir(origin)
        ToOnnxDomain()(model)
        WidenFloats()(model)
        bundle = BundleFacts.of_model(origin.proto)
        bundle.free_batch([*model.graph.inputs, *model.graph.outputs])
        batch = fix_shapes(model, input_shapes)
        _check_operators(InferShapes().call(model).message)
        if QOperatorsToQdq()(model).modified:
            _check_operators(InferShapes().call(model).message)
        refuse_absurd_sizes(model, _LARGEST_TENSOR)
        RaiseOpset()(model)
        refuse_non_finite(model.graph)
        facts = ExportFacts.from_properties(_properties(origin.proto))
        canonicalize(
            model, pre_batchnorm_fold=pre_batchnorm_fold, is_fully_stated=facts is not None
        )
        refuse_non_finite(model.graph)
        refuse_absurd_sizes(model, _LARGEST_TENSOR)
        stated = _collect_stated(model.graph, facts)
    free_batch, shapes = interface_shapes(model.graph, batch)
    return Graph(
        model, origin.name, free_batch, MappingProxyType(shapes), stated, bundle.channel_ranges
    )


def _properties(proto: onnx.ModelProto) -> Mapping[str, str]:
    return {item.key: item.value for item in proto.metadata_props}


def _collect_stated(graph: ir.Graph, facts: ExportFacts | None) -> StatedQuantization | None:
    """What the nodes state, and what the metadata of our own exports add."""
    stated = collect_stated(graph, Requantization.FLOAT)
    if stated is None or facts is None:
        return stated
    tensors = (value.name or "" for node in graph for value in node.outputs)
    inputs = (value.name or "" for value in graph.inputs)
    return facts.apply(stated, [*inputs, *tensors], [node.name or "" for node in graph])


def _to_ir(origin: OnnxSource) -> ir.Model:
    """The model with its functions inlined, its constants as arrays and its nodes in order."""
    try:
        model = ir.serde.deserialize_model(origin.proto)
        if origin.folder is not None:
            ir.external_data.set_base_dir(model.graph, origin.folder)
        common.RemoveInitializersFromInputsPass()(model)
        load_constants(model.graph)
        if model.functions:
            common.InlinePass()(model)
        if not is_sorted(model.graph):
            model.graph.sort()
        NameNodes()(model)
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
        common.ClearMetadataAndDocStringPass()(model)
        common.RemoveUnusedNodesPass()(model)
    except (
        ir.passes.PassError,
        ir.passes.InvariantError,
        ir.serde.SerdeError,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
    ) as error:
        raise _invalid(error) from error
    load_constants(model.graph)
    return model


def _check_operators(proto: onnx.ModelProto) -> None:
    for info in proto.graph.output:
        # The checker wants a shape even where none can be known; any will do.
        _give_shape(info.type)
    try:
        onnx.checker.check_model(proto)
    except (onnx.checker.ValidationError, RuntimeError, ValueError) as error:
        raise _invalid(error) from error


def _give_shape(proto: onnx.TypeProto) -> None:
    match proto.WhichOneof("value"):
        case "tensor_type":
            proto.tensor_type.shape.SetInParent()
        case "sequence_type":
            _give_shape(proto.sequence_type.elem_type)
        case "optional_type":
            _give_shape(proto.optional_type.elem_type)


def _invalid(error: BaseException) -> ModelError:
    reason = " ".join(str(error).split())[:300].rstrip(".")
    return ModelError(f"not a valid ONNX model: {reason}.")


@contextlib.contextmanager
def _naming(label: str) -> Iterator[None]:
    """Puts the model's name before the message of whatever fault is found in it."""
    try:
        yield
    except ModelError as error:
        raise ModelError(f"{label}: {error}") from error.__cause__
