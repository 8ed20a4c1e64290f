"""Everything that is wrong with a quantization proto, at once, with its place in the text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tidlq.errors import QuantProtoError
from tidlq.quantproto import codec
from tidlq.quantproto.faults import Fault, Place, find_faults, find_gaps
from tidlq.quantproto.files import name_of, read_content
from tidlq.quantproto.forms import ProtoForm, form_of_content, form_of_path, parse_message
from tidlq.quantproto.scales import find_contradictions
from tidlq.quantproto.text_places import Spot, TextMap, map_text

_MOST_PROBLEMS = 1000


@dataclass(frozen=True)
class Findings:
    """What there is to say about a quantization proto; one phrase each, with line and column.

    Attributes:
        problems: what keeps it from being read or from replacing calibration.
        remarks: scales that contradict their ranges, which decide alone.
    """

    problems: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def validate_quant_params(path: str | Path) -> Findings:
    """Returns everything that is wrong with or missing in a quantization proto.

    A file without problems can be read and states a range for every tensor and the values of every
    bias it lists.

    Args:
        path: as for `read_quant_params`.

    Raises:
        QuantProtoError: The file does not exist, cannot be opened, or has another extension.
    """
    path = Path(path)
    form = form_of_path(path)
    return validate_content(read_content(path), form, name_of(path))


def validate_content(content: bytes, form: ProtoForm | None, where: str) -> Findings:
    """The same for the content of a file or a pipe; form None tells it from the content."""
    form = form or form_of_content(content)
    try:
        net = parse_message(content, form, where)
    except QuantProtoError as error:
        return Findings(_problems_of_text(content, form) or (str(error),))
    faults = find_faults(net)
    problems = [*faults, *find_gaps(net)]
    remarks = [] if faults else find_contradictions(codec.decode(net))
    is_placed = form is ProtoForm.TEXT and (problems or remarks)
    places = map_text(content.decode()) if is_placed else TextMap()
    return Findings(_told(problems, places), _told(remarks, places))


def _told(faults: Sequence[Fault], places: TextMap) -> tuple[str, ...]:
    return tuple(f"{_place(places, x.place)}{x.text}" for x in _in_order(faults, places))


def _in_order(faults: Sequence[Fault], places: TextMap) -> list[Fault]:
    """As they stand in the text; those of other forms as they were found."""

    def key(fault: Fault) -> tuple[int, int]:
        spot = places.spot_of(fault.place) or Spot(0, 0)
        return spot.line, spot.column

    return sorted(faults, key=key)


def _place(places: TextMap, place: Place) -> str:
    spot = places.spot_of(place)
    return "" if spot is None else _named(spot)


def _named(spot: Spot) -> str:
    return f"line {spot.line}, column {spot.column}: "


def _problems_of_text(content: bytes, form: ProtoForm) -> tuple[str, ...]:
    """What keeps a text from being parsed; nothing where that cannot be told."""
    if form is not ProtoForm.TEXT:
        return ()
    try:
        problems = map_text(content.decode("utf-8")).problems
    except (UnicodeDecodeError, RecursionError):
        return ()
    shown = [f"{_named(spot)}{text}" for spot, text in problems[:_MOST_PROBLEMS]]
    more = len(problems) - len(shown)
    return (*shown, *([f"and {more} more"] if more > 0 else []))
