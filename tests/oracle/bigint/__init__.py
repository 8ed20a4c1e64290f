"""Evaluation of a Network in Python integers: slow, exact, written from network.proto alone.

It shares no code with the engine, so that the two can only agree by following the same page.
"""

from oracle.bigint.container import FORMAT_VERSION, MAGIC, pack_file, unpack_file
from oracle.bigint.evaluation import evaluate

__all__ = ["FORMAT_VERSION", "MAGIC", "evaluate", "pack_file", "unpack_file"]
