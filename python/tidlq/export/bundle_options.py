"""The options of a TI bundle: as TI's runtime options, in YAML and in Python."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from tidlq.errors import ModelError
from tidlq.graph.model import Graph
from tidlq.graph.partition import Partition
from tidlq.importers.preprocessing import Preprocessing
from tidlq.importers.zoo_config import preprocessing_sections
from tidlq.precision.wide_features import find_wide_features
from tidlq.spec import QuantPlan
from tidlq.target import Options

_OWN_PREFIX = "tidlq:"
_DEVICE = "device"
_ALLOWED = "allow_list:layer_name"
_DENIED = ("deny_list:layer_type", "deny_list:layer_name", "deny_list")
PROTO_OPTION = "advanced_options:quant_params_proto_path"
_FEATURES = "advanced_options:output_feature_16bit_names_list"
_PREQUANTIZED = "advanced_options:prequantized_model"
_PARAMETERS = "advanced_options:params_16bit_names_list"
# What the plan has decided already, or what has no influence.
_DECIDED = frozenset(
    {
        "advanced_options:mixed_precision_factor",
        _PREQUANTIZED,
        "tidlq:cross_layer_equalization",
        "advanced_options:quant_params_proto_path",
        "debug_level",
    }
)

Value = str | int | float


def bundle_options(
    options: Mapping[str, Value],
    graph: Graph,
    partition: Partition,
    plan: QuantPlan,
    *,
    is_changed: bool,
) -> dict[str, Value]:
    """The options under which the prepared model and a strict proto give the plan.

    Args:
        options: of the compilation, by published name.
        graph: the Graph as it was quantized.
        partition: its stages.
        plan: the decisions for its fixed stages.
        is_changed: the prepared model may have other layers than the source, or no longer say which
            run in float.

    Returns:
        Values by published name, without the proto's path, empty lists, and what only tidlq knows
        and is at its default.

    Raises:
        ModelError: The bits of a layer cannot be said by lists of names.
    """
    usual = Options().to_tidl()
    kept = {
        name: value
        for name, value in options.items()
        if name not in _DECIDED and not (name.startswith(_OWN_PREFIX) and value == usual.get(name))
    }
    inner = find_wide_features(graph, partition, Options.parse(options).left_out)
    kept |= _precision(partition, plan, inner)
    if is_changed:
        kept |= _placement(options, graph, partition)
    if graph.stated is not None:
        # Q/DQ at its ends may be left; they are no scales to keep.
        kept[_PREQUANTIZED] = 0
    return {name: value for name, value in kept.items() if value != ""}


def _precision(partition: Partition, plan: QuantPlan, inner: frozenset[str]) -> dict[str, Value]:
    """Bits by `tensor_bits` where all agree, else by lists of the layers with 16.

    What has 16 bits only inside this engine's activations, or where it leaves, has 8 for TI's.
    """
    features: list[str] = []
    parameters: list[str] = []
    narrow, inside = 0, set(inner)
    for layer in partition.layers:
        if layer.keeps_quantization and layer.inputs[0] in inside:
            inside.add(layer.output)
        quant = plan.layers[layer.name]
        parameter = quant.weight or quant.operand
        is_narrow_parameter = parameter is None or parameter.type.bits == 8
        is_wide = plan.features[layer.output].type.bits > 8
        is_wide &= layer.output not in inside or not is_narrow_parameter
        if parameter is not None and is_wide and parameter.type.bits == 8:
            raise ModelError(
                f"Layer {layer.name!r} has 16-bit features and 8-bit parameters, which TI's lists "
                "of names cannot say; allowed: 8-bit features, or 16 bits for both."
            )
        if is_wide:
            features.append(layer.name)
        elif parameter is not None and parameter.type.bits > 8:
            parameters.append(layer.name)
        narrow += not is_wide
    if not narrow:
        return {"tensor_bits": 16, _FEATURES: "", _PARAMETERS: ""}
    return {"tensor_bits": 8, _FEATURES: _listed(features), _PARAMETERS: _listed(parameters)}


def _placement(
    options: Mapping[str, Value], graph: Graph, partition: Partition
) -> dict[str, Value]:
    """Lists of layers by name: the user's lack, or would deny, what was added."""
    fixed = {node for layer in partition.layers for node in layer.nodes}
    names = [node.name or "" for node in graph.nodes]
    if options.get(_ALLOWED):
        return {_ALLOWED: _listed([name for name in names if name in fixed])}
    floats = _listed([name for name in names if name not in fixed])
    return {**dict.fromkeys(_DENIED, ""), "deny_list:layer_name": floats}


def _listed(names: list[str]) -> str:
    for name in names:
        if "," in name:
            raise ModelError(
                f"Layer {name!r} has a comma in its name, which TI's lists of names cannot say."
            )
    return ",".join(names)


def config_yaml(
    options: Mapping[str, Value], model: str, proto: str, preprocessing: Mapping[str, Any]
) -> bytes:
    """The options as a configuration file of TI's model zoo.

    Args:
        options: as `bundle_options` returns them.
        model: file name of the model, in the same folder.
        proto: file name of the quantization proto, likewise.
        preprocessing: how pictures become inputs; may be empty.
    """
    session: dict[str, Any] = {"model_path": model}
    document: dict[str, Any] = {}
    if preprocessing:
        ends, document["preprocess"] = preprocessing_sections(Preprocessing.parse(preprocessing))
        session |= ends
    if _DEVICE in options:
        session["target_device"] = options[_DEVICE]
    session["runtime_options"] = {**published_options(options), PROTO_OPTION: proto}
    document["session"] = session
    document |= {name: value for name, value in options.items() if name.startswith(_OWN_PREFIX)}
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=1 << 20)
    return text.encode()


def options_module(options: Mapping[str, Value], model: str, proto: str) -> bytes:
    """The options as a Python module with one dictionary, the proto's path absolute in it.

    Args:
        options: as `bundle_options` returns them.
        model: file name of the model, in the same folder.
        proto: file name of the quantization proto, likewise.
    """
    entries = [f"    {name!r}: {value!r}," for name, value in published_options(options).items()]
    lines = [
        f'"""TI\'s runtime options for {model} in this folder: `runtime_options`."""',
        "",
        "from pathlib import Path",
        "",
        "runtime_options = {",
        *entries,
        f"    {PROTO_OPTION!r}: str(Path(__file__).resolve().with_name({proto!r})),",
        "}",
        "",
    ]
    return "\n".join(lines).encode()


def published_options(options: Mapping[str, Value]) -> dict[str, Value]:
    """Those that TI's tools know."""
    return {
        name: value
        for name, value in options.items()
        if name != _DEVICE and not name.startswith(_OWN_PREFIX)
    }
