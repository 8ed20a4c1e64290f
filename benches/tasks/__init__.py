"""The networks of the data folder, a module per task."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

from network import Network

from tasks.classification import classifiers
from tasks.dense import dense_networks
from tasks.ocr import ocr_networks


def networks(cache: Path, patterns: list[str] | None = None) -> list[Network]:
    """The networks whose names match; `cache` keeps the OCR models and the rendered text."""
    every = [*classifiers(), *dense_networks(), *ocr_networks(cache)]
    return [n for n in every if any(fnmatch(n.name, p) for p in patterns or ["*"])]
