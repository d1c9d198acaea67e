"""Averages over the whole map, as before the last layer of a classifier, and what lays their pixels flat.

GlobalAveragePool, ReduceMean over all axes behind the channels     (N, C, *spatial) to (N, C, 1, ...) or (N, C)
Flatten, Reshape, Squeeze of one pixel                              (N, C, 1, ...) to (N, C)
"""

from onnxshallow.analysis.attributes import axes_of
from onnxshallow.model.network import Network, Node

__all__ = ["AVERAGING", "averages", "flattens"]

AVERAGING = ("Flatten", "GlobalAveragePool", "ReduceMean", "Reshape", "Squeeze")
"""Operators of which some nodes are averages over the map, or lay these flat."""


def averages(network: Network, node: Node) -> bool:
    """Whether `node` makes the average of each channel of (N, C, *spatial)."""
    if not node.is_op("GlobalAveragePool", "ReduceMean") or network.is_constant(node.inputs[0]):
        return False
    sizes = network.shape(node.inputs[0])
    if sizes is None or len(sizes) < 3:
        return False
    if node.op == "GlobalAveragePool":
        return True
    axes = axes_of(network, node)
    return axes is not None and sorted(axis % len(sizes) for axis in axes) == list(range(2, len(sizes)))


def flattens(network: Network, node: Node) -> bool:
    """Whether `node` makes (N, C) of channels of one pixel each."""
    if not node.is_op("Flatten", "Reshape", "Squeeze"):
        return False
    read, made = network.shape(node.inputs[0]), network.shape(node.outputs[0])
    if read is None or made is None or len(read) < 3 or set(read[2:]) != {1}:
        return False
    return len(made) == 2 and made == read[:2] and read[1] is not None
