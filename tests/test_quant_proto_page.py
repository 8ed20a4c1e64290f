"""The quantization proto's page: its commands run in order, and it names every field."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

from tidlq import demo_data
from tidlq.quantproto import quant_params_pb2 as pb
from tidlq.quantproto import quant_params_tidlq_pb2 as ext

PAGE = Path(__file__).resolve().parent.parent / "docs" / "quant-proto.md"
FRAMES = 8


def commands() -> list[str]:
    text = PAGE.read_text(encoding="utf-8")
    found = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [line for block in found for line in block.splitlines()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What the page's commands begin with."""
    model = onnx.load(demo_data.model_path())
    onnx.save(model, tmp_path / "model.onnx")
    weight = next(x for x in model.graph.initializer if len(x.dims) == 4)
    halved = onnx.numpy_helper.to_array(weight) / 2
    weight.CopyFrom(onnx.numpy_helper.from_array(halved, weight.name))
    onnx.save(model, tmp_path / "changed.onnx")
    pictures = [frame["input"][0] for frame in demo_data.calibration_frames()]
    np.save(tmp_path / "samples.npy", np.stack(pictures[:FRAMES]))
    np.save(tmp_path / "more.npy", np.stack(pictures[FRAMES : 2 * FRAMES]))
    return tmp_path


def test_the_commands_of_the_page_run_in_order(folder: Path) -> None:
    import tidlq

    source = str(Path(tidlq.__file__).parent.parent)
    program = f'tidlq() {{ "{sys.executable}" -m tidlq "$@"; }}; set -o pipefail; '
    assert len(commands()) > 20
    for line in commands():
        call, _, comment = line.partition("  # exits with ")
        done = subprocess.run(
            ["bash", "-c", program + call],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": source},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == int(comment or 0), f"{line}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr


def fields() -> Iterator[str]:
    for message in (pb.TIDLNetQuantParams, pb.TidlLayerQuantParams, pb.TidlTensorQuantParams):
        yield from message.DESCRIPTOR.fields_by_name
    yield from ext.Provenance.DESCRIPTOR.fields_by_name
    yield from ext.Provenance.Option.DESCRIPTOR.fields_by_name
    for name in ext.DESCRIPTOR.extensions_by_name:
        yield f"[tidlq.quantproto.{name}]"


@pytest.mark.parametrize("field", sorted(set(fields())))
def test_the_page_has_every_field(field: str) -> None:
    assert f"`{field}`" in PAGE.read_text(encoding="utf-8")


def test_the_page_has_every_command() -> None:
    from typer.main import get_command

    from tidlq.cli import app

    proto = get_command(app).commands["proto"]  # type: ignore[attr-defined]
    text = PAGE.read_text(encoding="utf-8")
    assert [name for name in proto.commands if f"`tidlq proto {name}`" not in text] == []
