"""Where in a quantization proto's text each field stands, and all that is wrong with the text.

The parser ends at the first thing that it cannot read. This reader goes on behind it, so that all
of them can be told at once; it makes no message.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from google.protobuf import text_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message_factory import GetMessageClass

from tidlq.quantproto import quant_params_pb2 as pb
from tidlq.quantproto import quant_params_tidlq_pb2 as ext
from tidlq.quantproto.faults import Place
from tidlq.quantproto.forms import explain_text_error, unknown_field

_TOKEN = re.compile(
    r"(?P<space>(?:\s|\#[^\n]*)+)"
    r"|(?P<string>\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*')"
    r"|(?P<word>-?\s*[\w.+]+(?:(?<=[eE])-[\w.+]+)?)"
    r"|(?P<mark>.)",
    re.DOTALL,
)
_ENDS = {"{": "}", "<": ">"}
_DEEPEST = 64
_END_OF_TEXT = ""


@dataclass(frozen=True)
class Spot:
    """Line and column, from 1."""

    line: int
    column: int


@dataclass
class TextMap:
    """What a reading found.

    Attributes:
        places: where each field stands; elements of lists and repeated fields have an index.
        problems: what cannot be read, with its place in the text.
    """

    places: dict[Place, Spot] = field(default_factory=dict)
    problems: list[tuple[Spot, str]] = field(default_factory=list)

    def spot_of(self, place: Place) -> Spot | None:
        """Where a field stands, or the message that lacks it."""
        while place and place not in self.places:
            place = place[:-1]
        return self.places.get(place)


def map_text(text: str) -> TextMap:
    """Reads a text, whatever it is."""
    reader = _Reader(text)
    reader.read_fields(pb.TIDLNetQuantParams.DESCRIPTOR, (), _END_OF_TEXT, 0)
    return reader.found


@dataclass(frozen=True)
class _Token:
    text: str
    kind: str
    spot: Spot


def _tokens(text: str) -> Iterator[_Token]:
    line, start = 1, 0
    for match in _TOKEN.finditer(text):
        kind, piece = match.lastgroup or "", match.group()
        if kind != "space":
            yield _Token(piece, kind, Spot(line, match.start() - start + 1))
        breaks = piece.count("\n")
        if breaks:
            line, start = line + breaks, match.start() + piece.rindex("\n") + 1
    last = Spot(line, len(text) - start + 1)
    while True:
        yield _Token(_END_OF_TEXT, "end", last)


@dataclass(frozen=True)
class _Field:
    """A field of a text; `known` is None where the schema does not have it."""

    known: FieldDescriptor | None
    name: str
    place: Place
    spot: Spot
    has_colon: bool


class _Reader:
    def __init__(self, text: str) -> None:
        self.found = TextMap()
        self.tokens = _tokens(text)
        self.current = next(self.tokens)

    def take(self) -> _Token:
        taken, self.current = self.current, next(self.tokens)
        return taken

    def report(self, spot: Spot, text: str) -> None:
        self.found.problems.append((spot, text))

    def read_fields(self, message: Descriptor | None, place: Place, end: str, depth: int) -> None:
        """Fields up to the mark that ends their message; None is a message that is not known."""
        counts: dict[str, int] = {}
        opening = self.current.spot
        while self.current.text != end:
            if self.current.kind == "end":
                self.report(opening, f"a message begins here that no {end!r} ends.")
                return
            if self.current.text in (",", ";"):
                self.take()
                continue
            if self.current.kind != "word" and self.current.text != "[":
                token = self.take()
                self.report(token.spot, f"expected a field's name, found {token.text!r}.")
                continue
            self.read_field(message, place, counts, depth)
        self.take()

    def read_field(
        self, message: Descriptor | None, place: Place, counts: dict[str, int], depth: int
    ) -> None:
        name, spot = self.read_name()
        known = _find_field(message, name) if message is not None else None
        if message is not None and known is None:
            self.report(spot, _unknown(message, name))
        has_colon = self.current.text == ":"
        if has_colon:
            self.take()
        self.found.places.setdefault((*place, name), spot)
        read = _Field(known, name, (*place, name), spot, has_colon)
        count = counts.get(name, 0)
        if known is not None and known.is_repeated:
            counts[name] = self.read_elements(read, depth, count)
            return
        if known is not None and count:
            self.report(spot, f"{name} stands twice.")
        counts[name] = count + 1
        self.read_value(read, depth)

    def read_elements(self, read: _Field, depth: int, index: int) -> int:
        """A repeated field, which may stand as a list; returns the number of elements so far."""
        if self.current.text != "[":
            self.read_value(self.element(read, index, read.spot), depth)
            return index + 1
        self.take()
        while self.current.text != "]":
            if self.current.text == ",":
                self.take()
                continue
            if self.current.kind == "end" or self.current.text in ("}", ">", ":"):
                self.report(read.spot, f"the list of {read.name} has no end.")
                return index
            element = self.element(read, index, self.current.spot)
            self.read_value(replace(element, has_colon=True), depth)
            index += 1
        self.take()
        return index

    def element(self, read: _Field, index: int, spot: Spot) -> _Field:
        """One element of a repeated field."""
        element = replace(read, place=(*read.place, index), spot=spot)
        self.found.places[element.place] = spot
        return element

    def read_name(self) -> tuple[str, Spot]:
        """A field's name, or an extension's with its brackets."""
        token = self.take()
        if token.text != "[":
            return token.text, token.spot
        parts = ["["]
        while self.current.kind == "word" or self.current.text in (".", "/"):
            parts.append(self.take().text)
        if self.current.text == "]":
            self.take()
        return "".join([*parts, "]"]), token.spot

    def read_value(self, read: _Field, depth: int) -> None:
        known, name = read.known, read.name
        if self.current.text in _ENDS:
            end = _ENDS[self.take().text]
            inner = known.message_type if known is not None else None
            if known is not None and inner is None:
                self.report(read.spot, f"{name} is no message.")
            if depth == _DEEPEST:
                self.report(read.spot, "messages lie too deep in each other.")
                self.skip_message()
                return
            self.read_fields(inner, read.place, end, depth + 1)
            return
        if known is not None and known.message_type is not None:
            self.report(read.spot, f"expected '{{' after {name}, found {self.current.text!r}.")
            if self.current.kind in ("word", "string"):
                self.take()
            return
        if known is not None and not read.has_colon:
            self.report(read.spot, f"expected ':' after {name}.")
        spot = self.current.spot
        text = self.read_scalar(known)
        if known is not None:
            self.check(known, name, text, spot)

    def skip_message(self) -> None:
        """All up to the mark that ends the message whose beginning is gone."""
        depth = 1
        while depth and self.current.kind != "end":
            token = self.take()
            depth += (token.text in _ENDS) - (token.text in _ENDS.values())

    def read_scalar(self, known: FieldDescriptor | None) -> str:
        """The text of a number, a name or strings that follow each other."""
        if self.current.kind == "string":
            texts = []
            while self.current.kind == "string":
                texts.append(self.take().text)
            return " ".join(texts)
        if self.current.text == "[" and known is None:
            while self.current.kind != "end" and self.take().text != "]":
                pass
            return ""
        return self.take().text if self.current.kind in ("word", "mark") else ""

    def check(self, known: FieldDescriptor, name: str, text: str, spot: Spot) -> None:
        """Asks the protobuf library about a single value."""
        assert known.containing_type is not None
        message = GetMessageClass(known.containing_type)()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                text_format.Parse(f"{name}: {text}", message)
        except text_format.ParseError as error:
            self.report(spot, explain_text_error(error))
        except ValueError:
            self.report(spot, f"{name} cannot be {text[:80]!r}.")


def _find_field(message: Descriptor, name: str) -> FieldDescriptor | None:
    fields: Mapping[str, FieldDescriptor] = message.fields_by_name
    if not name.startswith("["):
        return fields.get(name)
    try:
        found: FieldDescriptor = ext.DESCRIPTOR.pool.FindExtensionByName(name[1:-1])
    except KeyError:
        return None
    return found if found.containing_type is message else None


def _unknown(message: Descriptor, name: str) -> str:
    if name.startswith("["):
        return f"{message.name} has no extension {name}."
    return unknown_field(message.name, name)
