"""Model-zoo configuration files."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidlq.errors import OptionError
from tidlq.importers.preprocessing import (
    ChannelOrder,
    Interpolation,
    Layout,
    Padding,
    Preprocessing,
)
from tidlq.importers.zoo_config import read_zoo_config
from tidlq.target import Device, Options

_ZOO = """
task_type: classification
dataset_category: imagenet
calibration_dataset: {path: somewhere, num_frames: 50}
input_dataset: null
metric: {label_offset_pred: 0}
model_info: {metric_reference: {top1: 71.88}}
postprocess: {}
preprocess:
  add_flip_image: false
  backend: pil
  crop: [224, 224]
  data_layout: NCHW
  interpolation: null
  pad_color: 0
  resize: 256
  resize_with_pad: false
  reverse_channels: true
session:
  artifacts_folder: null
  input_data_layout: NCHW
  input_mean: [103.53, 116.28, 123.675]
  input_optimization: false
  input_scale: [0.017429, 0.017507, 0.017125]
  model_id: cl-1
  model_path: models/net.onnx
  session_name: onnxrt
  target_device: pc
  tidl_offload: true
  runtime_options:
    accuracy_level: 1
    advanced_options:
      activation_clipping: 1
      add_data_convert_ops: 3
      calibration_frames: 12
    advanced_options:calibration_iterations: 25
    advanced_options:quantization_scale_type: 4
    debug_level: 0
    deny_list:layer_type: ''
    object_detection:meta_arch_type: 3
    platform: J7
    tensor_bits: 8
    ti_internal_nc_flag: 1601
