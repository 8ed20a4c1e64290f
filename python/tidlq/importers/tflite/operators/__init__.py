"""TFLite's operators as ONNX operators, one family per file."""
