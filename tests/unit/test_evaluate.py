"""Measures of an evaluation against plain counting."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tidlq.errors import DataError, GateError, ModelError, OptionError
from tidlq.evaluate import (
    Change,
    Evaluation,
    Gates,
    OutputFidelity,
    Share,
    check_gates,
    check_measurable,
    evaluate,
)
from tidlq.graph.model import TensorSignature
from tidlq.importers.evaluation_data import EvaluationData
from tidlq.importers.frame_source import Frame, FrameSource


@dataclass(frozen=True)
class _Artifacts:
    name: str
    free_batch: bool
    inputs: tuple[TensorSignature, ...]
    outputs: tuple[TensorSignature, ...]


@dataclass(frozen=True)
class _Lookup:
    """A session whose outputs are rows of tables, picked by the input's value."""

    artifacts: _Artifacts
    tables: tuple[NDArray[Any], ...]
    seen: list[int]

    def run(self, _names: None, feed: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        rows = feed["x"].reshape(-1).astype(int)
        self.seen.append(len(rows))
        return [table[rows] for table in self.tables]


@dataclass(frozen=True)
class _Numbers(FrameSource):
    count: int

    @property
    def length(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Frame]:
        return ({"x": np.full((1, 1), number, np.float32)} for number in range(self.count))

    def frame_name(self, index: int) -> str:
        return f"frame {index}"


def signature(name: str, *shape: int, dtype: str = "float32") -> TensorSignature:
    return TensorSignature(name, np.dtype(dtype), shape, ("N", *shape[1:]))


def session(*tables: NDArray[Any], names: tuple[str, ...] = ("scores",)) -> Any:
    outputs = tuple(
        signature(name, 1, *table.shape[1:], dtype=table.dtype.name)
        for name, table in zip(names, tables, strict=True)
    )
    artifacts = _Artifacts("net", True, (signature("x", 1, 1),), outputs)
    return _Lookup(artifacts, tables, [])


def data(count: int, labels: list[int] | None) -> EvaluationData:
    return EvaluationData(_Numbers(count), None if labels is None else tuple(labels), {})


@st.composite
def scored(draw: st.DrawFn) -> tuple[NDArray[Any], NDArray[Any], list[int]]:
    """Fixed scores, float scores and labels; few levels, so that ties are common."""
    count = draw(st.integers(1, 40))
    classes = draw(st.integers(2, 9))
    rows = st.lists(st.integers(0, 4), min_size=classes, max_size=classes)
    table = st.lists(rows, min_size=count, max_size=count)
    labels = st.lists(st.integers(0, classes - 1), min_size=count, max_size=count)
    fixed, reference = (np.array(draw(table), np.float32) for _ in range(2))
    return fixed, reference, draw(labels)


@given(scored())
def test_counts_equal_those_of_a_stable_sort(
    case: tuple[NDArray[Any], NDArray[Any], list[int]],
) -> None:
    fixed, reference, labels = case
    count, classes = fixed.shape
    found = evaluate(session(fixed), data(count, labels), session(reference))
    order = [np.argsort(-table, axis=1, kind="stable") for table in (fixed, reference)]
    right = [np.array([r[0] == y for r, y in zip(o, labels, strict=True)]) for o in order]
    assert found.fixed is not None
    assert found.reference is not None
    assert found.comparison is not None
    assert found.comparison.top1 is not None
    assert found.fixed.top1 == Share(int(right[0].sum()), count)
    assert found.reference.top1 == Share(int(right[1].sum()), count)
    assert found.comparison.agreement.count == int((order[0][:, 0] == order[1][:, 0]).sum())
    assert found.comparison.top1 == Change(
        int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum()), count
    )
    if classes > 5:
        among = [any(y in r[:5] for r in [row]) for row, y in zip(order[0], labels, strict=True)]
        assert found.fixed.top5 == Share(sum(among), count)
    else:
        assert found.fixed.top5 is None
        assert found.comparison.top5 is None


@given(scored())
def test_sqnr_is_that_of_all_frames_together(
    case: tuple[NDArray[Any], NDArray[Any], list[int]],
) -> None:
    fixed, reference, _ = case
    (output,) = evaluate(session(fixed), data(len(fixed), None), session(reference)).outputs
    noise = float(np.sum((fixed - reference) ** 2, dtype=np.float64))
    signal = float(np.sum(reference**2, dtype=np.float64))
    if noise == 0:
        assert output.sqnr_db == math.inf
    elif signal > 0:
        assert output.sqnr_db == pytest.approx(10 * math.log10(signal / noise), abs=1e-9)
    assert output.mean_squared_error == pytest.approx(noise / fixed.size)
    assert output.max_abs_error == np.max(np.abs(fixed - reference))


def test_a_bounded_number_of_frames_is_run_at_a_time() -> None:
    fixed = session(np.eye(100, dtype=np.float32))
    evaluate(fixed, data(100, list(range(100))))
    assert sum(fixed.seen) == 100
    assert max(fixed.seen) <= 16


