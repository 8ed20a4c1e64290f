"""Whether a flatbuffer may be read at all: nothing that a reader follows leaves the file.

The readers of the `tflite` package trust every offset and length. So all of them are checked first:
tables, their vtables, vectors, strings and unions lie inside the file, are aligned, and strings are
text. Offsets lead forward only and the schema is not recursive, so depth is bounded by the schema,
and every place is visited once per kind of table, so time is bounded by the file's size.

Source: https://flatbuffers.dev/internals.
"""

from __future__ import annotations

import struct

from tidlq.errors import ModelError
from tidlq.importers.model_file import LARGEST_FILE, TFLITE_IDENTIFIER
from tidlq.importers.tflite.tables import (
    TABLES,
    Child,
    Children,
    Choice,
    Field,
    Number,
    Numbers,
    Text,
)

# Root offset and identifier.
_HEADER_BYTES = 8
_U16 = struct.Struct("<H")
_U32 = struct.Struct("<I")
_I32 = struct.Struct("<i")
_OFFSET_BYTES = 4


def verify(data: bytes) -> None:
    """Checks that every table, vector and string of a TFLite file lies inside it.

    Args:
        data: the whole file.

    Raises:
        ModelError: Says what is damaged, by its path from the root.
    """
    if len(data) > LARGEST_FILE:
        raise ModelError(f"it has {len(data)} bytes; at most {LARGEST_FILE} can be read.")
    if len(data) < _HEADER_BYTES or data[4:8] != TFLITE_IDENTIFIER:
        raise ModelError("it is not a TFLite model.")
    _Verifier(data).check_root()


class _Verifier:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._path: list[str] = ["Model"]
        self._tables: set[tuple[int, str]] = set()
        self._vectors: set[tuple[int, str]] = set()
        self._texts: set[int] = set()

    def check_root(self) -> None:
        self._check_table(self._follow(0), "Model")

    def _fault(self, what: str) -> ModelError:
        return ModelError(
            f"it is truncated or damaged: {'.'.join(self._path)} {what} "
            f"(the file has {len(self._data)} bytes)."
        )

    def _need(self, start: int, length: int, alignment: int) -> None:
        if start < 0 or start + length > len(self._data):
            raise self._fault(f"would be the bytes {start} to {start + length}")
        if start % alignment:
            raise self._fault(f"at byte {start} is not aligned to {alignment} bytes")

    def _follow(self, place: int) -> int:
        """Where the offset at a place leads."""
        self._need(place, _OFFSET_BYTES, _OFFSET_BYTES)
        offset: int = _U32.unpack_from(self._data, place)[0]
        if not offset:
            raise self._fault("points to itself")
        self._need(place + offset, _OFFSET_BYTES, _OFFSET_BYTES)
        return place + offset

    def _check_table(self, start: int, table: str | None) -> None:
        """Checks a table's frame, and its fields where the table is one that is read."""
        key = (start, table or "")
        if key in self._tables:
            return
        self._tables.add(key)
        self._need(start, _OFFSET_BYTES, _OFFSET_BYTES)
        vtable: int = start - _I32.unpack_from(self._data, start)[0]
        self._need(vtable, 4, 2)
        vtable_bytes: int = _U16.unpack_from(self._data, vtable)[0]
        table_bytes: int = _U16.unpack_from(self._data, vtable + 2)[0]
        if vtable_bytes < 4 or vtable_bytes % 2 or table_bytes < _OFFSET_BYTES:
            raise self._fault(f"has a list of fields of {vtable_bytes} bytes, which cannot be")
        self._need(vtable, vtable_bytes, 2)
        self._need(start, table_bytes, _OFFSET_BYTES)
        if table is None:
            return
        places = self._places(start, vtable, vtable_bytes, table_bytes)
        for field in TABLES[table]:
            if place := places.get(field.slot):
                self._path.append(field.name)
                self._check_field(field, place, start + table_bytes, places)
                self._path.pop()

    def _places(
        self, start: int, vtable: int, vtable_bytes: int, table_bytes: int
    ) -> dict[int, int]:
        """Where each field that is present begins, by slot."""
        places: dict[int, int] = {}
        for slot in range((vtable_bytes - 4) // 2):
            offset: int = _U16.unpack_from(self._data, vtable + 4 + 2 * slot)[0]
            if offset >= table_bytes:
                raise self._fault(f"has a field at its byte {offset} of {table_bytes}")
            if offset:
                places[slot] = start + offset
        return places

    def _check_field(self, field: Field, place: int, end: int, places: dict[int, int]) -> None:
        width = field.kind.bytes if isinstance(field.kind, Number) else _OFFSET_BYTES
        self._need(place, width, width)
        if place + width > end:
            raise self._fault("is longer than its table")
        match field.kind:
            case Number():
                return
            case Numbers(width):
                self._vector_length(self._follow(place), width)
            case Text():
                self._check_text(self._follow(place))
            case Child(table):
                self._check_table(self._follow(place), table)
            case Children(table):
                self._check_children(self._follow(place), table)
            case Choice(tables):
                kind = places.get(field.slot - 1)
                chosen = self._data[kind] if kind else 0
                if chosen:
                    self._check_table(self._follow(place), tables.get(chosen))

    def _vector_length(self, start: int, width: int) -> int:
        length: int = _U32.unpack_from(self._data, start)[0]
        first = start + _OFFSET_BYTES
        self._need(first, length * width, width if length else 1)
        return length

    def _check_text(self, start: int) -> None:
        if start in self._texts:
            return
        self._texts.add(start)
        length = self._vector_length(start, 1)
        first = start + _OFFSET_BYTES
        self._need(first, length + 1, 1)
        try:
            self._data[first : first + length].decode("utf-8")
        except UnicodeDecodeError as error:
            raise self._fault("is not UTF-8 text") from error

    def _check_children(self, start: int, table: str) -> None:
        key = (start, table)
        if key in self._vectors:
            return
        self._vectors.add(key)
        length = self._vector_length(start, _OFFSET_BYTES)
        name = self._path[-1]
        for index in range(length):
            self._path[-1] = f"{name}[{index}]"
            place = start + _OFFSET_BYTES * (index + 1)
            self._check_table(self._follow(place), table)
        self._path[-1] = name
