"""The TFLite door: a flatbuffer is verified, read, and rewritten as ONNX operators."""
