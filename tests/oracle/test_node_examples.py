"""ONNX's own examples of every operator that the engine runs, at 8 and at 16 bits."""

from __future__ import annotations

import pytest

from oracle.node_checks import count_examples

LEAST = 460


@pytest.mark.slow
@pytest.mark.parametrize("bits", [8, 16])
def test_examples_of_onnx_differ_by_their_rounding_only(bits: int) -> None:
    found = count_examples(bits)
    shown = "\n".join(f"{count:4} {reason}" for reason, count in found.left.most_common())
    assert found.passed >= LEAST, f"{found.passed} passed, {found.left.total()} not:\n{shown}"