def test_a_nan_score_is_never_right() -> None:
    table = np.array([[np.nan, 1.0, 2.0], [np.nan, 1.0, 2.0]], np.float32)
    found = evaluate(session(table), data(2, [0, 2]))
    assert found.fixed is not None
    assert found.fixed.top1.count == 0


def test_an_output_of_class_indices_is_read_as_classes() -> None:
    indices = np.array([[3], [1], [7]], np.int64)
    found = evaluate(session(indices), data(3, [3, 2, 7]))
    assert found.fixed is not None
    assert found.fixed.top1 == Share(2, 3)
    assert found.fixed.top5 is None


def test_the_first_output_with_class_scores_is_taken_unless_told_otherwise() -> None:
    boxes = np.zeros((2, 4, 4), np.float32)
    first, second = np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32)[::-1].copy()
    several = session(boxes, first, second, names=("boxes", "a", "b"))
    found = evaluate(several, data(2, [0, 1]))
    assert found.scores == "a"
    assert found.fixed is not None
    assert found.fixed.top1.count == 2
    told = evaluate(several, data(2, [0, 1]), scores="b")
    assert told.fixed is not None
    assert told.fixed.top1.count == 0
    with pytest.raises(OptionError, match="'boxes' has shape"):
        evaluate(several, data(2, [0, 1]), scores="boxes")
    with pytest.raises(OptionError, match="no output 'aa'"):
        evaluate(several, data(2, [0, 1]), scores="aa")


def test_labels_without_class_scores_are_refused() -> None:
    with pytest.raises(DataError, match="no output of the network holds class scores"):
        evaluate(session(np.zeros((2, 4, 4), np.float32)), data(2, [0, 1]))


@pytest.mark.parametrize(("labels", "offset"), [([0, 3], 0), ([0, 2], 1), ([0, 1], -1)])
def test_labels_outside_the_classes_are_named(labels: list[int], offset: int) -> None:
    with pytest.raises(DataError, match=r"frame [01].*classes 0 to 2"):
        evaluate(session(np.eye(3, dtype=np.float32)), data(2, labels), class_offset=offset)


def test_a_float_network_of_another_interface_is_refused() -> None:
    table = np.zeros((2, 3), np.float32)
    with pytest.raises(ModelError, match=r"'other'.*'scores'"):
        evaluate(session(table), data(2, None), session(table, names=("other",)))
    with pytest.raises(ModelError, match=r"\[1, 4\].*\[1, 3\]"):
        evaluate(session(table), data(2, None), session(np.zeros((2, 4), np.float32)))


def test_no_frames_are_refused() -> None:
    with pytest.raises(DataError, match="no frame"):
        evaluate(session(np.eye(3, dtype=np.float32)), data(0, []))


def test_standard_errors_are_the_binomial_and_the_paired_one() -> None:
    assert Share(25, 100).standard_error == pytest.approx(math.sqrt(0.25 * 0.75 / 100))
    change = Change(only_fixed=2, only_float=3, total=1000)
    values = np.array([1.0] * 2 + [-1.0] * 3 + [0.0] * 995)
    assert change.difference == pytest.approx(values.mean())
    assert change.standard_error == pytest.approx(values.std() / math.sqrt(1000))


def evaluation(top1: float, sqnr: float) -> Evaluation:
    from tidlq.evaluate import Accuracy

    accuracy = Accuracy(Share(round(top1 * 1000), 1000), None)
    return Evaluation(1000, "s", accuracy, None, None, (OutputFidelity("s", sqnr, 1.0, 1.0, 1.0),))


def test_gates_name_everything_that_is_not_met() -> None:
    check_gates(evaluation(0.9, 30.0), Gates(top1=90.0, sqnr_db=30.0))
    with pytest.raises(GateError, match=r"top-1 accuracy is 90.00 %.*91 %.*SQNR is 30.00 dB"):
        check_gates(evaluation(0.9, 30.0), Gates(top1=91.0, sqnr_db=31.0))
    with pytest.raises(GateError, match="nan"):
        check_gates(evaluation(0.9, math.nan), Gates(sqnr_db=0.0))
    with pytest.raises(GateError, match="agreement with float is nan"):
        check_gates(evaluation(0.9, 30.0), Gates(agreement=90.0))


@pytest.mark.parametrize(
    ("gates", "has_labels", "has_reference", "what"),
    [
        (Gates(top1=1), False, True, "labels"),
        (Gates(agreement=1), True, False, "--model"),
        (Gates(sqnr_db=1), True, False, "--model"),
    ],
)
def test_gates_on_what_is_not_measured_are_refused(
    gates: Gates, has_labels: bool, has_reference: bool, what: str
) -> None:
    check_measurable(gates, has_labels=True, has_reference=True)
    with pytest.raises(OptionError, match=what):
        check_measurable(gates, has_labels=has_labels, has_reference=has_reference)
