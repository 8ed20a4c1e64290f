"""Networks whose batch is fixed above one: compiled, run, saved, recompiled and exported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import tidlq
from small_networks import Array, SmallNetwork
from tidlq.recompilation import recompile

BATCH = 4


def network() -> onnx.ModelProto:
    """Convolution, pool and inner product over a static batch of 4."""
    net = SmallNetwork()
    x = net.conv(net.input(BATCH, 3, 12, 12), (8, 3, 3, 3), pads=[1, 1, 1, 1], name="stem")
    x = net.node("Relu", x)
    x = net.node("Add", x, net.conv(x, (8, 1, 3, 3), group=8, pads=[1, 1, 1, 1], name="depthwise"))
    x = net.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = net.node("Flatten", net.node("GlobalAveragePool", x))
    return net.model(net.node("Softmax", net.node("Gemm", x, net.random(8, 5)), axis=1))


def frames(count: int) -> list[dict[str, Array]]:
    rng = np.random.default_rng(1)
    return [
        {"input0": rng.normal(size=(BATCH, 3, 12, 12)).astype(np.float32)} for _ in range(count)
    ]


@pytest.mark.parametrize("scale_type", [0, 1, 4])
@pytest.mark.parametrize("level", [0, 1])
def test_a_static_batch_computes_what_its_rows_do(
    tmp_path: Path, scale_type: int, level: int
) -> None:
    model = network()
    path = tmp_path / "batch.onnx"
    onnx.save(model, path)
    options = {
        "quantization_scale_type": scale_type,
        "accuracy_level": level,
        "calibration_frames": 6,
        "calibration_iterations": 2,
    }
    compiled = tidlq.compile(path, frames(6), options)
    assert not compiled.graph.free_batch
    folder = compiled.save(tmp_path / "artifacts")
    session = tidlq.load(folder)
    assert session.get_inputs()[0].shape == [BATCH, 3, 12, 12]
    (frame,) = frames(1)
    (whole,) = session.run(None, frame)
    (reference,) = ort.InferenceSession(path).run(None, frame)
    assert whole.shape == reference.shape == (BATCH, 5)
    assert np.abs(whole - reference).max() < 0.1
    # Rows do not see each other.
    order = [2, 0, 3, 1]
    (mixed,) = session.run(None, {"input0": frame["input0"][order]})
    np.testing.assert_array_equal(mixed, whole[order])
    again = recompile(folder, path)
    assert [s.content for s in again.artifacts.stages] == [
        s.content for s in compiled.artifacts.stages
    ]
    exported = ort.InferenceSession(compiled.to_qdq().SerializeToString())
    (theirs,) = exported.run(None, frame)
    assert theirs.shape == whole.shape
    assert np.abs(theirs - whole).max() < 0.05


def test_free_sizes_and_batch_are_resolved_and_kept_for_recompiling(tmp_path: Path) -> None:
    model = network()
    shape = model.graph.input[0].type.tensor_type.shape
    for axis, name in ((0, "N"), (2, "H"), (3, "W")):
        shape.dim[axis].dim_param = name
    del model.graph.value_info[:]
    model.graph.output[0].ClearField("type")
    path = tmp_path / "free.onnx"
    onnx.save(model, path)
    with pytest.raises(tidlq.ModelError, match=r"axis 2 \('H'\) of input 'input0'"):
        tidlq.compile(path, frames(2))
    options = {"accuracy_level": 0, "calibration_frames": 2}
    compiled = tidlq.compile(path, frames(2), options, input_shapes={"input0": (BATCH, 3, 12, 12)})
    folder = compiled.save(tmp_path / "artifacts")
    (whole,) = tidlq.load(folder).run(None, frames(1)[0])
    assert whole.shape == (BATCH, 5)
    again = recompile(folder, path)
    assert again.artifacts.stages[0].content == compiled.artifacts.stages[0].content
