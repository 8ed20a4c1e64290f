"""The batch of an export is free where the source's was and every node allows it."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from random_networks import frames_for
from small_networks import SmallNetwork
from unit.export.conftest import Compile


def with_free_batch(model: onnx.ModelProto) -> onnx.ModelProto:
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "frames"
    del model.graph.value_info[:]
    return model


def flattening(rows: int) -> onnx.ModelProto:
    net = SmallNetwork()
    conv = net.conv(net.input(1, 3, 6, 6), (4, 3, 3, 3))
    flat = net.node("Reshape", conv, net.integers([rows, 64 // rows]), name="flatten")
    dense = net.node("Gemm", flat, net.random(64 // rows, 5))
    return with_free_batch(net.model(net.node("Reshape", dense, net.integers([1, 5 * rows]))))


def resizing() -> onnx.ModelProto:
    net = SmallNetwork()
    conv = net.conv(net.input(1, 3, 6, 6), (4, 3, 3, 3))
    sizes = net.integers([1, 4, 8, 12])
    resized = net.node("Resize", conv, "", "", sizes, mode="nearest", name="resize")
    return with_free_batch(net.model(resized))


def batch_of(model: onnx.ModelProto) -> list[str | int]:
    ends = (*model.graph.input, *model.graph.output)
    dims = [value.type.tensor_type.shape.dim[0] for value in ends]
    return [dim.dim_param or dim.dim_value for dim in dims]


@pytest.mark.parametrize("model", [flattening(1), resizing()], ids=["reshape", "resize"])
def test_a_batch_runs_as_its_frames_do(compile_small: Compile, model: onnx.ModelProto) -> None:
    exported = compile_small(model).to_qdq()
    assert batch_of(exported) == ["frames", "frames"]
    onnx.checker.check_model(exported, full_check=True)
    session = ort.InferenceSession(exported.SerializeToString(), providers=["CPUExecutionProvider"])
    frames = [frame["input0"] for frame in frames_for(model, 3)]
    (together,) = session.run(None, {"input0": np.concatenate(frames)})
    apart = [session.run(None, {"input0": frame})[0] for frame in frames]
    assert np.array_equal(together, np.concatenate(apart))


def test_a_reshape_that_needs_a_batch_of_1_fixes_it(compile_small: Compile) -> None:
    model = flattening(4)
    exported = compile_small(model).to_qdq()
    assert batch_of(exported) == [1, 1]
    onnx.checker.check_model(exported, full_check=True)


def test_a_fixed_batch_stays(compile_small: Compile) -> None:
    net = SmallNetwork()
    model = net.model(net.conv(net.input(1, 3, 6, 6), (4, 3, 3, 3)))
    assert batch_of(compile_small(model).to_qdq()) == [1, 1]
