"""Devices: names and what they can do."""

from __future__ import annotations

import pytest

from tidlq.errors import OptionError
from tidlq.target import Device, find_device


@pytest.mark.parametrize(
    ("alias", "device"),
    [
        ("AM68PA", Device.TDA4VM),
        ("J722S", Device.AM67A),
        ("TDA4VL", Device.AM68A),
        ("TDA4AL", Device.AM68A),
        ("TDA4VH", Device.AM69A),
        ("TDA4AH", Device.AM69A),
        (" am62a ", Device.AM62A),
    ],
)
def test_alias_is_the_device(alias: str, device: Device) -> None:
    assert find_device(alias) is device


@pytest.mark.parametrize(
    ("device", "tops"),
    [
        (Device.TDA4VM, 8),
        (Device.AM62A, 2),
        (Device.AM67A, 4),
        (Device.AM68A, 8),
        (Device.AM69A, 32),
    ],
)
def test_rate_times_cores_times_clock_is_the_published_peak(device: Device, tops: int) -> None:
    facts = device.facts
    peak = 2 * facts.macs_per_cycle * facts.cores * facts.clock_ghz / 1024
    assert peak == tops
    assert facts.macs_per_cycle == facts.mma_size**2
    assert facts.macs_per_cycle_16bit * 4 == facts.macs_per_cycle


def test_only_tda4vm_is_symmetric_with_16_bit_biases() -> None:
    symmetric = {device for device in Device if not device.facts.asymmetric}
    narrow = {device for device in Device if device.facts.bias_bits == 16}
    assert symmetric == narrow == {Device.TDA4VM}


def test_unknown_device_lists_the_names_and_the_nearest() -> None:
    with pytest.raises(OptionError) as caught:
        find_device("AM86A")
    assert str(caught.value).startswith("option 'device' is 'AM86A', allowed: TDA4VM, AM62A,")
    assert "Did you mean" in str(caught.value)
    assert caught.value.exit_code == 2
