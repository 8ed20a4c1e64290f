"""Usage errors, help, version, and what goes to which stream."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from cli.conftest import Command, environment
from tidlq.version import __version__

_COMMANDS = ("compile", "run", "evaluate", "inspect", "demo", "proto")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["compil"], ["unknown command 'compil'", "'compile'"]),
        (["proto", "shwo"], ["unknown command 'shwo'", "'show'"]),
        (["zzz"], ["unknown command 'zzz'", "evaluate"]),
        (["inspect", "x", "--jsn"], ["unknown option '--jsn'", "'--json'", "inspect --help"]),
        (["compile", "m.onnx", "-o", "a", "--ouput", "b"], ["'--ouput'", "'--output'"]),
        (["--vresion"], ["'--vresion'", "'--version'"]),
        (["compile", "m.onnx"], ["--output"]),
        (["compile", "-o", "a"], ["MODEL", "--config"]),
        (["run", "a", "--output", "y.npz"], ["--input"]),
        (["evaluate", "a", "--data", "d", "--limit", "0"], ["--limit"]),
        (["evaluate", "a", "--data", "d", "--class-offset", "one"], ["--class-offset"]),
        (["compile", "m", "-o", "a", "--input-shape", "x"], ["--input-shape", "NAME=SIZES"]),
        (["compile", "m", "-o", "a", "--input-shape", "x=1xtwo"], ["--input-shape"]),
        (
            ["compile", "m", "-o", "a", "--input-shape", "x=1", "--input-shape", "x=2"],
            ["'x'", "twice"],
        ),
        (["compile", "m", "-o", "a", "--layout", "NCWH"], ["layout", "NCHW"]),
        (["compile", "m", "-o", "a", "--mean", "1,2"], ["mean"]),
        (["proto", "validate", "f.prototxt", "--option", "tensor_bits=8"], ["--model"]),
    ],
)
def test_usage_errors_exit_with_2_and_name_what_is_near(
    tidlq: Command, arguments: list[str], parts: list[str]
) -> None:
    outcome = tidlq(*arguments)
    assert outcome.exit_code == 2, outcome.stderr
    assert outcome.stdout == ""
    assert outcome.stderr.startswith("error: ")
    for part in parts:
        assert part in outcome.stderr


def test_usage_errors_are_documents_with_json(tidlq: Command) -> None:
    outcome = tidlq("run", "artifacts", "--json")
    assert outcome.exit_code == 2
    assert outcome.stderr == ""
    assert outcome.document["error"]["kind"] == "UsageError"
    assert outcome.document["error"]["exit_code"] == 2


def test_version_is_the_package_s(tidlq: Command) -> None:
    assert tidlq("--version").stdout == f"tidlq {__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_lists_every_command(tidlq: Command, arguments: list[str]) -> None:
    outcome = tidlq(*arguments)
    assert outcome.exit_code == 0
    assert all(command in outcome.stdout for command in _COMMANDS)


@pytest.mark.parametrize("command", [*_COMMANDS, "proto show", "proto validate"])
def test_every_command_has_help(tidlq: Command, command: str) -> None:
    outcome = tidlq(*command.split(), "--help")
    assert outcome.exit_code == 0
    assert "Usage:" in outcome.stdout


@pytest.mark.parametrize(
    "command", ["compile", "run", "evaluate", "inspect", "demo", "proto show", "proto validate"]
)
def test_every_command_has_json_and_quiet(tidlq: Command, command: str) -> None:
    help_text = tidlq(*command.split(), "--help").stdout
    assert "--json" in help_text
    assert "--quiet" in help_text


def test_every_option_of_tidl_is_listed(tidlq: Command) -> None:
    from tidlq.target import describe_options

    text = tidlq("compile", "--list-options").stdout
    for option in describe_options():
        assert option.name.removeprefix("advanced_options:") in text


def test_help_needs_no_heavy_module() -> None:
    script = (
        "import sys\n"
        "from tidlq.cli import app\n"
        "from typer.testing import CliRunner\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        "heavy = {'numpy', 'onnx', 'onnxruntime', 'pydantic', 'PIL'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, env=environment(), timeout=120)


def test_piped_output_has_no_control_codes(tidlq_process: Command, demo_artifacts: Path) -> None:
    outcome = tidlq_process("inspect", demo_artifacts)
    assert outcome.exit_code == 0
    assert "\x1b" not in outcome.stdout + outcome.stderr
    assert all(line == line.rstrip() for line in outcome.stdout.splitlines())


def test_a_reader_that_leaves_early_is_no_error(demo_artifacts: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tidlq", "inspect", str(demo_artifacts), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    process.wait(timeout=120)


def test_ascii_terminals_get_replacements_instead_of_an_error(
    tidlq_process: Command, demo_artifacts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    outcome = tidlq_process("inspect", demo_artifacts)
    assert outcome.exit_code == 0, outcome.stderr
    assert outcome.stdout.isascii()


def test_a_closed_standard_output_is_no_fault(demo_artifacts: Path) -> None:
    inspect = f"{shlex.quote(sys.executable)} -m tidlq inspect -q"
    done = subprocess.run(
        ["sh", "-c", f"{inspect} {shlex.quote(str(demo_artifacts))} >&-"],
        env=environment(),
        stderr=subprocess.PIPE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
