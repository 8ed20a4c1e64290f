"""Every foreseeable fault ends in one sentence and an exit code, and leaves nothing behind."""

from __future__ import annotations

import errno
import json
import resource
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from cli import networks
from cli.conftest import Command, Outcome


def refused(outcome: Outcome, code: int, *parts: str) -> None:
    assert outcome.exit_code == code, (outcome.stdout, outcome.stderr)
    assert outcome.stderr.startswith("error: ")
    assert outcome.stderr.count("\n") == 1, outcome.stderr
    assert "Traceback" not in outcome.stderr
    for part in parts:
        assert part in outcome.stderr


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "out" / "artifacts"


@pytest.fixture(autouse=True)
def _nothing_is_left(tmp_path: Path, request: pytest.FixtureRequest) -> object:
    """After a refusal there are neither artifacts nor scratch files."""
    yield
    left = [path for path in tmp_path.rglob("*") if path.name.startswith(".")]
    assert not left
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_a_file_that_is_not_onnx_is_refused(
    tidlq: Command, frames: Path, target: Path, tmp_path: Path
) -> None:
    path = tmp_path / "notes.onnx"
    path.write_text("These are notes, not a network.\n" * 20)
    refused(
        tidlq("compile", path, "--calib", frames, "-o", target),
        1,
        "notes.onnx",
        "neither an ONNX nor a TFLite model",
    )


def test_a_missing_model_is_refused_with_the_nearest_file(
    tidlq: Command, classifier: Path, frames: Path, target: Path
) -> None:
    outcome = tidlq(
        "compile", classifier.with_name("clasifier.onnx"), "--calib", frames, "-o", target
    )
    refused(outcome, 1, "does not exist", "Did you mean 'classifier.onnx'?")


@pytest.mark.parametrize("share", [0.2, 0.6, 0.95])
def test_a_truncated_model_is_refused(
    tidlq: Command, classifier: Path, frames: Path, target: Path, share: float
) -> None:
    content = classifier.read_bytes()
    classifier.write_bytes(content[: int(len(content) * share)])
    refused(tidlq("compile", classifier, "--calib", frames, "-o", target), 1, "classifier.onnx")


