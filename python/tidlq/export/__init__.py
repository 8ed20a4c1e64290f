"""Handing a quantized network on to other software."""

from tidlq.export.qdq import qdq_model

__all__ = ["qdq_model"]
