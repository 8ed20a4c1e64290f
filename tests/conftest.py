"""Fixtures and profiles that the whole suite uses."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parent.parent

hypothesis.settings.register_profile("fast", max_examples=50, deadline=None)
hypothesis.settings.register_profile("slow", max_examples=1000, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))


def pytest_report_header() -> list[str]:
    """States which kernels this run can exercise and whether real networks are at hand."""
    try:
        from tidlq import _core
    except ImportError as error:
        kernels = f"native module missing ({error})"
    else:
        kernels = f"{', '.join(_core.isa_available())}; in use: {_core.isa_active()}"
    folder = _shared_data_folder()
    return [
        f"instruction sets: {kernels}",
        f"shared data: {folder if folder.is_dir() else 'absent, tests that need it are skipped'}",
    ]


def _shared_data_folder() -> Path:
    return Path(os.environ.get("TIDLQ_SHARED_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real networks and data; the test is skipped where there is none."""
    folder = _shared_data_folder()
    if not folder.is_dir():
        pytest.skip(f"no shared data at {folder}; set TIDLQ_SHARED_DATA")
    return folder


@pytest.fixture(scope="session")
def demo_folder() -> Path:
    """The network and the labelled pictures that ship inside the package."""
    folder = Path(str(resources.files("tidlq") / "demo_data"))
    assert folder.is_dir(), "the package has no demo_data folder"
    return folder
