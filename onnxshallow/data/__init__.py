"""Calibration and validation data: sources, preprocessing, splits, and synthetic stand-ins."""

from onnxshallow.data.preprocessing import Preprocessing
from onnxshallow.data.samples import Samples
from onnxshallow.data.sources import load_samples
from onnxshallow.data.splits import split
from onnxshallow.data.synthetic import synthesize

__all__ = ["Preprocessing", "Samples", "load_samples", "split", "synthesize"]
