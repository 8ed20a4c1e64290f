"""The command line of scripts that render a page of the documentation from kept results."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from data_folder import cache_folder


def write_page(description: str | None, render: Callable[[Path], str]) -> None:
    """Writes a page to the file that the command line names, or prints it.

    Args:
        description: of the script, for its help.
        render: makes the page from the folder of results.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--cache", type=Path, default=cache_folder())
    parser.add_argument("--markdown", type=Path)
    arguments = parser.parse_args()
    page = render(arguments.cache)
    if arguments.markdown:
        arguments.markdown.write_text(page)
    else:
        print(page)
