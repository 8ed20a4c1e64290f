"""The tables of TFLite's schema (version 3) that are read: every field's slot and kind, as data.

Names of fields are those of the accessors in the `tflite` package. Tables that are never read are
left out; the verifier then checks their frame and nothing else.

Source: tensorflow/compiler/mlir/lite/schema/schema.fbs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Number:
    """A scalar of 1, 2, 4 or 8 bytes."""

    bytes: int


@dataclass(frozen=True)
class Numbers:
    """A vector of scalars."""

    bytes: int


@dataclass(frozen=True)
class Text:
    """A string."""


@dataclass(frozen=True)
class Child:
    """A table."""

    table: str


@dataclass(frozen=True)
class Children:
    """A vector of tables."""

    table: str


@dataclass(frozen=True)
class Choice:
    """A union: the number in the slot before says which table stands here."""

    tables: Mapping[int, str]


Kind = Number | Numbers | Text | Child | Children | Choice


@dataclass(frozen=True)
class Field:
    """A field of a table: its accessor's name, its slot and what it holds."""

    name: str
    slot: int
    kind: Kind


_KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "i8": Number(1),
        "i32": Number(4),
        "i64": Number(8),
        "[i8]": Numbers(1),
        "[i16]": Numbers(2),
        "[i32]": Numbers(4),
        "[i64]": Numbers(8),
        "text": Text(),
    }
)


def _fields(spelled: str, choices: Mapping[str, Choice] | None = None) -> tuple[Field, ...]:
    """Fields from `Name:kind` words in the order of slots; `-` skips a slot."""
    fields: list[Field] = []
    for slot, word in enumerate(spelled.split()):
        if word == "-":
            continue
        name, kind = word.split(":")
        if kind in _KINDS:
            fields.append(Field(name, slot, _KINDS[kind]))
        elif kind == "union":
            fields.append(Field(name, slot, (choices or {})[name]))
        elif kind.startswith("["):
            fields.append(Field(name, slot, Children(kind[1:-1])))
        else:
            fields.append(Field(name, slot, Child(kind)))
    return tuple(fields)


_SPARSE_VECTORS = Choice(MappingProxyType({1: "Int32Vector", 2: "Uint16Vector", 3: "Uint8Vector"}))

# Numbers of the BuiltinOptions union.
OPTION_TABLES: Mapping[int, str] = MappingProxyType(
    {
        1: "Conv2DOptions",
        2: "DepthwiseConv2DOptions",
        5: "Pool2DOptions",
        8: "FullyConnectedOptions",
        9: "SoftmaxOptions",
        10: "ConcatenationOptions",
        11: "AddOptions",
        12: "L2NormOptions",
        13: "LocalResponseNormalizationOptions",
        15: "ResizeBilinearOptions",
        17: "ReshapeOptions",
        19: "SpaceToDepthOptions",
        21: "MulOptions",
        23: "GatherOptions",
        27: "ReducerOptions",
        28: "SubOptions",
        29: "DivOptions",
        30: "SqueezeOptions",
        32: "StridedSliceOptions",
        35: "SplitOptions",
        37: "CastOptions",
        40: "ArgMaxOptions",
        49: "TransposeConvOptions",
        55: "ShapeOptions",
        57: "ArgMinOptions",
        58: "FakeQuantOptions",
        59: "PackOptions",
        61: "OneHotOptions",
        64: "UnpackOptions",
        74: "ResizeNearestNeighborOptions",
        75: "LeakyReluOptions",
        77: "MirrorPadOptions",
        79: "SplitVOptions",
        87: "ReverseSequenceOptions",
        94: "DepthToSpaceOptions",
        101: "BatchMatMulOptions",
        102: "CumsumOptions",
        106: "Conv3DOptions",
        116: "GeluOptions",
    }
)
"""Options of operators by their number in the union; operators without fields have none here."""

