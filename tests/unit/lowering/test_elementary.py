"""Elementary functions at the ends of their domains, and the error of a table."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tidlq.graph.layers import FunctionAttributes
from tidlq.lowering.functions import FUNCTIONS, all_values, function_table
from tidlq.spec import FeatureQuant, IntegerType

SIGNED = FeatureQuant(IntegerType(8, signed=True), 0.0625)
WIDE = FeatureQuant(IntegerType(16, signed=True), 2.0**-12)


def at(function: str, x: float, **parameters: float) -> float:
    return float(FUNCTIONS[function](np.array([x]), **parameters)[0])


@pytest.mark.parametrize(
    ("function", "x", "y"),
    [
        ("Sqrt", -2.0, 0.0),
        ("Acos", 3.0, 0.0),
        ("Acos", -3.0, math.pi),
        ("Asin", 3.0, math.pi / 2),
        ("Acosh", 0.5, 0.0),
        ("Atanh", 1.5, math.inf),
        ("Atanh", -1.0, -math.inf),
        ("Reciprocal", 0.0, math.inf),
        ("Reciprocal", -0.0, math.inf),
        ("Exp", 1e4, math.inf),
        ("Round", 2.5, 2.0),
        ("Round", -1.5, -2.0),
        ("Softplus", 800.0, 800.0),
    ],
)
def test_outside_its_domain_a_function_is_as_at_its_end(function: str, x: float, y: float) -> None:
    assert at(function, x) == pytest.approx(y)


@pytest.mark.parametrize(
    ("x", "exponent", "y"),
    [(-2.0, 3.0, -8.0), (-2.0, 0.5, 0.0), (0.0, -1.0, math.inf), (-2.0, -2.0, 0.25), (0, 0, 1)],
)
def test_powers(x: float, exponent: float, y: float) -> None:
    assert at("Pow", x, exponent=exponent) == y


def test_a_number_by_zero_saturates_by_its_sign() -> None:
    assert at("Reciprocal", 0.0, numerator=-3.0) == -math.inf
    assert at("Reciprocal", 0.0, numerator=0.0) == 0.0
    assert at("Reciprocal", 4.0, numerator=-3.0) == -0.75


PARAMETERS = {
    "Pow": {"exponent": -0.7},
    "PowOf": {"base": 2.5},
    "Celu": {"alpha": 0.7},
    "Selu": {"alpha": 1.67, "gamma": 1.05},
    "ThresholdedRelu": {"alpha": 1.0},
    "Shrink": {"bias": 0.1, "lambd": 0.5},
}


@pytest.mark.parametrize("source", [SIGNED, WIDE], ids=["8 bits", "16 bits"])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_entry_of_a_table_is_the_nearest_integer(function: str, source: FeatureQuant) -> None:
    parameters = PARAMETERS.get(function, {})
    attributes = FunctionAttributes(function, tuple(parameters.items()))
    output = FeatureQuant(source.type, 2.0 ** -(3 if source is SIGNED else 11))
    table = np.array(function_table(attributes, source, output))
    assert table.min() >= output.type.lowest
    assert table.max() <= output.type.highest
    real = FUNCTIONS[function](all_values(source), **parameters)
    assert not np.isnan(real).any()
    inside = (table > output.type.lowest) & (table < output.type.highest)
    assert np.abs(table - real / output.scale)[inside].max(initial=0) <= 0.5
