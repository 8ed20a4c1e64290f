"""`tidlq evaluate`: accuracy and error, float and fixed side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidlq.cli import parameters as p
from tidlq.cli.evaluation_table import describe_evaluation, evaluation_table
from tidlq.cli.failures import describe_failure
from tidlq.cli.picture_preparation import prepare
from tidlq.cli.terminal import Terminal
from tidlq.errors import GateError

if TYPE_CHECKING:
    from tidlq.session import InferenceSession


def evaluate_network(
    artifacts: p.ArtifactsFolder,
    data: Annotated[
        str,
        typer.Option(
            metavar="DATA",
            help="A folder of pictures with one folder per class, a .csv of file,label, an .npz "
            "file with an array 'y' of labels; or data without labels.",
        ),
    ],
    labels: Annotated[
        Path | None,
        typer.Option(metavar="CSV", help="Rows of file,label; the files are in the folder DATA."),
    ] = None,
    classes: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Class names in the order of the network's classes, one per line; without it, "
            "folders in alphabetical order.",
        ),
    ] = None,
    class_offset: Annotated[
        int,
        typer.Option(
            metavar="N", help="Added to every label: 1 for a network with a background class."
        ),
    ] = 0,
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="MODEL", help="The ONNX or TFLite model, whose float form is compared with."
        ),
    ] = None,
    scores: Annotated[
        str | None,
        typer.Option(metavar="OUTPUT", help="The output with class scores, if there are several."),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Frames, at most, spread evenly over the data."),
    ] = None,
    no_labels: Annotated[
        bool, typer.Option("--no-labels", help="Leave labels aside: compare with float only.")
    ] = False,
    min_top1: Annotated[
        float | None,
        typer.Option(metavar="PERCENT", help="Exit with 3 if top-1 accuracy is lower."),
    ] = None,
    min_agreement: Annotated[
        float | None,
        typer.Option(metavar="PERCENT", help="Exit with 3 if agreement with float is lower."),
    ] = None,
    min_sqnr: Annotated[
        float | None,
        typer.Option(metavar="DB", help="Exit with 3 if an output's SQNR is lower."),
    ] = None,
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
    """Measure a compiled network: accuracy on labels, agreement and SQNR against float.

    Pictures are prepared as the artifacts declare, unless told otherwise. Numbers after ± are
    standard errors; that of the difference counts only frames whose prediction changed.
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

    from tidlq.evaluate import Gates, check_gates, check_measurable, evaluate
    from tidlq.importers.evaluation_data import open_evaluation_data
    from tidlq.session import InferenceSession

    session = InferenceSession(artifacts, threads=threads)
    gates = Gates(min_top1, min_agreement, min_sqnr)
    with terminal.progress() as progress:
        source = open_evaluation_data(
            data,
            session.artifacts.inputs,
            prepare(session.artifacts.preprocessing, given),
            labels=labels,
            classes=classes,
            limit=limit,
            use_labels=not no_labels,
        )
        has_labels = source.labels is not None
        check_measurable(gates, has_labels=has_labels, has_reference=model is not None)
        reference = None
        if model is not None:
            progress("import", 0, None)
            reference = open_float(model, session, p.read_input_shapes(input_shape), threads)
            if reference.artifacts.graph_fingerprint != session.artifacts.graph_fingerprint:
                terminal.warn(f"{model} is not the model that {artifacts} was compiled from.")
        result = evaluate(
            session,
            source,
            reference,
            class_offset=class_offset,
            scores=scores,
            progress=lambda done: progress("evaluate", done, source.frames.length),
        )
    document = {"artifacts": str(artifacts), "data": data, **describe_evaluation(result)}
    failure = None
    try:
        check_gates(result, gates)
    except GateError as error:
        failure = error
        document["error"] = describe_failure(error).document()
    terminal.result(document, evaluation_table(result, terminal.width))
    if reference is None:
        terminal.remark("For the float network beside it: --model MODEL")
    if failure is not None:
        if json:
            raise typer.Exit(failure.exit_code)
        raise failure


def open_float(
    model: Any, session: InferenceSession, shapes: dict[str, tuple[int, ...]], threads: int
) -> InferenceSession:
    """The float network of a model, folded as the artifacts' own was."""
    from tidlq.compilation import compile as compile_
    from tidlq.session import InferenceSession

    name = "advanced_options:pre_batchnorm_fold"
    own = session.artifacts.options
    fold = {name: own[name]} if name in own else {}
    compiled = compile_(model, options={"tensor_bits": 32, **fold}, input_shapes=shapes)
    return InferenceSession(compiled.artifacts, threads=threads)
