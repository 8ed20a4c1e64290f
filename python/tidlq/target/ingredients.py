"""What advanced calibration does, as an accuracy level and its switches ask for it."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class CalibrationMethod(enum.Enum):
    """How a histogram's range is searched for."""

    MSE = "mse"
    PERCENTILE = "percentile"
    ENTROPY = "entropy"


class EqualizationChoice(enum.Enum):
    """Whether channels of consecutive layers are rescaled; AUTO where it lowers the error."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


@dataclass(frozen=True)
class CalibrationIngredients:
    """The parts of advanced calibration that a compilation uses.

    Attributes:
        activation_clipping: ranges of features leave outliers out.
        weight_clipping: ranges of weights leave outliers out.
        bias_calibration: biases make up for what quantization shifts.
        channel_wise_quantization: one weight scale per output channel.
        equalization: rescaling of channels between layers.
    """

    activation_clipping: bool = False
    weight_clipping: bool = False
    bias_calibration: bool = False
    channel_wise_quantization: bool = False
    equalization: EqualizationChoice = EqualizationChoice.OFF
