"""The blocks that random networks are made of; each reads one tensor (N, C, *spatial) and makes another."""

from collections.abc import Callable

import numpy as np
from onnx import helper

from tests.properties.builder import Builder, Value
from tests.properties.layers import activation, batch_norm, conv, projection, window_attributes

__all__ = ["BLOCKS", "join"]

# Larger tensors than this are not made any larger, so that a network is checked in a fraction of a second.
_LARGEST = 1200


def single_conv(b: Builder, x: Value) -> Value:
    """Conv, with a BatchNormalization or an activation after it, or none."""
    y = conv(b, x)
    y = batch_norm(b, y) if b.chance(0.3) else y
    return activation(b, y) if b.chance(0.5) else y


def square_conv(b: Builder, x: Value) -> Value:
    """A Conv that makes as many channels as it has columns, and then arithmetic on either of them."""
    y = conv(b, x, min(x.spatial[-1], 8), same=True)
    y = constant_arithmetic(b, y)
    return activation(b, y) if b.chance(0.5) else y


def chain(b: Builder, x: Value) -> Value:
    """Conv, activation, Conv: what can be fused."""
    y = conv(b, x)
    y = batch_norm(b, y) if b.chance(0.3) else y
    y = conv(b, activation(b, y))
    y = batch_norm(b, y) if b.chance(0.2) else y
    return activation(b, y) if b.chance(0.5) else y


def residual(b: Builder, x: Value) -> Value:
    """One or two convolutions, and the input added: as it is, through a convolution, or sliced and padded."""
    keep = b.chance(0.6)
    y = conv(b, x, x.channels if keep else None, same=keep)
    y = batch_norm(b, y) if b.chance(0.3) else y
    if b.chance(0.7):
        y = conv(b, activation(b, y), y.channels, same=True)
        y = batch_norm(b, y) if b.chance(0.2) else y
    shortcut: Value | None = x
    if y.shape != x.shape or b.chance(0.15):
        shortcut = (_sliced(b, x, y.shape) if b.chance(0.5) else None) or projection(b, x, y.shape)
    if shortcut is None:
        return y
    shortcut = b.pick((shortcut, shortcut, shortcut, batch_norm(b, shortcut))) if b.chance(0.3) else shortcut
    shortcut = activation(b, shortcut) if b.chance(0.1) else shortcut
    total = _sum(b, y, shortcut)
    if b.chance(0.6):
        return activation(b, total)
    return b.pick((other_activation, dropout, bare_batch_norm))(b, total) if b.chance(0.2) else total


def _sum(b: Builder, first: Value, second: Value) -> Value:
    names = b.pick(([first.name, second.name], [second.name, first.name]))
    shape = tuple(max(pair) for pair in zip(first.shape, second.shape, strict=True))
    return b.remember(Value(b.node("Sum" if b.chance(0.15) else "Add", names), shape))


