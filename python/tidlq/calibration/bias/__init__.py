"""Bias calibration: what quantization shifts on average is taken back by the biases.

Layer by layer in execution order, the mean of each output channel before the non-linearity is
compared between the float network and the integer one, whose earlier layers are corrected already.
A mean of accumulators is linear in the mean of what the layer's window sees, so that neither
network's accumulators have to be computed or stored (`means`).
"""

from tidlq.calibration.bias.frames import (
    LEAST_FRAMES,
    BiasFrames,
    FrameSplit,
    frame_bytes,
    load_frames,
    split_frames,
)
from tidlq.calibration.bias.judge import OutputJudge, output_error
from tidlq.calibration.bias.reference import FloatReference, measure_reference
from tidlq.calibration.bias.stages import stage_inputs
from tidlq.calibration.bias.state import LayerCorrection
from tidlq.calibration.bias.sweeps import BiasCalibration, BiasSweeps
from tidlq.calibration.bias.targets import float_accumulator_means
from tidlq.calibration.bias.trials import PlanTrials, judge_of_all

__all__ = [
    "LEAST_FRAMES",
    "BiasCalibration",
    "BiasFrames",
    "BiasSweeps",
    "FloatReference",
    "FrameSplit",
    "LayerCorrection",
    "OutputJudge",
    "PlanTrials",
    "float_accumulator_means",
    "frame_bytes",
    "judge_of_all",
    "load_frames",
    "measure_reference",
    "output_error",
    "split_frames",
    "stage_inputs",
]
