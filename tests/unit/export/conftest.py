"""Small networks compiled and exported."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import onnx
import pytest

import tidlq
from random_networks import frames_for
from tidlq.compilation import Compiled

Compile = Callable[..., Compiled]


@pytest.fixture
def compile_small() -> Compile:
    """Compiles a model from a few random frames, by level 2 unless told otherwise."""

    def call(model: onnx.ModelProto, options: Mapping[str, object] | None = None) -> Compiled:
        return tidlq.compile(model, frames_for(model, 3), {"accuracy_level": 2, **(options or {})})

    return call
