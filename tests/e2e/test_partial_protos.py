"""Protos that lack ranges, and protos of another model: given ranges hold, data give the rest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

import tidlq
from small_networks import SmallNetwork, random_frame
from tidlq.errors import DataError, QuantProtoError
from tidlq.quantproto import (
    SavedLayer,
    SavedRanges,
    compare_saved,
    edit_saved,
    parse_quant_params,
    read_quant_params,
    write_quant_params,
)

FRAMES = 8


def network(seed: int = 0, names: tuple[str, ...] = ("one", "two", "three")) -> SmallNetwork:
    built = SmallNetwork(seed)
    tensor = built.input(1, 3, 8, 8)
    for index, name in enumerate(names):
        tensor = built.conv(tensor, (4, 3 if index == 0 else 4, 3, 3), name=name, pads=[1] * 4)
        tensor = built.node("Relu", tensor, name=f"{name}/relu")
    built.nodes[-1].output[0] = "last"
    return built


def model(seed: int = 0, names: tuple[str, ...] = ("one", "two", "three")) -> onnx.ModelProto:
    return network(seed, names).model("last")


def frames(count: int = FRAMES) -> list[dict[str, np.ndarray]]:
    graph = network().graph("last")
    return [random_frame(graph, seed) for seed in range(count)]


def options(path: Path, **more: object) -> dict[str, object]:
    return {"quant_params_proto_path": str(path), "accuracy_level": 0, **more}


def saved_of(compiled: tidlq.Compiled) -> SavedRanges:
    return parse_quant_params(compiled.artifacts.quant_params, None, "artifacts")


def stages(compiled: tidlq.Compiled) -> list[bytes]:
    return [stage.content for stage in compiled.artifacts.stages]


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("scale_type", [0, 1, 4])
def test_calibrating_what_was_taken_out_gives_the_same_network(
    tmp_path: Path, level: int, scale_type: int
) -> None:
    path = tmp_path / "q.prototxt"
    how = options(path, accuracy_level=level, quantization_scale_type=scale_type)
    whole = tidlq.compile(model(), frames(), how)
    saved = read_quant_params(path)
    write_quant_params(path, edit_saved(saved, ["two.outputs=unknown", "input0=unknown"]).saved)
    before = path.read_bytes()
    partial = tidlq.compile(model(), frames(), how)
    if level != 1:  # Level 1 had chosen its ranges before it calibrated the biases.
        assert stages(partial) == stages(whole)
    assert path.read_bytes() == before
    assert "2 of 4 ranges of feature maps are its own" in " ".join(partial.notices)
    again = tmp_path / "again.prototxt"
    again.write_bytes(partial.artifacts.quant_params)
    assert stages(
        tidlq.compile(model(), None, options(again, quantization_scale_type=scale_type))
    ) == (stages(partial))


def test_given_ranges_bits_and_biases_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "q.prototxt"
    tidlq.compile(model(), frames(), options(path, accuracy_level=1))
    edits = ["one.outputs=0:20", "two.outputs=unknown", "two.weights=-0.5:0.5", "three.bits=16"]
    biases = ["one.bias=1,2,3,4", "three.bias=unknown"]
    write_quant_params(path, edit_saved(read_quant_params(path), [*edits, *biases]).saved)
    given = read_quant_params(path)
    found = saved_of(tidlq.compile(model(), frames(), options(path, accuracy_level=1)))
    one, two, three = (found.layers_by_name[name] for name in ("one", "two", "three"))
    for layer, role in ((one, "outputs"), (one, "bias"), (two, "weights"), (two, "bias")):
        (now,), (then,) = layer.roles[role], given.layers_by_name[layer.name].roles[role]
        assert (now.range, now.values) == (then.range, then.values)
    assert (one.bit_depth, three.bit_depth) == (8, 16)
    assert two.outputs[0].range is not None
    assert len(three.bias[0].values) == 4


@pytest.mark.parametrize("scale_type", [0, 4])
def test_everything_that_is_given_is_in_the_complete_proto(tmp_path: Path, scale_type: int) -> None:
    path = tmp_path / "q.prototxt"
    tidlq.compile(model(), frames(), options(path, quantization_scale_type=scale_type))
    write_quant_params(path, edit_saved(read_quant_params(path), ["two.outputs=unknown"]).saved)
    how = options(path, quantization_scale_type=scale_type, accuracy_level=1)
    found = saved_of(tidlq.compile(model(), frames(), how))
    differences = compare_saved(read_quant_params(path), found)
    assert [(x.layer, x.role, x.before) for x in differences] == [("two", "outputs", None)]


def test_parameters_that_are_not_given_are_calibrated(tmp_path: Path) -> None:
    path = tmp_path / "q.prototxt"
    tidlq.compile(model(), frames(), options(path))
    edits = ["*.weights=unknown", "*.bias=unknown"]
    write_quant_params(path, edit_saved(read_quant_params(path), edits).saved)
    with pytest.raises(QuantProtoError, match=r"the range of layer 'one', weights 'one\.weight'"):
        tidlq.compile(model(), None, options(path))
    found = tidlq.compile(model(), frames(), options(path, accuracy_level=1))
    assert found.bias is not None


def test_without_data_the_missing_ranges_are_the_error(tmp_path: Path) -> None:
    path = tmp_path / "q.prototxt"
    tidlq.compile(model(), frames(), options(path))
    write_quant_params(path, edit_saved(read_quant_params(path), ["two.outputs=unknown"]).saved)
    fault = r"lacks the range of layer 'two', outputs 'two/relu_out'\. With calibration data"
    with pytest.raises(QuantProtoError, match=fault):
        tidlq.compile(model(), None, options(path))


def test_an_equalization_of_the_file_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "q.prototxt"
    how = options(path, **{"tidlq:cross_layer_equalization": "on"})
    whole = tidlq.compile(model(), frames(), how)
    saved = read_quant_params(path)
    assert saved.equalization
    write_quant_params(path, edit_saved(saved, ["three.outputs=unknown"]).saved)
    assert stages(tidlq.compile(model(), frames(), how)) == stages(whole)


def test_channels_with_given_ranges_are_not_rescaled(tmp_path: Path) -> None:
    path = tmp_path / "q.prototxt"
    tidlq.compile(model(), frames(), options(path))
    edits = ["two.outputs=unknown", "t*.weights=unknown", "two.bias=unknown"]
    write_quant_params(path, edit_saved(read_quant_params(path), edits).saved)
    how = options(path, **{"tidlq:cross_layer_equalization": "on"})
    found = saved_of(tidlq.compile(model(), frames(), how))
    assert set(found.equalization.factors) == {"two"}


def stale(tmp_path: Path) -> Path:
    path = tmp_path / "q.prototxt"
    tidlq.compile(model(), frames(), options(path))
    return path


def test_a_stale_file_is_refused_with_what_changed(tmp_path: Path) -> None:
    path = stale(tmp_path)
    with pytest.raises(
        QuantProtoError, match=r"another model .*1 layer renamed: two \(now 2\).*--allow"
    ):
        tidlq.compile(model(names=("one", "2", "three")), None, options(path))
    other = model(seed=1)
    with pytest.raises(QuantProtoError, match="3 layers with other weights: one, two, three"):
        tidlq.compile(other, None, options(path))


def test_ranges_of_renamed_layers_carry_over(tmp_path: Path) -> None:
    path = stale(tmp_path)
    whole = tidlq.compile(model(), None, options(path))
    renamed = tidlq.compile(model(names=("a", "b", "c")), None, options(path), allow_stale=True)
    assert renamed.plan is not None
    assert whole.plan is not None
    assert list(renamed.plan.features.values()) == list(whole.plan.features.values())
    assert "3 layers renamed: one (now a)" in " ".join(renamed.notices)
    # The artifacts hold a proto of this model.
    again = tmp_path / "again.prototxt"
    again.write_bytes(renamed.artifacts.quant_params)
    assert stages(tidlq.compile(model(names=("a", "b", "c")), None, options(again))) == (
        stages(renamed)
    )


def test_layers_with_other_weights_take_the_models_own(tmp_path: Path) -> None:
    path = stale(tmp_path)
    other = model()
    values = onnx.numpy_helper.to_array(other.graph.initializer[2]) * 3
    other.graph.initializer[2].CopyFrom(
        onnx.numpy_helper.from_array(values, other.graph.initializer[2].name)
    )
    found = tidlq.compile(other, None, options(path), allow_stale=True)
    assert "1 layer with other weights: two" in " ".join(found.notices)
    weight = saved_of(found).layers_by_name["two"].weights[0]
    old = read_quant_params(path)
    assert weight.range is not None
    assert weight.range.absolute_max == np.abs(values).max()
    assert saved_of(found).layers_by_name["two"].outputs[0].range == (
        old.layers_by_name["two"].outputs[0].range
    )


def test_an_added_layer_needs_data(tmp_path: Path) -> None:
    path = stale(tmp_path)
    longer = model(names=("one", "two", "three", "four"))
    with pytest.raises(QuantProtoError, match="lacks layer 'four'"):
        tidlq.compile(longer, None, options(path), allow_stale=True)
    found = tidlq.compile(longer, frames(), options(path), allow_stale=True)
    assert "1 layer added: four" in " ".join(found.notices)
    assert saved_of(found).layers_by_name["one"].outputs == (
        read_quant_params(path).layers_by_name["one"].outputs
    )


def test_a_removed_layer_is_left_aside(tmp_path: Path) -> None:
    path = stale(tmp_path)
    found = tidlq.compile(model(names=("one", "two")), None, options(path), allow_stale=True)
    assert "1 layer removed: three" in " ".join(found.notices)


def test_data_are_still_needed_where_the_file_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Calibration frames are missing"):
        tidlq.compile(model(), None, options(tmp_path / "none.prototxt"), allow_stale=True)


def test_a_strict_proto_has_published_fields_only_and_says_what_it_lacks(tmp_path: Path) -> None:
    path = tmp_path / "q.prototxt"
    how = options(path, **{"tidlq:cross_layer_equalization": "off"})
    whole = tidlq.compile(model(), frames(), how, tidl_strict=True)
    assert b"tidlq" not in path.read_bytes()
    assert sum("leaves out" in notice for notice in whole.notices) == 3
    again = tidlq.compile(model(), None, how, tidl_strict=True)
    assert stages(again) == stages(whole)
    assert "was read, so it is not written" in " ".join(again.notices)


def test_scales_that_contradict_their_ranges_are_a_notice(tmp_path: Path) -> None:
    path = stale(tmp_path)
    saved = read_quant_params(path)

    def wrong(layer: SavedLayer) -> SavedLayer:
        return layer.with_roles({"outputs": [replace(x, scales=(1e9,)) for x in layer.outputs]})

    write_quant_params(path, replace(saved, layers=tuple(map(wrong, saved.layers))))
    found = tidlq.compile(model(), None, options(path))
    (notice,) = found.notices
    assert "states scales that are not used" in notice
    assert notice.endswith("; and 1 more.")


def test_a_strict_proto_of_level_1_gives_the_same_network(tmp_path: Path) -> None:
    path = tmp_path / "q.prototxt"
    whole = tidlq.compile(model(), frames(), options(path, accuracy_level=1), tidl_strict=True)
    assert "Channels are not rescaled" in whole.notices[-4]
    assert stages(tidlq.compile(model(), None, options(path, accuracy_level=1))) == stages(whole)
