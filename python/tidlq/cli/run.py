"""`tidlq run`: artifacts over inputs, outputs to a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tidlq.cli import parameters as p
from tidlq.cli.picture_preparation import prepare
from tidlq.cli.tables import count_of, format_shape
from tidlq.cli.terminal import Terminal


def run_network(
    artifacts: p.ArtifactsFolder,
    data: Annotated[
        str,
        typer.Option(
            "--input",
            metavar="DATA",
            help="A picture, an .npy or .npz file, a folder or glob of either, or "
            "package.module:function.",
        ),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE.npz", help="The file to write.")
    ],
    threads: p.Threads = 0,
    resize: p.Resize = None,
    crop: p.Crop = None,
    layout: p.Layout = None,
    channel_order: p.ChannelOrder = None,
    mean: p.Mean = None,
    scale: p.Scale = None,
    interpolation: p.Interpolation = None,
    resize_with_pad: p.ResizeWithPad = None,
    pad_color: p.PadColor = None,
    json: p.Json = False,
    quiet: p.Quiet = False,
) -> None:
    """Run a compiled network and write its outputs.

    The file has an array per output, with a leading axis of frames. Pictures are prepared as the
    artifacts declare, unless told otherwise.
    """
    terminal = Terminal(json, quiet)
    given = p.given(
        resize=resize,
        crop=crop,
        layout=layout,
        channel_order=channel_order,
        mean=mean,
        scale=scale,
        interpolation=interpolation,
        resize_with_pad=resize_with_pad,
        pad_color=pad_color,
    )

    from tidlq.importers.frames import open_frames
    from tidlq.inference import check_output_file, write_outputs
    from tidlq.session import InferenceSession

    check_output_file(output)
    session = InferenceSession(artifacts, threads=threads)
    preprocessing = prepare(session.artifacts.preprocessing, given)
    done = 0
    with terminal.progress() as progress:
        frames = open_frames(data, session.artifacts.inputs, preprocessing)

        def count(number: int) -> None:
            nonlocal done
            done = number
            progress("run", number, frames.length)

        written = write_outputs(session, frames, output, count)
    document = {
        "artifacts": str(artifacts),
        "output": str(output),
        "frames": done,
        "outputs": [
            {"name": item.name, "dtype": item.dtype, "shape": list(item.shape)} for item in written
        ],
    }
    if terminal.json or not quiet:
        lines = [f"{output}: {count_of(done, 'frame')}"]
        lines += [f"  {item.name}  {item.dtype} {format_shape(item.shape)}" for item in written]
        terminal.result(document, "\n".join(lines))
