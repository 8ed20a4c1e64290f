"""The quantization proto: reading, writing and checking saved ranges."""

from tidlq.quantproto.differences import Difference, DifferenceKind, compare_saved
from tidlq.quantproto.editing import Change, Edited, edit_saved
from tidlq.quantproto.files import (
    format_quant_params,
    parse_quant_params,
    read_quant_params,
    write_quant_params,
)
from tidlq.quantproto.forms import (
    BINARY_SUFFIXES,
    JSON_SUFFIXES,
    TEXT_SUFFIXES,
    ProtoForm,
    form_of_path,
)
from tidlq.quantproto.matching import (
    ExpectedLayer,
    ExpectedTensor,
    SavedDecisions,
    check_complete,
    find_missing,
    is_of_model,
    resolve_ranges,
    saved_precision,
)
from tidlq.quantproto.merging import Merged, merge_saved
from tidlq.quantproto.model import (
    Provenance,
    SavedLayer,
    SavedRanges,
    SavedTensor,
    tidl_scale,
)
from tidlq.quantproto.outliers import Outlier, find_outliers
from tidlq.quantproto.scales import find_contradictions, step_of
from tidlq.quantproto.staleness import ModelChanges, adopt, find_changes, stale_error
from tidlq.quantproto.strictness import find_left_out, find_unsuitable
from tidlq.quantproto.validation import Findings, validate_content, validate_quant_params

__all__ = [
    "BINARY_SUFFIXES",
    "JSON_SUFFIXES",
    "TEXT_SUFFIXES",
    "Change",
    "Difference",
    "DifferenceKind",
    "Edited",
    "ExpectedLayer",
    "ExpectedTensor",
    "Findings",
    "Merged",
    "ModelChanges",
    "Outlier",
    "ProtoForm",
    "Provenance",
    "SavedDecisions",
    "SavedLayer",
    "SavedRanges",
    "SavedTensor",
    "adopt",
    "check_complete",
    "compare_saved",
    "edit_saved",
    "find_changes",
    "find_contradictions",
    "find_left_out",
    "find_missing",
    "find_outliers",
    "find_unsuitable",
    "form_of_path",
    "format_quant_params",
    "is_of_model",
    "merge_saved",
    "parse_quant_params",
    "read_quant_params",
    "resolve_ranges",
    "saved_precision",
    "stale_error",
    "step_of",
    "tidl_scale",
    "validate_content",
    "validate_quant_params",
    "write_quant_params",
]
