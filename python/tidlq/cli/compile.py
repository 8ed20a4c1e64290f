"""`tidlq compile`: a float model becomes artifacts."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidlq.cli import parameters as p
from tidlq.cli.accuracy_target import check_drop, compile_by_accuracy, drop_document
from tidlq.cli.curve_picture import check_picture, draw_curve
from tidlq.cli.failures import naming_written
from tidlq.cli.option_table import print_options
from tidlq.cli.picture_preparation import prepare
from tidlq.cli.sensitivity_table import curve_table
from tidlq.cli.tables import count_of, facts_table, format_bytes
from tidlq.cli.terminal import Terminal
from tidlq.errors import OptionError

if TYPE_CHECKING:
    from tidlq.compilation import Compiled
    from tidlq.importers.preprocessing import Preprocessing
    from tidlq.inspection import Footprint
    from tidlq.target import Options


def compile_model(
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="ARTIFACTS", help="The folder to write.")
    ],
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
            "package.module:function. Not needed with a complete quantization proto.",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A *_config.yaml of TI's model zoo, or YAML options."),
    ] = None,
    device: Annotated[
        str | None, typer.Option(metavar="NAME", help="The device that the plan is for: AM68A, ...")
    ] = None,
    option: p.OptionTexts = None,
    input_shape: p.InputShapes = None,
    frames: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Calibration frames, at most.")
    ] = None,
    allow_stale: Annotated[
        bool,
        typer.Option(
            "--allow-stale",
            help="Use a quantization proto that was written for another model, and tell what has "
            "changed since.",
        ),
    ] = False,
    target_sqnr: Annotated[
        float | None,
        typer.Option(
            metavar="DB", help="The cheapest 16-bit layers whose outputs have this SQNR, dB."
        ),
    ] = None,
    target_drop: Annotated[
        float | None,
        typer.Option(
            metavar="POINTS",
            help="The cheapest 16-bit layers that lose at most this much top-1 accuracy on the "
            "data of --evaluation.",
        ),
    ] = None,
    evaluation: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="Labelled data for --target-drop, as evaluate takes."),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(metavar="CSV", help="Rows of file,label; the files are in --evaluation."),
    ] = None,
    class_offset: Annotated[
        int, typer.Option(metavar="N", help="Added to every label of --evaluation.")
    ] = 0,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Draw the curve of latency and error of the choice of 16-bit layers, the choice "
            "marked: .png, .svg or .pdf.",
        ),
    ] = None,
    tidl_strict: Annotated[
        bool,
        typer.Option(
            "--tidl-strict",
            help="Write the quantization proto as TI's reader accepts it, and tell what had to be "
            "left out.",
        ),
    ] = False,
    threads: p.Threads = 0,
    list_options: Annotated[  # noqa: ARG001 - its callback answers
        bool,
        typer.Option(
            "--list-options",
            callback=print_options,
            is_eager=True,
            help="Show every option with its values and exit.",
        ),
    ] = False,
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
    """Turn an ONNX or TFLite model into a fixed-point network.

    The ranges of features come from calibration data or from a saved quantization proto (option
    quant_params_proto_path). Of a proto that lacks ranges, those that it has are kept and the data
    give the others. Layers without an integer kernel run in float islands.

    A calibration that is interrupted leaves its progress in the folder of artifacts; the same
    command then continues it and writes the same bytes.
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
    direct = p.read_assignments(option)
    if device is not None:
        direct = p.read_assignments([*(option or ()), f"device={device}"])
    if frames is not None:
        direct = p.read_assignments(
            [*(f"{k}={v}" for k, v in direct.items()), f"calibration_frames={frames}"]
        )
    if target_sqnr is not None:
        direct = {**direct, "tidlq:target_sqnr": str(target_sqnr)}
    check_drop(target_drop, evaluation)
    if plot is not None:
        check_picture(plot)
    path, options, preprocessing = read_settings(model, config, direct, given)
    shapes = p.read_input_shapes(input_shape)
    if options.quant_params_proto_path is None and (allow_stale or tidl_strict):
        raise OptionError(
            "--allow-stale and --tidl-strict are about a quantization proto, which "
            "--option quant_params_proto_path=FILE names."
        )

    from tidlq.artifacts import PROGRESS, check_target
    from tidlq.compilation import compile as compile_
    from tidlq.inspection import measure_footprint

    check_target(output)
    begin = time.perf_counter()
    written = naming_written(output, options.quant_params_proto_path, progress=output / PROGRESS)
    reached = None
    with written, terminal.progress() as progress:
        settings: dict[str, Any] = {"input_shapes": shapes, "preprocessing": preprocessing}

        def compile_with(options: Options) -> Compiled:
            return compile_(
                path,
                calib,
                options,
                **settings,
                threads=threads,
                progress=progress,
                progress_folder=output,
                allow_stale=allow_stale,
                tidl_strict=tidl_strict,
            )

        if target_drop is None or evaluation is None:
            compiled = compile_with(options)
        else:
            fold = options.pre_batchnorm_fold
            in_float = {"tensor_bits": 32, "pre_batchnorm_fold": fold}
            reached = compile_by_accuracy(
                compile_with,
                options,
                target_drop,
                evaluation,
                labels,
                class_offset,
                lambda: compile_(path, None, in_float, **settings),
                progress,
                threads,
            )
            compiled = reached.compiled
        compiled.save(output)
    seconds = time.perf_counter() - begin
    for notice in compiled.notices:
        terminal.warn(notice)
    footprint = measure_footprint(compiled.artifacts)
    document = describe_compilation(compiled, footprint, output, seconds)
    if reached is not None:
        document["target_drop"] = drop_document(reached)
    mixed = document["precision"].get("mixed")
    if plot is not None and mixed is not None:
        title = f"{document['model']}, {mixed['latency_model']}"
        draw_curve(plot, mixed["curve"], title)
    if terminal.json or not quiet:
        shown = [facts_table(compilation_facts(document))]
        if mixed is not None:
            shown.append(curve_table(mixed["curve"], terminal.width)[0])
        terminal.result(document, *shown)


