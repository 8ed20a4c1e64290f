"""From a picture to a network input: resize, crop, channel order, mean and scale, layout."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tidlq.errors import DataError, OptionError
from tidlq.graph.model import TensorSignature
from tidlq.importers import preprocessing_values as values


class Layout(enum.Enum):
    """Order of the axes of an input."""

    NCHW = "NCHW"
    NHWC = "NHWC"


class ChannelOrder(enum.Enum):
    """Order of the colour channels that the network takes."""

    RGB = "RGB"
    BGR = "BGR"


class Interpolation(enum.Enum):
    """Filter of a resize; all but NEAREST widen their support when they shrink a picture."""

    NEAREST = "nearest"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    AREA = "area"
    LANCZOS = "lanczos"


class Padding(enum.Enum):
    """Where a picture stands when a resize keeps its aspect ratio and pads the rest."""

    NONE = "none"
    CENTRE = "centre"
    CORNER = "corner"


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes an input: x = (pixel - mean) * scale, per channel, in float32.

    Attributes:
        resize: pixels of the short side, or (height, width); None keeps the picture's size.
        crop: (height, width) cut from the centre; None cuts nothing.
        layout: of the input; None tells it from the input's shape.
        channel_order: of the input; a single-channel input takes grey pictures.
        mean: one value, or one per channel in the input's channel order.
        scale: one value, or one per channel in the input's channel order.
        interpolation: filter of the resize.
        resize_with_pad: keep the aspect ratio, fit into `resize` (square if one number), pad.
        pad_color: red, green and blue of the padding, 0..255.

    Raises:
        OptionError: A value is not allowed.
    """

    resize: int | tuple[int, int] | None = None
    crop: tuple[int, int] | None = None
    layout: Layout | None = None
    channel_order: ChannelOrder = ChannelOrder.RGB
    mean: tuple[float, ...] = (0.0,)
    scale: tuple[float, ...] = (1.0,)
    interpolation: Interpolation = Interpolation.BILINEAR
    resize_with_pad: Padding = Padding.NONE
    pad_color: tuple[int, int, int] = (0, 0, 0)

    def __post_init__(self) -> None:
        if self.resize_with_pad is not Padding.NONE and self.resize is None:
            raise OptionError("preprocessing 'resize_with_pad' needs a 'resize' to fit into.")
        for name in ("mean", "scale"):
            if len(getattr(self, name)) not in (1, 3):
                raise OptionError(
                    f"preprocessing {name!r} has {len(getattr(self, name))} values, "
                    "allowed: one, or one per channel."
                )

    @classmethod
    def parse(cls, mapping: Mapping[str, object]) -> Preprocessing:
        """Reads preprocessing from text or YAML values.

        Args:
            mapping: values by attribute name; text such as "224", "224x320", "1/255",
                "123.675,116.28,103.53", "BGR" counts as the value it stands for; `reverse_channels`
                (0, 1) is another way to say BGR; None is as good as not given.

        Raises:
            OptionError: A name is unknown or a value is not allowed.
        """
        fields = values.read_fields(mapping, _READERS)
        is_reversed = fields.pop("reverse_channels", None)
        if is_reversed is not None:
            order = ChannelOrder.BGR if is_reversed else ChannelOrder.RGB
            if fields.setdefault("channel_order", order) is not order:
                raise OptionError(
                    f"preprocessing 'reverse_channels' is {int(is_reversed)}, but 'channel_order' "
                    f"is {fields['channel_order'].value}."
                )
        return cls(**fields)

    def to_mapping(self) -> dict[str, object]:
        """Returns the values by attribute name, as plain JSON values that `parse` reads back."""
        mapping: dict[str, object] = {}
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if isinstance(value, enum.Enum):
                value = value.value
            if value is not None:
                mapping[item.name] = list(value) if isinstance(value, tuple) else value
        return mapping

    def apply(
        self, picture: Image.Image, signature: TensorSignature, where: str
    ) -> NDArray[np.generic]:
        """Makes an input of a picture.

        Args:
            picture: in any mode that converts to RGB or grey.
            signature: the input; 4-D with a leading 1, and 1 or 3 channels.
            where: the picture, as messages name it.

        Returns:
            An array of the input's shape and dtype; integer dtypes are rounded and saturated.

        Raises:
            DataError: The picture does not have the input's size after resize and crop.
            OptionError: `mean` or `scale` do not have the input's channels.
        """
        layout = self.layout_of(signature)
        axis = 1 if layout is Layout.NCHW else 3
        channels = signature.shape[axis]
        height, width = (size for i, size in enumerate(signature.shape) if i not in (0, axis))
        picture = picture.convert("L" if channels == 1 else "RGB")
        picture = self._cropped(self._resized(picture), where)
        if picture.size != (width, height):
            raise DataError(
                f"{where} is {picture.height} high and {picture.width} wide after preprocessing, "
                f"input {signature.name!r} takes {height} x {width}: state a resize or a crop."
            )
        pixels = np.asarray(picture, np.float32).reshape(height, width, channels)
        if self.channel_order is ChannelOrder.BGR:
            pixels = pixels[..., ::-1]
        pixels = (pixels - np.asarray(self.mean, np.float32)) * np.asarray(self.scale, np.float32)
        if layout is Layout.NCHW:
            pixels = pixels.transpose(2, 0, 1)
        return _cast(pixels[np.newaxis], signature)

    def layout_of(self, signature: TensorSignature) -> Layout:
        """Returns the layout of an input and checks that pictures can feed it.

        Raises:
            DataError: The input does not take pictures.
            OptionError: `mean` or `scale` do not have the input's channels.
        """
        shape = signature.shape
        if len(shape) != 4 or shape[0] != 1:
            raise DataError(
                f"input {signature.name!r} takes {list(shape)}, pictures need an input of shape "
                "[1, channels, height, width] or [1, height, width, channels]."
            )
        layout = self.layout or (Layout.NCHW if shape[1] in (1, 3) else Layout.NHWC)
        channels = shape[1 if layout is Layout.NCHW else 3]
        if channels not in (1, 3):
            raise DataError(
                f"input {signature.name!r} takes {list(shape)}, which is {channels} channels in "
                f"{layout.value}; pictures have 1 or 3."
            )
        for name in ("mean", "scale"):
            count = len(getattr(self, name))
            if count not in (1, channels):
                raise OptionError(
                    f"preprocessing {name!r} has {count} values, input {signature.name!r} has "
                    f"{channels} channels."
                )
        return layout

    def _resized(self, picture: Image.Image) -> Image.Image:
        if self.resize is None:
            return picture
        filter_ = _FILTERS[self.interpolation]
        if self.resize_with_pad is not Padding.NONE:
            return self._letterboxed(picture, filter_)
        if isinstance(self.resize, int):
            factor = self.resize / min(picture.size)
            width = max(self.resize, round(picture.width * factor))
            height = max(self.resize, round(picture.height * factor))
        else:
            height, width = self.resize
        return picture.resize((width, height), filter_)

    def _letterboxed(self, picture: Image.Image, filter_: Image.Resampling) -> Image.Image:
        target = self.resize
        height, width = (target, target) if isinstance(target, int) else target or (1, 1)
        factor = min(height / picture.height, width / picture.width)
        inner_width = max(1, round(picture.width * factor))
        inner_height = max(1, round(picture.height * factor))
        padded = Image.new("RGB", (width, height), self.pad_color).convert(picture.mode)
        left, top = (width - inner_width) // 2, (height - inner_height) // 2
        corner = (0, 0) if self.resize_with_pad is Padding.CORNER else (left, top)
        padded.paste(picture.resize((inner_width, inner_height), filter_), corner)
        return padded

    def _cropped(self, picture: Image.Image, where: str) -> Image.Image:
        if self.crop is None:
            return picture
        height, width = self.crop
        if picture.height < height or picture.width < width:
            raise DataError(
                f"{where} is {picture.height} high and {picture.width} wide, too small for a crop "
                f"of {height} x {width}: state a resize."
            )
        left, top = (picture.width - width) // 2, (picture.height - height) // 2
        return picture.crop((left, top, left + width, top + height))


