"""Operators of ONNX, each written for torch."""
