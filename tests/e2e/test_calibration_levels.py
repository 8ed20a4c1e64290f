"""Accuracy levels and their switches, from data to the saved proto and back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import Image

import tidlq
from oracle.real_models import REAL_MODELS
from small_networks import SmallNetwork
from tidlq import demo_data
from tidlq.compilation import Compiled
from tidlq.lowering.network_file import unpack_network
from tidlq.quantproto import read_quant_params
from tidlq.spec import Range, RangeOrigin

PROTO = "advanced_options:quant_params_proto_path"
EQUALIZATION = "tidlq:cross_layer_equalization"
METHOD = "tidlq:calibration_method"
SWITCHES = ("activation_clipping", "weight_clipping", "bias_calibration")
NOTHING = dict.fromkeys(SWITCHES, 0) | {EQUALIZATION: "off"}

WAYS: dict[str, Mapping[str, object]] = {
    "type 0": {"quantization_scale_type": 0},
    "type 1": {"quantization_scale_type": 1},
    "type 4": {"quantization_scale_type": 4},
    "type 0 per channel": {"quantization_scale_type": 0, "channel_wise_quantization": 1},
    "type 1 per channel": {"quantization_scale_type": 1, "channel_wise_quantization": 1},
    "type 0 rescaled": {"quantization_scale_type": 0, EQUALIZATION: "on"},
    "type 1 rescaled": {"quantization_scale_type": 1, EQUALIZATION: "on"},
    "type 4 rescaled": {"quantization_scale_type": 4, EQUALIZATION: "on"},
    "type 0 at 16 bits": {"quantization_scale_type": 0, "tensor_bits": 16},
    "type 1 at 16 bits": {"quantization_scale_type": 1, "tensor_bits": 16, EQUALIZATION: "on"},
    "type 4 at 16 bits": {"quantization_scale_type": 4, "tensor_bits": 16},
    "type 0 on TDA4VM": {"quantization_scale_type": 0, "device": "TDA4VM"},
    "type 1 on TDA4VM": {"quantization_scale_type": 1, "device": "TDA4VM", EQUALIZATION: "on"},
    "type 1 on TDA4VM, biases clipped": {
        "quantization_scale_type": 1,
        "device": "TDA4VM",
        "bias_clipping": 1,
    },
    "type 4 on AM68A": {"quantization_scale_type": 4, "device": "AM68A"},
}


def compile_demo(calibrate: bool = True, **options: object) -> Compiled:
    frames = list(demo_data.calibration_frames())[:12] if calibrate else None
    return tidlq.compile(demo_data.model_path(), frames, options)


def check_proto(
    tmp_path: Path, model: Path, frames: list[dict[str, np.ndarray]], way: Mapping[str, object]
) -> Compiled:
    """Compiles with data and again from the saved proto; both must be the same."""
    options = {"accuracy_level": 1, **way, PROTO: str(tmp_path / "quant.prototxt")}
    first = tidlq.compile(model, frames, options)
    saved = (tmp_path / "quant.prototxt").read_bytes()
    again = tidlq.compile(model, None, options)
    assert again.frames == 0
    assert again.artifacts.stages == first.artifacts.stages
    assert again.artifacts.quant_params == first.artifacts.quant_params == saved
    assert again.plan == first.plan
    assert again.graph == first.graph
    return first


@pytest.mark.parametrize("way", WAYS)
def test_the_saved_proto_of_level_1_gives_the_same_network(tmp_path: Path, way: str) -> None:
    frames = list(demo_data.calibration_frames())[:12]
    compiled = check_proto(tmp_path, demo_data.model_path(), frames, WAYS[way])
    if WAYS[way].get(EQUALIZATION) == "on":
        assert compiled.ranges.equalization
    assert all(stage.kind.name == "FIXED" for stage in compiled.partition.stages)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["kws", "vww", "resnet8"])
def test_the_saved_proto_of_level_1_gives_the_same_real_network(
    tmp_path: Path, name: str, way: str, request: pytest.FixtureRequest
) -> None:
    path, frames = REAL_MODELS[name].load(request)
    check_proto(tmp_path, path, frames, WAYS[way])


@pytest.mark.parametrize("suffix", [".pb", ".prototxt"])
def test_calibrated_biases_and_factors_survive_either_form(tmp_path: Path, suffix: str) -> None:
    options = {
        "quantization_scale_type": 1,
        "device": "TDA4VM",
        EQUALIZATION: "on",
        PROTO: str(tmp_path / f"quant{suffix}"),
    }
    first = compile_demo(**options)
    assert first.ranges.biases
    assert first.ranges.equalization.bounds
    again = compile_demo(False, **options)
    assert again.artifacts.stages == first.artifacts.stages
    assert again.ranges.biases == first.ranges.biases
    assert again.ranges.equalization == first.ranges.equalization


# --- levels and switches


@pytest.mark.parametrize("scale_type", [0, 1, 4])
@pytest.mark.parametrize("bits", [8, 16])
def test_level_9_with_everything_off_is_level_2(scale_type: int, bits: int) -> None:
    options = {"quantization_scale_type": scale_type, "tensor_bits": bits}
    plain = compile_demo(accuracy_level=2, **options)
    off = compile_demo(accuracy_level=9, **NOTHING, **options)
    assert off.artifacts.stages == plain.artifacts.stages
    assert off.ranges == plain.ranges
    assert off.bias is None


@pytest.mark.parametrize("scale_type", [0, 1, 4])
def test_level_9_with_everything_on_is_level_1(scale_type: int) -> None:
    one = compile_demo(quantization_scale_type=scale_type)
    nine = compile_demo(quantization_scale_type=scale_type, accuracy_level=9)
    assert nine.artifacts.stages == one.artifacts.stages
    assert nine.ranges == one.ranges


def ingredients_of(tmp_path: Path, **options: object) -> tuple[tuple[str, ...], str]:
    path = tmp_path / "quant.prototxt"
    path.unlink(missing_ok=True)
    compile_demo(**options, **{PROTO: str(path)})
    provenance = read_quant_params(path).provenance
    assert provenance is not None
    return provenance.ingredients, provenance.calibration_method


def test_each_switch_does_what_its_name_says_and_nothing_else(tmp_path: Path) -> None:
    options = {"accuracy_level": 9, "quantization_scale_type": 1, "device": "TDA4VM", **NOTHING}
    plain = compile_demo(**options)
    for switch in SWITCHES:
        changed = compile_demo(**{**options, switch: 1})
        differs = {
            "activation_clipping": changed.ranges.features != plain.ranges.features,
            "weight_clipping": changed.ranges.parameters != plain.ranges.parameters,
            "bias_calibration": changed.ranges.biases != plain.ranges.biases,
        }
        assert differs == {name: name == switch for name in SWITCHES}
        assert not changed.ranges.equalization
        method = "mse" if switch == "activation_clipping" else ""
        assert ingredients_of(tmp_path, **{**options, switch: 1}) == ((switch,), method)
    rescaled = compile_demo(**{**options, EQUALIZATION: "on"})
    assert rescaled.ranges.equalization
    assert not rescaled.ranges.biases
    found = ingredients_of(tmp_path, **{**options, EQUALIZATION: "on"})
    assert found == (("cross_layer_equalization",), "")


@pytest.mark.parametrize("level", [0, 2])
def test_the_plain_levels_calibrate_nothing(tmp_path: Path, level: int) -> None:
    options = {"accuracy_level": level, "quantization_scale_type": 1}
    assert ingredients_of(tmp_path, **options) == ((), "")


@pytest.mark.parametrize("level", [0, 1, 2, 9])
def test_equalization_that_is_on_or_off_is_so_at_every_level(level: int) -> None:
    options = {"accuracy_level": level, "quantization_scale_type": 0}
    assert compile_demo(**options, **{EQUALIZATION: "on"}).ranges.equalization
    assert not compile_demo(**options, **{EQUALIZATION: "off"}).ranges.equalization


def test_auto_rescales_no_channels_that_have_scales_of_their_own() -> None:
    for options in ({"quantization_scale_type": 4}, {"channel_wise_quantization": 1}):
        assert not compile_demo(**options, **{EQUALIZATION: "auto"}).ranges.equalization


def test_auto_is_on_or_off() -> None:
    options = {"quantization_scale_type": 1, "device": "TDA4VM"}
    auto, on, off = (compile_demo(**options, **{EQUALIZATION: x}) for x in ("auto", "on", "off"))
    same = on if auto.ranges.equalization else off
    assert auto.artifacts.stages == same.artifacts.stages
    assert on.artifacts.stages != off.artifacts.stages


@pytest.mark.parametrize("scale_type", [0, 1, 4])
@pytest.mark.parametrize("method", ["mse", "percentile", "entropy"])
def test_every_method_keeps_the_networks_answers(scale_type: int, method: str) -> None:
    compiled = compile_demo(quantization_scale_type=scale_type, **{METHOD: method})
    pictures = np.concatenate([x["input"] for x, _ in list(demo_data.labelled_test())[:200]])
    (got,) = tidlq.InferenceSession(compiled.artifacts).run(None, {"input": pictures})
    floating = tidlq.compile(demo_data.model_path(), options={"tensor_bits": 32})
    (want,) = tidlq.InferenceSession(floating.artifacts).run(None, {"input": pictures})
    assert float((got.argmax(1) == want.argmax(1)).mean()) >= 0.9


def test_methods_differ_and_percentiles_count() -> None:
    options = {"quantization_scale_type": 4}
    made = [compile_demo(**options, **{METHOD: x}) for x in ("mse", "percentile", "entropy")]
    made.append(compile_demo(**options, **{METHOD: "percentile", "tidlq:percentile": 99.0}))
    contents = [compiled.artifacts.stages for compiled in made]
    assert all(one != other for i, one in enumerate(contents) for other in contents[:i])


# --- bias calibration


def test_three_frames_are_too_few_and_the_user_is_told() -> None:
    frames = list(demo_data.calibration_frames())[:3]
    options = {"quantization_scale_type": 1, "device": "TDA4VM"}
    few = tidlq.compile(demo_data.model_path(), frames, options)
    assert few.bias is None
    assert not few.ranges.biases
    assert not few.ranges.equalization
    (notice,) = few.notices
    assert "frames, 3, is too small" in notice
    options |= {"accuracy_level": 9, "bias_calibration": 0, EQUALIZATION: "off"}
    plain = tidlq.compile(demo_data.model_path(), frames, options)
    assert few.artifacts.stages == plain.artifacts.stages
    assert not plain.notices


@pytest.mark.parametrize("scale_type", [0, 1, 4])
def test_layers_without_a_bias_get_one_that_the_proto_keeps(
    tmp_path: Path, scale_type: int
) -> None:
    net = SmallNetwork(5)

    def shifted(*shape: int) -> str:
        """Weights that all round down by nearly half a step."""
        codes = net.rng.integers(-20, 20, size=shape) + 0.45
        codes.reshape(len(codes), -1)[:, 0] = 127
        return net.constant(codes / 512)

    x = net.node("Conv", net.input(1, 3, 8, 8), shifted(8, 3, 3, 3), name="first")
    x = net.node("Conv", net.node("Relu", x), shifted(8, 1, 3, 3), group=8, name="second")
    x = net.node("Flatten", net.node("GlobalAveragePool", net.node("Relu", x)))
    model = net.model(net.node("Gemm", x, shifted(4, 8), transB=1, name="last"))
    rng = np.random.default_rng(1)
    frames = [{"input0": rng.uniform(0, 1, (1, 3, 8, 8)).astype("f4")} for _ in range(12)]
    options = {
        "quantization_scale_type": scale_type,
        "accuracy_level": 9,
        "weight_clipping": 0,
        EQUALIZATION: "off",
        PROTO: str(tmp_path / "quant.prototxt"),
    }
    compiled = tidlq.compile(model, frames, options)
    assert compiled.bias is not None
    assert compiled.bias.error_after < compiled.bias.error_before
    assert compiled.ranges.biases.keys() == {"first.bias", "second.bias", "last.bias"}
    assert any(any(values) for values in compiled.ranges.biases.values())
    again = tidlq.compile(model, None, options)
    assert again.artifacts.stages == compiled.artifacts.stages
    assert again.ranges.biases == compiled.ranges.biases


def test_held_out_frames_of_the_opposite_kind_leave_the_network_uncalibrated() -> None:
    net = SmallNetwork(6)
    model = net.model(net.conv(net.input(1, 3, 8, 8), (8, 3, 3, 3), bias=False))
    rng = np.random.default_rng(1)
    some = rng.uniform(0, 1, (4, 1, 3, 8, 8)).astype("f4")
    # Every fourth frame is held out: here the negative of the three that were measured.
    data = [{"input0": sign * x} for x in some for sign in (1, 1, 1, -1)]
    options = {"quantization_scale_type": 1, "accuracy_level": 9, "weight_clipping": 0}
    calibrated = tidlq.compile(model, data, options)
    plain = tidlq.compile(model, data, {**options, "bias_calibration": 0})
    assert calibrated.bias is not None
    assert calibrated.bias.biases == {}
    assert calibrated.artifacts.stages == plain.artifacts.stages


@pytest.mark.parametrize("scale_type", [0, 1])
@pytest.mark.parametrize("clipping", [0, 1])
def test_16_bit_biases_hold_and_no_scale_moves(scale_type: int, clipping: int) -> None:
    options = {
        "quantization_scale_type": scale_type,
        "device": "TDA4VM",
        "bias_clipping": clipping,
        "accuracy_level": 9,
        # It would weigh the means of the inputs where no bias takes them back.
        "weight_clipping": 0,
        EQUALIZATION: "on",
    }
    plain = compile_demo(**options, bias_calibration=0)
    compiled = compile_demo(**options)
    assert compiled.ranges.biases
    assert compiled.plan is not None
    assert plain.plan is not None
    assert compiled.plan.features == plain.plan.features
    for name, quant in plain.plan.layers.items():
        found = compiled.plan.layers[name]
        assert (found.weight, found.shift) == (quant.weight, quant.shift)
    for stage in compiled.artifacts.stages:
        for layer in unpack_network(stage.content).layers:
            kind = layer.WhichOneof("op")
            if kind in ("convolution", "inner_product"):
                assert all(-(2**15) <= x < 2**15 for x in getattr(layer, kind).bias)


@pytest.mark.parametrize("scale_type", [0, 1, 4])
def test_threads_leave_no_trace(scale_type: int) -> None:
    frames = list(demo_data.calibration_frames())[:12]
    options = {"quantization_scale_type": scale_type, "device": None}
    first, *others = (
        tidlq.compile(demo_data.model_path(), frames, options, threads=threads)
        for threads in (1, 2, 5)
    )
    for other in others:
        assert other.artifacts.stages == first.artifacts.stages
        assert other.artifacts.quant_params == first.artifacts.quant_params


# --- options that name layers of a network whose channels are rescaled


def test_a_list_of_allowed_layers_may_name_clips_that_are_replaced() -> None:
    model = compile_demo(accuracy_level=2).graph
    names = [node.name or "" for node in model.nodes]
    options = {"quantization_scale_type": 1, EQUALIZATION: "on", "device": "TDA4VM"}
    every = compile_demo(**options)
    assert every.ranges.equalization.bounds
    listed = compile_demo(**options, **{"allow_list:layer_name": names})
    assert listed.artifacts.stages == every.artifacts.stages


def test_a_denied_operator_that_rescaling_adds_is_the_models_own_only() -> None:
    options = {"quantization_scale_type": 1, EQUALIZATION: "on", "device": "TDA4VM"}
    every = compile_demo(**options)
    denied = compile_demo(**options, **{"deny_list:layer_type": "BatchNormalization"})
    assert denied.artifacts.stages == every.artifacts.stages


def test_a_proto_whose_joined_layers_disagree_on_factors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "quant.prototxt"
    options = {"quantization_scale_type": 1, EQUALIZATION: "on", PROTO: str(path)}
    factors = compile_demo(**options).ranges.equalization.factors
    joined = [x for x in factors if sum(factors[x] == other for other in factors.values()) > 1]
    assert joined
    text = path.read_text()
    pattern = rf'(layer_name: "{re.escape(joined[-1])}".*?equalization\]: \[)([^,\]]+)'
    edited, count = re.subn(pattern, r"\g<1>3.25", text, flags=re.DOTALL)
    assert count == 1
    path.write_text(edited)
    with pytest.raises(tidlq.QuantProtoError, match="different equalization factors"):
        compile_demo(False, **options)


# --- what it is for


def _imagenet(folder: Path, pictures: list[Path]) -> np.ndarray:
    made = []
    for path in pictures:
        with Image.open(path) as picture:
            rgb = picture.convert("RGB")
        scale = 256 / min(rgb.size)
        size = (max(224, round(rgb.width * scale)), max(224, round(rgb.height * scale)))
        rgb = rgb.resize(size, Image.Resampling.BILINEAR)
        left, top = (rgb.width - 224) // 2, (rgb.height - 224) // 2
        made.append(np.asarray(rgb.crop((left, top, left + 224, top + 224)), np.float32))
    return np.stack(made) / np.float32(127.5) - 1


@pytest.fixture(scope="module")
def mobilenet(shared_data: Path) -> tuple[Path, list[dict[str, np.ndarray]], np.ndarray]:
    """A depthwise network, 20 calibration frames and 100 other pictures."""
    folder = shared_data / "imagenet"
    path = folder / "models/keras_mobilenet_v1_0.25_224.onnx"
    (name,) = (x.name for x in onnxruntime.InferenceSession(path).get_inputs())
    calibration = sorted((folder / "images256").glob("*.JPEG"))[::50][:20]
    others = sorted(folder.glob("imagenette_val/*/*/*.JPEG"))
    frames = [{name: x[np.newaxis]} for x in _imagenet(folder, calibration)]
    return path, frames, _imagenet(folder, others[:: len(others) // 100][:100])


def agreement(compiled: Compiled, path: Path, pictures: np.ndarray) -> float:
    floating = onnxruntime.InferenceSession(path)
    session = tidlq.InferenceSession(compiled.artifacts)
    name = floating.get_inputs()[0].name
    same = [
        floating.run(None, {name: x[None]})[0].argmax()
        == session.run(None, {name: x[None]})[0].argmax()
        for x in pictures
    ]
    return float(np.mean(same))


@pytest.mark.slow
@pytest.mark.parametrize("device", [None, "TDA4VM"])
def test_level_1_saves_a_depthwise_network_from_one_scale_per_tensor(
    mobilenet: tuple[Path, list[dict[str, np.ndarray]], np.ndarray], device: str | None
) -> None:
    path, frames, pictures = mobilenet
    options = {"quantization_scale_type": 1, "device": device}
    plain = tidlq.compile(path, frames, {**options, "accuracy_level": 0})
    assert agreement(plain, path, pictures) < 0.05
    advanced = tidlq.compile(path, frames, {**options, "accuracy_level": 1})
    assert agreement(advanced, path, pictures) >= 0.8


@pytest.mark.slow
@pytest.mark.parametrize("way", ["type 0", "type 1 on TDA4VM", "type 4", "type 0 at 16 bits"])
def test_the_saved_proto_of_level_1_gives_the_same_depthwise_network(
    mobilenet: tuple[Path, list[dict[str, np.ndarray]], np.ndarray], tmp_path: Path, way: str
) -> None:
    path, frames, _ = mobilenet
    check_proto(tmp_path, path, frames[:8], WAYS[way])


# --- ranges that the model states


def stated_ranges(compiled: Compiled) -> dict[str, Range]:
    """What the model states; channels that were rescaled have bounds of their own instead."""
    layers = compiled.partition.layers
    bounding = [layer for layer in layers if layer.name.endswith("/bound")]
    rescaled = {name for layer in bounding for name in (*layer.inputs, layer.output)}
    ranges = compiled.ranges.features
    stated = {n: x for n, x in ranges.items() if x.origin is RangeOrigin.STATED}
    return {name: found for name, found in stated.items() if name not in rescaled}


def check_stated(
    model: onnx.ModelProto | Path, frames: list[dict[str, np.ndarray]], **options: object
) -> dict[str, Range]:
    """Compiles at levels 1 and 2; both must keep the same ranges."""
    advanced = tidlq.compile(model, frames, {**options, "accuracy_level": 1})
    plain = tidlq.compile(model, frames, {**options, "accuracy_level": 2, EQUALIZATION: "off"})
    found, want = stated_ranges(advanced), stated_ranges(plain)
    rescaled = {name for name in want if name not in found}
    assert len(rescaled) == len(advanced.ranges.equalization.bounds)
    assert found == {name: x for name, x in want.items() if name not in rescaled}
    return found


@pytest.mark.parametrize("scale_type", [0, 1, 4])
@pytest.mark.parametrize("method", ["mse", "percentile", "entropy"])
def test_level_1_keeps_the_clips_of_a_network_trained_with_them(
    scale_type: int, method: str
) -> None:
    net = SmallNetwork(7)
    x = net.clip(net.input(1, 3, 8, 8), -2, 2)
    x = y = net.clip(net.conv(x, (4, 3, 3, 3), pads=[1] * 4), 0, 8)
    x = net.clip(net.conv(x, (4, 4, 3, 3), pads=[1] * 4), -16, 16)
    x = net.clip(net.node("Add", x, y), -32, 32)
    x = net.node("Flatten", net.node("GlobalAveragePool", x))
    last = net.clip(net.node("MatMul", x, net.random(4, 3)), -64, 64)
    rng = np.random.default_rng(1)
    # Few values come near the bounds: a search would leave them out.
    frames = [{"input0": 0.1 * rng.normal(size=(1, 3, 8, 8)).astype("f4")} for _ in range(8)]
    options = {"quantization_scale_type": scale_type, METHOD: method, EQUALIZATION: "off"}
    found = check_stated(net.model(last), frames, **options)
    limits = {(-2, 2), (0, 8), (-16, 16), (-32, 32), (-64, 64)}
    assert {(x.min, x.max) for x in found.values()} == limits


@pytest.mark.slow
@pytest.mark.parametrize("model", ["ts13", "tsattr10"])
@pytest.mark.parametrize("equalization", ["auto", "off"])
@pytest.mark.parametrize("scale_type", [0, 1, 4])
def test_level_1_keeps_the_ranges_that_a_model_states(
    shared_data: Path,
    model: str,
    equalization: str,
    scale_type: int,
    request: pytest.FixtureRequest,
) -> None:
    path = shared_data / f"qat/models/clip_resnet20_pow2_float_{model}.onnx"
    _, frames = REAL_MODELS["resnet20"].load(request)
    name = onnxruntime.InferenceSession(path).get_inputs()[0].name
    frames = [{name: next(iter(frame.values()))} for frame in frames]
    options = {"quantization_scale_type": scale_type, EQUALIZATION: equalization}
    assert len(check_stated(path, frames, **options)) > 20
