"""Rewrites of the float graph: one pass per file, each under the `onnx_ir` pass contract.

A pass keeps the names and the order of the graph's inputs and outputs and the names of the tensors
that it keeps. Every pass states what it does to the numbers.
"""
