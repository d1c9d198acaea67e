"""Blocks that take channels and pixels apart and bring them together again, as exporters write it."""

import numpy as np

from tests.properties.builder import Builder, Value
from tests.properties.layers import activation, conv

__all__ = ["REARRANGED"]


def negated(b: Builder, x: Value) -> Value:
    """Conv, activation, arithmetic on channels that no layer precedes, Conv."""
    y = activation(b, conv(b, x))
    for _ in range(b.number(1, 2)):
        op = b.pick(("Neg", "Add", "Sub", "Sub"))
        held = b.weight(b.normal(b.pick(((y.channels, *(1 for _ in y.spatial)), ())), 0.5), "term")
        inputs = [y.name] if op == "Neg" else b.pick(([y.name, held], [held, y.name]))
        y = b.remember(Value(b.node(op, inputs), y.shape))
    return conv(b, y)


def halves(b: Builder, x: Value) -> Value:
    """A Split, a Conv on each part, perhaps activations, and a Concat, with a Conv on both sides."""
    counts = [b.number(1, 3), b.number(1, 3)]
    y = conv(b, x, sum(counts))
    y = activation(b, y) if b.chance(0.6) else y
    if b.opset < 13:
        first = b.node("Split", [y.name], outputs=2, axis=1, split=counts)
    else:
        first = b.node("Split", [y.name, b.integers(*counts)], outputs=2, axis=b.pick((1, -1 - len(y.spatial))))
    parts = [Value(name, (count, *y.spatial)) for name, count in zip((first, f"{first}_1"), counts, strict=True)]
    made = [conv(b, part, b.number(1, 3), same=True, stride=1) for part in parts]
    made = [activation(b, part) if b.chance(0.6) else part for part in made]
    names = [part.name for part in made]
    joined = b.node("Concat", names, axis=1)
    return conv(b, b.remember(Value(joined, (sum(part.channels for part in made), *y.spatial))))


def chosen(b: Builder, x: Value) -> Value:
    """Conv, activation, some of the channels in another order, Conv."""
    y = activation(b, conv(b, x))
    order = [b.number(-y.channels, y.channels - 1) for _ in range(b.number(1, 5))]
    if b.opset < 11:  # from the end since opset 11
        order = [place % y.channels for place in order]
    name = b.node("Gather", [y.name, b.integers(*order)], axis=1)
    return conv(b, b.remember(Value(name, (len(order), *y.spatial))))


def shuffled(b: Builder, x: Value) -> Value:
    """Conv, activation, the channels of two or three groups dealt out in turns, Conv."""
    groups, each = b.number(2, 3), b.number(1, 2)
    y = activation(b, conv(b, x, groups * each))
    if b.settings.open_sizes:
        return y
    rank = len(y.spatial)
    opened = b.node("Reshape", [y.name, b.integers(0, groups, each, *y.spatial)])
    turned = b.node("Transpose", [opened], perm=[0, 2, 1, *range(3, 3 + rank)])
    closed = b.node("Reshape", [turned, b.integers(b.pick((0, -1)), groups * each, *y.spatial)])
    return conv(b, b.remember(Value(closed, y.shape)))


def blocks(b: Builder, x: Value) -> Value:
    """Conv, activation, blocks of pixels as channels, Conv."""
    y = activation(b, conv(b, x, b.number(1, 2), same=True, stride=1))
    if len(y.spatial) != 2 or any(size % 2 for size in y.spatial) or b.settings.dtype != np.float32:
        return y
    shape = (4 * y.channels, *(size // 2 for size in y.spatial))
    if b.settings.open_sizes or b.chance(0.5):
        name = b.node("SpaceToDepth", [y.name], blocksize=2)
    else:
        height, width = shape[1:]
        opened = b.node("Reshape", [y.name, b.integers(0, y.channels, height, 2, width, 2)])
        turned = b.node("Transpose", [opened], perm=[0, 1, 3, 5, 2, 4])
        name = b.node("Reshape", [turned, b.integers(0, *shape)])
    return conv(b, b.remember(Value(name, shape)))


def viewed(b: Builder, x: Value) -> Value:
    """Conv, activation, a Reshape to the same shape whose target is read off a Shape, Conv.

    Not where nodes share a name, as onnx's shape inference then loses such sizes of the model as it stands.
    """
    y = activation(b, conv(b, x))
    if b.settings.open_sizes or b.settings.naming == "same":
        return y
    sizes = b.node("Shape", [b.pick((x, y)).name])
    batch = b.node("Gather", [sizes, b.integers(0)], axis=0)
    target = b.node("Concat", [batch, b.integers(*y.shape)], axis=0)
    return conv(b, b.remember(Value(b.node("Reshape", [y.name, target]), y.shape)))


REARRANGED = {negated: 2, halves: 2, chosen: 1, shuffled: 1, blocks: 1, viewed: 1}
"""The blocks and how often they are drawn."""
