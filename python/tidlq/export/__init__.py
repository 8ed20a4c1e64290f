"""Handing a quantized network on to other software."""

from tidlq.export.bundle import BUNDLE_CONFIG, TidlBundle, check_bundle_folder, tidl_bundle
from tidlq.export.files import check_export_file, write_export
from tidlq.export.qdq import QdqExport, export_qdq, qdq_model

__all__ = [
    "BUNDLE_CONFIG",
    "QdqExport",
    "TidlBundle",
    "check_bundle_folder",
    "check_export_file",
    "export_qdq",
    "qdq_model",
    "tidl_bundle",
    "write_export",
]
