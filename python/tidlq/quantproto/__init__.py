"""The quantization proto: reading, writing and checking saved ranges."""

from tidlq.quantproto.files import (
    BINARY_SUFFIXES,
    TEXT_SUFFIXES,
    format_quant_params,
    read_quant_params,
    validate_quant_params,
    write_quant_params,
)
from tidlq.quantproto.matching import (
    ExpectedLayer,
    ExpectedTensor,
    SavedDecisions,
    check_fingerprint,
    find_missing,
    resolve_ranges,
    saved_precision,
)
from tidlq.quantproto.model import (
    Provenance,
    SavedLayer,
    SavedRanges,
    SavedTensor,
    tidl_scale,
)

__all__ = [
    "BINARY_SUFFIXES",
    "TEXT_SUFFIXES",
    "ExpectedLayer",
    "ExpectedTensor",
    "Provenance",
    "SavedDecisions",
    "SavedLayer",
    "SavedRanges",
    "SavedTensor",
    "check_fingerprint",
    "find_missing",
    "format_quant_params",
    "read_quant_params",
    "resolve_ranges",
    "saved_precision",
    "tidl_scale",
    "validate_quant_params",
    "write_quant_params",
]
