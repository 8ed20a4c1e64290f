"""The TI target: its options, devices, schemes and layer types."""

from tidlq.target.cost import LayerBits, LayerWork, MatrixWork, layer_cycles
from tidlq.target.devices import Device, DeviceFacts, find_device
from tidlq.target.ingredients import (
    CalibrationIngredients,
    CalibrationMethod,
    EqualizationChoice,
)
from tidlq.target.option_values import RequantizationChoice
from tidlq.target.options import OptionInfo, Options, describe_options
from tidlq.target.schemes import scheme_of
from tidlq.target.tidl_layers import TidlLayerType
from tidlq.target.type4_rules import is_asymmetric

__all__ = [
    "CalibrationIngredients",
    "CalibrationMethod",
    "Device",
    "DeviceFacts",
    "EqualizationChoice",
    "LayerBits",
    "LayerWork",
    "MatrixWork",
    "OptionInfo",
    "Options",
    "RequantizationChoice",
    "TidlLayerType",
    "describe_options",
    "find_device",
    "is_asymmetric",
    "layer_cycles",
    "scheme_of",
]
