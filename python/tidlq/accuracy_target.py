"""The cheapest mixed-precision network that loses at most so much accuracy on labelled data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tidlq.compilation import Compiled
from tidlq.decision import MixedPrecision
from tidlq.errors import GateError, ModelError, OptionError
from tidlq.report.precision import options_of
from tidlq.target import Options

CURVE_FACTOR = 1.2
"""Multiple of the 8-bit latency that the curve is refined at, where the options name none."""

Compile = Callable[[Options], Compiled]
Evaluate = Callable[[Compiled], tuple[float, float]]
"""Points of top-1 accuracy that a network loses against float, and their standard error."""


@dataclass(frozen=True)
class Reached:
    """A network that keeps the target.

    Attributes:
        compiled: the network; its artifacts are what is to be saved.
        drop: points of top-1 accuracy that it loses against float; negative where it gains.
        standard_error: of the drop, in points.
        factor: T_MP / T_8.
        curve: what there was to choose from.
        tried: how many networks were compiled and evaluated.
    """

    compiled: Compiled
    drop: float
    standard_error: float
    factor: float
    curve: MixedPrecision
    tried: int


def compile_within_drop(
    compile_with: Compile, evaluate_with: Evaluate, options: Options, drop: float
) -> Reached:
    """Compiles the cheapest choice of 16-bit layers whose drop was seen to be small enough.

    One compilation measures the curve of latency and error. Its choices are then compiled by the
    lists that ask for them and evaluated, from both ends and then by halving the interval.

    Args:
        compile_with: compiles the model with options.
        evaluate_with: evaluates a network beside the float one.
        options: of the compilation; a factor among them says where the curve is refined.
        drop: points of top-1 accuracy that may be lost, 0 or more.

    Raises:
        OptionError: The drop is negative, or the options have a target of their own.
        ModelError: The network has no precisions to choose.
        GateError: No choice keeps the target; says what the best one loses.
    """
    search = _Search(compile_with, evaluate_with, options, drop)
    return search.run()


class _Search:
    def __init__(
        self, compile_with: Compile, evaluate_with: Evaluate, options: Options, drop: float
    ) -> None:
        if drop < 0:
            raise OptionError(f"the target drop is {drop:g} points, allowed: 0 or more.")
        if options.target_sqnr is not None:
            raise OptionError(
                "a target drop and option 'tidlq:target_sqnr' are both given; allowed: one of them."
            )
        self._compile, self._evaluate = compile_with, evaluate_with
        self._options, self._drop = options, drop
        self._known: dict[int, Reached] = {}

    def run(self) -> Reached:
        """The cheapest choice that keeps the target."""
        options = self._options
        if not options.is_mixed:
            options = options.override({"mixed_precision_factor": CURVE_FACTOR})
        mixed = self._compile(options).mixed
        if mixed is None:
            raise ModelError(
                "The network has no precisions to choose: it keeps the scales that it states, its "
                "proto decides its bits, or no layer runs in fixed point."
            )
        low, high = 0, len(mixed.front) - 1
        if self._keeps(mixed, low):
            return self._known[low]
        if not self._keeps(mixed, high):
            best = min(self._known.values(), key=lambda found: found.drop)
            raise GateError(
                f"the target is a drop of {self._drop:g} points, which no choice of 16-bit layers "
                f"keeps: the best one loses {best.drop:.2f} +- {best.standard_error:.2f} points."
            )
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._keeps(mixed, middle) else (middle, high)
        return self._known[high]

    def _keeps(self, mixed: MixedPrecision, index: int) -> bool:
        """Compiles and evaluates a choice of the curve."""
        choice = mixed.front[index]
        lists = options_of(mixed.groups, choice.states)
        own = self._options.to_tidl()
        joined = {
            name: ",".join(filter(None, (str(own.get(name, "")), text)))
            for name, text in lists.items()
        }
        compiled = self._compile(self._options.override({**joined, "mixed_precision_factor": -1}))
        drop, error = self._evaluate(compiled)
        self._known[index] = Reached(
            compiled,
            drop,
            error,
            choice.cost / mixed.cost_8,
            mixed,
            len(self._known) + 1,
        )
        return self._known[index].drop <= self._drop
