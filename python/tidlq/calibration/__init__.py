"""Calibration: what data say about the range of every feature."""

from tidlq.calibration.features import FeatureStatistics, MeasuredFeatures, measure_features
from tidlq.calibration.float_features import FloatFeatures
from tidlq.calibration.levels import CalibrationLevel, select_ranges

__all__ = [
    "CalibrationLevel",
    "FeatureStatistics",
    "FloatFeatures",
    "MeasuredFeatures",
    "measure_features",
    "select_ranges",
]
