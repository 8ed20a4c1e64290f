"""Powers of two feature maps where the base is zero or negative."""

from __future__ import annotations

import numpy as np
import pytest

import tidlq
from e2e.operator_cases import OperatorCase
from tidlq.lowering.powers import binary_logarithms

BASES = np.array([[-2.0, -1.5, -1.0, 0.0, 1.0, 2.0]], np.float32)
EXPONENTS = np.array([[-1.0], [0.0], [0.5], [1.0], [2.0], [3.0]], np.float32)


def powers(bits: int) -> tuple[np.ndarray, tidlq.Compiled]:
    case = OperatorCase("pow", "Pow", [BASES.shape, EXPONENTS.shape])
    # Where the range is measured, every power is finite.
    measured = {"in0": np.abs(BASES) + 0.25, "in1": EXPONENTS}
    frames = [measured, {"in0": BASES, "in1": np.full_like(EXPONENTS, 3)}]
    options = {"quantization_scale_type": 4, "accuracy_level": 2, "tensor_bits": bits}
    compiled = tidlq.compile(case.model(), frames, options)
    session = tidlq.InferenceSession(compiled.artifacts)
    (found,) = session.run(None, {"in0": BASES, "in1": EXPONENTS})
    return found, compiled


@pytest.mark.parametrize("bits", [8, 16])
def test_a_negative_base_has_the_sign_that_an_integer_exponent_gives(bits: int) -> None:
    found, _ = powers(bits)
    with np.errstate(all="ignore"):
        want = np.power(BASES, EXPONENTS)
    is_defined = np.isfinite(want)
    np.testing.assert_allclose(found[is_defined], want[is_defined], atol=0.2 if bits == 8 else 1e-3)


@pytest.mark.parametrize("bits", [8, 16])
def test_what_is_not_defined_is_as_at_a_base_of_zero(bits: int) -> None:
    found, compiled = powers(bits)
    assert compiled.plan is not None
    quant = compiled.plan.features["y0"]
    highest = (quant.type.highest - quant.zero_point) * np.float32(quant.scale)
    roots, inverse_of_zero, one = found[2, :3], found[0, 3], found[1, 3]
    np.testing.assert_array_equal(roots, 0)
    assert inverse_of_zero == pytest.approx(highest)
    assert one == pytest.approx(1, abs=quant.scale)


def test_logarithms_to_base_2_are_exact_at_powers_of_2_and_close_between() -> None:
    exact = np.ldexp(1.0, np.arange(-300, 300))
    np.testing.assert_array_equal(binary_logarithms(exact), np.arange(-300, 300))
    values = np.geomspace(1e-30, 1e30, 20_001)
    error = binary_logarithms(values) - np.log2(values)
    assert np.abs(error).max() < 1e-13
    assert binary_logarithms(np.zeros(1)).tolist() == [0.0]
