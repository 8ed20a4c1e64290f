"""Writes docs/cli.md from the commands themselves.

    python docs/generate_cli.py [--check]

With --check nothing is written; the exit code is 1 when the page is stale.
"""

from __future__ import annotations

import enum
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.core import TyperArgument
from typer.main import get_command

from tidlq.cli import app
from tidlq.target import describe_options

PAGE = Path(__file__).resolve().parent / "cli.md"
HEAD = """\
# Command line

Written by `docs/generate_cli.py` from the commands' own help; edit the help, not this page.
"""


def render() -> str:
    """Returns the page: every command with its arguments and options."""
    sections = [HEAD]
    for path, command in walk(get_command(app), ("tidlq",)):
        sections.append("\n".join(command_lines(path, command)))
    sections.append("\n".join(option_lines()))
    return "\n".join(sections)


def walk(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yields every visible command with the words that call it, groups first."""
    yield path, command
    for name, child in sorted(getattr(command, "commands", {}).items()):
        if not child.hidden:
            yield from walk(child, (*path, name))


def command_lines(path: tuple[str, ...], command: Any) -> Iterator[str]:
    """Yields the lines of one command's section."""
    yield f"{'#' * min(len(path) + 1, 4)} {' '.join(path)}"
    yield ""
    yield inspect.cleandoc(command.help or "").replace("\b", "").strip()
    yield ""
    shown = [parameter for parameter in command.params if is_shown(parameter)]
    if shown:
        yield "| | meaning | default |"
        yield "|---|---|---|"
        yield from map(parameter_row, shown)
        yield ""
    if command.epilog:
        yield inspect.cleandoc(command.epilog)
        yield ""


def option_lines() -> Iterator[str]:
    """Yields the section on the values of `--option`."""
    yield "## TIDL's options"
    yield ""
    yield "`--option KEY=VALUE` takes these names, with or without the prefix."
    yield ""
    yield "| option | values | default | meaning |"
    yield "|---|---|---|---|"
    for option in describe_options():
        default = f"`{option.default}`" if option.default else ""
        yield f"| `{option.name}` | {option.allowed} | {default} | {option.meaning} |"
    yield ""


def is_shown(parameter: Any) -> bool:
    """True for what a user types; completion is the shell's affair."""
    return not getattr(parameter, "hidden", False) and parameter.name not in (
        "install_completion",
        "show_completion",
        "help",
    )


def parameter_row(parameter: Any) -> str:
    """Returns the table row of one argument or option."""
    if isinstance(parameter, TyperArgument):
        name = f"`{parameter.metavar or parameter.name.upper()}`"
    else:
        spellings = [f"`{spelling}`" for spelling in (*parameter.opts, *parameter.secondary_opts)]
        name = ", ".join(spellings) + (f" `{parameter.metavar}`" if parameter.metavar else "")
    meaning = " ".join((parameter.help or "").split())
    cells = (name, meaning, default_text(parameter))
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def default_text(parameter: Any) -> str:
    """Returns what holds when the user says nothing."""
    if parameter.required:
        return "required"
    default = parameter.default
    if isinstance(default, enum.Enum):
        default = default.value
    if default is None or callable(default) or default in ((), [], "") or default is False:
        return ""
    return "on" if default is True else f"`{default}`"


def main() -> int:
    """Writes the page, or compares it."""
    page = render()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(page, encoding="utf-8")
        return 0
    return int(not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page)


if __name__ == "__main__":
    sys.exit(main())
