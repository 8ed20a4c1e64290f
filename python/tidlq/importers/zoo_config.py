"""TI's model-zoo configuration files (`*_config.yaml`), and plain YAML files of options."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tidlq.errors import OptionError, nearest_names
from tidlq.importers.preprocessing import (
    ChannelOrder,
    Interpolation,
    Padding,
    Preprocessing,
)
from tidlq.target.devices import find_device
from tidlq.target.option_names import fields_of, is_option_name, known_option_names
from tidlq.target.options import Options

_OPTION_SECTIONS = ("compile_options", "runtime_options")

_IGNORED_SECTIONS = (
    "calibration_dataset",
    "common",
    "dataloader",
    "dataset_category",
    "input_dataset",
    "metric",
    "model_info",
    "postprocess",
    "task_name",
    "task_type",
)

_IGNORED_SESSION = (
    "artifacts_folder",
    "deny_list_from_start_end_node",
    "dynamic_output_shape",
    "extra_inputs",
    "input_details",
    "input_optimization",
    "input_shape",
    "model_file",
    "model_folder",
    "model_id",
    "model_type",
    "name",
    "num_inputs",
    "num_outputs",
    "num_tidl_subgraphs",
    "output_data_layout",
    "output_details",
    "output_shape",
    "run_dir",
    "run_suffix",
    "session_name",
    "supported_machines",
    "target_machine",
    "tensor_bits",
    "tidl_offload",
    "tidl_tools_path",
    "with_onnxsim",
    "work_dir",
)

_IGNORED_PREPROCESS = ("add_flip_image", "name")

_SESSION = (
    "runtime_options",
    "model_path",
    "input_mean",
    "input_scale",
    "input_data_layout",
    "target_device",
)

_PREPROCESS = (
    "resize",
    "crop",
    "data_layout",
    "reverse_channels",
    "interpolation",
    "resize_with_pad",
    "pad_color",
    "backend",
)

_OPENCV_FILTERS = (
    Interpolation.NEAREST,
    Interpolation.BILINEAR,
    Interpolation.BICUBIC,
    Interpolation.AREA,
    Interpolation.LANCZOS,
)

_PILLOW_FILTERS = (
    Interpolation.NEAREST,
    Interpolation.LANCZOS,
    Interpolation.BILINEAR,
    Interpolation.BICUBIC,
    Interpolation.AREA,
)

# A computer as target stands for emulation of whatever device the tools are set up for.
_NO_DEVICE = frozenset(("", "pc"))


@dataclass(frozen=True)
class ZooConfig:
    """What a configuration file says.

    Attributes:
        options: options of the compilation.
        preprocessing: from a picture to the network's input.
        model_path: the model, relative to the file's folder if it is there, else to the working
            directory; None if not given.
    """

    options: Options
    preprocessing: Preprocessing
    model_path: Path | None


def read_zoo_config(path: Path) -> ZooConfig:
    """Reads a configuration file.

    Options stand in `session.runtime_options` (nested groups such as `advanced_options` allowed),
    in `runtime_options` or `compile_options`, or at the top of the file. `session.input_mean` and
    `session.input_scale` are in the order of the network's channels. The model and an existing
    quantization proto are looked for in the file's folder first.

    Args:
        path: the YAML file.

    Raises:
        OptionError: The file cannot be read, is not YAML, or holds an unknown key or a value that
            is not allowed.
    """
    where = f"configuration {str(path)!r}"
    document = _load(path, where)
    session = _section(document, "session", where)
    preprocess = _section(document, "preprocess", where)
    _check_keys(session, (*_SESSION, *_IGNORED_SESSION), f"{where}, session")
    _check_keys(preprocess, (*_PREPROCESS, *_IGNORED_PREPROCESS), f"{where}, preprocess")
    top_level = ("session", "preprocess", *_OPTION_SECTIONS, *_IGNORED_SECTIONS)
    plain = {key: value for key, value in document.items() if is_option_name(str(key))}
    _check_keys(
        [key for key in document if key not in plain],
        top_level,
        where,
        others=known_option_names(),
    )
    groups = (
        plain,
        *(_section(document, name, where) for name in _OPTION_SECTIONS),
        _section(session, "runtime_options", where),
    )
    try:
        fields: dict[str, object] = {}
        for group in (*groups, _device(session)):
            fields |= fields_of(group)
        options = Options.parse(fields)
        preprocessing = Preprocessing.parse(_preprocessing(session, preprocess))
    except OptionError as error:
        raise OptionError(f"{where}: {error}") from None
    return ZooConfig(
        _with_proto_beside(options, path), preprocessing, _model_path(session, path, where)
    )


def _load(path: Path, where: str) -> Mapping[str, Any]:
    try:
        document = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise OptionError(f"{where} cannot be read: {error.strerror}.") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" (line {mark.line + 1})" if mark is not None else ""
        raise OptionError(f"{where} is not plain YAML{line}.") from None
    if not isinstance(document, Mapping):
        raise OptionError(f"{where} holds no sections, allowed: session, preprocess, options.")
    return document


def _section(mapping: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    section = mapping.get(name)
    if section is None:
        return {}
    if not isinstance(section, Mapping):
        raise OptionError(f"{where}: {name!r} is {section!r}, allowed: names with values.")
    return section


def _check_keys(
    keys: Iterable[object], known: tuple[str, ...], where: str, others: tuple[str, ...] = ()
) -> None:
    for key in keys:
        if key not in known:
            raise OptionError(
                f"{where}: unknown key {key!r}." + nearest_names(str(key), (*known, *others))
            )


def _device(session: Mapping[str, Any]) -> Mapping[str, object]:
    name = session.get("target_device")
    if name is None or str(name).strip().lower() in _NO_DEVICE:
        return {}
    return {"device": find_device(str(name))}


def _preprocessing(session: Mapping[str, Any], preprocess: Mapping[str, Any]) -> dict[str, object]:
    layout = session.get("input_data_layout") or preprocess.get("data_layout")
    return {
        "resize": preprocess.get("resize"),
        "crop": preprocess.get("crop"),
        "layout": layout,
        "reverse_channels": preprocess.get("reverse_channels"),
        "mean": session.get("input_mean"),
        "scale": session.get("input_scale"),
        "interpolation": _interpolation(preprocess),
        "resize_with_pad": _padding(preprocess.get("resize_with_pad")),
        "pad_color": preprocess.get("pad_color"),
    }


def preprocessing_sections(
    preprocessing: Preprocessing,
) -> tuple[dict[str, object], dict[str, object]]:
    """What a configuration file says of preprocessing, in its sections `session` and `preprocess`.

    Args:
        preprocessing: as `read_zoo_config` then returns it.
    """
    values = preprocessing.to_mapping()
    padding = preprocessing.resize_with_pad
    session = {
        "input_mean": values["mean"],
        "input_scale": values["scale"],
        "input_data_layout": values.get("layout"),
    }
    preprocess = {
        "resize": values.get("resize"),
        "crop": values.get("crop"),
        "data_layout": values.get("layout"),
        "reverse_channels": preprocessing.channel_order is ChannelOrder.BGR,
        "backend": "pil",
        "interpolation": _PILLOW_FILTERS.index(preprocessing.interpolation),
        "resize_with_pad": [True, "corner"]
        if padding is Padding.CORNER
        else padding is Padding.CENTRE,
        "pad_color": values["pad_color"],
    }
    stated = {key: value for key, value in session.items() if value is not None}
    return stated, {key: value for key, value in preprocess.items() if value is not None}


def _interpolation(preprocess: Mapping[str, Any]) -> object:
    number = preprocess.get("interpolation")
    filters = _OPENCV_FILTERS if preprocess.get("backend") == "cv2" else _PILLOW_FILTERS
    if type(number) is int and 0 <= number < len(filters):
        return filters[number]
    return number


def _padding(value: object) -> object:
    # A pair of a switch and a place, such as [true, corner].
    if isinstance(value, list) and len(value) == 2 and isinstance(value[0], bool):
        return value[1] if value[0] else False
    return value


def _with_proto_beside(options: Options, path: Path) -> Options:
    """A quantization proto that is there counts from the file's folder, as the model does."""
    proto = options.quant_params_proto_path
    if proto is None or not (path.parent / proto).exists():
        return options
    return options.override({"quant_params_proto_path": str(path.parent / proto)})


def _model_path(session: Mapping[str, Any], path: Path, where: str) -> Path | None:
    model = session.get("model_path")
    if model is None or model == "":
        return None
    if not isinstance(model, str):
        raise OptionError(f"{where}: 'model_path' is {model!r}, allowed: a file path.")
    beside = path.parent / model
    return beside if beside.exists() or not Path(model).exists() else Path(model)
