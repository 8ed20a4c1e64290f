"""Range files of other tools in, AIMET's encodings out."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from onnxruntime.quantization.calibrate import TensorData
from onnxruntime.quantization.quant_utils import write_calibration_table

from cli.conftest import Command
from tidlq.quantproto import read_quant_params

RANGES = {"x": (-1.0, 1.0), "r1": (0.0, 3.0), "pooled": (0.0, 1.5), "scores": (-2.0, 2.0)}


@pytest.fixture
def caches(tmp_path: Path) -> Path:
    """ONNX Runtime's three files, and TensorRT's."""
    data = {
        name: TensorData(lowest=np.array(low, np.float32), highest=np.array(high, np.float32))
        for name, (low, high) in RANGES.items()
    }
    write_calibration_table(data, str(tmp_path))
    lines = [f"{name}: {struct.pack('>f', high / 127).hex()}" for name, (_, high) in RANGES.items()]
    (tmp_path / "trt.cache").write_text("\n".join(["TRT-8501-EntropyCalibration2", *lines]))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "tool"),
    [
        ("calibration.json", "ONNX Runtime"),
        ("calibration.cache", "ONNX Runtime"),
        ("calibration.flatbuffers", "ONNX Runtime"),
        ("trt.cache", "TensorRT"),
    ],
)
def test_a_cache_replaces_calibration(
    tidlq: Command, classifier: Path, caches: Path, tmp_path: Path, name: str, tool: str
) -> None:
    proto = tmp_path / "imported.prototxt"
    outcome = tidlq("proto", "import", caches / name, "--model", classifier, "-o", proto, "--json")
    assert outcome.exit_code == 0, outcome.stderr
    document = outcome.document
    assert (document["tool"], document["features"], document["missing"]) == (tool, 4, [])
    known = read_quant_params(proto).layers_by_name["first"].outputs[0].range
    assert known is not None
    assert (known.min, known.max) == (0.0, pytest.approx(3.0))
    outcome = tidlq(
        "compile",
        classifier,
        "-o",
        tmp_path / "out",
        "--option",
        f"quant_params_proto_path={proto}",
    )
    assert outcome.exit_code == 0, outcome.stderr


def test_what_a_file_lacks_is_told_and_left_to_calibration(
    tidlq: Command, classifier: Path, frames: Path, tmp_path: Path
) -> None:
    content = json.dumps({"r1": [0, 7], "other": [0, 1]}).encode()
    proto = tmp_path / "imported.prototxt"
    outcome = tidlq("proto", "import", "-", "--model", classifier, "-o", proto, stdin=content)
    assert outcome.exit_code == 0, outcome.stderr
    assert "no range for 3 tensors of it: x, pooled, scores" in outcome.stderr
    assert "no use for 1 tensor of it: other" in outcome.stderr
    outcome = tidlq(
        "compile", classifier, "-o", tmp_path / "out", "--calib", frames,
        "--option", f"quant_params_proto_path={proto}",
    )  # fmt: skip
    assert outcome.exit_code == 0, outcome.stderr
    saved = read_quant_params(tmp_path / "out" / "quant_params.prototxt")
    known = saved.layers_by_name["first"].outputs[0].range
    assert known is not None
    assert (known.min, known.max) == (0.0, 7.0)


@pytest.mark.parametrize("version", ["0.6.1", "1.0.0", "2.0.0"])
@pytest.mark.parametrize("scale_type", [0, 1, 4])
def test_encodings_give_back_the_ranges_and_the_network(
    tidlq: Command, classifier: Path, frames: Path, tmp_path: Path, version: str, scale_type: int
) -> None:
    kind = ["--option", f"quantization_scale_type={scale_type}"]
    level = ["--option", "accuracy_level=2"]
    first = tidlq("compile", classifier, "--calib", frames, "-o", tmp_path / "a", *kind, *level)
    assert first.exit_code == 0, first.stderr
    proto, encodings = tmp_path / "a" / "quant_params.prototxt", tmp_path / "e.encodings"
    outcome = tidlq(
        "proto", "export", proto, "--encodings", version, "--model", classifier, "-o", encodings
    )
    assert outcome.exit_code == 0, outcome.stderr
    assert "left out: 2 biases" in outcome.stderr
    assert json.loads(encodings.read_text())["version"] == version
    back = tmp_path / "back.prototxt"
    outcome = tidlq("proto", "import", encodings, "--model", classifier, "-o", back, *kind)
    assert outcome.exit_code == 0, outcome.stderr
    assert tidlq("proto", "diff", proto, back).stdout == "no differences\n"
    outcome = tidlq(
        "compile", classifier, "-o", tmp_path / "b", *kind,
        "--option", f"quant_params_proto_path={back}",
    )  # fmt: skip
    assert outcome.exit_code == 0, outcome.stderr
    networks = [(tmp_path / x / "stage_0.tidlq").read_bytes() for x in "ab"]
    assert networks[0] == networks[1]


def test_encodings_go_to_standard_output(tidlq: Command, artifacts: Path) -> None:
    proto = artifacts / "quant_params.prototxt"
    piped = tidlq("proto", "export", "-", "--quiet", stdin=proto.read_bytes())
    assert json.loads(piped.stdout)["version"] == "1.0.0"
    document = tidlq("proto", "export", proto, "--json").document
    assert document["encodings"] == json.loads(piped.stdout)
    assert document["left_out"] == ["2 biases: encodings have no values"]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b'{"version": "1.0.0", "activation_encodings": [{}]}', "name is None"),
        (b"", "no use for|no range"),
        (b"x\n", "line 1: expected NAME and a number"),
    ],
)
def test_a_file_that_cannot_be_read_is_an_error(
    tidlq: Command, classifier: Path, tmp_path: Path, content: bytes, fault: str
) -> None:
    target = tmp_path / "out.prototxt"
    outcome = tidlq("proto", "import", "-", "--model", classifier, "-o", target, stdin=content)
    assert "Traceback" not in outcome.stderr
    if content:
        assert outcome.exit_code == 1
        assert fault in outcome.stderr
        assert not target.exists()


def test_a_file_that_is_not_there_is_an_error(
    tidlq: Command, classifier: Path, tmp_path: Path
) -> None:
    outcome = tidlq("proto", "import", tmp_path / "none.json", "--model", classifier)
    assert outcome.exit_code == 1
    assert "none.json' cannot be read" in outcome.stderr
