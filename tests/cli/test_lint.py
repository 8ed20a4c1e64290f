"""`tidlq lint`: findings as text and JSON, its exit codes, and what it says of real networks."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from cli.conftest import Command
from small_networks import SmallNetwork


@pytest.fixture
def strided(tmp_path: Path) -> Path:
    net = SmallNetwork()
    x = net.conv(net.input(1, 3, 16, 16), (4, 3, 3, 3), name="tall", strides=[2, 1])
    pooled = net.node("Flatten", net.node("GlobalAveragePool", x))
    path = tmp_path / "strided.onnx"
    onnx.save(net.model(net.node("Gemm", pooled, net.random(4, 3))), path)
    return path


def test_a_finding_names_device_reason_and_layer(tidlq: Command, strided: Path) -> None:
    outcome = tidlq("lint", strided, "--device", "am62a")
    assert outcome.exit_code == 0, outcome.stderr
    assert "warning not-accelerated: AM62A does not accelerate Conv: its strides 2x1 differ." in (
        outcome.stdout
    )
    assert "tall" in outcome.stdout
    assert "AM62A accelerates 3 of 4" in outcome.stdout


def test_the_document_has_every_layer(tidlq: Command, strided: Path) -> None:
    document = tidlq("lint", strided, "--device", "AM68A", "--json").document
    assert (document["device"], document["operations"], document["accelerated"]) == ("AM68A", 4, 3)
    (finding,) = document["findings"]
    assert (finding["rule"], finding["layers"]) == ("not-accelerated", ["tall"])


def test_strict_is_a_gate(tidlq: Command, strided: Path) -> None:
    failed = tidlq("lint", strided, "--device", "AM68A", "--strict")
    assert failed.exit_code == 3
    assert "does not accelerate Conv" in failed.stdout
    assert "1 finding that is more than a hint: not-accelerated" in failed.stderr
    document = tidlq("lint", strided, "--device", "AM68A", "--strict", "--json")
    assert (document.exit_code, document.document["error"]["kind"]) == (3, "GateError")
    assert len(document.document["findings"]) == 1
    assert tidlq("lint", strided, "--strict").exit_code == 0


def test_free_sizes_are_asked_for_and_taken(tidlq: Command, tmp_path: Path) -> None:
    net = SmallNetwork()
    model = net.model(net.conv(net.input(1, 3, 16, 16), (4, 3, 3, 3)))
    for axis in (2, 3):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = "size"
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    path = tmp_path / "free.onnx"
    onnx.save(model, path)
    missing = tidlq("lint", path)
    assert missing.exit_code == 1
    assert "--input-shape input0=1x3x<size>x<size>" in missing.stderr
    assert tidlq("lint", path, "--input-shape", "input0=1x3x20x20").exit_code == 0


def test_an_unknown_device_is_a_usage_error(tidlq: Command, strided: Path) -> None:
    outcome = tidlq("lint", strided, "--device", "AM86A")
    assert outcome.exit_code == 2
    assert "AM68A" in outcome.stderr


def test_a_file_that_is_no_model_fails_with_a_sentence(tidlq: Command, tmp_path: Path) -> None:
    path = tmp_path / "note.onnx"
    path.write_text("this is no model")
    outcome = tidlq("lint", path, "--device", "AM68A")
    assert outcome.exit_code == 1
    assert "neither an ONNX nor a TFLite model" in outcome.stderr


@pytest.mark.parametrize(
    ("model", "rules"),
    [
        ("imagenet/models/mobilenet_v2_1.0_224_quant.tflite", {"stated-scales"}),
        ("fashion_mnist/models/fmnist_mbv2.onnx", set()),
        ("fashion_mnist/models/fmnist_mbv2_float.tflite", set()),
        ("kws/models/mlperf_kws_fp32.onnx", {"not-accelerated"}),
        (
            "detection/models/nanodet_m_416_coco.onnx",
            {"not-accelerated", "regression-head", "channel-spread"},
        ),
    ],
)
def test_real_networks_have_the_findings_of_an_expert(
    tidlq: Command, shared_data: Path, model: str, rules: set[str]
) -> None:
    document = tidlq("lint", shared_data / model, "--device", "TDA4VM", "--json").document
    assert {finding["rule"] for finding in document["findings"]} == rules
