"""`tidlq demo`: the whole road on a network and pictures that ship inside the package."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidlq.cli import parameters as p
from tidlq.cli.compile import compilation_facts, describe_compilation
from tidlq.cli.evaluate import open_float
from tidlq.cli.evaluation_table import describe_evaluation, evaluation_table
from tidlq.cli.failures import naming_written
from tidlq.cli.picture_preparation import prepare
from tidlq.cli.tables import facts_table
from tidlq.cli.terminal import Progress, Terminal

if TYPE_CHECKING:
    from tidlq.artifacts import Artifacts
    from tidlq.compilation import Compiled
    from tidlq.evaluate import Evaluation
    from tidlq.importers.preprocessing import Preprocessing

_OPTIONS = {"quantization_scale_type": 4, "calibration_frames": 200}
# The first of these still warms up.
_RECOMPILATIONS = 3


def run_demo(
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="ARTIFACTS", help="The folder to write.")
    ] = Path("tidlq-demo"),
    threads: p.Threads = 0,
    json: p.Json = False,
    quiet: p.Quiet = False,
) -> None:
    """Quantize and evaluate a small trained network that ships with tidlq.

    Compiles it with 200 pictures, evaluates float and fixed point on 1,000 others, and compiles it
    three times more from the ranges that the first compilation saved.
    """
    terminal = Terminal(json, quiet)

    from tidlq import demo_data
    from tidlq.artifacts import QUANT_PARAMS, check_target
    from tidlq.inspection import measure_footprint

    check_target(output)
    preprocessing = prepare({}, {"scale": demo_data.PIXEL_SCALE})
    with naming_written(output), terminal.progress() as progress:
        compiled, first = _compile(_OPTIONS, preprocessing, threads, progress, has_data=True)
        compiled.save(output)
        evaluation = _evaluate(compiled, preprocessing, threads, progress)
        saved = {**_OPTIONS, "quant_params_proto_path": output / QUANT_PARAMS}
        repeated = [
            _compile(saved, preprocessing, threads, progress, has_data=False)
            for _ in range(_RECOMPILATIONS)
        ]
    second = min(seconds for _, seconds in repeated)
    networks = [_networks(again.artifacts) for again, _ in repeated]
    is_identical = all(network == _networks(compiled.artifacts) for network in networks)
    document = describe_compilation(compiled, measure_footprint(compiled.artifacts), output, first)
    result = {
        "compilation": document,
        "evaluation": describe_evaluation(evaluation),
        "recompilation": {
            "seconds": round(second, 4),
            "first_seconds": round(first, 4),
            "ratio": second / first,
            "is_identical": is_identical,
        },
    }
    same = "byte-identical" if is_identical else "NOT identical"
    facts = [
        (
            "from saved ranges",
            (
                f"{second:.3f} s, {second / first:.3f} of the first compilation "
                f"(fastest of {_RECOMPILATIONS})"
            ),
        ),
        ("its network", same),
    ]
    terminal.result(
        result,
        facts_table(compilation_facts(document)),
        "",
        evaluation_table(evaluation, terminal.width),
        "",
        facts_table(facts),
    )
    terminal.remark(f"Next: tidlq inspect {output}")


def _compile(
    options: dict[str, Any],
    preprocessing: Preprocessing | None,
    threads: int,
    progress: Progress,
    *,
    has_data: bool,
) -> tuple[Compiled, float]:
    """A compilation and its seconds."""
    from tidlq import demo_data
    from tidlq.compilation import compile as compile_

    data = str(demo_data.calibration_path()) if has_data else None
    begin = time.perf_counter()
    compiled = compile_(
        demo_data.model_path(),
        data,
        options,
        preprocessing=preprocessing,
        threads=threads,
        progress=progress,
    )
    return compiled, time.perf_counter() - begin


def _evaluate(
    compiled: Compiled, preprocessing: Preprocessing | None, threads: int, progress: Progress
) -> Evaluation:
    from tidlq import demo_data
    from tidlq.evaluate import evaluate
    from tidlq.importers.evaluation_data import open_evaluation_data
    from tidlq.session import InferenceSession

    session = InferenceSession(compiled.artifacts, threads=threads)
    reference = open_float(demo_data.model_path(), session, {}, threads)
    path = str(demo_data.labelled_test_path())
    data = open_evaluation_data(path, session.artifacts.inputs, preprocessing)
    return evaluate(
        session,
        data,
        reference,
        progress=lambda done: progress("evaluate", done, data.frames.length),
    )


def _networks(artifacts: Artifacts) -> list[bytes]:
    return [stage.content for stage in artifacts.stages]
