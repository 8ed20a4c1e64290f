"""The networks of bench_inference.py, quantized by us and by the peers; made once."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from data_folder import data_folder
from peers.client import BENCHES
from sized_models import write_frames, write_mobilenet_v2, write_resnet50

import tidlq

FRAMES = 8
PREQUANTIZED = "imagenet/models/tf2_mobilenet_v2_1.0_224_ptq.tflite"
OURS: Mapping[str, Mapping[str, int]] = {
    "type 0": {"quantization_scale_type": 0},
    "type 4": {"quantization_scale_type": 4},
    "16x16": {"quantization_scale_type": 0, "tensor_bits": 16},
}
#: Models of ONNX Runtime's quantizer that we import: their features are unsigned, or signed.
IMPORTED: Mapping[str, str] = {
    "16x8": "s16s8.onnx",
    "QDQ u8s8": "u8s8.onnx",
    "QDQ s8s8": "s8s8.onnx",
}
WRITERS: Mapping[str, Callable[[Path], Path]] = {
    "MobileNetV2": write_mobilenet_v2,
    "ResNet-50": write_resnet50,
}


@dataclass(frozen=True)
class Contender:
    """A network in one engine.

    Attributes:
        name: of the column.
        engine: as inference_worker.py names it.
        model: file or folder.
    """

    name: str
    engine: str
    model: Path


@dataclass(frozen=True)
class Race:
    """What is compared with each other.

    Attributes:
        network: its name.
        input_name: of every contender.
        frames: `.npy` file, float32 [FRAMES, ...].
        contenders: of the network.
    """

    network: str
    input_name: str
    frames: Path
    contenders: tuple[Contender, ...]


def sized_race(network: str, folder: Path, peers: Path) -> Race:
    """A network with random weights, in everything that runs it.

    Args:
        network: a key of WRITERS.
        folder: what is made is kept there.
        peers: interpreter of the peers' environment.
    """
    folder = folder / network
    folder.mkdir(parents=True, exist_ok=True)
    model, frames = folder / "float.onnx", folder / "frames.npy"
    if not frames.exists():
        WRITERS[network](model)
        write_frames(frames, FRAMES)
    _quantize_by_peers(peers, model, frames)
    found = [
        Contender(name, "tidlq", _compiled(model, "x", frames, options, folder / name))
        for name, options in OURS.items()
    ]
    found += [
        Contender(name, "tidlq", _compiled(folder / file, "x", frames, {}, folder / name))
        for name, file in IMPORTED.items()
    ]
    found += [
        Contender("ONNX Runtime u8s8", "onnxruntime", folder / "u8s8.onnx"),
        Contender("ONNX Runtime float32", "onnxruntime", model),
        Contender("OpenVINO int8", "openvino", folder / "openvino.xml"),
    ]
    return Race(network, "x", frames, tuple(found))


def prequantized_race(folder: Path) -> Race | None:
    """A published int8 TFLite network, if the data folder is there."""
    model = data_folder() / PREQUANTIZED
    if not model.exists():
        return None
    folder = folder / model.stem
    folder.mkdir(parents=True, exist_ok=True)
    artifacts = folder / "ours"
    if not artifacts.exists():
        tidlq.compile(model).save(artifacts)
    source = tidlq.InferenceSession(artifacts).get_inputs()[0]
    frames = folder / "frames.npy"
    if not frames.exists():
        shape = (FRAMES, *(int(size) for size in source.shape[1:]))
        kind = np.dtype(
            source.type.removeprefix("tensor(").removesuffix(")").replace("float", "f4")
        )
        values = np.random.default_rng(1).integers(0, 128, shape)
        np.save(frames, values.astype(kind))
    contenders = (Contender("tidlq", "tidlq", artifacts), Contender("LiteRT", "litert", model))
    return Race("MobileNetV2, int8 TFLite", source.name, frames, contenders)


def _compiled(
    model: Path, name: str, frames: Path, options: Mapping[str, int], folder: Path
) -> Path:
    if not folder.exists():
        data = [{name: frame[None]} for frame in np.load(frames)]
        settings = {"accuracy_level": 0, "calibration_frames": FRAMES, **options}
        tidlq.compile(model, data, settings).save(folder)
    stages = json.loads((folder / "manifest.json").read_text())["stages"]
    if [stage["kind"] for stage in stages] != ["fixed"]:
        raise SystemExit(f"{folder} has float islands")
    return folder


def _quantize_by_peers(python: Path, model: Path, frames: Path) -> None:
    """In the peers' environment; what is there stays."""
    command = [str(python), "-m", "peers.inference_models", str(model), str(frames)]
    environment = {**os.environ, "PYTHONPATH": str(BENCHES)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(done.stderr.strip().splitlines()[-1])
