"""Nodes that move, sum or compare values of one tensor: reshapes, slices, paddings, poolings, resizes."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from onnxshallow.analysis.attributes import pads_of, slices_of, spatial_attribute
from onnxshallow.model.network import Node
from onnxshallow.private.engine.writing import Lowering, constant, shape_of

__all__ = ["MOVES"]

Lowered = str | Sequence[str] | None


def _reshape(state: Lowering, node: Node) -> Lowered:
    return state.writer.step("reshape", state.name(node.inputs[0]), shape=shape_of(state.network, node.outputs[0]))


def _transpose(state: Lowering, node: Node) -> Lowered:
    rank = len(shape_of(state.network, node.inputs[0]))
    axes = list(node.attributes.get("perm", range(rank - 1, -1, -1)))
    return state.writer.step("transpose", state.name(node.inputs[0]), axes=axes)


def _expand(state: Lowering, node: Node) -> Lowered:
    return state.writer.step("broadcast", state.name(node.inputs[0]), shape=shape_of(state.network, node.outputs[0]))


def _concat(state: Lowering, node: Node) -> Lowered:
    axis = node.attributes["axis"] % len(shape_of(state.network, node.outputs[0]))
    return state.writer.step("concatenate", *(state.name(name) for name in node.inputs), axis=axis)


def _split(state: Lowering, node: Node) -> Lowered:
    sizes, x = shape_of(state.network, node.inputs[0]), state.name(node.inputs[0])
    axis, start, parts = node.attributes.get("axis", 0) % len(sizes), 0, []
    for name in node.outputs:
        stop = start + shape_of(state.network, name)[axis]
        parts.append(_cut(state, x, sizes, {axis: slice(start, stop, 1)}))
        start = stop
    return parts


def _slice(state: Lowering, node: Node) -> Lowered:
    """Ends beyond the axis, such as the largest integer, and those before it, are what Python makes of them."""
    cuts = slices_of(state.network, node)
    if cuts is None:
        return None
    sizes, x = shape_of(state.network, node.inputs[0]), state.name(node.inputs[0])
    turned = [axis for axis, cut in cuts.items() if cut.step < 0]
    for axis in turned:  # a slice backwards is one forwards of the axis turned round
        cuts[axis] = _turned(cuts[axis], sizes[axis])
    x = state.writer.step("reverse", x, axes=turned) if turned else x
    return _cut(state, x, sizes, cuts)


def _turned(cut: slice, size: int) -> slice:
    stop = None if cut.stop < -size else cut.stop
    start, end, step = slice(cut.start, stop, cut.step).indices(size)
    return slice(size - 1 - start, size - 1 - end, -step)


def _cut(state: Lowering, x: str, sizes: Sequence[int], cuts: dict[int, slice]) -> str:
    bounds = [cuts.get(axis, slice(None)).indices(size) for axis, size in enumerate(sizes)]
    starts, ends, strides = (list(each) for each in zip(*bounds, strict=True))
    ends = [max(start, end) for start, end in zip(starts, ends, strict=True)]
    return state.writer.step("slice", x, starts=starts, ends=ends, strides=strides)


def _gather(state: Lowering, node: Node) -> Lowered:
    index, sizes = constant(state.network, node.inputs[1]), shape_of(state.network, node.inputs[0])
    if index is None:
        return None
    axis = node.attributes.get("axis", 0) % len(sizes)
    places = (np.ravel(index) % sizes[axis]).tolist()
    y = state.writer.step("take", state.name(node.inputs[0]), index=places, axis=axis)
    return state.writer.step("reshape", y, shape=shape_of(state.network, node.outputs[0]))


def _pad(state: Lowering, node: Node) -> Lowered:
    """Constants around a tensor; reflections and edges are gathered along each axis."""
    network, sizes = state.network, shape_of(state.network, node.inputs[0])
    given = node.attributes.get("pads") if network.opset < 11 else constant(network, node.inputs[1])
    axes = constant(network, node.inputs[3]) if len(node.inputs) > 3 and node.inputs[3] else range(len(sizes))
    filled = len(node.inputs) > 2 and node.inputs[2]
    value = constant(network, node.inputs[2]) if filled else np.full((), node.attributes.get("value", 0.0))
    if given is None or axes is None or value is None:
        return None
    pads, half = [[0, 0] for _ in sizes], len(given) // 2
    for position, axis in enumerate(axes):
        pads[int(axis) % len(sizes)] = [int(given[position]), int(given[position + half])]
    x, mode = state.name(node.inputs[0]), node.attributes.get("mode", "constant")
    if mode == "constant":
        return state.writer.step("pad", x, pads=pads, value=float(np.ravel(value)[0]))
    for axis, (low, high) in enumerate(pads):
        if low or high:
            places = np.arange(-low, sizes[axis] + high)
            index = np.pad(np.arange(sizes[axis]), (max(low, 0), max(high, 0)), mode=mode)
            index = index[max(-low, 0) :][: len(places)]
            x = state.writer.step("take", x, index=index.tolist(), axis=axis)
    return x


def _window(state: Lowering, node: Node) -> tuple[list[int], list[int], list[list[int]]]:
    """Window, strides and pads of a pooling; with ceil_mode, pads at the end reach as far as the output does."""
    sizes, made = (shape_of(state.network, name)[2:] for name in (node.inputs[0], node.outputs[0]))
    window = list(node.attributes["kernel_shape"])
    strides = list(spatial_attribute(node, "strides", len(window)))
    begin, _ = pads_of(state.network, node, window)
    needed = [(n - 1) * s + k for n, s, k in zip(made, strides, window, strict=True)]
    pads = [[low, need - size - low] for low, need, size in zip(begin, needed, sizes, strict=True)]
    return window, strides, pads


def _max_pool(state: Lowering, node: Node) -> Lowered:
    if any(each != 1 for each in node.attributes.get("dilations", ())) or len(node.outputs) > 1:
        return None
    window, strides, pads = _window(state, node)
    return state.writer.step("max_pool", state.name(node.inputs[0]), window=window, strides=strides, pads=pads)


def _global_max_pool(state: Lowering, node: Node) -> Lowered:
    window = shape_of(state.network, node.inputs[0])[2:]
    pads = [[0, 0] for _ in window]
    return state.writer.step("max_pool", state.name(node.inputs[0]), window=window, strides=window, pads=pads)


def _average_pool(state: Lowering, node: Node) -> Lowered:
    """A sum, times one by how many values there are, which is less at the border where zeros do not count."""
    if any(each != 1 for each in node.attributes.get("dilations", ())):
        return None
    window, strides, pads = _window(state, node)
    x = state.writer.step("sum_pool", state.name(node.inputs[0]), window=window, strides=strides, pads=pads)
    counts = _values_under(state, node, window, strides, pads)
    if len(np.unique(counts)) == 1:
        return state.writer.step("scale", x, number=1 / float(counts.flat[0]))
    return state.writer.step("multiply", x, state.writer.known(1 / counts))


def _values_under(
    state: Lowering, node: Node, window: Sequence[int], strides: Sequence[int], pads: Sequence[Sequence[int]]
) -> np.ndarray:
    """How many values count at each place of the output."""
    sizes, made = (shape_of(state.network, name)[2:] for name in (node.inputs[0], node.outputs[0]))
    begin, end = pads_of(state.network, node, window)
    counts = np.ones(())
    for axis, size in enumerate(sizes):
        low, high = 0, size
        if node.attributes.get("count_include_pad", 0):
            low, high = -begin[axis], size + end[axis]
        starts = np.arange(made[axis]) * strides[axis] - pads[axis][0]
        under = np.minimum(starts + window[axis], high) - np.maximum(starts, low)
        counts = np.multiply.outer(counts, under)
    return counts


def _averages(state: Lowering, node: Node) -> Lowered:
    """GlobalAveragePool, ReduceMean, ReduceSum."""
    sizes = shape_of(state.network, node.inputs[0])
    axes = list(range(2, len(sizes)))
    if node.op != "GlobalAveragePool":
        given = node.attributes.get("axes")
        if len(node.inputs) > 1 and node.inputs[1]:
            given = constant(state.network, node.inputs[1])
        axes = [int(axis) % len(sizes) for axis in (range(len(sizes)) if given is None else given)]
    kept = node.op == "GlobalAveragePool" or bool(node.attributes.get("keepdims", 1))
    x = state.writer.step("sum", state.name(node.inputs[0]), axes=sorted(axes), keepdims=kept)
    count = math.prod(sizes[axis] for axis in axes)
    return x if node.op == "ReduceSum" else state.writer.step("scale", x, number=1 / count)


def _resize(state: Lowering, node: Node) -> Lowered:
    """Along each axis a matrix that onnx's own reference resizes the unit vectors by; copies are moves."""
    sizes, made = (shape_of(state.network, name) for name in (node.inputs[0], node.outputs[0]))
    x = state.name(node.inputs[0])
    for axis, (size, target) in enumerate(zip(sizes, made, strict=True)):
        if size == target:
            continue
        matrix = _resizing(state, node, size, target)
        if matrix is None:
            return None
        if np.all((matrix == 0) | (matrix == 1)):
            x = state.writer.step("take", x, index=matrix.argmax(0).tolist(), axis=axis)
        else:
            x = state.writer.step("contract", x, state.writer.known(matrix), axis=axis)
    return x


