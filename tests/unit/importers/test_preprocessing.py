"""Preprocessing: from pictures to network inputs."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from tidlq.errors import DataError, OptionError
from tidlq.graph.model import TensorSignature
from tidlq.importers.preprocessing import (
    ChannelOrder,
    Interpolation,
    Layout,
    Padding,
    Preprocessing,
)


def _signature(*shape: int, dtype: str = "float32") -> TensorSignature:
    return TensorSignature("image", np.dtype(dtype), shape, shape)


def _colours(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(7).integers(0, 256, (height, width, 3), np.uint8)


def test_pixels_become_nchw_float32_without_any_option() -> None:
    pixels = _colours(4, 6)
    made = Preprocessing().apply(Image.fromarray(pixels), _signature(1, 3, 4, 6), "p")
    assert made.dtype == np.float32
    assert made.flags.c_contiguous
    np.testing.assert_array_equal(made, pixels.transpose(2, 0, 1)[np.newaxis])


def test_nhwc_is_told_from_the_input_shape() -> None:
    pixels = _colours(4, 6)
    made = Preprocessing().apply(Image.fromarray(pixels), _signature(1, 4, 6, 3), "p")
    np.testing.assert_array_equal(made, pixels[np.newaxis])


def test_stated_layout_wins_where_the_shape_is_ambiguous() -> None:
    pixels = _colours(3, 3)
    made = Preprocessing(layout=Layout.NHWC).apply(
        Image.fromarray(pixels), _signature(1, 3, 3, 3), "p"
    )
    np.testing.assert_array_equal(made, pixels[np.newaxis])


def test_mean_is_subtracted_before_the_scale_per_channel_in_float32() -> None:
    pixels = _colours(2, 2)
    mean, scale = (123.675, 116.28, 103.53), (0.017125, 0.017507, 0.017429)
    made = Preprocessing(mean=mean, scale=scale).apply(
        Image.fromarray(pixels), _signature(1, 2, 2, 3), "p"
    )
    expected = (pixels.astype(np.float32) - np.float32(mean)) * np.float32(scale)
    np.testing.assert_array_equal(made[0], expected)


def test_mean_and_scale_follow_the_reversed_channels() -> None:
    red = Image.new("RGB", (1, 1), (200, 100, 50))
    made = Preprocessing(channel_order=ChannelOrder.BGR, mean=(50, 0, 0), scale=(1, 1, 2)).apply(
        red, _signature(1, 3, 1, 1), "p"
    )
    assert made.reshape(-1).tolist() == [0, 100, 400]


def test_single_channel_input_takes_grey() -> None:
    picture = Image.fromarray(_colours(3, 3))
    made = Preprocessing().apply(picture, _signature(1, 1, 3, 3), "p")
    np.testing.assert_array_equal(made[0, 0], np.asarray(picture.convert("L")))


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1", "LA"])
def test_other_picture_modes_become_rgb(mode: str) -> None:
    picture = Image.new("RGB", (2, 2), (255, 255, 255)).convert(mode)
    made = Preprocessing().apply(picture, _signature(1, 3, 2, 2), "p")
    assert (made >= 254).all()


def test_short_side_resize_keeps_the_aspect_ratio_and_crop_is_central() -> None:
    picture = Image.fromarray(_colours(40, 60))
    made = Preprocessing(resize=20, crop=(16, 16)).apply(picture, _signature(1, 16, 16, 3), "p")
    resized = picture.resize((30, 20), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(made[0], np.asarray(resized.crop((7, 2, 23, 18))))


def test_resize_to_height_and_width_ignores_the_aspect_ratio() -> None:
    picture = Image.fromarray(_colours(40, 60))
    made = Preprocessing(resize=(8, 10), interpolation=Interpolation.NEAREST).apply(
        picture, _signature(1, 8, 10, 3), "p"
    )
    expected = picture.resize((10, 8), Image.Resampling.NEAREST)
    np.testing.assert_array_equal(made[0], np.asarray(expected))


@pytest.mark.parametrize(("place", "top"), [(Padding.CENTRE, 1), (Padding.CORNER, 0)])
def test_resize_with_pad_fits_the_picture_and_fills_the_rest(place: Padding, top: int) -> None:
    white = Image.new("RGB", (8, 4), (255, 255, 255))
    made = Preprocessing(resize=4, resize_with_pad=place, pad_color=(114, 0, 7)).apply(
        white, _signature(1, 4, 4, 3), "p"
    )
    expected = np.tile(np.float32([114, 0, 7]), (4, 4, 1))
    expected[top : top + 2] = 255
    np.testing.assert_array_equal(made[0], expected)


def test_integer_inputs_are_rounded_and_saturated() -> None:
    row = Image.fromarray(np.array([[0, 100, 255]], np.uint8))
    made = Preprocessing(mean=(100,), scale=(1.006,)).apply(
        row, _signature(1, 1, 1, 3, dtype="int8"), "p"
    )
    assert made.dtype == np.int8
    assert made.reshape(-1).tolist() == [-101, 0, 127]


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 20), st.booleans())
def test_resize_then_crop_always_gives_the_crop(
    height: int, width: int, size: int, is_padded: bool
) -> None:
    padding = Padding.CENTRE if is_padded else Padding.NONE
    preprocessing = Preprocessing(resize=size, crop=(size, size), resize_with_pad=padding)
    made = preprocessing.apply(Image.new("L", (width, height)), _signature(1, 1, size, size), "p")
    assert made.shape == (1, 1, size, size)


def test_picture_of_another_size_names_both_sizes_and_the_way_out() -> None:
    with pytest.raises(DataError) as caught:
        Preprocessing().apply(Image.new("L", (5, 4)), _signature(1, 1, 8, 9), "picture 'a.png'")
    assert str(caught.value) == (
        "picture 'a.png' is 4 high and 5 wide after preprocessing, input 'image' takes 8 x 9: "
        "state a resize or a crop."
    )
    assert caught.value.exit_code == 1


def test_picture_smaller_than_the_crop_is_named() -> None:
    with pytest.raises(DataError, match=r"'a.png' is 4 high and 5 wide, too small for a crop of 8"):
        Preprocessing(crop=(8, 8)).apply(
            Image.new("L", (5, 4)), _signature(1, 1, 8, 8), "picture 'a.png'"
        )


@pytest.mark.parametrize("shape", [(1, 10), (4, 3, 8, 8), (1, 3, 8, 8, 8)])
def test_input_that_takes_no_pictures_is_named(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"input 'image' takes .*, pictures need an input of shape"):
        Preprocessing().layout_of(_signature(*shape))


def test_input_of_other_channels_is_named() -> None:
    with pytest.raises(DataError, match="which is 12 channels in NCHW; pictures have 1 or 3"):
        Preprocessing(layout=Layout.NCHW).layout_of(_signature(1, 12, 8, 8))


def test_mean_of_other_channels_than_the_input_is_an_option_error() -> None:
    with pytest.raises(OptionError) as caught:
        Preprocessing(mean=(1, 2, 3)).layout_of(_signature(1, 1, 8, 8))
    assert str(caught.value) == ("preprocessing 'mean' has 3 values, input 'image' has 1 channels.")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("name", "value", "attribute", "expected"),
    [
        ("resize", "256", "resize", 256),
        ("resize", "224x320", "resize", (224, 320)),
        ("resize", [224, 320], "resize", (224, 320)),
        ("crop", 224, "crop", (224, 224)),
        ("crop", "128,192", "crop", (128, 192)),
        ("layout", "nchw", "layout", Layout.NCHW),
        ("channel_order", "bgr", "channel_order", ChannelOrder.BGR),
        ("reverse_channels", True, "channel_order", ChannelOrder.BGR),
        ("reverse_channels", "0", "channel_order", ChannelOrder.RGB),
        ("mean", "1,2.5,3", "mean", (1.0, 2.5, 3.0)),
        ("mean", [1, 2, 3], "mean", (1.0, 2.0, 3.0)),
        ("scale", "1/255", "scale", (1 / 255,)),
        ("scale", 0.5, "scale", (0.5,)),
        ("interpolation", "Bicubic", "interpolation", Interpolation.BICUBIC),
        ("resize", None, "resize", None),
        ("pad_color", 114, "pad_color", (114, 114, 114)),
        ("pad_color", "0,10,255", "pad_color", (0, 10, 255)),
    ],
)
def test_value_is_read_from_text_and_yaml(
    name: str, value: object, attribute: str, expected: object
) -> None:
    assert getattr(Preprocessing.parse({name: value}), attribute) == expected


@pytest.mark.parametrize(
    ("text", "padding"),
    [
        (True, Padding.CENTRE),
        ("center", Padding.CENTRE),
        ("corner", Padding.CORNER),
        (0, Padding.NONE),
    ],
)
def test_padding_is_read_from_switches_and_places(text: object, padding: Padding) -> None:
    parsed = Preprocessing.parse({"resize": 8, "resize_with_pad": text})
    assert parsed.resize_with_pad is padding


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        (
            {"resize": "0"},
            "preprocessing 'resize' is '0', allowed: pixels of the short side, or HEIGHTxWIDTH.",
        ),
        (
            {"crop": [1, 2, 3]},
            "preprocessing 'crop' is [1, 2, 3], allowed: pixels of a square, or HEIGHTxWIDTH.",
        ),
        ({"layout": "HWC"}, "preprocessing 'layout' is 'HWC', allowed: NCHW, NHWC."),
        (
            {"mean": "1,2"},
            (
                "preprocessing 'mean' is '1,2', allowed: a number, or one per channel separated by "
                "commas."
            ),
        ),
        (
            {"scale": "1/0"},
            (
                "preprocessing 'scale' is '1/0', allowed: a number, or one per channel separated "
                "by commas."
            ),
        ),
        (
            {"scale": "inf"},
            (
                "preprocessing 'scale' is 'inf', allowed: a number, or one per channel separated "
                "by commas."
            ),
        ),
        (
            {"pad_color": 256},
            "preprocessing 'pad_color' is 256, allowed: a level from 0 to 255, or red,green,blue.",
        ),
        (
            {"interpolation": "cubist"},
            (
                "preprocessing 'interpolation' is 'cubist', allowed: nearest, bilinear, bicubic, "
                "area, lanczos."
            ),
        ),
        (
            {"resize_with_pad": True},
            "preprocessing 'resize_with_pad' needs a 'resize' to fit into.",
        ),
        (
            {"reverse_channels": 1, "channel_order": "RGB"},
            "preprocessing 'reverse_channels' is 1, but 'channel_order' is RGB.",
        ),
    ],
)
def test_wrong_value_is_one_sentence(mapping: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError) as caught:
        Preprocessing.parse(mapping)
    assert str(caught.value) == message


def test_unknown_name_finds_the_nearest() -> None:
    with pytest.raises(
        OptionError, match=r"unknown preprocessing 'resise'.* Did you mean 'resize'"
    ):
        Preprocessing.parse({"resise": 3})


@given(
    st.dictionaries(
        st.sampled_from(["resize", "crop", "mean", "scale", "pad_color", "resize_with_pad"]),
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text("0123456789.,x/-einf", max_size=8)
        | st.lists(st.integers() | st.text(max_size=2), max_size=4),
        max_size=3,
    )
)
def test_any_value_gives_preprocessing_or_an_option_error(mapping: dict[str, object]) -> None:
    with contextlib.suppress(OptionError):
        Preprocessing.parse(mapping)