_OPTIONS = {
    "Conv2DOptions": "Padding:i8 StrideW:i32 StrideH:i32 FusedActivationFunction:i8 "
    "DilationWFactor:i32 DilationHFactor:i32",
    "DepthwiseConv2DOptions": "Padding:i8 StrideW:i32 StrideH:i32 DepthMultiplier:i32 "
    "FusedActivationFunction:i8 DilationWFactor:i32 DilationHFactor:i32",
    "Conv3DOptions": "Padding:i8 StrideD:i32 StrideW:i32 StrideH:i32 FusedActivationFunction:i8 "
    "DilationDFactor:i32 DilationWFactor:i32 DilationHFactor:i32",
    "TransposeConvOptions": "Padding:i8 StrideW:i32 StrideH:i32 FusedActivationFunction:i8",
    "Pool2DOptions": "Padding:i8 StrideW:i32 StrideH:i32 FilterWidth:i32 FilterHeight:i32 "
    "FusedActivationFunction:i8",
    "FullyConnectedOptions": "FusedActivationFunction:i8 WeightsFormat:i8 KeepNumDims:i8",
    "BatchMatMulOptions": "AdjX:i8 AdjY:i8",
    "AddOptions": "FusedActivationFunction:i8 PotScaleInt16:i8",
    "SubOptions": "FusedActivationFunction:i8 PotScaleInt16:i8",
    "MulOptions": "FusedActivationFunction:i8",
    "DivOptions": "FusedActivationFunction:i8",
    "L2NormOptions": "FusedActivationFunction:i8",
    "LocalResponseNormalizationOptions": "Radius:i32 Bias:i32 Alpha:i32 Beta:i32",
    "LeakyReluOptions": "Alpha:i32",
    "GeluOptions": "Approximate:i8",
    "SoftmaxOptions": "Beta:i32",
    "FakeQuantOptions": "Min:i32 Max:i32 NumBits:i32 NarrowRange:i8",
    "ConcatenationOptions": "Axis:i32 FusedActivationFunction:i8",
    "PackOptions": "ValuesCount:i32 Axis:i32",
    "UnpackOptions": "Num:i32 Axis:i32",
    "SplitOptions": "NumSplits:i32",
    "SplitVOptions": "NumSplits:i32",
    "ReshapeOptions": "NewShape:[i32]",
    "SqueezeOptions": "SqueezeDims:[i32]",
    "StridedSliceOptions": "BeginMask:i32 EndMask:i32 EllipsisMask:i32 NewAxisMask:i32 "
    "ShrinkAxisMask:i32 Offset:i8",
    "GatherOptions": "Axis:i32 BatchDims:i32",
    "ReverseSequenceOptions": "SeqDim:i32 BatchDim:i32",
    "MirrorPadOptions": "Mode:i8",
    "SpaceToDepthOptions": "BlockSize:i32",
    "DepthToSpaceOptions": "BlockSize:i32",
    "ResizeBilinearOptions": "- - AlignCorners:i8 HalfPixelCenters:i8",
    "ResizeNearestNeighborOptions": "AlignCorners:i8 HalfPixelCenters:i8",
    "ReducerOptions": "KeepDims:i8",
    "CumsumOptions": "Exclusive:i8 Reverse:i8",
    "ArgMaxOptions": "OutputType:i8",
    "ArgMinOptions": "OutputType:i8",
    "OneHotOptions": "Axis:i32",
    "CastOptions": "InDataType:i8 OutDataType:i8",
    "ShapeOptions": "OutType:i8",
}

_MODEL = {
    "Model": "Version:i32 OperatorCodes:[OperatorCode] Subgraphs:[SubGraph] Description:text "
    "Buffers:[Buffer] MetadataBuffer:[i32] Metadata:[Metadata] SignatureDefs:[SignatureDef]",
    "OperatorCode": "DeprecatedBuiltinCode:i8 CustomCode:text Version:i32 BuiltinCode:i32",
    "SubGraph": "Tensors:[Tensor] Inputs:[i32] Outputs:[i32] Operators:[Operator] Name:text",
    "Tensor": "Shape:[i32] Type:i8 Buffer:i32 Name:text Quantization:QuantizationParameters "
    "IsVariable:i8 Sparsity:SparsityParameters ShapeSignature:[i32] HasRank:i8",
    "QuantizationParameters": "Min:[i32] Max:[i32] Scale:[i32] ZeroPoint:[i64] DetailsType:i8 "
    "Details:union QuantizedDimension:i32",
    "CustomQuantization": "Custom:[i8]",
    "SparsityParameters": "TraversalOrder:[i32] BlockMap:[i32] DimMetadata:[DimensionMetadata]",
    "DimensionMetadata": "Format:i8 DenseSize:i32 ArraySegmentsType:i8 ArraySegments:union "
    "ArrayIndicesType:i8 ArrayIndices:union",
    "Int32Vector": "Values:[i32]",
    "Uint16Vector": "Values:[i16]",
    "Uint8Vector": "Values:[i8]",
    "Buffer": "Data:[i8] Offset:i64 Size:i64",
    "Operator": "OpcodeIndex:i32 Inputs:[i32] Outputs:[i32] BuiltinOptionsType:i8 "
    "BuiltinOptions:union CustomOptions:[i8] CustomOptionsFormat:i8 MutatingVariableInputs:[i8] "
    "Intermediates:[i32] LargeCustomOptionsOffset:i64 LargeCustomOptionsSize:i64",
    "Metadata": "Name:text Buffer:i32",
    "SignatureDef": "Inputs:[TensorMap] Outputs:[TensorMap] SignatureKey:text - SubgraphIndex:i32",
    "TensorMap": "Name:text TensorIndex:i32",
}

_CHOICES = {
    "Details": Choice(MappingProxyType({1: "CustomQuantization"})),
    "ArraySegments": _SPARSE_VECTORS,
    "ArrayIndices": _SPARSE_VECTORS,
    "BuiltinOptions": Choice(OPTION_TABLES),
}

TABLES: Mapping[str, tuple[Field, ...]] = MappingProxyType(
    {name: _fields(spelled, _CHOICES) for name, spelled in {**_MODEL, **_OPTIONS}.items()}
)
"""Fields of every table that is read, by the table's name."""