def read_settings(
    model: Path | None,
    config: Path | None,
    direct: Mapping[str, str],
    given: Mapping[str, Any],
) -> tuple[Path, Options, Preprocessing | None]:
    """The model, the options and the preparation of pictures that a command line means.

    Args:
        model: path; None where the config file names it.
        config: a configuration file.
        direct: options of the command line, over those of the file.
        given: preprocessing of the command line, likewise.
    """
    from tidlq.target import Options

    if config is None:
        if model is None:
            raise OptionError("the model is missing: give MODEL, or a --config that names one.")
        return model, Options.parse(direct), prepare({}, given)

    from tidlq.importers.preprocessing import Preprocessing
    from tidlq.importers.zoo_config import read_zoo_config

    stated = read_zoo_config(config)
    path = model or stated.model_path
    if path is None:
        raise OptionError(f"configuration {str(config)!r} names no model: give MODEL.")
    is_declared = stated.preprocessing != Preprocessing()
    declared = stated.preprocessing.to_mapping() if is_declared else {}
    return path, stated.options.override(direct), prepare(declared, given)


def describe_compilation(
    compiled: Compiled, footprint: Footprint, folder: Path, seconds: float
) -> dict[str, Any]:
    """What `--json` prints about a compilation."""
    from tidlq.artifacts import QUANT_PARAMS

    artifacts = compiled.artifacts
    return {
        "model": artifacts.name,
        "artifacts": str(folder),
        "scheme": artifacts.scheme,
        "fixed_layers": footprint.fixed_layers,
        "float_nodes": footprint.float_nodes,
        "stages": [
            {"kind": stage.kind.value, "file": stage.file, "bytes": len(stage.content)}
            for stage in artifacts.stages
        ],
        "network_bytes": footprint.network_bytes,
        "island_bytes": footprint.island_bytes,
        "feature_bytes": footprint.feature_bytes,
        "calibration_frames": compiled.frames,
        "resumed_frames": compiled.resumed_frames,
        "calibration": {
            key: value for key, value in artifacts.report["calibration"].items() if key != "bias"
        },
        "precision": artifacts.report.get("precision", {}),
        "bias_calibration": _bias(artifacts.report["calibration"].get("bias")),
        "quant_params": str(folder / QUANT_PARAMS) if artifacts.quant_params else None,
        "seconds": round(seconds, 3),
        "notices": list(compiled.notices),
    }


