"""Channels that are put in another order by a Reshape, a Transpose and a Reshape, as exporters write shuffles.

    Reshape (N, g, C/g, H, W), Transpose of g and C/g, Reshape (N, C, H, W)         Gather of the channels
    Reshape (N, C, H/b, b, W/b, b), Transpose, Reshape (N, C b b, H/b, W/b)         SpaceToDepth, then such a Gather

What three such nodes do is found by trying them on numbers, for one sample and for two.
"""

import math

import numpy as np
import onnx
from numpy.typing import NDArray

from onnxshallow.model.network import Network, Node
from onnxshallow.model.shapes import all_names
from onnxshallow.model.spelling.changes import Change, fresh
from onnxshallow.model.spelling.shape_readers import for_two_samples
from onnxshallow.model.tensors import TensorInfo

__all__ = ["shuffles"]

# Tensors with more elements a sample are not tried.
_MOST = 1 << 22


def shuffles(network: Network) -> list[Change]:
    """Reshape, Transpose and Reshape that move whole channels, as Gather, with a SpaceToDepth before where needed."""
    threes = [three for node in network.nodes if (three := _three(network, node)) is not None]
    if not threes:
        return []
    taken, doubled = all_names(network.model.graph), for_two_samples(network)
    found: list[Change] = []
    for three in threes:
        source = three[0].inputs[0]
        shapes = [_sizes(infos.get(source)) for infos in (network.inferred, doubled)]
        known = [shape for shape in shapes if shape is not None]
        if shapes[0] is None or len(shapes[0]) < 3 or not 0 < math.prod(shapes[0]) <= _MOST:
            continue
        written = _written(network, three, known, taken)
        if written is not None:
            found.append(Change.of(network.model.graph, [each.index for each in three], *written))
    return found


def _sizes(info: TensorInfo | None) -> tuple[int, ...] | None:
    """The sizes of a tensor, where all are known."""
    sizes = () if info is None or info.shape is None else info.shape
    known = tuple(size for size in sizes if isinstance(size, int))
    return known if known and len(known) == len(sizes) else None


def _three(network: Network, last: Node) -> tuple[Node, Node, Node] | None:
    """A Reshape, a Transpose and a Reshape behind each other, by the last of them."""
    middle = network.producer(last.inputs[0]) if last.is_op("Reshape") and last.index in network.alive else None
    if middle is None or not middle.is_op("Transpose") or not network.is_private(middle.outputs[0]):
        return None
    first = network.producer(middle.inputs[0])
    if first is None or not first.is_op("Reshape") or not network.is_private(first.outputs[0]):
        return None
    fixed = all(len(node.inputs) == 2 and network.has_value(node.inputs[1]) for node in (first, last))
    return (first, middle, last) if fixed and not network.is_constant(last.outputs[0]) else None


def _written(
    network: Network, three: tuple[Node, Node, Node], shapes: list[tuple[int, ...]], taken: set[str]
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]] | None:
    """The nodes that take the place of three, and the constants that they read."""
    results = [_moved(network, three, shape) for shape in shapes]
    made, read = results[0], shapes[0]
    if made is None or made.ndim != len(read) or made.shape[0] != read[0]:
        return None
    block = read[-1] // made.shape[-1] if made.shape[-1] else 0
    if not block or (block > 1 and len(read) != 4):
        return None
    order = _order(made, _numbers(read), block)
    if order is None:
        return None
    for shape, result in zip(shapes, results, strict=True):
        if result is None or not np.array_equal(_blocks(_numbers(shape), block)[:, order], result):
            return None
    first, _, last = three
    source, output = first.inputs[0], last.outputs[0]
    indices = onnx.numpy_helper.from_array(order, fresh(f"{output}/order", taken))
    nodes = []
    if block > 1:
        inner = fresh(f"{output}/blocks", taken)
        nodes.append(onnx.helper.make_node("SpaceToDepth", [source], [inner], f"{last.name}/blocks", blocksize=block))
        source = inner
    nodes.append(onnx.helper.make_node("Gather", [source, indices.name], [output], last.proto.name, axis=1))
    return nodes, [indices]


def _numbers(shape: tuple[int, ...]) -> NDArray[np.int64]:
    return np.arange(math.prod(shape), dtype=np.int64).reshape(shape)


def _moved(network: Network, three: tuple[Node, Node, Node], shape: tuple[int, ...]) -> NDArray[np.int64] | None:
    """Where three nodes put the elements of a tensor, each of which is its own number; None where they cannot."""
    first, middle, last = three
    values = _numbers(shape)
    try:
        opened = values.reshape(_target(network, first, values.shape)).transpose(middle.attributes.get("perm"))
        return opened.reshape(_target(network, last, opened.shape))
    except (ValueError, IndexError):
        return None


def _target(network: Network, node: Node, shape: tuple[int, ...]) -> list[int]:
    """The sizes that a Reshape asks for, those copied that it names by zero."""
    value = network.constant(node.inputs[1])
    asked = [] if value is None else [int(size) for size in value]
    if node.attributes.get("allowzero", 0):
        return asked
    return [size or shape[axis] for axis, size in enumerate(asked)]


def _blocks(values: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """SpaceToDepth; the values themselves for blocks of one pixel."""
    if size == 1:
        return values
    samples, channels, height, width = values.shape
    opened = values.reshape(samples, channels, height // size, size, width // size, size)
    return opened.transpose(0, 3, 5, 1, 2, 4).reshape(samples, -1, height // size, width // size)


def _order(made: NDArray[np.int64], read: NDArray[np.int64], block: int) -> NDArray[np.int64] | None:
    """Which channel of the blocks each channel of the result may be, by its first element."""
    if any(size % block for size in read.shape[2:]) or made.size != read.size:
        return None
    blocks = _blocks(read, block)
    firsts = {int(channel.flat[0]): place for place, channel in enumerate(blocks[0])}
    order = [firsts.get(int(channel.flat[0]), -1) for channel in made[0]]
    same = made.shape == blocks.shape and -1 not in order
    return np.array(order, np.int64) if same else None
