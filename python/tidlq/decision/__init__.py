"""What is decided about a network: ranges, from data or from a saved proto, and the plan."""

from tidlq.decision.from_statements import scheme_in_use
from tidlq.decision.mixed_precision import MixedPrecision
from tidlq.decision.outcome import Decision, Progress
from tidlq.decision.road import decide
from tidlq.decision.saved_file import OpenedProto, fit_proto
from tidlq.decision.statements import Prepared, Statements, prepare, unquantized_outputs

__all__ = [
    "Decision",
    "MixedPrecision",
    "OpenedProto",
    "Prepared",
    "Progress",
    "Statements",
    "decide",
    "fit_proto",
    "prepare",
    "scheme_in_use",
    "unquantized_outputs",
]