_FILTERS = MappingProxyType(
    {
        Interpolation.NEAREST: Image.Resampling.NEAREST,
        Interpolation.BILINEAR: Image.Resampling.BILINEAR,
        Interpolation.BICUBIC: Image.Resampling.BICUBIC,
        Interpolation.AREA: Image.Resampling.BOX,
        Interpolation.LANCZOS: Image.Resampling.LANCZOS,
    }
)

_PADDING_SPELLINGS = MappingProxyType(
    {"center": "centre", "1": "centre", "true": "centre", "0": "none", "false": "none"}
)

_READERS: Mapping[str, values.Reader] = MappingProxyType(
    {
        "resize": values.read_resize,
        "crop": values.read_size,
        "layout": values.choice(Layout),
        "channel_order": values.choice(ChannelOrder),
        "reverse_channels": values.read_switch,
        "mean": values.read_numbers,
        "scale": values.read_numbers,
        "interpolation": values.choice(Interpolation),
        "resize_with_pad": values.choice(Padding, _PADDING_SPELLINGS),
        "pad_color": values.read_color,
    }
)


def _cast(pixels: NDArray[np.float32], signature: TensorSignature) -> NDArray[np.generic]:
    if signature.quant is not None:
        return np.ascontiguousarray(signature.stored(pixels))
    dtype = signature.dtype
    if dtype.kind in "iu":
        limits = np.iinfo(dtype.name)
        return np.ascontiguousarray(np.clip(np.rint(pixels), limits.min, limits.max).astype(dtype))
    return np.ascontiguousarray(pixels.astype(dtype))
