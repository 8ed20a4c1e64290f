"""A file with the values of TIDL's published sample is read as they are documented."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tidlq.quantproto import (
    Findings,
    SavedRanges,
    find_left_out,
    find_unsuitable,
    read_quant_params,
    tidl_scale,
    validate_quant_params,
)
from tidlq.spec import RangeOrigin

SAMPLE = Path(__file__).parent / "published_sample.prototxt"


@pytest.fixture(scope="module")
def sample() -> SavedRanges:
    return read_quant_params(SAMPLE)


def test_sample_has_no_problems() -> None:
    assert validate_quant_params(SAMPLE) == Findings()


def test_sample_names_and_types_its_layers(sample: SavedRanges) -> None:
    assert [(layer.name, layer.layer_type) for layer in sample.layers] == [
        ("data", "TIDL_DataLayer"),
        ("conv1a", "TIDL_ConvolutionLayer"),
    ]


def test_a_bit_depth_of_one_byte_is_read_as_eight_bits(sample: SavedRanges) -> None:
    assert [layer.bit_depth for layer in sample.layers] == [8, 8]


def test_defaults_are_symmetric_per_tensor_without_provenance(sample: SavedRanges) -> None:
    assert (sample.symmetric, sample.per_channel, sample.provenance) == (True, False, None)


def test_weight_scale_is_128_over_the_largest_magnitude(sample: SavedRanges) -> None:
    (weight,) = sample.layers_by_name["conv1a"].weights
    assert weight.range is not None
    assert weight.scales == (14435.275390625,)
    assert tidl_scale(weight.range.absolute_max / 128) == weight.scales[0]


def test_output_scale_is_the_accumulator_scale_shifted_by_eight_bits(sample: SavedRanges) -> None:
    (weight,) = sample.layers_by_name["conv1a"].weights
    (output,) = sample.layers_by_name["conv1a"].outputs
    assert output.range is not None
    assert output.scales == (56.387794494628906,)
    assert output.scales[0] == weight.scales[0] / 256
    assert round(output.range.max * output.scales[0]) == 231


def test_ranges_are_the_float32_values_of_the_text(sample: SavedRanges) -> None:
    (output,) = sample.layers_by_name["conv1a"].outputs
    assert output.range is not None
    assert (output.range.min, output.range.max) == (0.0, float(np.float32(4.09663105)))
    assert output.range.origin is RangeOrigin.SAVED


def test_bias_has_its_values_and_its_scale(sample: SavedRanges) -> None:
    (bias,) = sample.layers_by_name["conv1a"].bias
    assert bias.range is not None
    assert bias.size == 3
    assert bias.scales == (120.27982330322266,)
    assert bias.values == (0.28929620981216431, -0.52766174077987671, 0.53365200757980347)
    assert bias.range.min == min(bias.values)
    assert bias.range.max == max(bias.values)


def test_the_sample_has_nothing_that_a_strict_file_leaves_out(sample: SavedRanges) -> None:
    assert find_left_out(sample) == ()
    assert find_unsuitable(sample) == ()
