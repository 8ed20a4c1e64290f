"""Exceptions of the package: one tree, one exit code per kind of fault."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class TidlqError(Exception):
    """Base of every error that tidlq raises on purpose.

    The message is one sentence or two: what, where, what was found, what is allowed.
    """

    exit_code = 1


class ModelError(TidlqError):
    """The source model cannot be read or is not valid."""


class DataError(TidlqError):
    """Calibration, evaluation or inference data do not fit."""


class QuantProtoError(TidlqError):
    """A quantization proto is malformed, incomplete or of another model."""


class ArtifactError(TidlqError):
    """Compiled artifacts are corrupt, incomplete or of a newer format."""


class OutputError(TidlqError):
    """A target cannot be written."""


class OptionError(TidlqError):
    """An option is unknown or its value is not allowed."""

    exit_code = 2


class GateError(TidlqError):
    """A quality gate that the user set was not met."""

    exit_code = 3


class InternalError(TidlqError):
    """A fault of tidlq itself."""

    exit_code = 70


def nearest_names(name: str, allowed: Iterable[str]) -> str:
    """Returns ' Did you mean ...?' with up to three close matches, or an empty string."""
    matches = difflib.get_close_matches(name, list(allowed), n=3, cutoff=0.5)
    if not matches:
        return ""
    return f" Did you mean {' or '.join(repr(match) for match in matches)}?"
