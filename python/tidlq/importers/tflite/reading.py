"""A verified TFLite file as plain values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import flatbuffers
import tflite

from tidlq.errors import ModelError
from tidlq.importers.tflite.contents import (
    OptionValue,
    SparseDimension,
    Sparsity,
    StoredModel,
    StoredOperator,
    StoredQuantization,
    StoredTensor,
)
from tidlq.importers.tflite.tables import OPTION_TABLES, TABLES, Numbers
from tidlq.importers.tflite.verifier import verify

_SCHEMA_VERSION = 3
# Of a table without fields: every accessor then returns the schema's default.
_EMPTY_TABLE = b"\x04\x00\x04\x00\x04\x00\x00\x00"
_EMPTY_TABLE_START = 4
_BUILTIN_CODE_SLOT = 3
# External data begin behind the flatbuffer; 0 and 1 stand for none.
_LEAST_EXTERNAL_OFFSET = 2
_CUSTOM_DETAILS = 1
_MOST_AXES = 16


def read_tflite(data: bytes) -> StoredModel:
    """Reads the main subgraph of a TFLite file.

    Args:
        data: the whole file.

    Raises:
        ModelError: It is damaged, of another version, or refers to what it does not hold.
    """
    verify(data)
    return _Reader(data).read_model()


def default_options(table: str) -> Mapping[str, OptionValue]:
    """The schema's defaults of an options table."""
    reader = getattr(tflite, table)()
    reader.Init(_EMPTY_TABLE, _EMPTY_TABLE_START)
    return _option_values(table, reader)


def _option_values(table: str, reader: Any) -> Mapping[str, OptionValue]:
    values: dict[str, OptionValue] = {}
    for field in TABLES[table]:
        if isinstance(field.kind, Numbers):
            values[field.name] = _numbers(reader, field.name)
        else:
            values[field.name] = getattr(reader, field.name)()
    return values


def _numbers(reader: Any, name: str) -> tuple[int, ...]:
    """A vector of integers; empty where it is absent."""
    if getattr(reader, f"{name}IsNone")():
        return ()
    return tuple(getattr(reader, f"{name}AsNumpy")().tolist())


def _names(kind: type) -> dict[int, str]:
    return {number: name for name, number in vars(kind).items() if isinstance(number, int)}


