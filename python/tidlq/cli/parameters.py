"""Parameters that several commands share, and how their texts are read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from tidlq.errors import OptionError

_DATA_PANEL = "Preparation of pictures"
_OUTPUT_PANEL = "Output"

Json = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print one JSON document, errors included.",
        rich_help_panel=_OUTPUT_PANEL,
    ),
]
Quiet = Annotated[
    bool,
    typer.Option("-q", "--quiet", help="No progress, no warnings.", rich_help_panel=_OUTPUT_PANEL),
]
Threads = Annotated[
    int, typer.Option("--threads", min=0, metavar="N", help="Worker threads; 0: one per core.")
]
OptionTexts = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        metavar="KEY=VALUE",
        help="An option by TIDL's name, with or without its prefix; may be repeated. "
        "'tidlq compile --list-options' shows all.",
    ),
]
InputShapes = Annotated[
    list[str] | None,
    typer.Option(
        "--input-shape",
        metavar="NAME=1x3x224x224",
        help="Sizes of an input whose shape is not fixed; may be repeated.",
    ),
]
ArtifactsFolder = Annotated[
    Path,
    typer.Argument(metavar="ARTIFACTS", help="A folder that 'tidlq compile' wrote."),
]
Resize = Annotated[
    str | None,
    typer.Option(
        metavar="N|HxW",
        help="Resize the short side to N pixels, or the whole to HxW.",
        rich_help_panel=_DATA_PANEL,
    ),
]
Crop = Annotated[
    str | None,
    typer.Option(
        metavar="N|HxW", help="Cut this size from the centre.", rich_help_panel=_DATA_PANEL
    ),
]
Layout = Annotated[
    str | None,
    typer.Option(
        metavar="NCHW|NHWC",
        help="Order of the input's axes; told from its shape if not given.",
        rich_help_panel=_DATA_PANEL,
    ),
]
ChannelOrder = Annotated[
    str | None,
    typer.Option(
        metavar="RGB|BGR",
        help="Order of the colours that the network takes; RGB if not given.",
        rich_help_panel=_DATA_PANEL,
    ),
]
Mean = Annotated[
    str | None,
    typer.Option(
        metavar="M[,M,M]",
        help="Subtracted from the pixels (0..255), one value or one per channel.",
        rich_help_panel=_DATA_PANEL,
    ),
]
Scale = Annotated[
    str | None,
    typer.Option(
        metavar="S[,S,S]",
        help="Multiplied after the mean is subtracted; 1/255 is understood.",
        rich_help_panel=_DATA_PANEL,
    ),
]
Interpolation = Annotated[
    str | None,
    typer.Option(
        metavar="FILTER",
        help="Of the resize: nearest, bilinear (if not given), bicubic, area, lanczos.",
        rich_help_panel=_DATA_PANEL,
    ),
]
ResizeWithPad = Annotated[
    str | None,
    typer.Option(
        metavar="WHERE",
        help="Keep the aspect ratio and pad: none (if not given), centre, corner.",
        rich_help_panel=_DATA_PANEL,
    ),
]
PadColor = Annotated[
    str | None,
    typer.Option(
        metavar="R,G,B", help="Colour of the padding, 0..255.", rich_help_panel=_DATA_PANEL
    ),
]


def read_assignments(texts: Iterable[str] | None) -> dict[str, str]:
    """Reads the values of `--option`.

    Args:
        texts: each KEY=VALUE; a key holds no equals sign.

    Raises:
        OptionError: A text has no equals sign, or a key stands twice with different values.
    """
    found: dict[str, str] = {}
    for text in texts or ():
        key, sign, value = text.partition("=")
        key, value = key.strip(), value.strip()
        if not sign or not key:
            raise OptionError(f"--option is {text!r}, allowed: KEY=VALUE.")
        if found.setdefault(key, value) != value:
            raise OptionError(
                f"option {key!r} is given twice with different values: {found[key]!r} and "
                f"{value!r}."
            )
    return found


def read_input_shapes(texts: Iterable[str] | None) -> dict[str, tuple[int, ...]]:
    """Reads the values of `--input-shape`.

    Args:
        texts: each NAME=SIZES, sizes separated by 'x' or commas; a name may hold equals signs.

    Raises:
        OptionError: A text is not of that form, or a name stands twice with different sizes.
    """
    found: dict[str, tuple[int, ...]] = {}
    for text in texts or ():
        name, sign, sizes = text.rpartition("=")
        parts = sizes.replace(",", "x").split("x")
        if not sign or not name or not all(part.strip().isdecimal() for part in parts):
            raise OptionError(
                f"--input-shape is {text!r}, allowed: NAME=SIZES such as input=1x3x224x224."
            )
        shape = tuple(int(part) for part in parts)
        if found.setdefault(name, shape) != shape:
            raise OptionError(f"--input-shape names {name!r} twice with different sizes.")
    return found


def given(**parameters: str | None) -> Mapping[str, Any]:
    """The parameters that the user gave."""
    return {name: value for name, value in parameters.items() if value is not None}
