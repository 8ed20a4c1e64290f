"""A bundle for TI's tools compiles to the Networks that it was made from, without data."""

from __future__ import annotations

import runpy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import tidlq
from e2e.test_gated_networks import frames_of, gated
from tidlq import demo_data
from tidlq.errors import ModelError, OutputError
from tidlq.float_runtime import open_float_session
from tidlq.importers.model import import_model
from tidlq.importers.zoo_config import read_zoo_config
from tidlq.quantproto import read_quant_params
from tidlq.spec import ParameterRole, parameter_name

Frames = Sequence[dict[str, np.ndarray]]
FIRST, LAST = "model/conv2d/Conv2D", "model/dense/MatMul"
RESCALED = {"quantization_scale_type": 1, "tidlq:cross_layer_equalization": "on"}
QUICK = {"calibration_frames": 8, "calibration_iterations": 2}
# By how much rounding may add up differently in two networks that compute the same.
MARGIN = 4


def demo_frames() -> Frames:
    return [frame for frame, _ in zip(demo_data.calibration_frames(), range(8), strict=False)]


def compile_bundle(folder: Path) -> tidlq.Compiled:
    """The bundle as `tidlq compile --config` imports it."""
    stated = read_zoo_config(folder / "model_config.yaml")
    assert stated.model_path is not None
    return tidlq.compile(stated.model_path, None, stated.options)


