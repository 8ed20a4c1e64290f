"""Which operations TI's engine accelerates, as a table of limits.

The facts are those of the supported-operators page of TI's edgeai-tidl-tools (docs/operators.md, in
the form of its 2025 releases), in this project's words. What an operation exceeds does not make a
network impossible: the host's processor runs it.
"""

from tidlq.target.acceleration.operation import Limit, Operand, Operation, ShortcomingKind
from tidlq.target.acceleration.table import ACCELERATED, NEWEST_OPSET, Shortcoming, find_shortcoming

__all__ = [
    "ACCELERATED",
    "NEWEST_OPSET",
    "Limit",
    "Operand",
    "Operation",
    "Shortcoming",
    "ShortcomingKind",
    "find_shortcoming",
]
