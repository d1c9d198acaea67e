"""Shape of an inner tensor, read off an input instead: then nothing holds that tensor in the way of a rewrite."""

import numpy as np
import onnx

from onnxshallow.model.network import Network, Node
from onnxshallow.model.shapes import all_names, infer_shapes
from onnxshallow.model.spelling.changes import Change, fresh
from onnxshallow.model.tensors import TensorInfo

__all__ = ["for_two_samples", "shape_readers"]


def shape_readers(network: Network) -> list[Change]:
    """Shape nodes of tensors whose sizes are known but for the batch, which is that of an input.

    Shape(t) becomes Concat(Gather(Shape(x), 0), sizes), where x is an input with an open first axis and t is as many
    times as long as it for one sample as for two.
    """
    readers = [node for node in network.nodes if _is_reader(network, node)]
    batched = next((i for i in network.inputs if i.shape and not isinstance(i.shape[0], int)), None)
    if not readers or batched is None:
        return []
    doubled = for_two_samples(network)
    taken = all_names(network.model.graph)
    found = []
    for node in readers:
        one, two = (infos.get(node.inputs[0]) for infos in (network.inferred, doubled))
        if one is None or two is None or not one.is_complete or not one.shape or one.shape[0] != 1:
            continue
        if two.shape == (2, *one.shape[1:]):
            sizes = [size for size in one.shape[1:] if isinstance(size, int)]
            found.append(Change.of(network.model.graph, [node.index], *_written(node, batched.name, sizes, taken)))
    return found


def _is_reader(network: Network, node: Node) -> bool:
    inner = node.is_op("Shape") and network.producer(node.inputs[0]) is not None and node.index in network.alive
    return inner and not node.proto.attribute and not network.is_constant(node.outputs[0])


def for_two_samples(network: Network) -> dict[str, TensorInfo]:
    """What is inferred for two samples a batch; nothing where further axes are open."""
    shapes = {info.name: info.shape for info in network.inputs if info.shape and not isinstance(info.shape[0], int)}
    if not all(isinstance(size, int) for shape in shapes.values() for size in shape[1:]):
        return {}
    doubled = {name: [2, *(size for size in shape[1:] if isinstance(size, int))] for name, shape in shapes.items()}
    return infer_shapes(network.model, doubled)


def _written(
    node: Node, source: str, sizes: list[int], taken: set[str]
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """The nodes that take the place of a Shape, and their constants."""
    output = node.outputs[0]
    whole, batch, first, rest = (fresh(f"{output}_{what}", taken) for what in ("whole", "batch", "first", "rest"))
    constants = [
        onnx.numpy_helper.from_array(np.array([0], np.int64), first),
        onnx.numpy_helper.from_array(np.array(sizes, np.int64), rest),
    ]
    make = onnx.helper.make_node
    nodes = [
        make("Shape", [source], [whole]),
        make("Gather", [whole, first], [batch], axis=0),
        make("Concat", [batch, rest], [output], node.proto.name, axis=0),
    ]
    return nodes, constants