class _Reader:
    """Reads with a budget: vectors that many tables share cannot make the result large."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._model = tflite.Model.GetRootAs(data)
        self._left = 4 * len(data) + (1 << 16)
        self._types = _names(tflite.TensorType)
        self._codes = _names(tflite.BuiltinOperator)

    def read_model(self) -> StoredModel:
        model = self._model
        if model.Version() != _SCHEMA_VERSION:
            raise ModelError(
                f"its schema has version {model.Version()}; supported is {_SCHEMA_VERSION}."
            )
        if not model.SubgraphsLength():
            raise ModelError("it holds no subgraph; it may be truncated.")
        graph = model.Subgraphs(0)
        self._spend(graph.TensorsLength() + graph.OperatorsLength())
        tensors = tuple(self._tensor(graph.Tensors(i), i) for i in range(graph.TensorsLength()))
        codes = [self._code(model.OperatorCodes(i)) for i in range(model.OperatorCodesLength())]
        operators = tuple(
            self._operator(graph.Operators(i), i, codes) for i in range(graph.OperatorsLength())
        )
        name = graph.Name()
        return StoredModel(
            name.decode() if name else "",
            tensors,
            operators,
            self._indices(graph, "Inputs", len(tensors), "the list of inputs"),
            self._indices(graph, "Outputs", len(tensors), "the list of outputs"),
        )

    def _spend(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise ModelError(
                f"its {len(self._data)} bytes unfold to more than they can describe; it is damaged."
            )

    def _list(self, reader: Any, name: str) -> tuple[int, ...]:
        self._spend(getattr(reader, f"{name}Length")())
        return _numbers(reader, name)

    def _indices(self, reader: Any, name: str, count: int, where: str) -> tuple[int, ...]:
        """A list of tensors; -1 stands for an absent one."""
        found = self._list(reader, name)
        for index in found:
            if not -1 <= index < count:
                raise ModelError(
                    f"{where} names tensor {index}; the model has {count} (0 to {count - 1})."
                )
        return found

    def _tensor(self, reader: Any, index: int) -> StoredTensor:
        name = reader.Name()
        label = name.decode() if name else ""
        if max(reader.ShapeLength(), reader.ShapeSignatureLength()) > _MOST_AXES:
            raise ModelError(
                f"tensor {index} ({label!r}) has {reader.ShapeLength()} axes; at most {_MOST_AXES} "
                "are supported."
            )
        shape = self._list(reader, "Shape")
        signature = self._list(reader, "ShapeSignature") or shape
        if len(signature) != len(shape) or min((*shape, 0)) < 0:
            raise ModelError(
                f"tensor {index} ({label!r}) is stored with shape {list(shape)} and signature "
                f"{list(signature)}, which do not fit together."
            )
        number = reader.Type()
        return StoredTensor(
            index,
            label,
            self._types.get(number, f"type {number}"),
            shape,
            signature,
            self._quantization(reader.Quantization(), label),
            self._buffer(reader.Buffer(), label),
            reader.IsVariable(),
            self._sparsity(reader.Sparsity()),
        )

    def _quantization(self, reader: Any, label: str) -> StoredQuantization | None:
        if reader is None:
            return None
        special = reader.DetailsType() > _CUSTOM_DETAILS
        scales = self._list(reader, "Scale")
        if not scales:
            return StoredQuantization((), (), is_special=True) if special else None
        zero_points = self._list(reader, "ZeroPoint") or (0,)
        if len(zero_points) == 1:
            self._spend(len(scales))
            zero_points *= len(scales)
        if len(zero_points) != len(scales):
            raise ModelError(
                f"tensor {label!r} has {len(scales)} scales and {len(zero_points)} zero points."
            )
        axis = reader.QuantizedDimension()
        return StoredQuantization(tuple(map(float, scales)), zero_points, axis, special)

    def _buffer(self, index: int, label: str) -> memoryview | None:
        if index >= self._model.BuffersLength():
            raise ModelError(
                f"tensor {label!r} names buffer {index}; the model has "
                f"{self._model.BuffersLength()}."
            )
        buffer = self._model.Buffers(index)
        start, size = buffer.Offset(), buffer.Size()
        if start >= _LEAST_EXTERNAL_OFFSET:
            if start + size > len(self._data):
                raise ModelError(
                    f"the data of tensor {label!r} would be the bytes {start} to {start + size} of "
                    f"the file, which has {len(self._data)}; it is truncated or damaged."
                )
            return memoryview(self._data)[start : start + size] if size else None
        return memoryview(buffer.DataAsNumpy()) if buffer.DataLength() else None

    def _sparsity(self, reader: Any) -> Sparsity | None:
        if reader is None:
            return None
        self._spend(reader.DimMetadataLength())
        dimensions = tuple(
            self._sparse_dimension(reader.DimMetadata(i)) for i in range(reader.DimMetadataLength())
        )
        return Sparsity(
            self._list(reader, "TraversalOrder"), self._list(reader, "BlockMap"), dimensions
        )

    def _sparse_dimension(self, reader: Any) -> SparseDimension:
        if reader.Format() == tflite.DimensionType.DENSE:
            return SparseDimension(reader.DenseSize())
        return SparseDimension(
            reader.DenseSize(),
            self._sparse_list(reader.ArraySegmentsType(), reader.ArraySegments()),
            self._sparse_list(reader.ArrayIndicesType(), reader.ArrayIndices()),
        )

    def _sparse_list(self, kind: int, table: Any) -> tuple[int, ...]:
        kinds = {1: tflite.Int32Vector, 2: tflite.Uint16Vector, 3: tflite.Uint8Vector}
        if kind not in kinds or table is None:
            return ()
        reader = kinds[kind]()
        reader.Init(table.Bytes, table.Pos)
        return self._list(reader, "Values")

    def _code(self, reader: Any) -> tuple[str, bool]:
        """Name of an operator, and whether it is a custom one."""
        # The package's own accessor ignores this field below 127; files exist that fill only it.
        place = reader._tab.Offset(4 + 2 * _BUILTIN_CODE_SLOT)
        flags = flatbuffers.number_types.Int32Flags
        stored = reader._tab.Get(flags, place + reader._tab.Pos) if place else 0
        number = max(stored, reader.DeprecatedBuiltinCode())
        if number == tflite.BuiltinOperator.CUSTOM:
            custom = reader.CustomCode()
            return (custom.decode() if custom else "custom"), True
        return self._codes.get(number, f"builtin {number}"), False

    def _operator(self, reader: Any, index: int, codes: list[tuple[str, bool]]) -> StoredOperator:
        code = reader.OpcodeIndex()
        if code >= len(codes):
            raise ModelError(
                f"operator {index} is of kind {code}; the model has {len(codes)} kinds."
            )
        name, is_custom = codes[code]
        where, count = f"operator {index} ({name})", self._model.Subgraphs(0).TensorsLength()
        table, options = self._options(reader)
        self._spend(reader.CustomOptionsLength())
        custom = b"" if reader.CustomOptionsIsNone() else reader.CustomOptionsAsNumpy().tobytes()
        return StoredOperator(
            index,
            name,
            is_custom,
            self._indices(reader, "Inputs", count, where),
            self._indices(reader, "Outputs", count, where),
            table,
            options,
            custom,
        )

    def _options(self, reader: Any) -> tuple[str, Mapping[str, OptionValue]]:
        table = OPTION_TABLES.get(reader.BuiltinOptionsType(), "")
        place = reader.BuiltinOptions() if table else None
        if place is None:
            return "", {}
        options = getattr(tflite, table)()
        options.Init(place.Bytes, place.Pos)
        values = _option_values(table, options)
        for name, value in values.items():
            if isinstance(value, tuple):
                self._spend(len(value))
            elif isinstance(value, float) and not math.isfinite(value):
                raise ModelError(f"option {name} of {table} is {value}; it must be finite.")
        return table, values
