"""Activations kept in part and written as one maximum: Max(x, floors).

    floor 0                      the element is activated: max(x, 0)
    floor the lowest number      it passes: max(x, lowest) = x

onnxruntime computes such a Max faster than it cuts channels apart and joins them again. Secure computation compares
every element in it, also those that pass.
"""

import numpy as np
from numpy.typing import NDArray

from onnxshallow.model.network import Network, Node

__all__ = ["floors_of", "lowest"]


def lowest(dtype: np.dtype) -> float:
    """The lowest finite number of an element type: nothing is below it."""
    return float(np.finfo(dtype).min)


def floors_of(network: Network, node: Node) -> NDArray[np.floating] | None:
    """The floors of a Max that activates some elements and lets all others pass, in a shape that is broadcast.

    None for other nodes, for a Max with other numbers, and for one that activates nothing.
    """
    if not node.is_op("Max") or len(node.inputs) != 2 or network.is_constant(node.inputs[0]):
        return None
    floors = network.constant(node.inputs[1])
    if floors is None or floors.dtype.kind != "f" or not np.any(floors == 0):
        return None
    return floors if np.all((floors == 0) | (floors <= lowest(floors.dtype))) else None
