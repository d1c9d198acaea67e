"""The table of damages, and what they are done to."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tests.networks import residual, smooth
from tests.runs import net

DIGITS = Path(__file__).parents[2] / "models" / "digits-resnet.onnx"

Content = onnx.ModelProto | bytes
Apply = Callable[[onnx.ModelProto, random.Random], Content]


@dataclass(frozen=True)
class Damage:
    """One way to damage a model.

    Attributes:
        kind: its name.
        apply: damages a model, which it may change and give back, or gives the file's bytes.
        certain: damaged by construction; else the oracle decides.
        seen: shows without running the model on data, so that `analyze` must refuse it too.
    """

    kind: str
    apply: Apply
    certain: bool
    seen: bool


MODELS: dict[str, Damage] = {}


def damage(*, certain: bool = False, seen: bool | None = None) -> Callable[[Apply], Apply]:
    """Enter a function in the table, under its own name; what is `certain` shows, unless said otherwise."""

    def enter(function: Apply) -> Apply:
        kind = function.__name__
        assert kind not in MODELS, kind
        MODELS[kind] = Damage(kind, function, certain, certain if seen is None else seen)
        return function

    return enter


@cache
def _bases() -> tuple[bytes, ...]:
    return (net().SerializeToString(), residual().SerializeToString(), DIGITS.read_bytes())


def base(random: random.Random) -> onnx.ModelProto:
    """A sound model."""
    return onnx.ModelProto.FromString(random.choice(_bases()))


@cache
def sound_arrays() -> dict[str, np.ndarray]:
    """Calibration data for `residual()`."""
    return {"x": smooth(24, 3, 8), "y": np.arange(24) % 5}


def any_node(model: onnx.ModelProto, random: random.Random, *ops: str) -> onnx.NodeProto:
    """One of a model's nodes, of one of these operators if any are given."""
    nodes = [node for node in model.graph.node if not ops or node.op_type in ops]
    return random.choice(nodes)


def any_weight(model: onnx.ModelProto, random: random.Random) -> onnx.TensorProto:
    """One of a model's float initializers."""
    return random.choice([t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT])


def set_attribute(node: onnx.NodeProto, name: str, value: object) -> None:
    """Give an attribute another value."""
    kept = [attribute for attribute in node.attribute if attribute.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute(name, value)])


def add_constant(model: onnx.ModelProto, name: str, value: object, dtype: type = np.int64) -> str:
    """A new initializer; its name."""
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(value, dtype=dtype), name))
    return name


def attach(model: onnx.ModelProto, tensor: str, *nodes: onnx.NodeProto) -> onnx.ModelProto:
    """Let the largest value of `tensor`, which `nodes` make, be added to the model's output."""
    output = model.graph.output[0].name
    last = next(node for node in model.graph.node if output in node.output)
    last.output[:] = ["before_" + name if name == output else name for name in last.output]
    model.graph.node.extend(nodes)
    model.graph.node.append(helper.make_node("ReduceMax", [tensor], ["largest"], keepdims=0))
    model.graph.node.append(helper.make_node("Add", ["before_" + output, "largest"], [output]))
    return model
