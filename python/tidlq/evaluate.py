"""What fixed point costs: accuracy on labelled data, agreement with float, error of the outputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidlq._core import ErrorStatistics
from tidlq.artifacts import Artifacts
from tidlq.errors import DataError, GateError, ModelError, OptionError, nearest_names
from tidlq.graph.model import TensorSignature
from tidlq.importers.evaluation_data import EvaluationData
from tidlq.importers.frame_source import FrameSource
from tidlq.inference import Array, Counter, batches, run_batch
from tidlq.session import InferenceSession


@dataclass(frozen=True)
class Share:
    """Some frames out of all: an estimate of a probability.

    Attributes:
        count: frames that have the property.
        total: all frames.
    """

    count: int
    total: int

    @property
    def value(self) -> float:
        """Count over total."""
        return self.count / self.total

    @property
    def standard_error(self) -> float:
        """sqrt(p (1 - p) / total), of a binomial share."""
        return math.sqrt(self.value * (1.0 - self.value) / self.total)


@dataclass(frozen=True)
class Accuracy:
    """How often a network names the right class.

    Attributes:
        top1: frames whose best class is right.
        top5: frames whose class is among the best five; None for five classes or fewer.
    """

    top1: Share
    top5: Share | None


@dataclass(frozen=True)
class Change:
    """What fixed point changed about being right, over the same frames.

    Attributes:
        only_fixed: frames that only the fixed-point network gets right.
        only_float: frames that only the float network gets right.
        total: all frames.
    """

    only_fixed: int
    only_float: int
    total: int

    @property
    def difference(self) -> float:
        """Accuracy of fixed minus accuracy of float."""
        return (self.only_fixed - self.only_float) / self.total

    @property
    def standard_error(self) -> float:
        """Of the difference, paired: only frames that changed count.

        sqrt((b + c - (b - c)^2 / n)) / n with b and c frames that only one network gets right.
        """
        b, c = self.only_fixed, self.only_float
        return math.sqrt(b + c - (b - c) ** 2 / self.total) / self.total


@dataclass(frozen=True)
class Comparison:
    """Two networks' best classes on the same frames.

    Attributes:
        agreement: frames on which both name the same class.
        top1: change of top-1 accuracy; None without labels.
        top5: change of top-5 accuracy; None without labels, or for five classes or fewer.
    """

    agreement: Share
    top1: Change | None
    top5: Change | None


@dataclass(frozen=True)
class OutputFidelity:
    """Error of one output against the float network, over all frames.

    Attributes:
        name: the output.
        sqnr_db: signal to quantization noise; inf when the outputs are equal.
        mean_squared_error: in squared units of the output.
        max_abs_error: in units of the output.
        cosine: of the angle between all float and all fixed values.
    """

    name: str
    sqnr_db: float
    mean_squared_error: float
    max_abs_error: float
    cosine: float


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        frames: frames evaluated.
        scores: the output that holds class scores; None when no output does.
        fixed: accuracy of the artifacts; None without labels.
        reference: accuracy of the float network; None without labels or without the network.
        comparison: agreement of both; None without the float network or without class scores.
        outputs: error of every float output; empty without the float network.
    """

    frames: int
    scores: str | None
    fixed: Accuracy | None
    reference: Accuracy | None
    comparison: Comparison | None
    outputs: tuple[OutputFidelity, ...]


@dataclass(frozen=True)
class Gates:
    """What a user demands; None demands nothing.

    Attributes:
        top1: smallest top-1 accuracy, per cent.
        agreement: smallest agreement with the float network, per cent.
        sqnr_db: smallest SQNR of every output, dB.
    """

    top1: float | None = None
    agreement: float | None = None
    sqnr_db: float | None = None


