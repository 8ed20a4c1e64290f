"""Ranges from algorithms of one's own and from files of other tools."""

from tidlq.ranges.peers import Taken, model_names, take_ranges
from tidlq.ranges.table import RangeTable
from tidlq.ranges.tensor import RangeTensor

__all__ = ["RangeTable", "RangeTensor", "Taken", "model_names", "take_ranges"]
