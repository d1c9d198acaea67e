"""An ONNX network as a program for an engine: layers with all that is folded into them, activations, moves.

What the weights alone determine is computed here. Layers are those of `analysis.layers`, so that the program does
what `operations` counts. Forms are chosen for what they cost under secure computation:

    LeakyRelu, PRelu      r = max(x, 0), then r + slope (x - r): one product an element instead of two
    PRelu with slopes 1   only the other elements are compared
    grouped convolutions  one convolution with zeros between the groups; or tap by tap, where that is cheaper
    average poolings      sums of slices, then one multiplication by a number
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx

from onnxshallow.analysis import Layer, analyze
from onnxshallow.analysis.affine_ops import is_passthrough
from onnxshallow.analysis.cost import is_square
from onnxshallow.analysis.floors import floors_of
from onnxshallow.errors import ModelError
from onnxshallow.model.network import Network, Node
from onnxshallow.private.engine import moves
from onnxshallow.private.engine.program import Program, ProgramWriter
from onnxshallow.private.engine.writing import Lowering, constant, shape_of
from onnxshallow.private.operations import Matrices

__all__ = ["lower", "with_batch"]

Multiply = Callable[[Matrices], bool]


def with_batch(model: onnx.ModelProto, batch: int) -> onnx.ModelProto:
    """The model with `batch` samples an input; one whose inputs name another number keeps that."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    stored = {tensor.name for tensor in made.graph.initializer}
    for value in made.graph.input:
        sizes = value.type.tensor_type.shape.dim
        if value.name not in stored and sizes and not sizes[0].HasField("dim_value"):
            sizes[0].dim_value = batch
    del made.graph.value_info[:]  # they may speak of another batch
    return made


def lower(model: onnx.ModelProto, tap_by_tap: Multiply = lambda _: False) -> Program:
    """Write a network as a program.

    Args:
        model: all of whose inputs have known sizes.
        tap_by_tap: whether a grouped convolution with one channel in and out a group is multiplied tap by tap.

    Raises:
        ModelError: it does something that the engine's process does not know; says which node.
    """
    analysis = analyze(model)
    network = analysis.network
    state = Lowering(analysis, ProgramWriter())
    inputs = tuple(info.name for info in network.inputs)
    for name in inputs:
        state.made[name] = name
    for node in network.nodes:
        layer = analysis.layers.by_node.get(node.index)
        if node.index not in network.alive or network.is_constant(node.outputs[0]) or _counts(network, node):
            continue
        if layer is None:
            _lower_node(state, node)
        elif layer.main == node.index:
            state.made[layer.output] = _lower_layer(state, layer, tap_by_tap)
    outputs = tuple(state.name(name) for name in network.output_names)
    return state.writer.written(inputs, outputs)


def _counts(network: Network, node: Node) -> bool:
    """Whether a node computes sizes or places, which are known already."""
    dtype = network.dtype(node.outputs[0])
    return dtype is not None and dtype.kind in "iub"


