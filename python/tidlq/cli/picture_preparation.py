"""Preparation of pictures: what a config file or the artifacts declare, and what the user gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidlq.importers.preprocessing import Preprocessing


def prepare(declared: Mapping[str, Any], given: Mapping[str, Any]) -> Preprocessing | None:
    """Reads the preparation; None where nobody declared any.

    Args:
        declared: values by name, as the artifacts or a config file hold them.
        given: values by name from the command line; they win.

    Raises:
        OptionError: A name is unknown or a value is not allowed.
    """
    from tidlq.importers.preprocessing import Preprocessing

    merged = {**declared, **given}
    return Preprocessing.parse(merged) if merged else None
