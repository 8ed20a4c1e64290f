"""Data in all their forms, declared preparation of pictures, and TI's configuration files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cli import networks
from cli.conftest import Command


@pytest.fixture
def colour_network(tmp_path: Path) -> Path:
    return networks.save_model(networks.classifier(channels=3), tmp_path / "colour.onnx")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """12 pictures of 3 classes, one folder per class."""
    random = np.random.default_rng(7)
    for number in range(12):
        folder = tmp_path / "pictures" / f"class{number % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 256, (12, 10, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02}.png")
    return tmp_path / "pictures"


_PREPARATION = ("--resize", "9", "--crop", "8", "--mean", "127.5", "--scale", "1/127.5")


def prepared(picture: Path) -> np.ndarray:
    """Resize the short side to 9, cut 8 from the centre, (x - 127.5) / 127.5, NCHW."""
    with Image.open(picture) as image:
        resized = image.resize((9, 11), Image.Resampling.BILINEAR)
    pixels = np.asarray(resized.crop((0, 1, 8, 9)), np.float32)
    return ((pixels - np.float32(127.5)) * np.float32(1 / 127.5)).transpose(2, 0, 1)[np.newaxis]


def test_declared_preparation_is_kept_and_used_by_run(
    tidlq: Command, colour_network: Path, pictures: Path, tmp_path: Path
) -> None:
    import tidlq as package

    folder = tmp_path / "artifacts"
    outcome = tidlq("compile", colour_network, "--calib", pictures, "-o", folder, *_PREPARATION)
    assert outcome.exit_code == 0, outcome.stderr
    picture = pictures / "class1" / "01.png"
    outcome = tidlq("run", folder, "--input", picture, "--output", tmp_path / "y.npz")
    assert outcome.exit_code == 0, outcome.stderr
    (expected,) = package.load(folder).run(None, {"x": prepared(picture)})
    with np.load(tmp_path / "y.npz") as written:
        np.testing.assert_array_equal(written["scores"], expected)


def test_preparation_given_anew_wins(
    tidlq: Command, colour_network: Path, pictures: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "artifacts"
    tidlq("compile", colour_network, "--calib", pictures, "-o", folder, *_PREPARATION)
    results = []
    for name, anew in (
        ("as_declared", ()),
        ("anew", ("--mean", "0")),
        ("bgr", ("--channel-order", "BGR")),
    ):
        path = tmp_path / f"{name}.npz"
        outcome = tidlq("run", folder, "--input", pictures, "--output", path, *anew)
        assert outcome.exit_code == 0, outcome.stderr
        with np.load(path) as written:
            results.append(written["scores"])
    assert not np.array_equal(results[0], results[1])
    assert not np.array_equal(results[0], results[2])


def test_pictures_of_another_size_name_the_options(
    tidlq: Command, colour_network: Path, pictures: Path, tmp_path: Path
) -> None:
    outcome = tidlq("compile", colour_network, "--calib", pictures, "-o", tmp_path / "out")
    assert outcome.exit_code == 1
    assert "resize" in outcome.stderr
    assert "crop" in outcome.stderr


def test_folders_csv_and_classes_give_the_same_accuracy(
    tidlq: Command, colour_network: Path, pictures: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "artifacts"
    tidlq("compile", colour_network, "--calib", pictures, "-o", folder, *_PREPARATION)
    files = sorted(pictures.rglob("*.png"))
    inside = pictures / "labels.csv"
    rows = [f"{path.relative_to(pictures)},{path.parent.name[-1]}" for path in files]
    inside.write_text("file,label\n" + "\n".join(rows) + "\n")
    (tmp_path / "elsewhere.csv").write_text(inside.read_text())
    (tmp_path / "names.txt").write_text("class0\nclass1\nclass2\n")
    ways = [
        ["--data", pictures],
        ["--data", inside],
        ["--data", pictures, "--labels", tmp_path / "elsewhere.csv"],
        ["--data", pictures, "--classes", tmp_path / "names.txt"],
    ]
    found = []
    for way in ways:
        outcome = tidlq("evaluate", folder, "--json", "--model", colour_network, *way)
        assert outcome.exit_code == 0, outcome.stderr
        document = outcome.document
        found.append({key: document[key] for key in ("fixed", "float", "agreement", "outputs")})
    assert found[0]["fixed"]["top1"]["total"] == 12
    assert all(one == found[0] for one in found)


def test_classes_in_another_order_change_the_labels(
    tidlq: Command, colour_network: Path, pictures: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "artifacts"
    tidlq("compile", colour_network, "--calib", pictures, "-o", folder, *_PREPARATION)
    hits = 0
    for order in ("012", "120", "201"):
        names = tmp_path / "names.txt"
        names.write_text("".join(f"class{digit}\n" for digit in order))
        outcome = tidlq("evaluate", folder, "--data", pictures, "--classes", names, "--json")
        hits += outcome.document["fixed"]["top1"]["count"]
    # Under three labelings that never coincide, each picture is right exactly once.
    assert hits == 12


def test_a_background_class_shifts_the_labels(
    tidlq: Command, artifacts: Path, tmp_path: Path
) -> None:
    x = networks.frames(30)
    outputs = tmp_path / "y.npz"
    np.savez(tmp_path / "x.npz", x=x)
    tidlq("run", artifacts, "--input", tmp_path / "x.npz", "--output", outputs)
    with np.load(outputs) as written:
        best = written["scores"].argmax(axis=1)
    keep = best > 0
    np.savez(tmp_path / "shifted.npz", x=x[keep], y=best[keep] - 1)
    arguments = ["evaluate", artifacts, "--data", tmp_path / "shifted.npz", "--json"]
    assert tidlq(*arguments, "--class-offset", "1").document["fixed"]["top1"]["value"] == 1.0
    assert tidlq(*arguments).document["fixed"]["top1"]["value"] == 0.0


def test_a_python_function_is_data(
    tidlq: Command, classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_frames.py").write_text(
        "import numpy as np\n"
        "def frames():\n"
        "    for value in range(5):\n"
        "        yield {'x': np.full((1, 1, 8, 8), value, np.float32)}\n"
    )
    outcome = tidlq("compile", classifier, "--calib", "own_frames:frames", "-o", "out", "--json")
    assert outcome.exit_code == 0, outcome.stderr
    assert outcome.document["calibration_frames"] == 5
    outcome = tidlq("run", "out", "--input", "own_frames:frames", "--output", "y.npz", "--json")
    assert outcome.document["outputs"][0]["shape"] == [5, 3]


def test_a_network_of_fixed_batch_gets_an_axis_of_frames(
    tidlq: Command, tmp_path: Path, frames: Path
) -> None:
    proto = networks.classifier(shape=[1, 1, 8, 8])
    path = networks.save_model(proto, tmp_path / "fixed.onnx")
    assert tidlq("compile", path, "--calib", frames, "-o", tmp_path / "out").exit_code == 0
    np.save(tmp_path / "one.npy", networks.frames(1))
    for data, shape in ((frames, [6, 1, 3]), (tmp_path / "one.npy", [1, 3])):
        outcome = tidlq(
            "run", tmp_path / "out", "--input", data, "-o", tmp_path / "y.npz", "--json"
        )
        assert outcome.document["outputs"][0]["shape"] == shape


def test_a_configuration_of_the_model_zoo_is_taken_as_it_is(
    tidlq: Command, colour_network: Path, pictures: Path, tmp_path: Path
) -> None:
    config = tmp_path / "net_config.yaml"
    config.write_text(
        "task_type: classification\n"
        "preprocess:\n  resize: 9\n  crop: 8\n  data_layout: NCHW\n  reverse_channels: false\n"
        "session:\n"
        "  model_path: colour.onnx\n"
        "  input_mean: [127.5, 127.5, 127.5]\n"
        "  input_scale: [0.00784313725490196, 0.00784313725490196, 0.00784313725490196]\n"
        "  runtime_options:\n"
        "    accuracy_level: 0\n"
        "    advanced_options:quantization_scale_type: 4\n"
        "    advanced_options:calibration_frames: 7\n"
    )
    folder = tmp_path / "artifacts"
    outcome = tidlq("compile", "--config", config, "--calib", pictures, "-o", folder, "--json")
    assert outcome.exit_code == 0, outcome.stderr
    assert outcome.document["calibration_frames"] == 7
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["options"]["advanced_options:quantization_scale_type"] == 4
    assert manifest["preprocessing"]["resize"] == 9
    outcome = tidlq(
        "compile", "--config", config, "--calib", pictures, "-o", folder, "--json",
        "--frames", "5", "--option", "quantization_scale_type=0",
    )  # fmt: skip
    assert outcome.document["calibration_frames"] == 5
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["options"]["advanced_options:quantization_scale_type"] == 0


def test_an_unknown_key_of_a_configuration_is_named(tidlq: Command, tmp_path: Path) -> None:
    config = tmp_path / "net_config.yaml"
    config.write_text("session:\n  runtime_options:\n    acuracy_level: 1\n")
    outcome = tidlq("compile", "m.onnx", "--config", config, "-o", tmp_path / "out")
    assert outcome.exit_code == 2
    assert "'acuracy_level'" in outcome.stderr
    assert "'accuracy_level'" in outcome.stderr
    assert "net_config.yaml" in outcome.stderr


def test_what_a_data_function_prints_stays_out_of_the_document(
    tidlq_process: Command, classifier: Path, tmp_path: Path
) -> None:
    (tmp_path / "talking.py").write_text(
        "import numpy as np\n"
        "print('imported')\n"
        "def frames():\n"
        "    print('called')\n"
        "    yield {'x': np.ones((1, 1, 8, 8), np.float32)}\n"
    )
    for arguments in (
        ("compile", classifier, "--calib", "talking:frames", "-o", "artifacts"),
        ("run", "artifacts", "--input", "talking:frames", "-o", "outputs.npz"),
        ("evaluate", "artifacts", "--data", "talking:frames", "--model", classifier),
    ):
        outcome = tidlq_process(*arguments, "--json", cwd=tmp_path)
        assert outcome.exit_code == 0, outcome.stderr
        assert outcome.document
        assert outcome.stderr.splitlines()[:2] == ["imported", "called"]
