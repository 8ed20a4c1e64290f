"""`tidlq sensitivity`: which layers lose the accuracy, and what 16 bits in them would cost."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from tidlq.cli import parameters as p
from tidlq.cli.compile import mixed_facts, read_settings
from tidlq.cli.curve_picture import check_picture, draw_curve
from tidlq.cli.group_errors import measure
from tidlq.cli.sensitivity_table import curve_table, describe_sensitivity, sensitivity_table
from tidlq.cli.tables import facts_table
from tidlq.cli.terminal import Terminal
from tidlq.errors import ModelError, OptionError

DEFAULT_FACTOR = 1.2
MODES = ("from-8-bit", "alone")
_SHOWN_ROWS = 20


def rank_layers(
    model: Annotated[
        Path | None,
        typer.Argument(
            metavar="MODEL",
            help="The ONNX or TFLite model; may be left out when the config file names it.",
            show_default=False,
        ),
    ] = None,
    calib: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="Calibration data: a folder or glob of pictures, .npy or .npz files, or "
            "package.module:function.",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A *_config.yaml of TI's model zoo, or YAML options."),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The device whose latency counts: AM68A, ..."),
    ] = None,
    factor: Annotated[
        float | None,
        typer.Option(
            metavar="X", help=f"Latency to choose for, x T_8; {DEFAULT_FACTOR} if not given."
        ),
    ] = None,
    target_sqnr: Annotated[
        float | None,
        typer.Option(metavar="DB", help="Choose the cheapest layers that reach this instead."),
    ] = None,
    curve: Annotated[
        bool, typer.Option("--curve", help="Show the curve of latency and error as well.")
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw the curve, the choice marked: .png, .svg or .pdf."),
    ] = None,
    errors: Annotated[
        str | None,
        typer.Option(
            metavar="MODE",
            help="Measure each group by MSE, SQNR, cosine and KL divergence at every output, and "
            "its own error, instead of choosing: from-8-bit (the 8-bit network with one group "
            "wider) or alone (only one group in 8 bits).",
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="FUNCTION",
            help="With --errors: package.module:function of a frame's outputs, float first, both "
            "by name, that returns a number.",
        ),
    ] = None,
    rows: Annotated[
        int, typer.Option(min=0, metavar="N", help="Rows of the table; 0 shows all.")
    ] = _SHOWN_ROWS,
    option: p.OptionTexts = None,
    input_shape: p.InputShapes = None,
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
    """Rank layers by the error that their 8 bits add to the network's outputs.

    For each group of layers that must share a precision, the integer network runs with 8 bits in
    that group and 16 elsewhere. The choice of 16-bit layers that compile would make is marked; the
    curve shows what other latencies would buy. Nothing is written but the picture. With --errors,
    each group is measured by all measures, relative to the 8-bit network or alone.
    """
    terminal = Terminal(json, quiet)
    if plot is not None:
        check_picture(plot)
    if errors not in (None, *MODES):
        raise OptionError(f"--errors is {errors!r}, allowed: {', '.join(MODES)}.")
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
    texts = [*(option or ())]
    texts += [f"device={device}"] if device is not None else []
    texts += [f"mixed_precision_factor={factor}"] if factor is not None else []
    texts += [f"tidlq:target_sqnr={target_sqnr}"] if target_sqnr is not None else []
    path, options, preprocessing = read_settings(model, config, p.read_assignments(texts), given)
    if errors is not None:
        shapes = p.read_input_shapes(input_shape)
        measure(
            terminal, path, calib, options, preprocessing, shapes, errors, metric, threads, rows
        )
        return
    if not options.is_mixed:
        options = options.override({"mixed_precision_factor": DEFAULT_FACTOR})

    from tidlq.compilation import compile as compile_
    from tidlq.report.precision import mixed_report

    begin = time.perf_counter()
    with terminal.progress() as progress:
        compiled = compile_(
            path,
            calib,
            options,
            input_shapes=p.read_input_shapes(input_shape),
            preprocessing=preprocessing,
            threads=threads,
            progress=progress,
        )
    for notice in compiled.notices:
        terminal.warn(notice)
    mix = compiled.mixed
    if mix is None:
        raise ModelError(
            f"The network {compiled.graph.name!r} has no precisions to choose: it keeps the scales "
            "that it states, its proto decides its bits, or no layer runs in fixed point."
        )
    found = describe_sensitivity(mix)
    report = mixed_report(mix)
    document = {
        "model": compiled.graph.name,
        "scheme": compiled.artifacts.scheme,
        "frames": compiled.frames,
        "seconds": round(time.perf_counter() - begin, 3),
        "sensitivity": found,
        **report,
    }
    if plot is not None:
        draw_curve(plot, report["curve"], f"{compiled.graph.name}, {report['latency_model']}")
    table, _ = sensitivity_table(found[: rows or None], terminal.width)
    shown = [table, facts_table(mixed_facts(report))]
    if curve:
        shown.append(curve_table(report["curve"], terminal.width)[0])
    terminal.result(document, *shown)