def evaluate(
    session: InferenceSession,
    data: EvaluationData,
    reference: InferenceSession | None = None,
    *,
    class_offset: int = 0,
    scores: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> Evaluation:
    """Runs a compiled network, and the float one beside it, over data.

    A bounded number of frames is in memory at a time. A class is right when it has the largest
    score; of equal scores the first one counts as larger.

    Args:
        session: the compiled network.
        data: frames and labels.
        reference: the float network; without it there is nothing to compare with.
        class_offset: added to every label: 1 for a network whose class 0 is 'background'.
        scores: the output that holds class scores; the first fitting one if None.
        progress: called with the number of frames done.

    Raises:
        DataError: A frame or a label does not fit, or there is neither a label nor a reference.
        ModelError: The float network has other inputs or outputs.
        OptionError: No output is called `scores`, or it has no class scores.
    """
    if data.labels is None and reference is None:
        raise DataError(
            "the data have no labels and there is no float model: nothing could be measured."
        )
    outputs = session.artifacts.outputs
    index = _find_scores(outputs, scores, is_needed=data.labels is not None)
    labels = _check_labels(data, outputs, index, class_offset)
    if reference is not None:
        check_same_interface(session.artifacts, reference.artifacts)
    tally = _Tally(outputs, index, has_reference=reference is not None)
    _run_all(session, reference, data.frames, labels, tally, progress)
    return tally.summary(outputs, has_labels=labels is not None)


def _run_all(
    session: InferenceSession,
    reference: InferenceSession | None,
    frames: FrameSource,
    labels: NDArray[np.int64] | None,
    tally: _Tally,
    progress: Counter | None,
) -> None:
    for batch in batches(session.artifacts, frames):
        done = tally.frames
        part = None if labels is None else labels[done : done + len(batch)]
        fixed = run_batch(session, batch)
        floats = None if reference is None else run_batch(reference, batch)
        tally.add(fixed, floats, part, len(batch))
        if progress is not None:
            progress(tally.frames)
    if tally.frames == 0:
        raise DataError("the data hold no frame.")


def check_same_interface(fixed: Artifacts, reference: Artifacts) -> None:
    """Refuses a float network whose inputs or outputs are not those of the compiled one.

    Raises:
        ModelError: Names the first input or output that differs.
    """
    for role in ("inputs", "outputs"):
        ours, theirs = getattr(fixed, role), getattr(reference, role)
        for own, other in zip(ours, theirs, strict=False):
            if (own.name, own.dtype, own.shape) != (other.name, other.dtype, other.shape):
                raise ModelError(
                    f"the float model {reference.name!r} is not what the artifacts were compiled "
                    f"from: its {role[:-1]} {other.name!r} is {other.dtype} {list(other.shape)}, "
                    f"that of the artifacts is {own.name!r}, {own.dtype} {list(own.shape)}."
                )
        if len(ours) != len(theirs):
            raise ModelError(
                f"the float model {reference.name!r} has {len(theirs)} {role}, the artifacts have "
                f"{len(ours)}."
            )


def check_measurable(gates: Gates, *, has_labels: bool, has_reference: bool) -> None:
    """Refuses gates on what an evaluation is not going to measure, before it runs.

    Raises:
        OptionError: Names the gate and what it takes.
    """
    takes = [
        ("top-1 accuracy", gates.top1, has_labels, "labels"),
        ("agreement with float", gates.agreement, has_reference, "the float model (--model)"),
        ("SQNR", gates.sqnr_db, has_reference, "the float model (--model)"),
    ]
    for name, demanded, is_there, source in takes:
        if demanded is not None and not is_there:
            raise OptionError(
                f"a least {name} is demanded, which cannot be measured without {source}."
            )


def check_gates(evaluation: Evaluation, gates: Gates) -> None:
    """Compares an evaluation with what the user demands.

    Raises:
        GateError: States every gate that is not met; what was not measured meets no demand.
    """
    fixed, comparison = evaluation.fixed, evaluation.comparison
    ratios = [output.sqnr_db for output in evaluation.outputs] or [math.nan]
    # The least of several numbers does not show a NaN among them.
    least = math.nan if any(map(math.isnan, ratios)) else min(ratios)
    top1 = math.nan if fixed is None else 100.0 * fixed.top1.value
    agreement = math.nan if comparison is None else 100.0 * comparison.agreement.value
    measured = [
        ("top-1 accuracy", gates.top1, top1, " %"),
        ("agreement with float", gates.agreement, agreement, " %"),
        ("SQNR", gates.sqnr_db, least, " dB"),
    ]
    failed = [
        f"{name} is {found:.2f}{unit}, at least {demanded:g}{unit} is demanded"
        for name, demanded, found, unit in measured
        if demanded is not None and not found >= demanded
    ]
    if failed:
        raise GateError(f"{'; '.join(failed)}.")


def _class_count(signature: TensorSignature) -> int | None:
    """Values per frame of an output that can be class scores: one axis at most is longer than 1."""
    longer = [size for size in signature.shape if size != 1]
    if len(longer) == 1 and longer[0] > 1:
        return longer[0]
    # An index of the best class, as ArgMax gives it.
    return 0 if not longer and signature.dtype.kind in "iu" else None


def _find_scores(
    outputs: Sequence[TensorSignature], name: str | None, *, is_needed: bool
) -> int | None:
    names = [signature.name for signature in outputs]
    if name is not None:
        if name not in names:
            raise OptionError(f"the network has no output {name!r}.{nearest_names(name, names)}")
        index = names.index(name)
        if _class_count(outputs[index]) is None:
            raise OptionError(
                f"output {name!r} has shape {list(outputs[index].shape)}, which are not class "
                "scores: they take one axis longer than 1."
            )
        return index
    fitting = [i for i, signature in enumerate(outputs) if _class_count(signature) is not None]
    if not fitting and is_needed:
        shapes = ", ".join(f"{item.name!r} {list(item.shape)}" for item in outputs)
        raise DataError(
            f"the data have labels, but no output of the network holds class scores ({shapes})."
        )
    return fitting[0] if fitting else None


def _check_labels(
    data: EvaluationData, outputs: Sequence[TensorSignature], index: int | None, offset: int
) -> NDArray[np.int64] | None:
    if data.labels is None or index is None:
        return None
    labels = np.asarray(data.labels, np.int64) + offset
    count = _class_count(outputs[index])
    if count:
        wrong = np.flatnonzero((labels < 0) | (labels >= count))
        if wrong.size:
            frame = int(wrong[0])
            plus = f" plus class offset {offset}" if offset else ""
            raise DataError(
                f"the label of {data.frames.frame_name(frame)} is {data.labels[frame]}{plus}, "
                f"output {outputs[index].name!r} has classes 0 to {count - 1}."
            )
    return labels


@dataclass
class _Hits:
    """Frames that a network gets right, and those that it alone gets right."""

    right: int = 0
    alone: int = 0


@dataclass
class _Tally:
    outputs: Sequence[TensorSignature]
    scores: int | None
    has_reference: bool
    frames: int = 0
    same: int = 0
    fixed: tuple[_Hits, _Hits] = field(default_factory=lambda: (_Hits(), _Hits()))
    reference: tuple[_Hits, _Hits] = field(default_factory=lambda: (_Hits(), _Hits()))
    errors: dict[int, ErrorStatistics] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.has_reference:
            floats = [i for i, item in enumerate(self.outputs) if item.dtype.kind == "f"]
            self.errors = {index: ErrorStatistics() for index in floats}

    def add(
        self,
        fixed: Sequence[Array],
        floats: Sequence[Array] | None,
        labels: NDArray[np.int64] | None,
        count: int,
    ) -> None:
        self.frames += count
        if floats is not None:
            for index, statistics in self.errors.items():
                statistics.update(_float32(floats[index]), _float32(fixed[index]))
        if self.scores is None:
            return
        own = fixed[self.scores].reshape(count, -1)
        other = None if floats is None else floats[self.scores].reshape(count, -1)
        if other is not None:
            self.same += int(np.count_nonzero(_best(own) == _best(other)))
        if labels is not None:
            self._add_hits(_rank(own, labels), None if other is None else _rank(other, labels))

    def _add_hits(self, fixed: NDArray[np.int64], reference: NDArray[np.int64] | None) -> None:
        for place, most in enumerate((1, 5)):
            own = fixed < most
            self.fixed[place].right += int(np.count_nonzero(own))
            if reference is not None:
                other = reference < most
                self.reference[place].right += int(np.count_nonzero(other))
                self.fixed[place].alone += int(np.count_nonzero(own & ~other))
                self.reference[place].alone += int(np.count_nonzero(other & ~own))

    def summary(self, outputs: Sequence[TensorSignature], *, has_labels: bool) -> Evaluation:
        is_compared = self.has_reference and self.scores is not None
        return Evaluation(
            frames=self.frames,
            scores=None if self.scores is None else outputs[self.scores].name,
            fixed=self._accuracy(self.fixed) if has_labels else None,
            reference=self._accuracy(self.reference) if has_labels and is_compared else None,
            comparison=self._comparison(has_labels=has_labels) if is_compared else None,
            outputs=tuple(
                OutputFidelity(
                    outputs[index].name,
                    statistics.sqnr_db,
                    statistics.mean_squared_error,
                    statistics.max_abs_error,
                    statistics.cosine,
                )
                for index, statistics in self.errors.items()
            ),
        )

    def _has_top5(self) -> bool:
        return self.scores is not None and (_class_count(self.outputs[self.scores]) or 0) > 5

    def _accuracy(self, hits: tuple[_Hits, _Hits]) -> Accuracy:
        top1, top5 = (Share(item.right, self.frames) for item in hits)
        return Accuracy(top1, top5 if self._has_top5() else None)

    def _comparison(self, *, has_labels: bool) -> Comparison:
        agreement = Share(self.same, self.frames)
        if not has_labels:
            return Comparison(agreement, None, None)
        top1, top5 = (
            Change(own.alone, other.alone, self.frames)
            for own, other in zip(self.fixed, self.reference, strict=True)
        )
        return Comparison(agreement, top1, top5 if self._has_top5() else None)


def _float32(array: Array) -> NDArray[np.float32]:
    return np.ascontiguousarray(array, dtype=np.float32)


def _best(rows: Array) -> NDArray[np.int64]:
    best: NDArray[np.int64] = (
        rows[:, 0].astype(np.int64) if rows.shape[1] == 1 else np.argmax(rows, axis=1)
    )
    return best


def _rank(rows: NDArray[Any], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Classes that come before the label: larger score, equal score and smaller index, or NaN."""
    if rows.shape[1] == 1:
        # The output is the class itself: what is not right has no place.
        wrong = np.iinfo(np.int64).max
        return np.where(rows[:, 0].astype(np.int64) == labels, 0, wrong)
    own = np.take_along_axis(rows, labels[:, np.newaxis], axis=1)
    is_earlier = np.arange(rows.shape[1]) < labels[:, np.newaxis]
    before = ~(rows < own) & ~((rows == own) & ~is_earlier)
    ranks: NDArray[np.int64] = np.count_nonzero(before, axis=1)
    return ranks
