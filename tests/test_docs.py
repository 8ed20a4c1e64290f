"""What the documentation shows works: commands parse, code runs, links lead somewhere."""

from __future__ import annotations

import importlib.util
import itertools
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


def blocks(page: Path, language: str) -> list[str]:
    """Code blocks of one language."""
    pattern = rf"^```{language}\n(.*?)^```$"
    return re.findall(pattern, page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def shell_lines(program: str) -> list[tuple[str, str]]:
    """(page, line) of every documented call of a program."""
    return [
        (page.name, call.strip())
        for page in PAGES
        for block in (*blocks(page, "sh"), *blocks(page, "bash"))
        for line in block.replace("\\\n", " ").splitlines()
        for call in line.split("  #")[0].split(" | ")
        if call.split() and call.split()[0] == program
    ]


def find_command(words: list[str]) -> tuple[Any, list[str]]:
    """Follows the words of a call down the command tree; returns the command and what is left."""
    from typer.main import get_command

    from tidlq.cli import app

    command: Any = get_command(app)
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words[0]]
        words = words[1:]
    return command, words


@pytest.mark.parametrize(("page", "line"), shell_lines("tidlq"))
def test_documented_calls_use_existing_commands_and_options(page: str, line: str) -> None:
    command, rest = find_command(shlex.split(line)[1:])
    assert not getattr(command, "commands", {}), f"{line!r} names no command"
    known = {
        spelling
        for parameter in command.params
        for spelling in (*parameter.opts, *parameter.secondary_opts)
    } | {"--help"}
    used = {word.split("=")[0] for word in rest if re.match(r"--?[A-Za-z]", word)}
    assert used <= known, f"{page}: {line}"
    for name, value in itertools.pairwise(rest):
        if name == "--option":
            assert_option_exists(value)


def assert_option_exists(assignment: str) -> None:
    from tidlq import Options

    key, value = assignment.split("=", 1)
    Options.parse({key: value})


@pytest.mark.parametrize(("page", "line"), shell_lines("make"))
def test_documented_make_targets_exist(page: str, line: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{line.split()[1]}:.*## ", makefile, re.MULTILINE), f"{page}: {line}"


@pytest.mark.parametrize(
    ("page", "code"),
    [
        pytest.param(page, code, id=f"{page.name}-{number}")
        for page in PAGES
        for number, code in enumerate(blocks(page, "python"))
    ],
)
def test_documented_python_runs(page: Path, code: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{page.name}: {done.stderr}"


def links() -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
            if "://" not in target:
                yield page, target


@pytest.mark.parametrize(
    ("page", "target"), [pytest.param(p, t, id=f"{p.name}-{t}") for p, t in links()]
)
def test_links_lead_to_files(page: Path, target: str) -> None:
    assert (page.parent / target).exists()


@pytest.fixture(scope="module")
def cli_page() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "tidlq_docs_generate_cli", ROOT / "docs" / "generate_cli.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_cli_page_is_what_the_commands_say(cli_page: ModuleType) -> None:
    committed = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert committed == cli_page.render(), "stale: run make docs"


def test_the_table_of_tflite_operators_is_what_the_importer_says() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "generate_tflite.py", "--check"], check=False
    )
    assert done.returncode == 0, "stale: run make docs"


def test_the_list_of_onnx_operators_is_what_the_recognisers_say() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "generate_operators.py", "--check"], check=False
    )
    assert done.returncode == 0, "stale: run make docs"


def test_every_command_and_option_has_help(cli_page: ModuleType) -> None:
    from typer.main import get_command

    from tidlq.cli import app

    silent = []
    for path, command in cli_page.walk(get_command(app), ("tidlq",)):
        if not command.help:
            silent.append(" ".join(path))
        for parameter in filter(cli_page.is_shown, command.params):
            if not parameter.help:
                silent.append(f"{' '.join(path)} {parameter.name}")
    assert silent == []


def test_every_command_speaks_json(cli_page: ModuleType) -> None:
    from typer.main import get_command

    from tidlq.cli import app

    without = [
        " ".join(path)
        for path, command in cli_page.walk(get_command(app), ("tidlq",))
        if not getattr(command, "commands", {})
        and not any("--json" in parameter.opts for parameter in command.params)
    ]
    assert without == []


def test_the_readme_begins_with_what_it_is_then_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text.startswith("# tidlq\n\n`tidlq` takes an ONNX or TFLite network")
    assert blocks(ROOT / "README.md", "sh")[0].split("\n")[0].startswith("make demo")
    assert blocks(ROOT / "README.md", "sh")[0].split("\n")[1].startswith("make test")


def test_pages_name_no_file_of_the_package_that_is_missing() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:graph|precision|lowering|tests|proto|docs)/[\w/.]+)`", page))
    homes = (ROOT, ROOT / "python" / "tidlq")
    assert sorted(n for n in named if not any((home / n).exists() for home in homes)) == []
