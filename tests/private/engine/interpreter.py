"""A program followed by numpy: what the engine's process is to compute, without the engine."""

import itertools

import numpy as np

from onnxshallow.convolution import Convolution, convolve
from onnxshallow.private.engine.program import Program


def interpret(program: Program, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Outputs of a program."""
    tensors = {**program.weights, **program.public, **feeds}
    for step in program.steps:
        read = [tensors[name] for name in step.inputs]
        tensors[step.output] = OPERATORS[step.op](*read, **step.settings)
    return [tensors[name] for name in program.outputs]


def _windows(x, window, strides, pads, fill):
    x = np.pad(x, [(0, 0), (0, 0), *pads], constant_values=fill)
    made = [(n - k) // s + 1 for n, k, s in zip(x.shape[2:], window, strides, strict=True)]
    for tap in itertools.product(*map(range, window)):
        cut = [slice(t, t + s * n, s) for t, s, n in zip(tap, strides, made, strict=True)]
        cut = [slice(c.start, c.start + s * (n - 1) + 1, s) for c, s, n in zip(cut, strides, made, strict=True)]
        yield x[(slice(None), slice(None), *cut)]


def _convolution(weight, strides, dilations, pads, groups):
    begin, end = zip(*pads, strict=True)
    return Convolution.of(
        weight, np.zeros(len(weight)), strides=strides, dilations=dilations, pads_begin=begin, pads_end=end,
        groups=groups,
    )  # fmt: skip


def _conv(x, w, strides, dilations, pads):
    return convolve(_convolution(w.transpose(3, 2, 0, 1), strides, dilations, pads, 1), x)


def _depthwise(x, w, window, strides, dilations, pads):
    weight = w[:, 0, :, 0, 0].T.reshape(-1, 1, *window)
    return convolve(_convolution(weight, strides, dilations, pads, len(weight)), x)


def _pad(x, pads, value=0.0, inner=None):
    for axis, gap in enumerate(inner or []):
        spread = np.zeros([*x.shape[:axis], (x.shape[axis] - 1) * (gap + 1) + 1, *x.shape[axis + 1 :]])
        spread[(slice(None),) * axis + (slice(None, None, gap + 1),)] = x
        x = spread
    x = np.pad(x, [(max(low, 0), max(high, 0)) for low, high in pads], constant_values=value)
    return x[tuple(slice(max(-low, 0), n - max(-high, 0)) for n, (low, high) in zip(x.shape, pads, strict=True))]


def _softmax(x, axis):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


OPERATORS = {
    "conv": _conv,
    "depthwise": _depthwise,
    "matmul": np.matmul,
    "contract": lambda x, matrix, axis: np.moveaxis(np.moveaxis(x, axis, -1) @ matrix, -1, axis),
    "relu": lambda x: np.maximum(x, 0),
    "floor": lambda x, value: np.maximum(x, value),
    "ceiling": lambda x, value: np.minimum(x, value),
    "maximum": np.maximum,
    "minimum": np.minimum,
    "max_pool": lambda x, window, strides, pads: np.max(list(_windows(x, window, strides, pads, -np.inf)), 0),
    "sum_pool": lambda x, window, strides, pads: np.sum(list(_windows(x, window, strides, pads, 0)), 0),
    "sum": lambda x, axes, keepdims: x.sum(tuple(axes), keepdims=keepdims),
    "multiply": np.multiply,
    "divide": np.divide,
    "add": np.add,
    "subtract": np.subtract,
    "scale": lambda x, number: x * number,
    "shift": lambda x, number: x + number,
    "negate": np.negative,
    "reshape": lambda x, shape: x.reshape(shape),
    "transpose": lambda x, axes: np.transpose(x, axes),
    "broadcast": lambda x, shape: np.broadcast_to(x, shape),
    "concatenate": lambda *parts, axis: np.concatenate(parts, axis),
    "slice": lambda x, starts, ends, strides: x[tuple(map(slice, starts, ends, strides))],
    "reverse": lambda x, axes: np.flip(x, axes),
    "take": lambda x, index, axis: np.take(x, index, axis),
    "pad": _pad,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "exp": np.exp,
    "softmax": _softmax,
}
