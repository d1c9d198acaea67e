"""Tiny networks that learn from each other."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx

from onnxshallow.analysis import analyze
from onnxshallow.data.columns import ArrayColumn
from onnxshallow.data.samples import Samples
from onnxshallow.model.network import Network
from onnxshallow.options.quantities import read_length
from onnxshallow.training.classroom import Lesson
from onnxshallow.validation.kinds import OutputKind
from tests.networks import build, smooth
from tests.runs import NET, NET_WEIGHTS, net

CLASSES = (OutputKind("y", "classes", "says so"),)
SQUARED = NET.replace("r1 = Relu(h1)", "r1 = Mul(h1, h1)")


def damaged(model: onnx.ModelProto, name: str = "w1", share: float = 0.5) -> onnx.ModelProto:
    """A copy of a model, one of whose weights is disturbed by a share of its size."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    tensor = next(tensor for tensor in result.graph.initializer if tensor.name == name)
    values = onnx.numpy_helper.to_array(tensor)
    noise = np.random.default_rng(0).normal(size=values.shape).astype(values.dtype)
    tensor.CopyFrom(onnx.numpy_helper.from_array(values + share * noise * values.std(), name))
    return result


def squared() -> onnx.ModelProto:
    """The network of `net()` with one ReLU replaced by a square."""
    return build(SQUARED, **NET_WEIGHTS)


def lesson(
    optimized: onnx.ModelProto | None = None, length: str = "30steps", original: onnx.ModelProto | None = None,
    **changes: Any,
) -> Lesson:  # fmt: skip
    """A lesson of 96 samples, 32 of which are held out."""
    images = smooth(96, 3, 6)
    analysis = analyze(original if original is not None else net())
    network = Network(optimized if optimized is not None else damaged(net()))
    given: Mapping[str, Any] = {
        "original": analysis,
        "optimized": network,
        "squares": analyze(network).cost.squares > 0,
        "kinds": CLASSES,
        "train": Samples({"x": ArrayColumn(images[:64], np.dtype(np.float32))}, "images"),
        "held_out": [{"x": images[64:80]}, {"x": images[80:]}],
        "batch": 16,
        "length": read_length(length),
        "augment": "none",
        "threads": 1,
    }
    return Lesson(**{**given, **changes})
