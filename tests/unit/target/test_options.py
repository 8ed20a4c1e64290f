"""Options: TIDL's names and values in, sentences out when they are wrong."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidlq.errors import OptionError
from tidlq.target import (
    CalibrationIngredients,
    CalibrationMethod,
    Device,
    EqualizationChoice,
    Options,
    RequantizationChoice,
    describe_options,
)
from tidlq.target.option_names import OPTION_NAMES


def test_defaults_are_the_published_ones() -> None:
    assert Options().to_tidl() == {
        "tensor_bits": 8,
        "accuracy_level": 1,
        "advanced_options:quantization_scale_type": 0,
        "advanced_options:calibration_frames": 20,
        "advanced_options:calibration_iterations": 50,
        "advanced_options:activation_clipping": 1,
        "advanced_options:weight_clipping": 1,
        "advanced_options:bias_calibration": 1,
        "advanced_options:channel_wise_quantization": 0,
        "advanced_options:bias_clipping": 0,
        "advanced_options:pre_batchnorm_fold": 1,
        "advanced_options:output_feature_16bit_names_list": "",
        "advanced_options:params_16bit_names_list": "",
        "advanced_options:mixed_precision_factor": -1.0,
        "deny_list:layer_type": "",
        "deny_list:layer_name": "",
        "deny_list": "",
        "allow_list:layer_name": "",
        "max_num_subgraphs": 16,
        "debug_level": 0,
        "tidlq:requantization": "auto",
        "tidlq:calibration_method": "mse",
        "tidlq:percentile": 99.99,
        "tidlq:cross_layer_equalization": "auto",
        "tidlq:leave_out_fusions": "none",
        "tidlq:cost_model": "device",
    }


def test_every_field_has_a_published_name_and_a_description() -> None:
    assert list(OPTION_NAMES) == list(Options.model_fields)
    assert all(info.allowed and info.meaning.endswith(".") for info in describe_options())


@pytest.mark.parametrize(
    ("spelling", "text", "field", "value"),
    [
        ("quantization_scale_type", "4", "quantization_scale_type", 4),
        ("advanced_options:quantization_scale_type", "4", "quantization_scale_type", 4),
        ("tensor_bits", "32", "tensor_bits", 32),
        ("accuracy_level", "9", "accuracy_level", 9),
        ("advanced_options:calibration_frames", "50", "calibration_frames", 50),
        ("advanced_options:bias_clipping", "1", "bias_clipping", True),
        ("activation_clipping", "0", "activation_clipping", False),
        ("activation_clipping", False, "activation_clipping", False),
        ("advanced_options:mixed_precision_factor", "-1", "mixed_precision_factor", -1.0),
        ("deny_list:layer_type", "Resize, MaxPool,", "deny_list_layer_type", ("Resize", "MaxPool")),
        ("deny_list_layer_name", ["a", "b", "a"], "deny_list_layer_name", ("a", "b")),
        ("deny_list", "22,9,25", "deny_list", ("22", "9", "25")),
        ("deny_list", [22, 9], "deny_list", ("22", "9")),
        ("allow_list:layer_name", "conv1", "allow_list_layer_name", ("conv1",)),
        ("quant_params_proto_path", "q.txt", "quant_params_proto_path", Path("q.txt")),
        ("quant_params_proto_path", "", "quant_params_proto_path", None),
        ("device", "j722s", "device", Device.AM67A),
        ("tidlq:device", "AM68A", "device", Device.AM68A),
        ("max_num_subgraphs", 1, "max_num_subgraphs", 1),
        ("debug_level", "3", "debug_level", 3),
    ],
)  # fmt: skip
def test_option_is_read_in_every_spelling(
    spelling: str, text: object, field: str, value: object
) -> None:
    assert getattr(Options.parse({spelling: text}), field) == value


def test_requantization_is_read_with_its_own_prefix() -> None:
    options = Options.parse({"quantization_scale_type": 4, "tidlq:requantization": "FLOAT"})
    assert options.requantization is RequantizationChoice.FLOAT


def test_nested_groups_count_as_prefixed_names() -> None:
    nested = {
        "advanced_options": {"calibration_frames": 12, "add_data_convert_ops": 3},
        "deny_list": {"layer_type": "Resize"},
        "object_detection": {"meta_arch_type": 6},
    }
    assert Options.parse(nested) == Options(calibration_frames=12, deny_list_layer_type=("Resize",))


@pytest.mark.parametrize(
    "name",
    [
        "tidl_tools_path",
        "artifacts_folder",
        "import",
        "platform",
        "version",
        "ti_internal_nc_flag",
        "advanced_options:high_resolution_optimization",
        "high_resolution_optimization",
        "advanced_options:add_data_convert_ops",
        "advanced_options:c7x_firmware_version",
        "object_detection:meta_layers_names_list",
        "onnxruntime:graph_optimization_level",
    ],
)
def test_option_of_tidl_without_effect_here_is_accepted(name: str) -> None:
    assert Options.parse({name: "whatever"}) == Options()


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"tensor_bits": 12}, "option 'tensor_bits' is 12, allowed: 8, 16, 32."),
        ({"tensor_bits": "eight"}, "option 'tensor_bits' is 'eight', allowed: 8, 16, 32."),
        ({"tensor_bits": True}, "option 'tensor_bits' is True, allowed: 8, 16, 32."),
        ({"tensor_bits": 8.5}, "option 'tensor_bits' is 8.5, allowed: 8, 16, 32."),
        ({"accuracy_level": 3}, "option 'accuracy_level' is 3, allowed: 0, 1, 2, 9."),
        (
            {"quantization_scale_type": 2},
            "option 'advanced_options:quantization_scale_type' is 2, allowed: 0, 1, 3, 4.",
        ),
        (
            {"calibration_frames": 0},
            "option 'advanced_options:calibration_frames' is 0, allowed: an integer of 1 or more.",
        ),
        (
            {"advanced_options:bias_calibration": "maybe"},
            "option 'advanced_options:bias_calibration' is 'maybe', allowed: 0, 1.",
        ),
        ({"weight_clipping": 2}, "option 'advanced_options:weight_clipping' is 2, allowed: 0, 1."),
        (
            {"mixed_precision_factor": 0.5},
            (
                "option 'advanced_options:mixed_precision_factor' is 0.5, "
                "allowed: -1 (off) or a number greater than 1."
            ),
        ),
        (
            {"mixed_precision_factor": "nan"},
            (
                "option 'advanced_options:mixed_precision_factor' is 'nan', "
                "allowed: -1 (off) or a number greater than 1."
            ),
        ),
        (
            {"max_num_subgraphs": 17},
            "option 'max_num_subgraphs' is 17, allowed: an integer from 1 to 16.",
        ),
        ({"debug_level": 7}, "option 'debug_level' is 7, allowed: an integer from 0 to 6."),
        (
            {"deny_list": [1.5]},
            "option 'deny_list' is [1.5], allowed: comma-separated names.",
        ),
        (
            {"quant_params_proto_path": True},
            "option 'advanced_options:quant_params_proto_path' is True, allowed: a file path.",
        ),
        (
            {"tidlq:requantization": "flaot"},
            (
                "option 'tidlq:requantization' is 'flaot', allowed: auto, fixed, float. "
                "Did you mean 'float'?"
            ),
        ),
        (
            {"calibration_method": "percentil"},
            (
                "option 'tidlq:calibration_method' is 'percentil', allowed: mse, percentile, "
                "entropy. Did you mean 'percentile'?"
            ),
        ),
        (
            {"tidlq:percentile": 50},
            "option 'tidlq:percentile' is 50, allowed: a number above 50, up to 100.",
        ),
        (
            {"tidlq:cross_layer_equalization": 1},
            "option 'tidlq:cross_layer_equalization' is 1, allowed: auto, on, off.",
        ),
        (
            {"acuracy_level": 1},
            "unknown option 'acuracy_level'. Did you mean 'accuracy_level' or 'debug_level'?",
        ),
        ({3: 1}, "an option's name must be text, found 3."),
    ],
)
def test_wrong_option_is_one_sentence(mapping: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError) as caught:
        Options.parse(mapping)
    assert str(caught.value) == message
    assert caught.value.exit_code == 2
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_unknown_option_with_a_prefix_finds_the_nearest_name() -> None:
    with pytest.raises(OptionError, match="Did you mean 'calibration_frames'"):
        Options.parse({"advanced_options:calibration_frame": 3})
    with pytest.raises(OptionError, match="Did you mean 'deny_list:layer_name'"):
        Options.parse({"deny_list:layers_name": "x"})


def test_unknown_option_without_a_near_name_lists_all_names() -> None:
    with pytest.raises(OptionError) as caught:
        Options.parse({"zzz": 3})
    assert "Options are: tensor_bits, accuracy_level, quantization_scale_type" in str(caught.value)


def test_unknown_keyword_of_the_constructor_is_an_option_error() -> None:
    with pytest.raises(OptionError, match="unknown option 'tensor_bit'"):
        Options(tensor_bit=8)  # type: ignore[call-arg]


def test_options_that_are_no_mapping_are_an_option_error() -> None:
    with pytest.raises(OptionError, match="options must be a mapping"):
        Options.model_validate(["tensor_bits=8"])


def test_option_given_twice_with_different_values_is_refused() -> None:
    twice = {"calibration_frames": 10, "advanced_options:calibration_frames": 20}
    with pytest.raises(OptionError, match="given twice with different values"):
        Options.parse(twice)
    assert Options.parse(dict.fromkeys(twice, 10)).calibration_frames == 10


@pytest.mark.parametrize("device", ["TDA4VM", "am68pa", "J721E"])
def test_asymmetric_on_a_symmetric_device_names_what_is_allowed(device: str) -> None:
    with pytest.raises(OptionError) as caught:
        Options.parse({"advanced_options:quantization_scale_type": 4, "device": device})
    assert str(caught.value) == (
        "option 'advanced_options:quantization_scale_type' is 4 (asymmetric), which TDA4VM does "
        "not have; allowed for this device: 0, 1."
    )
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("scale_type", [0, 1])
def test_multipliers_are_refused_with_scales_made_for_shifts(scale_type: int) -> None:
    with pytest.raises(OptionError, match="allowed with this scale type: auto"):
        Options.parse({"quantization_scale_type": scale_type, "requantization": "fixed"})


@pytest.mark.parametrize("name", ["mixed_precision_factor", "target_sqnr"])
def test_16_bit_layers_are_chosen_for_8_bit_networks_only(name: str) -> None:
    assert Options.parse({name: 1.2}).is_mixed
    assert Options.parse({name: 1.2, "tensor_bits": 32}).is_mixed
    with pytest.raises(OptionError, match=f"{name}.*'tensor_bits' is 16"):
        Options.parse({name: 1.2, "tensor_bits": 16})


def test_a_factor_and_a_target_exclude_each_other() -> None:
    with pytest.raises(OptionError, match="are both given"):
        Options.parse({"mixed_precision_factor": 1.2, "target_sqnr": 30})


def test_prequantized_model_is_on_off_or_not_said() -> None:
    found = [Options.parse({"prequantized_model": v}).prequantized_model for v in ("1", 0, None)]
    assert found == [True, False, None]


@pytest.mark.parametrize("level", [0, 2])
def test_plain_levels_have_no_ingredients_whatever_the_switches(level: int) -> None:
    assert Options(accuracy_level=level, bias_calibration=True).ingredients == (
        CalibrationIngredients()
    )


def test_level_1_has_every_ingredient_whatever_the_switches() -> None:
    switches = {"activation_clipping": 0, "weight_clipping": 0, "bias_calibration": 0}
    assert Options.parse({"accuracy_level": 1, **switches}).ingredients == CalibrationIngredients(
        activation_clipping=True,
        weight_clipping=True,
        bias_calibration=True,
        equalization=EqualizationChoice.AUTO,
    )


@pytest.mark.parametrize("switch", ["activation_clipping", "weight_clipping", "bias_calibration"])
def test_level_9_obeys_each_switch(switch: str) -> None:
    everything = Options(accuracy_level=9).ingredients
    assert everything == Options(accuracy_level=1).ingredients
    without = Options.parse({"accuracy_level": 9, switch: 0}).ingredients
    assert without == dataclasses.replace(everything, **{switch: False})


@pytest.mark.parametrize("level", [0, 1, 2, 9])
def test_channel_scales_and_an_explicit_equalization_hold_at_every_level(level: int) -> None:
    options = {"accuracy_level": level, "channel_wise_quantization": 1}
    assert Options.parse(options).ingredients.channel_wise_quantization
    type_4 = Options(accuracy_level=level, quantization_scale_type=4)
    assert type_4.ingredients.channel_wise_quantization
    for choice in (EqualizationChoice.ON, EqualizationChoice.OFF):
        given = Options(accuracy_level=level, cross_layer_equalization=choice)
        assert given.ingredients.equalization is choice


def test_on_and_off_as_yaml_reads_them() -> None:
    for value, choice in ((True, EqualizationChoice.ON), (False, EqualizationChoice.OFF)):
        options = Options.parse({"tidlq:cross_layer_equalization": value})
        assert options.cross_layer_equalization is choice


@pytest.mark.parametrize("text", ["mse", " Entropy", "PERCENTILE", CalibrationMethod.MSE])
def test_a_calibration_method_is_read_from_its_name(text: object) -> None:
    options = Options.parse({"tidlq:calibration_method": text, "tidlq:percentile": "99.9"})
    assert isinstance(options.calibration_method, CalibrationMethod)
    assert options.percentile == 99.9
    assert Options.parse({"percentile": 100}).percentile == 100.0


def test_override_replaces_only_what_is_given() -> None:
    first = Options.parse({"advanced_options:calibration_frames": 7, "accuracy_level": 2})
    second = first.override({"calibration_frames": "9", "device": None})
    assert second == Options(calibration_frames=9, accuracy_level=2)
    assert first.calibration_frames == 7


def test_override_checks_the_result() -> None:
    with pytest.raises(OptionError, match="TDA4VM does not have"):
        Options(quantization_scale_type=4).override({"device": "TDA4VM"})


def test_options_are_frozen_and_hashable() -> None:
    options = Options()
    with pytest.raises(Exception, match="frozen"):
        options.tensor_bits = 32
    assert hash(options) == hash(Options())


_NAMES = st.lists(st.text("abc/_:1", min_size=1, max_size=5), max_size=3, unique=True).map(tuple)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "tensor_bits": st.sampled_from([8, 16, 32]),
            "params_16bit_names_list": _NAMES,
            "calibration_method": st.sampled_from(CalibrationMethod),
            "percentile": st.floats(50, 100, exclude_min=True),
            "cross_layer_equalization": st.sampled_from(EqualizationChoice),
            "accuracy_level": st.sampled_from([0, 1, 2, 9]),
            "quantization_scale_type": st.sampled_from([0, 1, 4]),
            "calibration_frames": st.integers(1, 10**9),
            "channel_wise_quantization": st.booleans(),
            "deny_list": _NAMES,
            "allow_list_layer_name": _NAMES,
            "quant_params_proto_path": st.just(Path("a/b.prototxt")),
            "device": st.sampled_from([None, Device.AM62A, Device.AM69A]),
        },
    )
)
def test_published_form_reads_back_as_the_same_options(fields: dict[str, object]) -> None:
    options = Options.parse(fields)
    assert Options.parse(options.to_tidl()) == options
    assert Options.parse({k: str(v) for k, v in options.to_tidl().items()}) == options


@given(
    st.dictionaries(
        st.sampled_from([*OPTION_NAMES, *OPTION_NAMES.values(), "nonsense"]),
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(max_size=8)
        | st.lists(st.integers() | st.text(max_size=3), max_size=2)
        | st.dictionaries(st.text(max_size=3), st.integers(), max_size=1),
        max_size=3,
    )
)
def test_any_value_gives_options_or_an_option_error(mapping: dict[str, object]) -> None:
    with contextlib.suppress(OptionError):
        Options.parse(mapping)
