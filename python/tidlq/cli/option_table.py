"""The table of TIDL's options, as `tidlq compile --list-options` shows it."""

from __future__ import annotations

import typer

from tidlq.cli.terminal import Terminal


def print_options(asked: bool) -> None:
    """Prints every option and ends the command."""
    if not asked:
        return
    from rich.table import Table

    from tidlq.target import describe_options

    table = Table(box=None, padding=(0, 2, 1, 0), show_header=True, header_style="bold")
    table.add_column("option", no_wrap=True)
    table.add_column("meaning, values and [default]", overflow="fold")
    for option in describe_options():
        default = f" [{option.default}]" if option.default else ""
        table.add_row(
            option.name.removeprefix("advanced_options:"),
            f"{option.meaning}\n{option.allowed}{default}",
        )
    Terminal().result({}, table)
    raise typer.Exit
