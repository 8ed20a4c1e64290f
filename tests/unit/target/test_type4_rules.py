"""Asymmetric layers of quantization_scale_type 4 per device, and TIDL's layer names."""

from __future__ import annotations

import pytest

from tidlq.target import Device, TidlLayerType, is_asymmetric

_ASYMMETRIC = {
    TidlLayerType.CONVOLUTION,
    TidlLayerType.INNER_PRODUCT,
    TidlLayerType.SOFTMAX,
    TidlLayerType.CONCAT,
    TidlLayerType.FLATTEN,
    TidlLayerType.RESHAPE,
    TidlLayerType.TRANSPOSE,
    TidlLayerType.ELTWISE,
    TidlLayerType.LAYER_NORM,
}


@pytest.mark.parametrize("device", [Device.AM62A, Device.AM67A, Device.AM68A, Device.AM69A])
def test_named_device_runs_only_the_published_layers_asymmetric(device: Device) -> None:
    assert {kind for kind in TidlLayerType if is_asymmetric(kind, device)} == _ASYMMETRIC


def test_network_inputs_stay_symmetric_on_a_named_device() -> None:
    assert not is_asymmetric(TidlLayerType.DATA, Device.AM68A)


def test_inner_product_of_two_features_stays_symmetric_on_a_named_device() -> None:
    kind = TidlLayerType.INNER_PRODUCT
    assert not is_asymmetric(kind, Device.AM68A, constant_weights=False)
    assert is_asymmetric(kind, None, constant_weights=False)


def test_symmetric_device_has_no_asymmetric_layer() -> None:
    assert not any(is_asymmetric(kind, Device.TDA4VM) for kind in TidlLayerType)


def test_without_a_device_every_layer_may_be_asymmetric() -> None:
    assert all(is_asymmetric(kind, None) for kind in TidlLayerType)


def test_layer_types_are_spelled_as_published() -> None:
    values = [kind.value for kind in TidlLayerType]
    assert len(values) == len(set(values)) == 66
    assert all(value.startswith("TIDL_") and value.endswith("Layer") for value in values)
    assert TidlLayerType("TIDL_ConvolutionLayer") is TidlLayerType.CONVOLUTION
    assert TidlLayerType("TIDL_Deconv2DLayer") is TidlLayerType.DECONVOLUTION
