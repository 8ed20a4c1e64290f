"""The curve of latency and error as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tidlq.errors import OptionError, OutputError

FORMATS = (".png", ".svg", ".pdf")


def check_picture(path: Path) -> None:
    """Refuses, before any work, a picture that could not be drawn.

    Args:
        path: of the picture.

    Raises:
        OptionError: The suffix is not a picture's, or matplotlib is not installed.
    """
    if path.suffix.lower() not in FORMATS:
        raise OptionError(
            f"--plot is {str(path)!r}, allowed: a file ending in {', '.join(FORMATS)}."
        )
    if find_spec("matplotlib") is None:
        raise OptionError(
            "--plot needs matplotlib, which is not installed: pip install 'tidlq[plots]'."
        )


def draw_curve(path: Path, points: Sequence[Mapping[str, Any]], title: str) -> None:
    """Draws measured signal-to-noise ratio over predicted latency, the chosen point marked.

    Args:
        path: of the picture, which is replaced.
        points: the report's curve.
        title: above the picture.

    Raises:
        OutputError: The picture cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = [point for point in points if point["sqnr_db"] is not None]
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.step(
        [point["factor"] for point in drawn],
        [point["sqnr_db"] for point in drawn],
        where="post",
        marker="o",
        markersize=4,
        label="measured choices",
    )
    for point in drawn:
        if point["is_chosen"]:
            mark = f"chosen: {point['layers']} layers"
            axes.plot([point["factor"]], [point["sqnr_db"]], "r*", markersize=14, label=mark)
    axes.set_xlabel("latency, multiple of all 8 bits")
    axes.set_ylabel("SQNR of the outputs, dB")
    axes.set_title(title)
    axes.grid(alpha=0.3)
    axes.legend()
    partial = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        figure.savefig(partial, dpi=150)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OutputError(f"{str(path)!r} cannot be written: {error.strerror}.") from None