def _resizing(state: Lowering, node: Node, size: int, target: int) -> np.ndarray | None:
    """The matrix (size, target) by which a Resize node maps one axis; None where it does something else."""
    from onnx import TensorProto, helper
    from onnx.reference import ReferenceEvaluator

    if node.op == "Upsample" or node.attributes.get("coordinate_transformation_mode") == "tf_crop_and_resize":
        return None
    attributes = {name: value for name, value in node.attributes.items() if name not in ("axes",)}
    single = helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], **attributes)
    graph = helper.make_graph(
        [single],
        "resize",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [size, size]),
            helper.make_tensor_value_info("sizes", TensorProto.INT64, [2]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [size, target])],
    )
    model = helper.make_model(graph, opset_imports=list(state.network.model.opset_import), ir_version=8)
    feeds = {"x": np.eye(size, dtype=np.float32), "sizes": np.array([size, target])}
    (made,) = ReferenceEvaluator(model).run(None, feeds)
    return np.asarray(made)


MOVES: dict[str, Callable[[Lowering, Node], Lowered]] = {
    "Reshape": _reshape, "Flatten": _reshape, "Squeeze": _reshape, "Unsqueeze": _reshape, "Transpose": _transpose,
    "Expand": _expand, "Concat": _concat, "Split": _split, "Slice": _slice, "Gather": _gather, "Pad": _pad,
    "MaxPool": _max_pool, "GlobalMaxPool": _global_max_pool, "AveragePool": _average_pool,
    "GlobalAveragePool": _averages, "ReduceMean": _averages, "ReduceSum": _averages, "Resize": _resize,
}  # fmt: skip
"""How each of these nodes becomes steps; None where it cannot."""
