"""Calibration: what data say about the range of every feature, the weights and the biases."""

from tidlq.calibration.bias import (
    LEAST_FRAMES,
    BiasCalibration,
    BiasFrames,
    BiasSweeps,
    FloatReference,
    FrameSplit,
    LayerCorrection,
    OutputJudge,
    PlanTrials,
    float_accumulator_means,
    frame_bytes,
    judge_of_all,
    load_frames,
    measure_reference,
    output_error,
    split_frames,
    stage_inputs,
)
from tidlq.calibration.checkpoints import (
    CheckpointFile,
    Checkpoints,
    NoCheckpoints,
    open_checkpoints,
)
from tidlq.calibration.features import FeatureStatistics, MeasuredFeatures, measure_features
from tidlq.calibration.float_features import FloatFeatures
from tidlq.calibration.kept_frames import KeptFrames
from tidlq.calibration.levels import RangeChoice, RangeRule, RangeSearch, select_range
from tidlq.calibration.relevant import find_possible_ranges, find_relevant_ranges
from tidlq.calibration.stated import find_stated_ranges, is_trained_for
from tidlq.calibration.weight_ranges import clip_weights

__all__ = [
    "LEAST_FRAMES",
    "BiasCalibration",
    "BiasFrames",
    "BiasSweeps",
    "CheckpointFile",
    "Checkpoints",
    "FeatureStatistics",
    "FloatFeatures",
    "FloatReference",
    "FrameSplit",
    "KeptFrames",
    "LayerCorrection",
    "MeasuredFeatures",
    "NoCheckpoints",
    "OutputJudge",
    "PlanTrials",
    "RangeChoice",
    "RangeRule",
    "RangeSearch",
    "clip_weights",
    "find_possible_ranges",
    "find_relevant_ranges",
    "find_stated_ranges",
    "float_accumulator_means",
    "frame_bytes",
    "is_trained_for",
    "judge_of_all",
    "load_frames",
    "measure_features",
    "measure_reference",
    "open_checkpoints",
    "output_error",
    "select_range",
    "split_frames",
    "stage_inputs",
]