"""


def _read(tmp_path: Path, text: str) -> tuple[Options, Preprocessing, Path | None]:
    path = tmp_path / "net_config.yaml"
    path.write_text(text)
    config = read_zoo_config(path)
    return config.options, config.preprocessing, config.model_path


def test_zoo_file_gives_options_preprocessing_and_model(tmp_path: Path) -> None:
    options, preprocessing, model_path = _read(tmp_path, _ZOO)
    assert options == Options(
        accuracy_level=1,
        activation_clipping=True,
        calibration_frames=12,
        calibration_iterations=25,
        quantization_scale_type=4,
    )
    assert preprocessing == Preprocessing(
        resize=256,
        crop=(224, 224),
        layout=Layout.NCHW,
        channel_order=ChannelOrder.BGR,
        mean=(103.53, 116.28, 123.675),
        scale=(0.017429, 0.017507, 0.017125),
    )
    assert model_path == tmp_path / "models" / "net.onnx"


def test_options_stand_at_the_top_or_in_sections_of_their_own(tmp_path: Path) -> None:
    expected = Options(tensor_bits=32, calibration_frames=7)
    plain = "tensor_bits: 32\nadvanced_options: {calibration_frames: 7}\n"
    assert _read(tmp_path, plain) == (expected, Preprocessing(), None)
    nested = "compile_options:\n  tensor_bits: 32\n  advanced_options:calibration_frames: 7\n"
    assert _read(tmp_path, nested)[0] == expected


def test_options_of_the_session_win_over_those_at_the_top(tmp_path: Path) -> None:
    text = "calibration_frames: 3\nsession: {runtime_options: {calibration_frames: 4}}\n"
    assert _read(tmp_path, text)[0].calibration_frames == 4


def test_target_device_names_the_device(tmp_path: Path) -> None:
    options, _, _ = _read(tmp_path, "session: {target_device: J722S}")
    assert options.device is Device.AM67A


@pytest.mark.parametrize(
    ("backend", "number", "expected"),
    [
        ("cv2", 3, Interpolation.AREA),
        ("cv2", 1, Interpolation.BILINEAR),
        ("pil", 2, Interpolation.BILINEAR),
        ("pil", 1, Interpolation.LANCZOS),
    ],
)
def test_numbers_of_filters_are_those_of_the_backend(
    tmp_path: Path, backend: str, number: int, expected: Interpolation
) -> None:
    _, preprocessing, _ = _read(
        tmp_path, f"preprocess: {{backend: {backend}, interpolation: {number}}}"
    )
    assert preprocessing.interpolation is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("true", Padding.CENTRE),
        ("[true, corner]", Padding.CORNER),
        ("[false, corner]", Padding.NONE),
    ],
)
def test_padding_may_say_where(tmp_path: Path, value: str, expected: Padding) -> None:
    text = f"preprocess: {{resize: 416, resize_with_pad: {value}, pad_color: [114, 114, 114]}}"
    _, preprocessing, _ = _read(tmp_path, text)
    assert preprocessing.resize_with_pad is expected
    assert preprocessing.pad_color == (114, 114, 114)


def test_layout_of_the_session_wins_over_that_of_the_pictures(tmp_path: Path) -> None:
    text = "session: {input_data_layout: NCHW}\npreprocess: {data_layout: NHWC}\n"
    assert _read(tmp_path, text)[1].layout is Layout.NCHW


def test_model_path_is_looked_up_beside_the_file_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / "net.onnx").touch()
    monkeypatch.chdir(here)
    text = "session: {model_path: net.onnx}"
    assert _read(tmp_path, text)[2] == Path("net.onnx")
    (tmp_path / "net.onnx").touch()
    assert _read(tmp_path, text)[2] == tmp_path / "net.onnx"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "session: {runtime_options: {acuracy_level: 1}}",
            ": unknown option 'acuracy_level'. Did you mean 'accuracy_level' or 'debug_level'?",
        ),
        (
            "session: {runtime_options: {accuracy_level: 5}}",
            ": option 'accuracy_level' is 5, allowed: 0, 1, 2, 9.",
        ),
        ("sesion: {}", ": unknown key 'sesion'. Did you mean 'session'?"),
        ("calibration_frame: 3", ": unknown key 'calibration_frame'. Did you mean "),
        (
            "session: {input_meen: [1]}",
            ", session: unknown key 'input_meen'. Did you mean 'input_mean'",
        ),
        (
            "preprocess: {resise: 1}",
            ", preprocess: unknown key 'resise'. Did you mean 'resize'",
        ),
        (
            "session: {input_mean: [1, 2]}",
            (
                ": preprocessing 'mean' is [1, 2], allowed: a number, or one per channel separated "
                "by commas."
            ),
        ),
        (
            "session: {target_device: AM99}",
            ": option 'device' is 'AM99', allowed: TDA4VM, ",
        ),
        ("session: {model_path: [a]}", ": 'model_path' is ['a'], allowed: a file path."),
        ("session: 3", ": 'session' is 3, allowed: names with values."),
        ("- a\n- b\n", " holds no sections, allowed: session, preprocess, options."),
        ("", " holds no sections, allowed: session, preprocess, options."),
        ("a: [1\nb: 2\n", " is not plain YAML (line 2)."),
        ("a: !!python/tuple [1]\n", " is not plain YAML (line 1)."),
    ],
)
def test_wrong_file_is_one_sentence_that_names_it(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(OptionError) as caught:
        _read(tmp_path, text)
    assert str(caught.value).startswith(
        f"configuration {str(tmp_path / 'net_config.yaml')!r}{message}"
    )
    assert caught.value.exit_code == 2


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"none.yaml' cannot be read: No such file or directory"):
        read_zoo_config(tmp_path / "none.yaml")


def test_binary_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(OptionError, match=r"a.yaml' is not plain YAML"):
        read_zoo_config(tmp_path / "a.yaml")


@given(st.text("session: {}[]\nrunt_opa'\"123-#&*!", max_size=60))
def test_any_text_gives_a_configuration_or_an_option_error(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    with contextlib.suppress(OptionError):
        _read(tmp_path_factory.mktemp("config"), text)