def _lower_layer(state: Lowering, layer: Layer, tap_by_tap: Multiply) -> str:
    network, write = state.network, state.writer.step
    conv = state.analysis.layers.convolution(layer)
    x = state.name(layer.source)
    if layer.kind == "gemm":
        y = write("matmul", x, state.writer.weight(conv.weight.T))
        return write("add", y, state.writer.weight(conv.bias)) if conv.bias.any() else y
    if layer.kind == "affine":
        return _affine(state, x, conv.weight.ravel(), conv.bias, len(shape_of(network, layer.output)) - 2)
    if conv.rank > 2:
        raise ModelError(f"Node {layer.name!r} is a convolution over {conv.rank} axes, and the engine knows two.")
    weight, lines = conv.weight, conv.rank == 1
    strides, dilations = list(conv.strides), list(conv.dilations)
    pads = [list(each) for each in zip(conv.pads_begin, conv.pads_end, strict=True)]
    if lines:  # a line is an image of one row
        source = shape_of(network, layer.source)
        x = write("reshape", x, shape=[*source[:2], 1, source[2]])
        weight, strides, dilations, pads = weight[:, :, None], [1, *strides], [1, *dilations], [[0, 0], *pads]
    places = math.prod(shape_of(network, layer.output)[2:])
    place: dict[str, Any] = {"strides": strides, "dilations": dilations, "pads": pads}
    matrices = Matrices(places, math.prod(weight.shape[1:]), len(weight) // conv.groups, conv.groups)
    if conv.groups > 1 and weight.shape[1] == 1 and tap_by_tap(matrices):
        taps = weight.reshape(len(weight), -1).T[:, None, :, None, None]
        y = write("depthwise", x, state.writer.weight(taps), window=list(weight.shape[2:]), **place)
    else:
        y = write("conv", x, state.writer.weight(_by_places(_ungrouped(weight, conv.groups))), **place)
    if conv.bias.any():
        y = write("add", y, state.writer.weight(conv.bias.reshape(-1, 1, 1)))
    return write("reshape", y, shape=shape_of(network, layer.output)) if lines else y


def _by_places(weight: np.ndarray) -> np.ndarray:
    """Weights (M, C, h, w) as (h, w, C, M)."""
    return weight.transpose(2, 3, 1, 0)


def _ungrouped(weight: np.ndarray, groups: int) -> np.ndarray:
    """Weights of one group that compute the same, with zeros between the groups."""
    outputs, inner = len(weight) // groups, weight.shape[1]
    whole = np.zeros((len(weight), inner * groups, *weight.shape[2:]))
    for group in range(groups):
        rows = slice(group * outputs, (group + 1) * outputs)
        whole[rows, group * inner : (group + 1) * inner] = weight[rows]
    return whole


def _affine(state: Lowering, x: str, scale: np.ndarray, shift: np.ndarray, rank: int) -> str:
    """A number a channel, multiplied and added; one number for all is no secret."""
    write, axes = state.writer.step, (-1,) + (1,) * rank
    if len(np.unique(scale)) > 1:
        x = write("multiply", x, state.writer.weight(scale.reshape(axes)))
    elif scale[0] != 1:
        x = write("scale", x, number=float(scale[0]))
    return write("add", x, state.writer.weight(shift.reshape(axes))) if shift.any() else x


def _lower_node(state: Lowering, node: Node) -> None:
    """Write a node that is part of no layer.

    Raises:
        ModelError: the engine's process does not know it.
    """
    if is_passthrough(state.network, node):
        state.made[node.outputs[0]] = state.name(node.inputs[0])
        return
    known = _NODES.get(node.op) or moves.MOVES.get(node.op)
    made = known(state, node) if known is not None and node.is_op(node.op) else None
    if made is None:
        raise ModelError(
            f"Node {node.name!r} ({node.op}) is none that can be run under secure computation here; "
            "`onnxshallow bench --private-model` estimates without running."
        )
    for name, output in zip(node.outputs, [made] if isinstance(made, str) else made, strict=False):
        state.made[name] = output


def _rectifier(state: Lowering, node: Node) -> str:
    return state.writer.step("relu", state.name(node.inputs[0]))


def _clip(state: Lowering, node: Node) -> str | None:
    x = state.name(node.inputs[0])
    if state.network.opset < 11:
        bounds = [node.attributes.get("min"), node.attributes.get("max")]
    else:
        given = [*node.inputs[1:3], "", ""][:2]
        values = [constant(state.network, name) if name else None for name in given]
        if any(name and value is None for name, value in zip(given, values, strict=True)):
            return None
        bounds = [None if value is None else float(np.ravel(value)[0]) for value in values]
    low, high = (None if each is None or abs(each) > 1e30 else float(each) for each in bounds)
    x = x if low is None else state.writer.step("floor", x, value=low)
    return x if high is None else state.writer.step("ceiling", x, value=high)


def _leaky(state: Lowering, node: Node) -> str:
    x = state.name(node.inputs[0])
    return _sloped(state, x, np.full((), node.attributes.get("alpha", 0.01)))


def _sloped(state: Lowering, x: str, slope: np.ndarray) -> str:
    """A slope below zero: r + slope (x - r), where r = max(x, 0)."""
    write = state.writer.step
    r = write("relu", x)
    if not slope.any():
        return r
    taken = write("subtract", x, r)
    scaled = state.times(taken, slope)
    return write("add", r, scaled)


def _prelu(state: Lowering, node: Node) -> str | None:
    """Elements whose slope is one stay as they are: only the others are compared."""
    slope, shape = constant(state.network, node.inputs[1]), shape_of(state.network, node.inputs[0])
    if slope is None:
        return None
    x = state.name(node.inputs[0])
    if not np.any(slope == 1):
        return _sloped(state, x, slope)
    write, flat = state.writer.step, np.broadcast_to(slope, (1, *shape[1:])).ravel()
    active, passive = np.flatnonzero(flat != 1), np.flatnonzero(flat == 1)
    x = write("reshape", x, shape=[shape[0], -1])
    own = _sloped(state, write("take", x, index=active.tolist(), axis=1), flat[active])
    both = write("concatenate", own, write("take", x, index=passive.tolist(), axis=1), axis=1)
    order = np.argsort(np.concatenate([active, passive]))
    return write("reshape", write("take", both, index=order.tolist(), axis=1), shape=list(shape))


def _hard_sigmoid(state: Lowering, node: Node) -> str:
    alpha, beta = node.attributes.get("alpha", 0.2), node.attributes.get("beta", 0.5)
    return _hard(state, state.name(node.inputs[0]), alpha, beta)


def _hard(state: Lowering, x: str, alpha: float, beta: float) -> str:
    """Clip(alpha x + beta, 0, 1)."""
    x = state.writer.step("shift", state.writer.step("scale", x, number=alpha), number=beta)
    return state.writer.step("ceiling", state.writer.step("floor", x, value=0.0), value=1.0)


def _hard_swish(state: Lowering, node: Node) -> str:
    x = state.name(node.inputs[0])
    return state.writer.step("multiply", x, _hard(state, x, 1 / 6, 0.5))


def _plain(op: str) -> Callable[[Lowering, Node], str]:
    return lambda state, node: state.writer.step(op, state.name(node.inputs[0]))


def _extreme(op: str) -> Callable[[Lowering, Node], str | None]:
    def lowered(state: Lowering, node: Node) -> str | None:
        if floors_of(state.network, node) is not None:
            return None  # the lowest number has no place in fixed point
        first, *others = (state.name(name) for name in node.inputs)
        for other in others:
            first = state.writer.step(op, first, other)
        return first

    return lowered


def _softmax(state: Lowering, node: Node) -> str:
    default = 1 if state.network.opset < 13 else -1
    axis = node.attributes.get("axis", default) % len(shape_of(state.network, node.inputs[0]))
    return state.writer.step("softmax", state.name(node.inputs[0]), axis=axis)


def _multiply(state: Lowering, node: Node) -> str | None:
    values = [constant(state.network, name) for name in node.inputs]
    if node.op == "Div" and values[1] is not None:
        return state.times(state.name(node.inputs[0]), 1 / np.asarray(values[1], dtype=np.float64))
    if node.op == "Div":
        return state.writer.step("divide", *(state.name(name) for name in node.inputs))
    for value, other in zip(values, reversed(node.inputs), strict=True):
        if value is not None:
            return state.times(state.name(other), value)
    return state.writer.step("multiply", *(state.name(name) for name in node.inputs))


def _power(state: Lowering, node: Node) -> str | None:
    x = state.name(node.inputs[0])
    return state.writer.step("multiply", x, x) if is_square(state.network, node) else None


def _add(state: Lowering, node: Node) -> str:
    values = [constant(state.network, name) for name in node.inputs]
    if node.op == "Add" and len(values) == 2:
        for value, other in zip(values, reversed(node.inputs), strict=True):
            if value is not None and value.size == 1:
                return state.writer.step("shift", state.name(other), number=float(np.ravel(value)[0]))
    first, *others = (state.name(name) for name in node.inputs)
    for other in others:
        first = state.writer.step("subtract" if node.op == "Sub" else "add", first, other)
    return first


def _mean(state: Lowering, node: Node) -> str:
    return state.writer.step("scale", _add(state, node), number=1 / len(node.inputs))


def _matmul(state: Lowering, node: Node) -> str | None:
    """A product of matrices that is no layer: of stacks, or of two computed tensors."""
    if node.op == "Gemm" and (node.attributes.get("transA", 0) or len(node.inputs) > 2):
        return None
    names = [state.name(name) for name in node.inputs[:2]]
    if node.op == "Gemm" and node.attributes.get("transB", 0):
        names[1] = state.writer.step("transpose", names[1], axes=[1, 0])
    return state.writer.step("matmul", *names)


def _conv_transpose(state: Lowering, node: Node) -> str | None:
    """A convolution with the kernel turned round, over the input with zeros between its values."""
    network, write = state.network, state.writer.step
    weight, sizes = constant(network, node.inputs[1]), shape_of(network, node.inputs[0])
    if weight is None or weight.ndim != 4 or node.attributes.get("auto_pad", "NOTSET") not in ("NOTSET", ""):
        return None
    kernel = weight.shape[2:]
    strides, dilations = (list(node.attributes.get(key, (1, 1))) for key in ("strides", "dilations"))
    groups, pads = node.attributes.get("group", 1), list(node.attributes.get("pads", (0,) * 4))
    made = shape_of(network, node.outputs[0])[2:]
    around = []
    for axis in range(2):
        extent = dilations[axis] * (kernel[axis] - 1)
        low = extent - pads[axis]
        spread = (sizes[axis + 2] - 1) * strides[axis] + 1
        around.append([low, made[axis] + extent - spread - low])
    inner = weight.shape[0] // groups
    turned = np.zeros((weight.shape[1] * groups, weight.shape[0], *kernel))
    for group in range(groups):
        taken = slice(group * inner, (group + 1) * inner)
        rows = slice(group * weight.shape[1], (group + 1) * weight.shape[1])
        turned[rows, taken] = np.swapaxes(weight[taken], 0, 1)[:, :, ::-1, ::-1]
    x = write(
        "pad", state.name(node.inputs[0]), pads=[[0, 0], [0, 0], *around], inner=[0, 0, *(s - 1 for s in strides)]
    )
    y = write(
        "conv", x, state.writer.weight(_by_places(turned)), strides=[1, 1], dilations=dilations, pads=[[0, 0], [0, 0]]
    )
    if len(node.inputs) > 2 and node.inputs[2]:
        bias = constant(network, node.inputs[2])
        if bias is None:
            return None
        y = write("add", y, state.writer.weight(bias.reshape(-1, 1, 1)))
    return y


_NODES: dict[str, Callable[[Lowering, Node], str | Sequence[str] | None]] = {
    "Relu": _rectifier, "Clip": _clip, "LeakyRelu": _leaky, "PRelu": _prelu, "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish, "Sigmoid": _plain("sigmoid"), "Tanh": _plain("tanh"), "Exp": _plain("exp"),
    "Softmax": _softmax, "Max": _extreme("maximum"), "Min": _extreme("minimum"), "Mul": _multiply, "Div": _multiply,
    "Pow": _power, "Add": _add, "Sub": _add, "Sum": _add, "Mean": _mean, "Neg": _plain("negate"),
    "Gemm": _matmul, "MatMul": _matmul, "ConvTranspose": _conv_transpose,
}  # fmt: skip
