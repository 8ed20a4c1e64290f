"""Names of options: TIDL's spellings, ours, and those that tidlq accepts without effect."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from tidlq.errors import OptionError, nearest_names

_ADVANCED = "advanced_options:"

_ADVANCED_FIELDS = (
    "quantization_scale_type",
    "calibration_frames",
    "calibration_iterations",
    "activation_clipping",
    "weight_clipping",
    "bias_calibration",
    "channel_wise_quantization",
    "bias_clipping",
    "pre_batchnorm_fold",
    "output_feature_16bit_names_list",
    "params_16bit_names_list",
    "mixed_precision_factor",
    "prequantized_model",
    "quant_params_proto_path",
)

OPTION_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "tensor_bits": "tensor_bits",
        "accuracy_level": "accuracy_level",
        **{field: _ADVANCED + field for field in _ADVANCED_FIELDS},
        "deny_list_layer_type": "deny_list:layer_type",
        "deny_list_layer_name": "deny_list:layer_name",
        "deny_list": "deny_list",
        "allow_list_layer_name": "allow_list:layer_name",
        "max_num_subgraphs": "max_num_subgraphs",
        "debug_level": "debug_level",
        "device": "device",
        "requantization": "tidlq:requantization",
        "calibration_method": "tidlq:calibration_method",
        "percentile": "tidlq:percentile",
        "cross_layer_equalization": "tidlq:cross_layer_equalization",
        "leave_out_fusions": "tidlq:leave_out_fusions",
        "target_sqnr": "tidlq:target_sqnr",
        "cost_model": "tidlq:cost_model",
    }
)
"""Published name of every option, by field of `Options`."""

_FIELDS: Mapping[str, str] = MappingProxyType(
    {field: field for field in OPTION_NAMES}
    | {name: field for field, name in OPTION_NAMES.items()}
    | {"tidlq:device": "device"}
)

_WITHOUT_EFFECT_PLAIN = (
    "artifacts_folder",
    "core_number",
    "core_start_idx",
    "import",
    "info",
    "max_pre_empt_delay",
    "model_type",
    "onnxruntime:graph_optimization_level",
    "platform",
    "priority",
    "ti_internal_nc_flag",
    "tidl_tools_path",
    "version",
)

_WITHOUT_EFFECT_DETECTION = (
    "confidence_threshold",
    "keep_top_k",
    "meta_arch_type",
    "meta_layers_names_list",
    "nms_threshold",
    "top_k",
)

_WITHOUT_EFFECT_ADVANCED = (
    "add_data_convert_ops",
    "batch_mode",
    "c7x_codegen",
    "c7x_firmware_version",
    "enable_bias_fusion",
    "enable_custom_layers",
    "enable_shape_folding",
    "enable_tfr_optimization",
    "flow_ctrl",
    "high_resolution_optimization",
    "inference_mode",
    "log_file_name",
    "m_channel_split_layers_names_list",
    "m_spatial_split_layers_names_list",
    "max_num_subgraph_nodes",
    "model_group_id",
    "nc_temp_info_dir",
    "net_inelement_type",
    "network_name",
    "num_cores",
    "optimize_batchnorm_higherdims",
    "packetize_mode",
    "partial_init_during_compile",
    "single_core_layers_names_list",
    "temp_buffer_dir",
)

_WITHOUT_EFFECT = frozenset(
    (
        *_WITHOUT_EFFECT_PLAIN,
        *_WITHOUT_EFFECT_ADVANCED,
        *(_ADVANCED + name for name in _WITHOUT_EFFECT_ADVANCED),
        *("object_detection:" + name for name in _WITHOUT_EFFECT_DETECTION),
    )
)

_NESTED_PREFIXES = frozenset({"advanced_options", "deny_list", "allow_list", "object_detection"})


def is_option_name(name: str) -> bool:
    """Says whether `name` is an option in any accepted spelling, with or without effect."""
    return name in _FIELDS or name in _WITHOUT_EFFECT or name in _NESTED_PREFIXES


def known_option_names() -> tuple[str, ...]:
    """Names of the options that have an effect, without the `advanced_options:` prefix."""
    return tuple(name.removeprefix(_ADVANCED) for name in OPTION_NAMES.values())


def fields_of(mapping: Mapping[str, object]) -> dict[str, object]:
    """Maps options in any accepted spelling to the fields of `Options`.

    Nested groups (`advanced_options: {...}`) count as prefixed names. A value of None leaves the
    option out, and so does an option that is known but has no effect in tidlq.

    Args:
        mapping: values by option name, as read from a command line, a YAML file or Python.

    Returns:
        Values by field name, unchanged.

    Raises:
        OptionError: A name is unknown, or an option is given twice with different values.
    """
    found: dict[str, object] = {}
    spelled: dict[str, str] = {}
    for name, value in _flattened(mapping):
        field = _FIELDS.get(name)
        if field is None:
            if name in _WITHOUT_EFFECT:
                continue
            raise OptionError(_unknown(name))
        if value is None:
            continue
        if field in found and found[field] != value:
            raise OptionError(
                f"option {OPTION_NAMES[field]!r} is given twice with different values: "
                f"{spelled[field]!r} is {found[field]!r}, {name!r} is {value!r}."
            )
        found[field], spelled[field] = value, name
    return found


def _flattened(mapping: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    for name, value in mapping.items():
        if not isinstance(name, str):
            raise OptionError(f"an option's name must be text, found {name!r}.")
        if name in _NESTED_PREFIXES and isinstance(value, Mapping):
            yield from ((f"{name}:{inner}", nested) for inner, nested in value.items())
        else:
            yield name.strip(), value


def _unknown(name: str) -> str:
    known = known_option_names()
    bare = name.removeprefix(_ADVANCED)
    suggestion = nearest_names(bare, known) or f" Options are: {', '.join(known)}."
    return f"unknown option {name!r}.{suggestion}"