def test_missing_external_data_are_named(
    tidlq: Command, frames: Path, target: Path, tmp_path: Path
) -> None:
    path = tmp_path / "external.onnx"
    onnx.save_model(
        networks.classifier(),
        path,
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    (tmp_path / "weights.bin").unlink()
    outcome = tidlq("compile", path, "--calib", frames, "-o", target)
    refused(outcome, 1, "external.onnx", "weights.bin")


def test_a_dynamic_shape_is_named_with_the_option_that_fixes_it(
    tidlq: Command, frames: Path, target: Path, tmp_path: Path
) -> None:
    proto = networks.classifier(shape=["N", 1, "height", "width"])
    path = networks.save_model(proto, tmp_path / "dynamic.onnx")
    outcome = tidlq("compile", path, "--calib", frames, "-o", target)
    refused(outcome, 1, "'height'", "'x'", "--input-shape x=")
    outcome = tidlq(
        "compile", path, "--calib", frames, "-o", tmp_path / "ok", "--input-shape", "x=1x1x8x8"
    )
    assert outcome.exit_code == 0, outcome.stderr


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_weight_that_is_not_finite_is_named(
    tidlq: Command, frames: Path, target: Path, tmp_path: Path, value: float
) -> None:
    proto = networks.classifier()
    tensor = proto.graph.initializer[0]
    values = numpy_helper.to_array(tensor).copy()
    values[0, 0, 0, 0] = value
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    path = networks.save_model(proto, tmp_path / "bad.onnx")
    outcome = tidlq("compile", path, "--calib", frames, "-o", target)
    refused(outcome, 1, "'w1'", "NaN" if np.isnan(value) else "Inf")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_calibration_frame_that_is_not_finite_is_named(
    tidlq: Command, classifier: Path, target: Path, tmp_path: Path, value: float
) -> None:
    values = networks.frames(5)
    values[3, 0, 2, 2] = value
    np.save(tmp_path / "bad.npy", values)
    outcome = tidlq("compile", classifier, "--calib", tmp_path / "bad.npy", "-o", target)
    refused(outcome, 1, "'x'", "frame 3", "NaN" if np.isnan(value) else "Inf")


def test_frames_of_another_shape_are_refused(
    tidlq: Command, classifier: Path, target: Path, tmp_path: Path
) -> None:
    np.save(tmp_path / "wide.npy", np.zeros((4, 1, 8, 9), np.float32))
    outcome = tidlq("compile", classifier, "--calib", tmp_path / "wide.npy", "-o", target)
    refused(outcome, 1, "'x'", "[4, 1, 8, 9]", "[1, 1, 8, 8]")


def test_frames_of_another_dtype_are_refused(
    tidlq: Command, classifier: Path, target: Path, tmp_path: Path
) -> None:
    np.save(tmp_path / "words.npy", np.zeros((4, 1, 8, 8), np.complex64))
    outcome = tidlq("compile", classifier, "--calib", tmp_path / "words.npy", "-o", target)
    refused(outcome, 1, "'x'", "complex64", "float32")


def test_empty_data_are_refused(
    tidlq: Command, classifier: Path, target: Path, tmp_path: Path
) -> None:
    np.save(tmp_path / "none.npy", np.zeros((0, 1, 8, 8), np.float32))
    outcome = tidlq("compile", classifier, "--calib", tmp_path / "none.npy", "-o", target)
    refused(outcome, 1, "none.npy", "no frame")
    (tmp_path / "empty").mkdir()
    outcome = tidlq("compile", classifier, "--calib", tmp_path / "empty", "-o", target)
    refused(outcome, 1, "empty", "no picture")


def test_missing_calibration_names_both_ways_out(
    tidlq: Command, classifier: Path, target: Path
) -> None:
    refused(tidlq("compile", classifier, "-o", target), 1, "quant_params_proto_path")


@pytest.mark.parametrize(
    ("option", "parts"),
    [
        ("quantization_scale_typ=4", ["quantization_scale_typ", "quantization_scale_type"]),
        ("accuracy_level=7", ["accuracy_level", "0, 1, 2, 9"]),
        ("advanced_options:calibration_frames=many", ["calibration_frames", "1 or more"]),
        ("requantization=flaot", ["'flaot'", "'float'"]),
        ("device=AM68", ["AM68", "AM68A"]),
        ("no equals sign", ["KEY=VALUE"]),
    ],
)
def test_an_unknown_option_or_value_is_refused_with_the_nearest(
    tidlq: Command, classifier: Path, frames: Path, target: Path, option: str, parts: list[str]
) -> None:
    outcome = tidlq("compile", classifier, "--calib", frames, "-o", target, "--option", option)
    refused(outcome, 2, *parts)


@pytest.mark.parametrize(
    "name", ["deny_list:layer_name", "allow_list:layer_name", "deny_list:layer_type", "deny_list"]
)
def test_an_unknown_layer_in_a_list_is_refused_with_the_nearest(
    tidlq: Command, classifier: Path, frames: Path, target: Path, name: str
) -> None:
    wrong, right = ("Cnov", "Conv") if name.endswith("type") else ("frist", "first")
    outcome = tidlq(
        "compile", classifier, "--calib", frames, "-o", target, "--option", f"{name}={wrong}"
    )
    refused(outcome, 2, name, f"'{wrong}'", f"'{right}'")


def test_asymmetric_features_are_refused_for_tda4vm(
    tidlq: Command, classifier: Path, frames: Path, target: Path
) -> None:
    outcome = tidlq(
        "compile", classifier, "--calib", frames, "-o", target,
        "--device", "TDA4VM", "--option", "quantization_scale_type=4",
    )  # fmt: skip
    refused(outcome, 2, "quantization_scale_type", "TDA4VM", "0, 1")


def test_a_device_given_twice_with_different_values_is_refused(
    tidlq: Command, classifier: Path, frames: Path, target: Path
) -> None:
    outcome = tidlq(
        "compile", classifier, "--calib", frames, "-o", target,
        "--device", "AM68A", "--option", "device=AM62A",
    )  # fmt: skip
    refused(outcome, 2, "device", "twice", "AM62A", "AM68A")


def test_a_manifest_of_a_newer_version_is_refused(
    tidlq: Command, artifacts: Path, frames: Path, tmp_path: Path
) -> None:
    manifest = json.loads((artifacts / "manifest.json").read_text())
    manifest |= {"format_version": 99, "tool_version": "42.0"}
    (artifacts / "manifest.json").write_text(json.dumps(manifest))
    outcome = tidlq("run", artifacts, "--input", frames, "--output", tmp_path / "y.npz")
    refused(outcome, 1, "99", "42.0")
    assert not (tmp_path / "y.npz").exists()


def test_a_network_of_a_newer_version_is_refused(
    tidlq: Command, artifacts: Path, frames: Path, tmp_path: Path
) -> None:
    from tidlq.lowering.network_file import FORMAT_VERSION, MAGIC

    path = artifacts / "stage_0.tidlq"
    content = bytearray(path.read_bytes())
    position = len(MAGIC)
    version = FORMAT_VERSION.to_bytes(4, "little")
    assert content[position : position + 4] == version
    content[position : position + 4] = (99).to_bytes(4, "little")
    path.write_bytes(content)
    outcome = tidlq("run", artifacts, "--input", frames, "--output", tmp_path / "y.npz")
    refused(outcome, 1, "version", "99")


def test_a_damaged_network_is_refused(
    tidlq: Command, artifacts: Path, frames: Path, tmp_path: Path
) -> None:
    path = artifacts / "stage_0.tidlq"
    path.write_bytes(path.read_bytes()[:-7])
    outcome = tidlq("run", artifacts, "--input", frames, "--output", tmp_path / "y.npz")
    refused(outcome, 1)


def test_a_folder_without_a_manifest_is_not_artifacts(tidlq: Command, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    refused(tidlq("inspect", tmp_path / "other"), 1, "manifest.json")


def test_a_target_that_cannot_be_written_is_refused(
    tidlq: Command, classifier: Path, frames: Path
) -> None:
    # A file where a folder is needed stops every user, root included.
    outcome = tidlq("compile", classifier, "--calib", frames, "-o", frames / "artifacts")
    refused(outcome, 1, "frames.npy")


def test_a_target_that_holds_something_else_is_refused_and_kept(
    tidlq: Command, classifier: Path, frames: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "chapter1.txt").write_text("precious")
    outcome = tidlq("compile", classifier, "--calib", frames, "-o", folder)
    refused(outcome, 1, "thesis", "something else than artifacts")
    assert (folder / "chapter1.txt").read_text() == "precious"


def test_a_full_disk_leaves_no_artifacts(
    tidlq_process: Command, classifier: Path, frames: Path, target: Path
) -> None:
    outcome = tidlq_process(
        "compile", classifier, "--calib", frames, "-o", target, preexec_fn=_limit_file_size
    )
    refused(outcome, 1, str(target))


def test_a_full_disk_leaves_no_outputs(
    tidlq_process: Command, artifacts: Path, frames: Path, tmp_path: Path
) -> None:
    outcome = tidlq_process(
        "run", artifacts, "--input", frames, "-o", tmp_path / "y.npz", preexec_fn=_limit_file_size
    )
    refused(outcome, 1, "y.npz")
    assert not (tmp_path / "y.npz").exists()


def _limit_file_size() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (50, 50))


def test_a_full_disk_behind_standard_output_is_an_error(
    tidlq_process: Command, artifacts: Path
) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    with Path("/dev/full").open("w") as full:
        outcome = tidlq_process("inspect", artifacts, stdout=full)
    refused(outcome, 1, "standard output", "No space left")


def test_earlier_artifacts_survive_a_failed_write(
    tidlq: Command,
    artifacts: Path,
    classifier: Path,
    frames: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = {path.name: path.read_bytes() for path in artifacts.iterdir()}

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    outcome = tidlq("compile", classifier, "--calib", frames, "-o", artifacts)
    monkeypatch.undo()
    refused(outcome, 1, "No space left on device")
    assert {path.name: path.read_bytes() for path in artifacts.iterdir()} == before


def test_an_output_file_of_another_kind_is_refused(
    tidlq: Command, artifacts: Path, frames: Path, tmp_path: Path
) -> None:
    outcome = tidlq("run", artifacts, "--input", frames, "--output", tmp_path / "y.csv")
    refused(outcome, 1, "'.csv'", ".npz")


def test_damaged_pictures_are_named(
    tidlq: Command, classifier: Path, target: Path, tmp_path: Path
) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(b"not a picture")
    outcome = tidlq("compile", classifier, "--calib", tmp_path / "pictures", "-o", target)
    refused(outcome, 1, "a.png")


def test_errors_are_documents_with_json(
    tidlq: Command, classifier: Path, frames: Path, target: Path
) -> None:
    outcome = tidlq(
        "compile",
        classifier,
        "--calib",
        frames,
        "-o",
        target,
        "--json",
        "--option",
        "tensor_bits=9",
    )
    assert outcome.exit_code == 2
    assert outcome.stderr == ""
    error = outcome.document["error"]
    assert error["kind"] == "OptionError"
    assert error["exit_code"] == 2
    assert "tensor_bits" in error["message"]


def test_an_unforeseen_fault_is_ours_and_has_no_traceback(
    tidlq: Command,
    classifier: Path,
    frames: Path,
    target: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.delenv("TIDLQ_DEBUG", raising=False)
    monkeypatch.setattr("tidlq.compilation.lower_stage", fail)
    outcome = tidlq("compile", classifier, "--calib", frames, "-o", target)
    refused(outcome, 70, "internal error: ZeroDivisionError", "TIDLQ_DEBUG=1")
    monkeypatch.setenv("TIDLQ_DEBUG", "1")
    outcome = tidlq("compile", classifier, "--calib", frames, "-o", target)
    assert outcome.exit_code == 70
    assert "Traceback" in outcome.stderr


def test_a_missing_stage_file_is_named(
    tidlq: Command, artifacts: Path, frames: Path, tmp_path: Path
) -> None:
    (artifacts / "stage_0.tidlq").unlink()
    refused(tidlq("inspect", artifacts), 1, "stage_0.tidlq")
    shutil.rmtree(artifacts)
    refused(tidlq("inspect", artifacts), 1, "artifacts")
