"""Windows of Resize are those of ONNX Runtime, whatever the sizes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from oracle.onnx_nodes import run_nodes
from tidlq.graph.recognition.resize import resized_coordinates
from tidlq.graph.recognition.windows import WindowRule, axis_windows

SIZES = st.integers(1, 24)


@given(
    SIZES,
    SIZES,
    st.sampled_from(["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"]),
    st.booleans(),
    st.booleans(),
    st.sampled_from([-0.75, -0.5, -0.3]),
)
def test_shares_are_what_onnx_runtime_weighs_by(
    size: int, out: int, coordinates: str, filters: bool, excludes: bool, coefficient: float
) -> None:
    rule = WindowRule(True, coefficient, filters=filters, excludes_outside=excludes)
    places = resized_coordinates(coordinates, size, out, out / size)
    windows = axis_windows(2, size, places, out / size, rule)
    assert windows is not None
    shares = np.zeros((out, size))
    for output, (positions, weights) in enumerate(
        zip(windows.positions, windows.shares, strict=True)
    ):
        shares[output, list(positions)] = weights
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    # One position of the input is 1 in each image.
    images = np.eye(size, dtype=np.float32).reshape(1, size, 1, size)
    images = np.ascontiguousarray(np.repeat(images, 2, axis=2))
    sizes = np.array([1, size, 2, out], np.int64)
    node = helper.make_node(
        "Resize",
        ["x", "", "", "sizes"],
        ["y"],
        mode="cubic",
        cubic_coeff_a=coefficient,
        antialias=int(filters),
        exclude_outside=int(excludes),
        coordinate_transformation_mode=coordinates,
    )
    found = run_nodes([node], {"x": images, "sizes": sizes}, "y", np.dtype(np.float32))
    np.testing.assert_allclose(found[0, :, 0].T, shares, atol=2e-5)


def test_a_place_around_which_nothing_counts_has_no_window() -> None:
    rule = WindowRule(is_cubic=True, excludes_outside=True)
    assert axis_windows(0, 3, np.array([40.0], np.float32), 1.0, rule) is None


@pytest.mark.parametrize("distance", [0.0, 0.5, 1.0, 1.5, 1.999])
def test_cubic_weights_of_four_neighbours_add_up_to_1(distance: float) -> None:
    rule = WindowRule(is_cubic=True)
    share = distance % 1
    total = sum(rule.weight(share + step) for step in (-2, -1, 0, 1))
    assert total == pytest.approx(1)
