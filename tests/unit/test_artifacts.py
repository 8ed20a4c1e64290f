"""The artifacts folder: whole or absent, and read back as it was."""

from __future__ import annotations

import dataclasses
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tidlq.artifacts import MANIFEST, Artifacts, StageFile, load_artifacts
from tidlq.errors import ArtifactError, OutputError
from tidlq.graph.model import TensorSignature
from tidlq.graph.partition import StageKind


def artifacts() -> Artifacts:
    signature = TensorSignature("x", np.dtype(np.float32), (1, 3), ("N", 3))
    return Artifacts(
        name="net",
        tool_version="0",
        graph_fingerprint="f" * 64,
        scheme="type 4",
        free_batch=True,
        inputs=(signature,),
        outputs=(signature,),
        stages=(StageFile(StageKind.FIXED, "stage_0.tidlq", ("x",), ("x",), b"bytes"),),
        options={"tensor_bits": 8},
        preprocessing={"mean": [0.0]},
        quant_params=b"num_layers: 0\n",
        report={"stages": []},
    )


def test_what_is_saved_reads_back_equal(tmp_path: Path) -> None:
    artifacts().save(tmp_path / "a")
    assert load_artifacts(tmp_path / "a") == artifacts()


def test_a_second_save_replaces_the_first_and_leaves_nothing_else(tmp_path: Path) -> None:
    artifacts().save(tmp_path / "a")
    dataclasses.replace(artifacts(), name="other").save(tmp_path / "a")
    assert load_artifacts(tmp_path / "a").name == "other"
    assert sorted(p.name for p in tmp_path.rglob("*")) == [
        "a",
        MANIFEST,
        "quant_params.prototxt",
        "report.json",
        "stage_0.tidlq",
    ]


def test_a_file_that_somebody_put_beside_the_artifacts_is_not_deleted(tmp_path: Path) -> None:
    artifacts().save(tmp_path / "a")
    (tmp_path / "a" / "results.csv").write_text("mine")
    with pytest.raises(OutputError, match=r"'results\.csv'"):
        artifacts().save(tmp_path / "a")
    assert (tmp_path / "a" / "results.csv").exists()


def test_a_manifest_of_another_kind_does_not_make_a_folder_ours(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text('{"name": "web app"}')
    with pytest.raises(OutputError, match="something else than artifacts"):
        artifacts().save(tmp_path)


def test_saves_into_one_folder_at_the_same_time_all_succeed(tmp_path: Path) -> None:
    def save(number: int) -> None:
        dataclasses.replace(artifacts(), name=str(number)).save(tmp_path / "a")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(save, range(100)))
    assert load_artifacts(tmp_path / "a").name in map(str, range(100))
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_folder_with_other_files_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(OutputError, match="something else than artifacts"):
        artifacts().save(tmp_path)
    assert (tmp_path / "thesis.tex").exists()


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(OutputError, match="is a file"):
        artifacts().save(tmp_path / "a")


def test_a_failed_write_leaves_the_earlier_artifacts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifacts().save(tmp_path / "a")

    def full(self: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match="No space left on device"):
        dataclasses.replace(artifacts(), name="other").save(tmp_path / "a")
    monkeypatch.undo()
    assert load_artifacts(tmp_path / "a").name == "net"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 99}, "format version 99.*reads up to 1"),
        ({"format_version": "one"}, "not a manifest"),
        ({"stages": [{"kind": "fixed"}]}, "lacks or garbles 'file'"),
        ({"stages": 7}, "lacks or garbles"),
    ],
)
def test_a_manifest_that_cannot_be_read_says_why(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    artifacts().save(tmp_path / "a")
    manifest = json.loads((tmp_path / "a" / MANIFEST).read_text())
    (tmp_path / "a" / MANIFEST).write_text(json.dumps({**manifest, **change}))
    with pytest.raises(ArtifactError, match=message):
        load_artifacts(tmp_path / "a")


def test_a_manifest_cannot_name_files_outside_its_folder(tmp_path: Path) -> None:
    artifacts().save(tmp_path / "a")
    path = tmp_path / "a" / MANIFEST
    path.write_text(path.read_text().replace("stage_0.tidlq", "../secret"))
    with pytest.raises(ArtifactError, match="outside the folder"):
        load_artifacts(tmp_path / "a")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    artifacts().save(tmp_path / "a")
    (tmp_path / "a" / "stage_0.tidlq").unlink()
    with pytest.raises(ArtifactError, match=r"incomplete: 'stage_0\.tidlq'"):
        load_artifacts(tmp_path / "a")


def test_a_folder_without_a_manifest_is_not_artifacts(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"no manifest\.json"):
        load_artifacts(tmp_path)
    with pytest.raises(ArtifactError, match="no such folder"):
        load_artifacts(tmp_path / "absent")
