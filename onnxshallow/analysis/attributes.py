"""Attributes of Conv, Pad and Slice nodes, with the defaults and the history of the operators."""

from collections.abc import Sequence

import numpy as np

from onnxshallow.model.network import Network, Node

__all__ = ["axes_of", "pads_of", "slices_of", "spatial_attribute", "zero_padding"]


def spatial_attribute(node: Node, name: str, rank: int) -> tuple[int, ...]:
    """A list attribute with one int a spatial axis, 1 by default (strides, dilations)."""
    return tuple(int(value) for value in node.attributes.get(name, ())) or (1,) * rank


def pads_of(network: Network, node: Node, kernel: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Zeros before and after each spatial axis of a Conv or pooling node.

    Args:
        network: the network, for the sizes that SAME padding depends on when the stride is over 1.
        node: a node with `pads` or `auto_pad`.
        kernel: its kernel's spatial shape.

    Raises:
        ValueError: SAME padding with a stride on an input of unknown size.
    """
    rank = len(kernel)
    mode = node.attributes.get("auto_pad", "NOTSET")
    if mode in ("NOTSET", ""):
        pads = tuple(int(value) for value in node.attributes.get("pads", ())) or (0,) * (2 * rank)
        return pads[:rank], pads[rank:]
    if mode == "VALID":
        return (0,) * rank, (0,) * rank
    strides = spatial_attribute(node, "strides", rank)
    dilations = spatial_attribute(node, "dilations", rank)
    sizes = _declared_sizes(network, node.inputs[0])
    begin, end = [], []
    for axis in range(rank):
        extent = dilations[axis] * (kernel[axis] - 1) + 1
        total = extent - 1
        if strides[axis] > 1:
            size = sizes[axis + 2] if sizes is not None else None
            if size is None:
                raise ValueError(
                    f"its auto_pad {mode} with a stride depends on an input size that the model leaves open"
                )
            total = max(0, (-(-size // strides[axis]) - 1) * strides[axis] + extent - size)
        small, large = total // 2, total - total // 2
        begin.append(small if mode == "SAME_UPPER" else large)
        end.append(large if mode == "SAME_UPPER" else small)
    return tuple(begin), tuple(end)


def _declared_sizes(network: Network, tensor: str) -> tuple[int | None, ...] | None:
    """Sizes that hold for every run: none where the user fixed open axes for counting only."""
    return None if network.input_shapes else network.shape(tensor)


def zero_padding(network: Network, node: Node) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Pads before and after every axis, if `node` is a Pad with constant pads and the value zero."""
    if not node.is_op("Pad") or node.attributes.get("mode", "constant") != "constant":
        return None
    if network.opset < 11:
        pads = np.asarray(node.attributes.get("pads", node.attributes.get("paddings", ())))
        value = float(node.attributes.get("value", 0.0))
        axes = None
    else:
        found = network.constant(node.inputs[1])
        fill = _optional(network, node, 2)
        axes = _optional(network, node, 3)
        if found is None or fill is False or axes is False:
            return None
        pads, value = found, float(np.max(fill)) if isinstance(fill, np.ndarray) and fill.size else 0.0
    sizes = network.shape(node.inputs[0])
    rank = len(sizes) if sizes is not None else len(pads) // 2
    if value != 0 or (axes is not None and sizes is None):
        return None
    half = len(pads) // 2
    covered = range(half) if axes is None else [int(axis) % rank for axis in np.ravel(axes)]
    begin, end = [0] * rank, [0] * rank
    for position, axis in enumerate(covered):
        begin[axis], end[axis] = int(pads[position]), int(pads[position + half])
    return tuple(begin), tuple(end)


def slices_of(network: Network, node: Node) -> dict[int, slice] | None:
    """The slice of each axis that a Slice node with constant bounds cuts; None for other nodes."""
    sizes = network.shape(node.inputs[0]) if node.is_op("Slice") else None
    if sizes is None:
        return None
    if network.opset < 10:
        starts, ends = (np.asarray(node.attributes.get(key, ())) for key in ("starts", "ends"))
        axes: np.ndarray | bool | None = np.asarray(node.attributes.get("axes", range(len(starts))))
        steps: np.ndarray | bool | None = np.ones(len(starts), dtype=int)
    else:
        found = [network.constant(name) for name in node.inputs[1:3]]
        if any(value is None for value in found):
            return None
        starts, ends = (np.ravel(np.asarray(value)) for value in found)
        axes, steps = _optional(network, node, 3), _optional(network, node, 4)
        if axes is False or steps is False:
            return None
        axes = np.arange(len(starts)) if axes is None else axes
        steps = np.ones(len(starts), dtype=int) if steps is None else steps
    quadruples = zip(np.ravel(np.asarray(axes)), starts, ends, np.ravel(np.asarray(steps)), strict=True)
    return {int(axis) % len(sizes): slice(int(a), int(b), int(step)) for axis, a, b, step in quadruples}


def _optional(network: Network, node: Node, position: int) -> np.ndarray | bool | None:
    """An optional constant input: its value, None where it is not given, False where it is no constant."""
    if len(node.inputs) <= position or not node.inputs[position]:
        return None
    value = network.constant(node.inputs[position])
    return False if value is None else value


def axes_of(network: Network, node: Node) -> list[int] | None:
    """The axes that a node reduces or takes away; None where they are all, or no constants."""
    given = node.attributes.get("axes")
    if given is None and len(node.inputs) > 1 and node.inputs[1]:
        given = network.constant(node.inputs[1])
    return None if given is None or len(given) == 0 else [int(axis) for axis in given]
