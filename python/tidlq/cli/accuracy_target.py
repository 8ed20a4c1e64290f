"""`tidlq compile --target-drop`: the network is chosen by its accuracy on labelled data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidlq.cli.picture_preparation import prepare
from tidlq.errors import DataError, OptionError

if TYPE_CHECKING:
    from tidlq.accuracy_target import Reached
    from tidlq.compilation import Compiled
    from tidlq.decision import Progress
    from tidlq.target import Options


def check_drop(drop: float | None, evaluation: str | None) -> None:
    """Refuses a target without data, and data without a target.

    Raises:
        OptionError: One of the two is missing.
    """
    if (drop is None) != (evaluation is None):
        given, missing = "--target-drop", "--evaluation"
        if drop is None:
            given, missing = missing, given
        raise OptionError(f"{given} is given without {missing}; allowed: both or none.")


def compile_by_accuracy(
    compile_with: Callable[[Options], Compiled],
    options: Options,
    drop: float,
    evaluation: str,
    labels: Path | None,
    class_offset: int,
    float_with: Callable[[], Compiled],
    progress: Progress,
    threads: int,
) -> Reached:
    """The cheapest network whose drop on the data is small enough.

    Args:
        compile_with: compiles the model with options.
        options: of the compilation.
        drop: points of top-1 accuracy.
        evaluation: data with labels.
        labels: a `.csv` of file,label.
        class_offset: added to every label.
        float_with: compiles the float network.
        progress: told about the work.
        threads: 0 means one per core.

    Raises:
        DataError: The data have no labels, or do not fit.
        GateError: No network is good enough.
    """
    from tidlq.accuracy_target import compile_within_drop
    from tidlq.evaluate import evaluate
    from tidlq.importers.evaluation_data import open_evaluation_data
    from tidlq.session import InferenceSession

    reference = InferenceSession(float_with().artifacts, threads=threads)

    def evaluate_with(compiled: Compiled) -> tuple[float, float]:
        session = InferenceSession(compiled.artifacts, threads=threads)
        source = open_evaluation_data(
            evaluation,
            session.artifacts.inputs,
            prepare(session.artifacts.preprocessing, {}),
            labels=labels,
        )
        if source.labels is None:
            raise DataError("--target-drop needs labels in the evaluation data; there are none.")
        total = source.frames.length
        found = evaluate(
            session,
            source,
            reference,
            class_offset=class_offset,
            progress=lambda done: progress("evaluate", done, total),
        )
        change = None if found.comparison is None else found.comparison.top1
        if change is None:
            raise DataError("--target-drop needs an output with class scores; there is none.")
        return -100 * change.difference, 100 * change.standard_error

    return compile_within_drop(compile_with, evaluate_with, options, drop)


def drop_document(reached: Reached) -> dict[str, Any]:
    """What `--json` prints about the target."""
    return {
        "drop_points": reached.drop,
        "standard_error_points": reached.standard_error,
        "factor": reached.factor,
        "networks_tried": reached.tried,
    }
