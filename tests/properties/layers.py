"""Single linear layers and activations of random networks."""

from math import gcd

import numpy as np

from tests.properties.builder import Builder, Value

__all__ = ["activation", "batch_norm", "conv", "gemm", "projection", "window_attributes"]


def conv(
    b: Builder,
    x: Value,
    out: int | None = None,
    *,
    same: bool = False,
    depthwise: bool = False,
    pointwise: bool = False,
    stride: int | None = None,
) -> Value:
    """A Conv.

    Args:
        b: the graph.
        x: what it reads.
        out: channels that it makes; drawn where left out.
        same: whether the output has the spatial size of the input.
        depthwise: one group a channel.
        pointwise: one tap and no padding.
        stride: along every axis; drawn where left out.
    """
    groups = x.channels if depthwise else _groups(b, x.channels, out)
    out = (x.channels if depthwise else groups * b.number(1, max(1, 6 // groups))) if out is None else out
    rank = len(x.spatial)
    if pointwise:
        kernel, strides, dilations = [1] * rank, [1] * rank, [1] * rank
    else:
        size = b.pick((3, 1, 2, 3))
        kernel = [b.number(1, 3) if b.chance(0.2) else size for _ in range(rank)]
        drawn = 1 if same or b.chance(0.7) else 2
        strides = [drawn if stride is None else stride] * rank
        dilations = [1 + b.chance(0.15)] * rank
    attributes, spatial = window_attributes(b, x.spatial, kernel, strides, dilations, same=same, bare=pointwise)
    if not b.chance(0.3):
        attributes["kernel_shape"] = kernel
    fan_in = x.channels // groups * int(np.prod(kernel))
    inputs = [x.name, b.weight(b.normal((out, x.channels // groups, *kernel), (1.5 / fan_in) ** 0.5), "kernel")]
    if not b.chance(0.25):
        inputs.append(b.weight(b.normal((out,), 0.3), "bias"))
    elif b.chance(0.3):
        inputs.append("")
    name = b.node("Conv", inputs, group=groups if groups > 1 or b.chance(0.3) else None, **attributes)
    return b.remember(Value(name, (out, *spatial)))


def _groups(b: Builder, channels: int, out: int | None) -> int:
    if not b.chance(0.25):
        return 1
    common = channels if out is None else gcd(channels, out)
    return b.pick([group for group in range(1, common + 1) if common % group == 0])


def window_attributes(
    b: Builder,
    sizes: tuple[int, ...],
    kernel: list[int],
    strides: list[int],
    dilations: list[int],
    *,
    same: bool = False,
    bare: bool = False,
) -> tuple[dict[str, object], tuple[int, ...]]:
    """Attributes of a sliding window, and the spatial size that it makes.

    onnxruntime refuses SAME padding together with dilations, and negative pads; so these are not drawn.

    Args:
        b: the graph.
        sizes: spatial size of the input.
        kernel: of the window.
        strides: of the window.
        dilations: of the window.
        same: whether the output has the size of the input, whose strides are then 1.
        bare: whether there is no padding.
    """
    extents = [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]
    modes = ["pads"] if bare or max(dilations) > 1 else ["pads", "pads", "pads", "SAME_UPPER", "SAME_LOWER"]
    mode = b.pick(modes) if same else b.pick([*modes, "VALID"])
    begin, end = [0] * len(sizes), [0] * len(sizes)
    for axis, (size, extent, stride) in enumerate(zip(sizes, extents, strides, strict=True)):
        if mode.startswith("SAME"):
            total = max(0, (-(-size // stride) - 1) * stride + extent - size)
            begin[axis] = total // 2 if mode == "SAME_UPPER" else total - total // 2
            end[axis] = total - begin[axis]
        elif mode == "pads" and same:
            begin[axis] = b.number(0, extent - 1) if b.chance(0.2) else (extent - 1) // 2
            end[axis] = extent - 1 - begin[axis]
        elif mode == "pads" and not bare:
            begin[axis] = end[axis] = b.pick((extent // 2, 0))
            end[axis] += b.chance(0.2)
    if mode == "VALID" and any(extent > size for extent, size in zip(extents, sizes, strict=True)):
        mode = "pads"
    if mode == "pads":
        short = [extent - size - a - z for extent, size, a, z in zip(extents, sizes, begin, end, strict=True)]
        begin = [a + max(0, lack) for a, lack in zip(begin, short, strict=True)]
    spatial = tuple(
        (size + a + z - extent) // stride + 1
        for size, a, z, extent, stride in zip(sizes, begin, end, extents, strides, strict=True)
    )
    given = b.chance(0.3)
    attributes: dict[str, object] = {
        "strides": strides if max(strides) > 1 or given else None,
        "dilations": dilations if max(dilations) > 1 or given else None,
    }
    if mode != "pads":
        attributes["auto_pad"] = mode
    elif any(begin + end) or given:
        attributes["pads"] = [*begin, *end]
        attributes["auto_pad"] = "NOTSET" if b.chance(0.1) else None
    return attributes, spatial


def batch_norm(b: Builder, x: Value) -> Value:
    """A BatchNormalization in inference mode."""
    shape = (x.channels,)
    scale = b.uniform(shape, 0.5, 1.3) * (-1 if b.chance(0.2) else 1)
    parameters = [
        b.weight(scale, "scale"),
        b.weight(b.normal(shape, 0.3), "bias"),
        b.weight(b.normal(shape, 0.3), "bias"),
        b.weight(b.uniform(shape, 0.5, 1.5), "variance"),
    ]
    attributes: dict[str, object] = {
        "epsilon": 1e-3 if b.chance(0.5) else None,
        "momentum": 0.8 if b.chance(0.3) else None,
    }
    if b.opset < 9 and b.chance(0.3):
        attributes["spatial"] = 1
    if b.opset >= 14 and b.chance(0.3):
        attributes["training_mode"] = 0
    return b.remember(Value(b.node("BatchNormalization", [x.name, *parameters], **attributes), x.shape))


def activation(b: Builder, x: Value) -> Value:
    """A Relu as a rule, or another activation site; sometimes with an Identity or a normalization after it."""
    y = _activation(b, x)
    if b.chance(0.06):
        return b.remember(Value(b.node("Identity", [y.name]), y.shape))
    return batch_norm(b, y) if b.chance(0.04) else y


def _activation(b: Builder, x: Value) -> Value:
    kind = b.pick(("Relu", "Relu", "Relu", "Relu", "Clip", "Clip", "LeakyRelu", "PRelu"))
    if kind == "Clip":
        return _clip(b, x)
    if kind == "PRelu":
        shapes = [(x.channels, *(1 for _ in x.spatial)), (1, x.channels, *(1 for _ in x.spatial)), (1,)]
        shapes += [] if b.settings.open_sizes else [x.shape]
        slope = b.weight(b.uniform(b.pick(shapes), -0.2, 0.4), "slope")
        return b.remember(Value(b.node("PRelu", [x.name, slope]), x.shape))
    alpha = 0.2 if kind == "LeakyRelu" and b.chance(0.5) else None
    return b.remember(Value(b.node(kind, [x.name], alpha=alpha), x.shape))


def _clip(b: Builder, x: Value) -> Value:
    low, high = b.pick(((0.0, 6.0), (0.0, 6.0), (0.0, 1.0), (0.0, None), (-1.0, 1.0), (None, 0.5), (None, None)))
    if b.opset < 11:
        return b.remember(Value(b.node("Clip", [x.name], min=low, max=high), x.shape))
    bounds = ["" if bound is None else b.weight(bound, f"bound {bound}") for bound in (low, high)]
    while bounds and not bounds[-1] and b.chance(0.5):
        bounds.pop()
    return b.remember(Value(b.node("Clip", [x.name, *bounds]), x.shape))


def projection(b: Builder, x: Value, shape: tuple[int, ...]) -> Value | None:
    """`x` brought to another shape by a 1x1 convolution, where a stride does it; None where none does."""
    strides = [2 if size != wanted else 1 for size, wanted in zip(x.spatial, shape[1:], strict=True)]
    reached = [-(-size // stride) for size, stride in zip(x.spatial, strides, strict=True)]
    if reached != list(shape[1:]) or len(set(strides)) > 1:
        return None
    weight = b.weight(b.normal((shape[0], x.channels, *(1 for _ in x.spatial)), x.channels**-0.5), "kernel")
    return b.remember(Value(b.node("Conv", [x.name, weight], strides=strides), shape))


def gemm(b: Builder, x: Value, out: int | None = None) -> Value:
    """A Gemm, or a MatMul with or without an Add, of a (N, C) tensor."""
    out = b.number(1, 6) if out is None else out
    values = b.normal((x.channels, out), (1.5 / x.channels) ** 0.5)
    bias = b.normal(b.pick(((out,), (1, out), (1,))), 0.3)
    kind = b.pick(("Gemm", "Gemm", "MatMul"))
    if kind == "MatMul":
        name = b.node("MatMul", [x.name, b.weight(values, "matrix")])
        if b.chance(0.6):
            held = b.weight(bias, "vector")
            name = b.node("Add", b.pick(([name, held], [held, name])))
        return b.remember(Value(name, (out,)))
    transposed = b.chance(0.6)
    inputs = [x.name, b.weight(values.T if transposed else values, "matrix")]
    if b.opset < 11 or b.chance(0.7):  # the bias is optional since opset 11
        inputs.append(b.weight(bias, "vector"))
    attributes = {"alpha": 0.7 if b.chance(0.2) else None, "beta": 1.5 if b.chance(0.2) else None}
    return b.remember(Value(b.node("Gemm", inputs, transB=1 if transposed else None, **attributes), (out,)))
