"""Calibration: what data say about the range of every feature, the weights and the biases."""

from tidlq.calibration.bias import (
    LEAST_FRAMES,
    BiasCalibration,
    BiasFrames,
    BiasSweeps,
    LayerCorrection,
    OutputJudge,
    PlanTrials,
    float_accumulator_means,
    judge_of_all,
    load_frames,
    output_error,
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
    "is_trained_for",
    "judge_of_all",
    "load_frames",
    "measure_features",
    "open_checkpoints",
    "output_error",
    "select_range",
]
