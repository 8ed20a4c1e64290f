"""The choice of precisions: measured gains, exact knapsack, refinement by measured combinations."""

from tidlq.precision.search.knapsack import Choice, solve_knapsack
from tidlq.precision.search.measured import (
    Measure,
    MeasuredChoice,
    MeasuredChoices,
    States,
    pareto_front,
)
from tidlq.precision.search.proposals import Gains, noise_left, propose
from tidlq.precision.search.search import ErrorsNear, PrecisionSearch, fill, measure_gains

__all__ = [
    "Choice",
    "ErrorsNear",
    "Gains",
    "Measure",
    "MeasuredChoice",
    "MeasuredChoices",
    "PrecisionSearch",
    "States",
    "fill",
    "measure_gains",
    "noise_left",
    "pareto_front",
    "propose",
    "solve_knapsack",
]
