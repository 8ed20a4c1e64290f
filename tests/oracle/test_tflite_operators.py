"""Imported TFLite operators compute what LiteRT's reference kernels compute."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from oracle.float_reference import assert_close, run_ir
from oracle.tflite.operator_cases import CASES, ELSEWHERE, real, whole
from oracle.tflite.single_operators import Case, Fed, feeds, images, model_alone, model_between, run
from tflite_models import TfliteOperator, TfliteTensor, constant, tflite_model
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


@pytest.mark.parametrize(("padding", "out"), [(1, (8, 8)), (2, (9, 9))])
def test_mediapipe_s_transposed_convolution_is_the_built_in_one(
    padding: int, out: tuple[int, int]
) -> None:
    case = Case(
        "transposed",
        "TRANSPOSE_CONV",
        (whole(1, *out, 5), real(5, 3, 3, 4), Fed(real(1, 4, 4, 4)), real(5)),
        options={"strideW": 2, "strideH": 2, "padding": padding - 1},
        version=3,
    )
    _, weight, _, bias = case.inputs
    assert isinstance(weight, np.ndarray)
    assert isinstance(bias, np.ndarray)
    tensors = [
        TfliteTensor("in2", (1, 4, 4, 4)),
        constant("w", weight),
        constant("b", bias),
        TfliteTensor("out0", (1, *out, 5)),
    ]
    options = struct.pack("<iii", padding, 2, 2)
    operator = TfliteOperator(
        "Convolution2DTransposeBias", ("in2", "w", "b"), ("out0",), custom_options=options
    )
    graph = import_tflite(tflite_model(tensors, [operator], ["in2"], ["out0"]))
    expected = run(case, model_alone(case))["out0"]
    assert_close(run_ir(graph.model, feeds(case)), {"out0": expected}, relative=RELATIVE)


def test_a_wrong_result_would_be_seen() -> None:
    case = next(case for case in CASES if case.name == "add")
    wrong = {name: np.asarray(array + np.float32(0.001)) for name, array in feeds(case).items()}
    found = run_ir(import_tflite(model_alone(case)).model, wrong)
    with pytest.raises(AssertionError):
        assert_close(found, {"out0": run(case, model_alone(case))["out0"]})
