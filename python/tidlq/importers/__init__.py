"""Doors to file formats: ONNX models, and frames for calibration and evaluation."""
