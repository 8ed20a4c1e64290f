"""`tidlq lint`: what to know about a model before it is compiled."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidlq.cli import parameters as p
from tidlq.cli.failures import describe_failure
from tidlq.cli.tables import count_of, facts_table
from tidlq.cli.terminal import Terminal
from tidlq.errors import GateError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from tidlq.linting import Finding, LintReport

_SHOWN_LAYERS = 4
_COLOURS = {"error": "red", "warning": "yellow", "hint": "cyan"}


def lint_model(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="The ONNX or TFLite model.")],
    device: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Check the limits of this device: AM68A, TDA4VM, ..."),
    ] = None,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Fail (exit code 3) when there is more than a hint."),
    ] = False,
    option: p.OptionTexts = None,
    input_shape: p.InputShapes = None,
    json: p.Json = False,
    quiet: p.Quiet = False,
) -> None:
    """Check a model against a device's limits and TI's guidelines, without data.

    Errors are what the device or the options do not allow; warnings cost speed or accuracy; hints
    say what to try first, should the accuracy not be enough.

    Layers that a device does not accelerate run on its host processor.
    """
    terminal = Terminal(json, quiet)
    options, shapes = p.read_assignments(option), p.read_input_shapes(input_shape)

    from tidlq.linting import lint

    report = lint(model, device, options, input_shapes=shapes)
    document = describe_report(report)
    failure = None
    try:
        if strict:
            report.check()
    except GateError as error:
        failure = error
        document["error"] = describe_failure(error).document()
    terminal.result(document, *_drawn(report), facts_table(_facts(report)))
    for sentence in report.unchecked:
        terminal.remark(sentence)
    if failure is not None:
        if json:
            raise typer.Exit(failure.exit_code)
        raise failure


def describe_report(report: LintReport) -> dict[str, Any]:
    """What `--json` prints about findings."""
    return {
        "model": report.model,
        "device": report.device,
        "operations": report.layers,
        "accelerated": report.accelerated,
        "findings": [
            {
                "rule": finding.rule.value,
                "severity": finding.severity.value,
                "layers": list(finding.layers),
                "sentence": finding.sentence,
                "option": finding.option,
            }
            for finding in report.findings
        ],
        "unchecked": list(report.unchecked),
    }


def _drawn(report: LintReport) -> list[RenderableType]:
    """Each finding as a sentence, with its layers and its option below."""
    from rich.padding import Padding
    from rich.text import Text

    lines: list[RenderableType] = []
    for finding in report.findings:
        severity = finding.severity.value
        head = Text.assemble(
            (severity, f"bold {_COLOURS[severity]}"), " ", (finding.rule.value, "bold"), ": "
        )
        lines.append(head.append(finding.sentence))
        if not all(name in (finding.option or "") for name in finding.layers):
            lines.append(Padding(_layers(finding), (0, 0, 0, 4)))
        if finding.option is not None:
            # A line of its own, unwrapped: it is there to be copied.
            lines.append(f"    --option {_quoted(finding.option)}")
    return [*lines, ""] if lines else []


def _quoted(text: str) -> str:
    import shlex

    return shlex.quote(text)


def _layers(finding: Finding) -> str:
    names: Sequence[str] = finding.layers
    if len(names) <= _SHOWN_LAYERS:
        return ", ".join(names)
    return f"{', '.join(names[: _SHOWN_LAYERS - 1])} and {len(names) - _SHOWN_LAYERS + 1} more"


def _facts(report: LintReport) -> list[tuple[str, str]]:
    facts = [("model", f"{report.model}, {count_of(report.layers, 'operation')}")]
    if report.device is not None:
        facts.append(
            ("device", f"{report.device} accelerates {report.accelerated} of {report.layers}")
        )
    counts = [
        count_of(number, severity)
        for severity in _COLOURS
        if (number := sum(item.severity.value == severity for item in report.findings))
    ]
    facts.append(("findings", ", ".join(counts) or "none"))
    return facts
