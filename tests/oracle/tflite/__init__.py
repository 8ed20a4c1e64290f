"""TFLite networks against LiteRT's reference kernels."""
