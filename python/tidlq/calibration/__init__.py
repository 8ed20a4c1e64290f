"""Calibration: what data say about the range of every feature, the weights and the biases."""

from tidlq.calibration.bias import (
    BiasCalibration,
    BiasFrames,
    LayerCorrection,
    calibrate_biases,
    load_frames,
    measure_output_error,
)
from tidlq.calibration.features import FeatureStatistics, MeasuredFeatures, measure_features
from tidlq.calibration.float_features import FloatFeatures
from tidlq.calibration.kept_frames import KeptFrames
from tidlq.calibration.levels import RangeChoice, RangeRule, RangeSearch, select_range
from tidlq.calibration.stated import find_stated_ranges
from tidlq.calibration.weight_ranges import clip_weights

__all__ = [
    "BiasCalibration",
    "BiasFrames",
    "FeatureStatistics",
    "FloatFeatures",
    "KeptFrames",
    "LayerCorrection",
    "MeasuredFeatures",
    "RangeChoice",
    "RangeRule",
    "RangeSearch",
    "calibrate_biases",
    "clip_weights",
    "find_stated_ranges",
    "load_frames",
    "measure_features",
    "measure_output_error",
    "select_range",
]
