"""Analysis: what quantization costs, and where."""

from tidlq.analysis.measures import OutputError
from tidlq.analysis.sensitivity import (
    GroupSensitivity,
    Metric,
    Sensitivity,
    Variant,
    measure_sensitivity,
)

__all__ = [
    "GroupSensitivity",
    "Metric",
    "OutputError",
    "Sensitivity",
    "Variant",
    "measure_sensitivity",
]
