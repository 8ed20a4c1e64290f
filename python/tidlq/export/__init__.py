"""Handing a quantized network on to other software."""

from tidlq.export.files import check_export_file, write_export
from tidlq.export.qdq import QdqExport, export_qdq, qdq_model

__all__ = ["QdqExport", "check_export_file", "export_qdq", "qdq_model", "write_export"]