OPTIONS: list[dict[str, object]] = [
    {"quantization_scale_type": 0},
    RESCALED,
    {"quantization_scale_type": 4},
    {"quantization_scale_type": 4, "tidlq:requantization": "float"},
    {"accuracy_level": 9, "channel_wise_quantization": 1},
    {"tensor_bits": 16},
    {"output_feature_16bit_names_list": FIRST, "params_16bit_names_list": LAST},
    {"quantization_scale_type": 4, "output_feature_16bit_names_list": f"{FIRST},{LAST}"},
    {**RESCALED, "params_16bit_names_list": LAST, "bias_clipping": 1, "device": "TDA4VM"},
    {**RESCALED, "deny_list:layer_type": "Add"},
    {**RESCALED, "deny_list": f"BatchNormalization,{LAST}", "max_num_subgraphs": 1},
    {**RESCALED, "allow_list:layer_name": f"{FIRST},model/conv2d_1/Conv2D,model/add/add"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(map(str, options)))
def test_the_bundle_gives_the_same_networks_byte_for_byte(
    options: dict[str, object], tmp_path: Path
) -> None:
    first = tidlq.compile(demo_data.model_path(), demo_frames(), {**QUICK, **options})
    again = compile_bundle(first.to_tidl().save(tmp_path / "bundle"))
    assert again.artifacts.networks == first.artifacts.networks
    assert again.artifacts.free_batch
    assert again.frames == 0
    if "deny_list" in options or "allow_list:layer_name" in options:
        assert any(stage.kind.value == "float" for stage in again.artifacts.stages)


@pytest.mark.parametrize("kind", ["silu", "hard swish"])
@pytest.mark.parametrize("scale_type", [1, 4])
def test_gated_networks_keep_the_layers_that_restore_a_gates_input(
    tmp_path: Path, kind: str, scale_type: int
) -> None:
    model, graph = gated(kind)
    first = tidlq.compile(model, frames_of(graph), {"quantization_scale_type": scale_type})
    assert first.ranges.equalization
    bundle = first.to_tidl()
    assert any(node.name.endswith("/restored") for node in bundle.model.graph.node)
    again = compile_bundle(bundle.save(tmp_path / "bundle"))
    assert again.artifacts.networks == first.artifacts.networks
    assert_outputs_agree(model, bundle.model, frames_of(graph)[:3])


def test_a_pre_quantized_model_with_converted_scales_can_be_bundled(tmp_path: Path) -> None:
    qdq = tidlq.compile(demo_data.model_path(), demo_frames(), QUICK).to_qdq()
    first = tidlq.compile(qdq, None, {"quantization_scale_type": 1})
    again = compile_bundle(first.to_tidl().save(tmp_path / "bundle"))
    frames = {"input": np.concatenate([frame["input"] for frame in demo_frames()])}
    ours, theirs = (
        tidlq.InferenceSession(compiled.artifacts).run(None, frames) for compiled in (first, again)
    )
    assert all(np.array_equal(x, y) for x, y in zip(ours, theirs, strict=True))


def test_kept_scales_of_a_pre_quantized_model_are_refused() -> None:
    qdq = tidlq.compile(demo_data.model_path(), demo_frames(), QUICK).to_qdq()
    with pytest.raises(ModelError, match=r"keeps the scales of a pre-quantized ONNX model"):
        tidlq.compile(qdq).to_tidl()


def test_a_float_network_is_refused() -> None:
    compiled = tidlq.compile(demo_data.model_path(), None, {"tensor_bits": 32})
    with pytest.raises(ModelError, match="runs in float only; a TI bundle needs ranges"):
        compiled.to_tidl()


def test_wide_features_with_narrow_parameters_are_refused() -> None:
    table = tidlq.RangeTable(demo_data.model_path(), calibration=demo_frames())
    for tensor in table:
        if tensor.statistics is not None and tensor.range is None:
            table[tensor.name] = tensor.statistics.tensor.min, tensor.statistics.tensor.max
    conv = next(x for x in table if x.layer == LAST and x.role == "feature")
    table.set_bits(conv.name, 16)
    with pytest.raises(ModelError, match=rf"Layer '{LAST}' has 16-bit features and 8-bit param"):
        table.compile().to_tidl()


def test_the_proto_has_the_calibrated_biases_and_the_model_the_floats() -> None:
    compiled = tidlq.compile(demo_data.model_path(), demo_frames(), QUICK)
    bundle, biases = compiled.to_tidl(), dict(compiled.ranges.biases)
    assert biases
    saved = {x.layer_name: x for x in _published(bundle.quant_params).layers}
    constants = {x.name: onnx.numpy_helper.to_array(x) for x in bundle.model.graph.initializer}
    moved = 0
    for node in bundle.model.graph.node:
        key = parameter_name(node.name, ParameterRole.BIAS)
        if key in biases and len(node.input) > 2:
            stated = np.array(saved[node.name].bias[0].value)
            assert np.array_equal(stated, biases[key])
            moved += not np.allclose(stated, constants[node.input[2]])
    assert moved > 0


def _published(text: bytes) -> Any:
    from google.protobuf import text_format

    from tidlq.quantproto import quant_params_pb2

    return text_format.Parse(text, quant_params_pb2.TIDLNetQuantParams())


def test_the_options_are_the_same_in_yaml_and_in_python(tmp_path: Path) -> None:
    options = {**QUICK, "device": "AM68A", "params_16bit_names_list": LAST}
    bundle = tidlq.compile(demo_data.model_path(), demo_frames(), options).to_tidl()
    folder = bundle.save(tmp_path / "bundle")
    found = runpy.run_path(str(folder / "runtime_options.py"))["runtime_options"]
    proto = found.pop("advanced_options:quant_params_proto_path")
    assert Path(proto) == folder / "quant_params.prototxt"
    assert found == dict(bundle.options)
    stated = read_zoo_config(folder / "model_config.yaml").options
    assert found.items() <= stated.to_tidl().items()
    assert found["advanced_options:params_16bit_names_list"] == LAST
    assert stated.device is not None
    assert stated.device.name == "AM68A"
    assert not [name for name in found if name.startswith("tidlq:") or name == "device"]


def test_a_bundle_can_be_moved_and_written_again(tmp_path: Path) -> None:
    first = tidlq.compile(demo_data.model_path(), demo_frames(), {**QUICK, **RESCALED})
    bundle = first.to_tidl()
    folder = bundle.save(tmp_path / "here" / "bundle")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert bundle.save(folder) == folder
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert list(folder.parent.iterdir()) == [folder]
    moved = folder.rename(tmp_path / "moved")
    assert compile_bundle(moved).artifacts.networks == first.artifacts.networks


def test_a_folder_that_is_no_bundle_is_not_replaced(tmp_path: Path) -> None:
    bundle = tidlq.compile(demo_data.model_path(), demo_frames(), QUICK).to_tidl()
    (tmp_path / "model.onnx").write_bytes(b"somebody's")
    with pytest.raises(OutputError, match="something else than a TI bundle"):
        bundle.save(tmp_path)
    assert (tmp_path / "model.onnx").read_bytes() == b"somebody's"


def test_ranges_beside_the_model_are_read_again_from_the_bundles_artifacts(tmp_path: Path) -> None:
    """The artifacts of a bundle can be exported in their turn."""
    first = tidlq.compile(demo_data.model_path(), demo_frames(), {**QUICK, **RESCALED})
    second = compile_bundle(first.to_tidl().save(tmp_path / "one"))
    third = compile_bundle(second.to_tidl().save(tmp_path / "two"))
    assert third.artifacts.networks == first.artifacts.networks
    protos = [read_quant_params(tmp_path / x / "quant_params.prototxt") for x in ("one", "two")]
    assert protos[0] == protos[1]


# --- the float network


def outputs_of(model: onnx.ModelProto, frames: Frames) -> list[np.ndarray]:
    session = open_float_session(model.SerializeToString(), threads=1)
    runs = [session.run(None, frame) for frame in frames]
    return [np.stack([np.asarray(run[i]) for run in runs]) for i in range(len(runs[0]))]


def with_last_bits_changed(model: onnx.ModelProto, seed: int) -> onnx.ModelProto:
    """Every weight one float32 up or down."""
    copy, rng = onnx.ModelProto.FromString(model.SerializeToString()), np.random.default_rng(seed)
    # Another scale of a Resize would be another shape.
    fixed = {name for node in copy.graph.node if node.op_type == "Resize" for name in node.input}
    for tensor in copy.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        if array.dtype == np.float32 and tensor.name not in fixed:
            towards = np.where(rng.random(array.shape) < 0.5, -np.inf, np.inf).astype(np.float32)
            moved = np.where(array == 0, array, np.nextafter(array, towards)).astype(np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(moved, tensor.name))
    return copy


def assert_outputs_agree(
    source: onnx.ModelProto | Path, prepared: onnx.ModelProto, frames: Frames
) -> None:
    """Within what the last bits of the weights are worth at the outputs of this very network."""
    model = onnx.load(source) if isinstance(source, Path) else source
    plain = ir.serde.serialize_model(import_model(source).model)
    wanted, found = outputs_of(model, frames), outputs_of(prepared, frames)
    base = outputs_of(plain, frames)
    noisy = [outputs_of(with_last_bits_changed(plain, seed), frames) for seed in range(4)]
    for index, want in enumerate(wanted):
        worth = max(float(np.abs(noise[index] - base[index]).max()) for noise in noisy)
        assert worth > 0
        assert float(np.abs(found[index] - want).max()) <= MARGIN * worth


def test_the_check_of_float_outputs_sees_a_small_change() -> None:
    model = onnx.load(demo_data.model_path())
    changed = onnx.ModelProto.FromString(model.SerializeToString())
    weight = next(x for x in changed.graph.initializer if len(x.dims) == 4)
    array = onnx.numpy_helper.to_array(weight) * np.float32(1.0001)
    weight.CopyFrom(onnx.numpy_helper.from_array(array, weight.name))
    with pytest.raises(AssertionError):
        assert_outputs_agree(demo_data.model_path(), changed, demo_frames())


def test_the_prepared_model_computes_what_the_original_does() -> None:
    compiled = tidlq.compile(demo_data.model_path(), demo_frames(), {**QUICK, **RESCALED})
    assert len(compiled.ranges.equalization.bounds) > 0
    assert_outputs_agree(demo_data.model_path(), compiled.to_tidl().model, demo_frames())


REAL = [
    ("cifar10/models/resnet20_cifar10.onnx", {"quantization_scale_type": 0}),
    ("kws/models/mlperf_kws_fp32.onnx", {"quantization_scale_type": 4}),
    ("imagenet/models/mobilenet_v2_1.0_224_deqfloat.onnx", RESCALED),
    pytest.param("imagenet/models/efficientnet_lite0.onnx", RESCALED, marks=pytest.mark.slow),
    pytest.param("detection/models/yolox_nano_416_coco.onnx", {}, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("name", "options"), REAL)
def test_bundles_of_real_networks(
    name: str, options: dict[str, object], shared_data: Path, tmp_path: Path
) -> None:
    path = shared_data / name
    frames = random_frames(path, 3)
    limits = {"calibration_frames": 3, "calibration_iterations": 1}
    first = tidlq.compile(path, frames, {**options, **limits})
    if options is RESCALED:
        assert first.ranges.equalization.bounds
    bundle = first.to_tidl()
    again = compile_bundle(bundle.save(tmp_path / "bundle"))
    assert again.artifacts.networks == first.artifacts.networks
    assert_outputs_agree(path, bundle.model, frames[:2])


@pytest.mark.parametrize("scale_type", [0, 1, 4])
@pytest.mark.parametrize("name", ["fmnist_mbv2_float", "fmnist_mbv2_int8"])
def test_bundles_of_tflite_models(
    name: str, scale_type: int, shared_data: Path, tmp_path: Path
) -> None:
    path = shared_data / "fashion_mnist" / "models" / f"{name}.tflite"
    frames = random_frames(path, 4)
    first = tidlq.compile(path, frames, {**QUICK, "quantization_scale_type": scale_type})
    again = compile_bundle(first.to_tidl().save(tmp_path / "bundle"))
    ours, theirs = (
        [tidlq.InferenceSession(compiled.artifacts).run(None, frame)[0] for frame in frames]
        for compiled in (first, again)
    )
    assert all(np.array_equal(x, y) for x, y in zip(ours, theirs, strict=True))
    if name.endswith("float"):
        assert again.artifacts.networks == first.artifacts.networks


def random_frames(path: Path, count: int) -> Frames:
    rng, inputs = np.random.default_rng(1), import_model(path).inputs
    return [
        {item.name: rng.uniform(-1, 1, item.shape).astype(np.float32) for item in inputs}
        for _ in range(count)
    ]