def _sliced(b: Builder, x: Value, shape: tuple[int, ...]) -> Value | None:
    """Every other pixel, and channels of zeros: the shortcut without weights of the first residual networks."""
    strides = [2 if size != wanted else 1 for size, wanted in zip(x.spatial, shape[1:], strict=True)]
    reached = [-(-size // stride) for size, stride in zip(x.spatial, strides, strict=True)]
    if reached != list(shape[1:]) or shape[0] < x.channels or b.opset < 10:  # Slice has steps since opset 10
        return None
    axes, huge = range(2, 2 + len(strides)), np.iinfo(np.int32).max
    bounds = [b.integers(*(0 for _ in axes)), b.integers(*(huge for _ in axes)), b.integers(*axes)]
    name = b.node("Slice", [x.name, *bounds, b.integers(*strides)])
    before = b.number(0, shape[0] - x.channels)
    pads = [0, before, *(0 for _ in axes), 0, shape[0] - x.channels - before, *(0 for _ in axes)]
    return b.remember(Value(_pad(b, name, pads), shape))


def inverted(b: Builder, x: Value) -> Value:
    """1x1, activation, depthwise, activation, 1x1, with the input added where it fits."""
    y = activation(b, conv(b, x, b.number(2, 8), pointwise=True))
    y = activation(b, conv(b, y, depthwise=True, same=b.chance(0.7)))
    y = conv(b, y, x.channels if b.chance(0.6) else None, pointwise=True)
    return _sum(b, y, x) if y.shape == x.shape else y


def excitation(b: Builder, x: Value) -> Value:
    """Squeeze and excite: the channels scaled by what a small network makes of their means."""
    pooled = Value(b.node("GlobalAveragePool", [x.name]), (x.channels, *(1 for _ in x.spatial)))
    hidden = activation(b, conv(b, pooled, b.number(1, 3), pointwise=True))
    gate = b.node("Sigmoid", [conv(b, hidden, x.channels, pointwise=True).name])
    return b.remember(Value(b.node("Mul", [x.name, gate]), x.shape))


def constant_arithmetic(b: Builder, x: Value) -> Value:
    """Add, Mul, Sub or Div with a constant, broadcast along some axes or none."""
    ones = tuple(1 for _ in x.spatial)
    shapes = [(x.channels, *ones), (1, x.channels, *ones), (1,), ()]
    if not b.settings.open_sizes:
        shapes += [x.shape, x.spatial[-1:], (1, *ones[:-1], x.spatial[-1])]
        if x.spatial[-1] == x.channels > 1 and b.chance(0.7):  # one number a column, which looks like one a channel
            shapes = [x.spatial[-1:]]
    op = b.pick(("Add", "Mul", "Sub", "Div"))
    shape = b.pick(shapes)
    values = b.uniform(shape, 0.5, 1.5) if op in ("Mul", "Div") else b.normal(shape, 0.5)
    held = b.weight(values, "factor" if op in ("Mul", "Div") else "term")
    inputs = [held, x.name] if op in ("Add", "Mul", "Sub") and b.chance(0.3) else [x.name, held]
    return b.remember(Value(b.node(op, inputs), x.shape))


def join(b: Builder, x: Value) -> Value:
    """Add, Mul or Concat with an earlier tensor, which may be broadcast."""
    kind = b.pick(("Add", "Concat", "Sub", "Mul"))
    if kind == "Concat":
        others = [v for v in b.history if v.spatial == x.spatial and v.channels + x.channels <= 8]
        if not others:
            return x
        other = b.pick(others)
        parts = b.pick(([x.name, other.name], [other.name, x.name]))
        return b.remember(Value(b.node("Concat", parts, axis=1), (x.channels + other.channels, *x.spatial)))
    others = [v for v in b.history if len(v.shape) == len(x.shape) and _broadcast(v.shape, x.shape)]
    other = b.pick(others) if others else x
    shape = tuple(max(pair) for pair in zip(x.shape, other.shape, strict=True))
    second = b.node("Sigmoid", [other.name]) if kind == "Mul" else other.name  # products of products grow too large
    return b.remember(Value(b.node(kind, [x.name, second]), shape))


def _broadcast(first: tuple[int, ...], second: tuple[int, ...]) -> bool:
    return all(a == b or 1 in (a, b) for a, b in zip(first, second, strict=True))


def pool(b: Builder, x: Value) -> Value:
    """MaxPool or AveragePool."""
    op = b.pick(("MaxPool", "AveragePool"))
    kernel = [min(b.pick((2, 3)), size) for size in x.spatial]
    strides = [b.pick((1, 2))] * len(kernel)
    same = max(strides) == 1 and b.chance(0.4)
    attributes, spatial = window_attributes(b, x.spatial, kernel, strides, [1] * len(kernel), same=same)
    attributes.pop("dilations")  # these came with opset 10 and 19
    pads = attributes.get("pads", [0])
    if isinstance(pads, list) and max(pads) >= min(kernel):
        return x
    if op == "AveragePool" and b.chance(0.4):
        attributes["count_include_pad"] = 1
    return b.remember(Value(b.node(op, [x.name], kernel_shape=kernel, **attributes), (x.channels, *spatial)))


def resize(b: Builder, x: Value) -> Value:
    """Upsample up to opset 9, Resize after it: nearest neighbours, twice the size."""
    if int(np.prod(x.shape)) * 2 ** len(x.spatial) > _LARGEST:
        return x
    factors = [1.0, 1.0, *(2.0 for _ in x.spatial)]
    shape = (x.channels, *(2 * size for size in x.spatial))
    if b.opset < 9:
        return b.remember(Value(b.node("Upsample", [x.name], mode="nearest", scales=factors), shape))
    scales = b.plain(factors, np.float32)
    if b.opset < 11:
        op = "Upsample" if b.opset == 9 else "Resize"
        return b.remember(Value(b.node(op, [x.name, scales], mode="nearest"), shape))
    region = "" if b.opset >= 13 else b.plain([], np.float32)
    modes = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor", "mode": "nearest"}
    return b.remember(Value(b.node("Resize", [x.name, region, scales], **modes), shape))


def pad(b: Builder, x: Value) -> Value:
    """Pad: zeros as a rule, sometimes another value or mode, sometimes a crop."""
    low = -1 if min(x.spatial) > 3 and b.chance(0.3) else 0
    begin, end = ([b.number(low, 1) for _ in x.spatial] for _ in range(2))
    mode = (
        b.pick(("constant", "constant", "constant", "edge", "reflect"))
        if min(x.spatial) > 2 and low == 0
        else "constant"
    )
    value = 0.5 if mode == "constant" and b.chance(0.2) else None
    name = _pad(b, x.name, [0, 0, *begin, 0, 0, *end], mode, value)
    sizes = zip(x.spatial, begin, end, strict=True)
    return b.remember(Value(name, (x.channels, *(size + a + z for size, a, z in sizes))))


def _pad(b: Builder, source: str, pads: list[int], mode: str = "constant", value: float | None = None) -> str:
    named = None if mode == "constant" and b.chance(0.5) else mode
    if b.opset < 11:
        return b.node("Pad", [source], pads=pads, value=value, mode=named)
    inputs = [source, b.integers(*pads)]
    if value is not None or b.chance(0.3):
        inputs.append(b.plain(value or 0.0, b.settings.dtype))
    if b.opset >= 18 and b.chance(0.3):
        half = len(pads) // 2
        inputs[1] = b.integers(*pads[1:half], *pads[half + 1 :])
        inputs += [""] * (3 - len(inputs)) + [b.integers(*range(1, half))]
    return b.node("Pad", inputs, mode=named)


def dropout(b: Builder, x: Value) -> Value:
    """Dropout in inference mode, with or without its mask."""
    outputs = 1 + b.chance(0.3)
    if b.opset < 12:
        return b.remember(Value(b.node("Dropout", [x.name], outputs=outputs, ratio=0.4), x.shape))
    inputs = [x.name]
    if b.chance(0.5):
        inputs.append(b.plain(0.4, np.float32) if b.chance(0.5) else "")
        inputs += [b.plain(False, np.bool_)] if not inputs[1] or b.chance(0.3) else []
    return b.remember(Value(b.node("Dropout", inputs, outputs=outputs), x.shape))


def other_activation(b: Builder, x: Value) -> Value:
    """An activation that is no site, or nothing at all."""
    return b.remember(Value(b.node(b.pick(("Identity", "Sigmoid", "Tanh", "Neg")), [x.name]), x.shape))


def bare_activation(b: Builder, x: Value) -> Value:
    """An activation site after whatever came before."""
    return activation(b, x)


def bare_batch_norm(b: Builder, x: Value) -> Value:
    """A BatchNormalization after whatever came before, as before the convolution in some networks."""
    y = batch_norm(b, x)
    return activation(b, y) if b.chance(0.5) else y


def conditional(b: Builder, x: Value) -> Value:
    """An If whose body reads a tensor of the graph around it, maybe one in the middle of a chain."""
    captured = b.pick([value for value in b.history if value.shape == x.shape] or [x])
    kind = helper.np_dtype_to_tensor_dtype(b.settings.dtype)
    bodies = {}
    for branch, op in (("then", b.pick(("Relu", "Tanh"))), ("else", "Neg")):
        result = b.fresh(branch)
        info = helper.make_tensor_value_info(result, kind, [None] * (1 + len(x.shape)))
        bodies[branch] = helper.make_graph([helper.make_node(op, [captured.name], [result])], branch, [], [info])
    condition = b.plain(b.chance(0.5), np.bool_)
    name = b.node("If", [condition], then_branch=bodies["then"], else_branch=bodies["else"])
    y = b.remember(Value(name, x.shape))
    return _sum(b, x, y) if b.chance(0.5) else y


Block = Callable[[Builder, Value], Value]
BLOCKS: dict[Block, int] = {
    chain: 8,
    residual: 8,
    single_conv: 5,
    inverted: 3,
    square_conv: 2,
    bare_activation: 3,
    bare_batch_norm: 2,
    constant_arithmetic: 3,
    join: 4,
    pool: 3,
    pad: 2,
    dropout: 2,
    resize: 2,
    excitation: 1,
    other_activation: 1,
    conditional: 2,
}
"""The blocks and how often they are drawn."""
