"""The oracles of the tests, which live beside this folder and serve the measurements as well."""

from __future__ import annotations

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1] / "tests"
if str(TESTS) not in sys.path:
    sys.path.append(str(TESTS))

from oracle.layer_cuts import Difference, LayerCut, compare, cut_layers  # noqa: E402
from oracle.litert_tensors import (  # noqa: E402
    ReferenceInterpreter,
    dequantized,
    unequal_elements,
)
from oracle.runtime_integers import RuntimeIntegers, pair_features  # noqa: E402

__all__ = [
    "Difference",
    "LayerCut",
    "ReferenceInterpreter",
    "RuntimeIntegers",
    "compare",
    "cut_layers",
    "dequantized",
    "pair_features",
    "unequal_elements",
]