def compilation_facts(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The same for people."""
    frames = document["calibration_frames"]
    source = f"{frames} calibration frames" if frames else "no calibration"
    facts = [
        ("model", document["model"]),
        ("layers", f"{document['fixed_layers']} fixed, {document['float_nodes']} float"),
        ("scheme", document["scheme"]),
        ("time", f"{document['seconds']:.2f} s, {source}"),
        ("network", format_bytes(document["network_bytes"])),
    ]
    rescaled = document["calibration"]
    if rescaled["rescaled_layers"]:
        bounds = rescaled["bounds_per_channel"]
        extra = f", {bounds} with a bound per channel" if bounds else ""
        facts.append(("equalized", count_of(rescaled["rescaled_layers"], "layer") + extra))
    mixed = document["precision"].get("mixed")
    if mixed is not None:
        facts += mixed_facts(mixed)
    drop = document.get("target_drop")
    if drop is not None:
        words = f"{drop['drop_points']:.2f} +- {drop['standard_error_points']:.2f} points"
        facts.append(("accuracy lost", f"{words} at {drop['factor']:.3f} x T_8"))
    bias = document["bias_calibration"]
    if bias is not None:
        facts.append(("biases", _bias_words(bias)))
    if document["island_bytes"]:
        facts.append(("float islands", format_bytes(document["island_bytes"])))
    facts.append(("artifacts", document["artifacts"]))
    return facts


def mixed_facts(mixed: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The automatic choice of 16-bit layers, for people."""
    chosen = mixed["groups"]
    wide = sum(len(group["layers"]) for group in chosen if group["feature_bits"] == 16)
    deep = sum(len(group["layers"]) for group in chosen if group["feature_bits"] == 8)
    latency = (
        f"T_8 {mixed['latency_8_ms']:.3f} ms, T_16 {mixed['latency_16_ms']:.3f} ms, "
        f"T_MP {mixed['latency_ms']:.3f} ms ({mixed['factor']:.3f} x T_8), "
        f"{mixed['latency_model']}"
    )
    layers = f"{count_of(wide, 'layer')} of 16 bits, {deep} more with 16-bit parameters"
    return [("latency", latency), ("mixed precision", layers)]


def _bias(report: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The outcome of bias calibration without its layers, which the report file has."""
    if report is None:
        return None
    layers = report["layers"]
    return {
        **{key: value for key, value in report.items() if key != "layers"},
        "corrected_layers": sum(layer["damping"] > 0 for layer in layers),
        "rolled_back_layers": sum(layer["damping"] == 0 for layer in layers),
    }


def _bias_words(bias: Mapping[str, Any]) -> str:
    before, after = (
        "no error" if value is None else f"{value:.1f} dB"
        for value in (bias["sqnr_db_before"], bias["sqnr_db_after"])
    )
    if not bias["is_kept"]:
        return f"as they were: corrected ones did not help the frames held out ({before})"
    rolled = bias["rolled_back_layers"]
    tried = f", {rolled} rolled back" if rolled else ""
    corrected = count_of(bias["corrected_layers"], "layer")
    return f"{corrected} corrected{tried}; output SQNR {before} -> {after} on frames held out"
