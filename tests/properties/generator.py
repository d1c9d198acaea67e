"""Random convolutional networks in every dress that ONNX files come in.

All structural choices are drawn from one `random.Random`, so that a seed names a model, and hypothesis, which
brings a generator of its own, can shrink one. The numbers in the weights come from numpy, seeded by one draw.
"""

import random

import numpy as np
import onnx
from onnx import helper

from onnxshallow.model.network import outer_references
from tests.properties.blocks import BLOCKS
from tests.properties.builder import Builder, Settings, Value
from tests.properties.layers import activation, conv, gemm
from tests.properties.rearranged import REARRANGED

__all__ = ["random_model"]

_BLOCKS = {**BLOCKS, **REARRANGED}
# Sides of the inputs by the number of spatial axes, so that all networks cost about the same.
_SIDES = {1: (5, 14), 2: (4, 10), 3: (3, 5)}


def random_model(random: random.Random) -> onnx.ModelProto:
    """A valid model that onnxruntime runs, of some two to forty nodes.

    Args:
        random: makes the choices.
    """
    b = Builder(random, _settings(random))
    inputs = _inputs(b)
    current = b.pick(inputs)
    for _ in range(b.number(1, 7)):
        if b.history and b.chance(0.15):  # a second branch; the first one ends here, as an output or as dead nodes
            current = b.pick([value for value in b.history if len(value.shape) > 1])
        block = random.choices(list(_BLOCKS), weights=list(_BLOCKS.values()))[0]
        current = block(b, current)
    if b.chance(0.5):
        current = _head(b, current)
    return _finish(b, inputs, current)


def _settings(random: random.Random) -> Settings:
    ir = random.choice((8, 3, 4, 6, 7, 9, 10))
    extra = ("constant", "identity", "shared") + (("input",) if ir >= 4 else ())
    rank = random.choice((2, 2, 2, 2, 1, 1, 3))
    return Settings(
        opset=random.randint(7, 22),
        ir=ir,
        rank=rank,
        dtype=np.dtype(random.choice((np.float32,) * 9 + (np.float16,))),
        batch=random.choice((None, None, None, None, 1, 2)),
        open_sizes=rank < 3 and random.random() > 0.85,
        naming=random.choice(("own",) * 5 + ("none",) * 4 + ("same",)),
        storage=random.choice(((), (), *((kind,) for kind in extra), extra)),
    )


def _inputs(b: Builder) -> list[Value]:
    values = []
    side = 8 if b.settings.open_sizes else b.number(*_SIDES[b.settings.rank])
    for index in range(b.pick((1, 1, 1, 2))):
        sizes = [side] * b.settings.rank
        if not b.settings.open_sizes and b.chance(0.3):
            sizes = [max(3, size - axis) for axis, size in enumerate(sizes)]
        values.append(b.remember(Value(f"x{index}", (b.number(1, 4), *sizes))))
    return values


def _head(b: Builder, x: Value) -> Value:
    """From (N, C, *spatial) to (N, classes), by pooling, squeezing or flattening, with one or two linear layers."""
    way = "pool" if b.settings.open_sizes else b.pick(("pool", "flatten", "pool"))
    if way == "pool":
        pooled = b.node(b.pick(("GlobalAveragePool", "GlobalAveragePool", "GlobalMaxPool")), [x.name])
        x = b.remember(Value(pooled, (x.channels, *(1 for _ in x.spatial))))
    flat = int(np.prod(x.shape))
    last = b.pick(("Flatten", "Flatten", "Reshape", "Squeeze" if way == "pool" else "Flatten"))
    if last == "Squeeze":
        axes = list(range(2, 2 + b.settings.rank))
        if b.opset < 13:
            name = b.node("Squeeze", [x.name], axes=axes)
        else:
            name = b.node("Squeeze", [x.name, b.integers(*axes)])
    elif last == "Reshape":
        name = b.node("Reshape", [x.name, b.integers(0, flat)])
    else:
        name = b.node("Flatten", [x.name], axis=b.pick((None, 1)))
    y = b.remember(Value(name, (flat,)))
    if b.chance(0.5):
        y = activation(b, gemm(b, y))
    return gemm(b, y)


def _finish(b: Builder, inputs: list[Value], last: Value) -> onnx.ModelProto:
    """The model, with its last tensor and a few others as outputs."""
    made = [value for value in b.history if value not in inputs]
    if last in inputs or not any(node.input for node in b.graph.node):
        last = activation(b, conv(b, last))
    read = outer_references(b.graph) | {name for node in b.graph.node for name in node.input}
    outputs = {last.name: last}
    for value in made:
        dangling = value.name not in read
        if len(outputs) < 4 and b.chance(0.8 if dangling else 0.05):
            outputs.setdefault(value.name, value)
    kind = helper.np_dtype_to_tensor_dtype(b.settings.dtype)
    b.graph.name = "random"
    given = list(b.graph.input)
    del b.graph.input[:]
    for value in inputs:
        if value is inputs[0] or value.name in read or value.name == last.name:
            sizes = value.shape if not b.settings.open_sizes else (value.channels, *_symbols(b))
            b.graph.input.append(helper.make_tensor_value_info(value.name, kind, [_batch(b), *sizes]))
    b.graph.input.extend(given)
    for value in outputs.values():
        b.graph.output.append(_output_info(b, value, kind))
    model = helper.make_model(b.graph, ir_version=b.settings.ir, opset_imports=[helper.make_opsetid("", b.opset)])
    if b.chance(0.3):
        model.producer_name, model.doc_string = "a generator", "made up"
        model.metadata_props.add(key="license", value="none")
    return model


def _output_info(b: Builder, value: Value, kind: int) -> onnx.ValueInfoProto:
    if b.chance(0.15):  # nothing is said of the sizes
        return helper.make_tensor_value_info(value.name, kind, [None] * (1 + len(value.shape)))
    sizes: tuple[int | None, ...] = value.shape
    if b.settings.open_sizes:
        sizes = (value.channels, *(None for _ in value.spatial))
    return helper.make_tensor_value_info(value.name, kind, [_batch(b), *sizes])


def _batch(b: Builder) -> str | int:
    return "N" if b.settings.batch is None else b.settings.batch


def _symbols(b: Builder) -> tuple[str, ...]:
    return ("H", "W")[: b.settings.rank]
