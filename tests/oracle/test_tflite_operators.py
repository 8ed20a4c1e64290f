"""Imported TFLite operators compute what LiteRT's reference kernels compute."""

from __future__ import annotations

import numpy as np
import pytest

from oracle.float_reference import assert_close, run_ir
from oracle.tflite.operator_cases import CASES, ELSEWHERE
from oracle.tflite.single_operators import Case, feeds, images, model_alone, model_between, run
from tidlq.importers.tflite.model import import_tflite
from tidlq.importers.tflite.operators.registry import IMPORTERS

# Both round the same sums and functions in float32, in orders of their own.
RELATIVE = 2.0**-17


def assert_as_reference(case: Case, model: bytes) -> None:
    found = run_ir(import_tflite(model).model, feeds(case))
    expected = run(case, model)
    assert_close(found, {name: expected[name] for name in found}, relative=RELATIVE)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_operator_computes_what_the_reference_does(case: Case) -> None:
    assert_as_reference(case, model_alone(case))


@pytest.mark.parametrize(
    "case", [case for case in CASES if images(case)], ids=lambda case: case.name
)
def test_an_operator_between_convolutions_does_as_well(case: Case) -> None:
    assert_as_reference(case, model_between(case))


def test_every_operator_has_a_case() -> None:
    assert {case.op for case in CASES} | set(ELSEWHERE) == set(IMPORTERS)


def test_names_of_cases_differ() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)


def test_a_wrong_result_would_be_seen() -> None:
    case = next(case for case in CASES if case.name == "add")
    wrong = {name: np.asarray(array + np.float32(0.001)) for name, array in feeds(case).items()}
    found = run_ir(import_tflite(model_alone(case)).model, wrong)
    with pytest.raises(AssertionError):
        assert_close(found, {"out0": run(case, model_alone(case))["out0"]})
