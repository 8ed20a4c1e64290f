"""The latency of layers that the choice of 16-bit ones goes by, as the options name it."""

from __future__ import annotations

from tidlq.precision.cost import LatencyModel, device_latency
from tidlq.target import Device, Options

DEFAULT_DEVICE = Device.AM68A
"""Whose model is used where the options name no device."""


def latency_model(options: Options) -> LatencyModel:
    """The latency model of the options.

    Args:
        options: `cost_model` and `device`.
    """
    return device_latency(options.device or DEFAULT_DEVICE)
