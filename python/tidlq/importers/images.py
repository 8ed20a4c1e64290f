"""Pictures in folders, globs and lists of files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from tidlq.errors import DataError
from tidlq.graph.model import TensorSignature
from tidlq.importers.frame_source import Frame, quoted
from tidlq.importers.preprocessing import Preprocessing

IMAGE_SUFFIXES = frozenset(
    (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
)


def is_image(path: Path) -> bool:
    """Says whether a file's suffix is that of a picture; hidden files do not count."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def list_files(folder: Path) -> list[Path]:
    """Returns every file below a folder, links followed, sorted by path."""
    found = []
    seen = set()
    for root, folders, names in os.walk(folder, followlinks=True):
        real = Path(root).resolve()
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        found += [Path(root, name) for name in names]
    return sorted(found, key=lambda path: path.as_posix())


def read_image(path: Path) -> Image.Image:
    """Reads a picture whole.

    Raises:
        DataError: The file cannot be read or is not a picture.
    """
    try:
        with Image.open(path) as picture:
            picture.load()
            return picture
    except FileNotFoundError:
        raise DataError(f"picture {str(path)!r} does not exist.") from None
    except UnidentifiedImageError:
        raise DataError(f"{str(path)!r} is not a picture of a known format.") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"picture {str(path)!r} cannot be read: {error}.") from None


@dataclass(frozen=True)
class ImageReader:
    """One frame per picture, for a network of one input.

    Attributes:
        paths: the pictures.
        signature: the network's input.
        preprocessing: how a picture becomes the input.
    """

    paths: Sequence[Path]
    signature: TensorSignature
    preprocessing: Preprocessing

    @classmethod
    def open(
        cls,
        paths: Sequence[Path],
        inputs: Sequence[TensorSignature],
        preprocessing: Preprocessing | None,
    ) -> ImageReader:
        """Checks that pictures can feed the network's inputs.

        Raises:
            DataError: The network has several inputs, or its input does not take pictures.
            OptionError: `mean` or `scale` do not have the input's channels.
        """
        if len(inputs) != 1:
            names = quoted(signature.name for signature in inputs)
            raise DataError(
                f"pictures feed a network of one input, this one has {len(inputs)} ({names}): "
                "give .npz files with an array per input."
            )
        preprocessing = preprocessing or Preprocessing()
        preprocessing.layout_of(inputs[0])
        return cls(paths, inputs[0], preprocessing)

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, indices: Iterable[int]) -> Iterator[Frame]:
        """Yields the frames at the given indices."""
        for index in indices:
            picture = read_image(self.paths[index])
            where = f"picture {str(self.paths[index])!r}"
            yield {self.signature.name: self.preprocessing.apply(picture, self.signature, where)}

    def frame_name(self, index: int) -> str:
        """Names the picture of a frame."""
        return f"picture {str(self.paths[index])!r}"
