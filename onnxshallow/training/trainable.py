"""Which initializers of a model may be trained: weights and biases, and no shapes, bounds or indices.

An initializer is trained where every node that reads it takes it for a weight: as the kernel of a convolution, as a
factor, as a slope; perhaps after it was reshaped. Single numbers that elements are multiplied by or shifted by are
left alone, as they are what a network is made of (the 1/6 of a hard sigmoid, the 1/255 of pixels) and no weights.
"""

from collections.abc import Collection

import numpy as np

from onnxshallow.model.network import Network, Node

__all__ = ["held", "trainable"]

_WEIGHTS = {
    "BatchNormalization": (1, 2),
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "Gemm": (0, 1, 2),
    "InstanceNormalization": (1, 2),
    "MatMul": (0, 1),
    "PRelu": (1,),
}
# Elements smaller than this share of the largest of their tensor are all but zero.
_ALL_BUT_ZERO = 1e-6
_ARITHMETIC = ("Add", "Div", "Mul", "Sub", "Sum")
_PASSED_ON = ("Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")


def trainable(network: Network, nodes: Collection[int]) -> tuple[str, ...]:
    """The initializers that may be trained, in the order of the file.

    Args:
        network: the graph.
        nodes: indices of those nodes through which gradients go.
    """
    names = [tensor.name for tensor in network.model.graph.initializer]
    return tuple(name for name in names if _is_floating(network, name) and _is_weight(network, name, nodes))


def _is_floating(network: Network, name: str) -> bool:
    tensor = network.initializer(name)
    kinds = (np.float16, np.float32, np.float64)
    return tensor is not None and network.dtype(name) in kinds and not network.is_overridable(name)


def _is_weight(network: Network, name: str, nodes: Collection[int]) -> bool:
    """Whether all that reads a tensor takes it for a weight, at once or after it was reshaped."""
    readers = [node for node in network.consumers(name) if node.index in network.alive]
    if not readers or network.is_output(name):
        return False
    return all(node.index in nodes and _takes_weight(network, node, name, nodes) for node in readers)


def _takes_weight(network: Network, node: Node, name: str, nodes: Collection[int]) -> bool:
    if name in node.captures:
        return False
    places = [place for place, read in enumerate(node.inputs) if read == name]
    if node.is_op(*_PASSED_ON):
        return places == [0] and _is_weight(network, node.outputs[0], nodes)
    if node.is_op(*_ARITHMETIC):
        sizes = network.full_shape(name)
        return len(places) == 1 and sizes is not None and int(np.prod(sizes)) > 1
    return node.is_op(*_WEIGHTS) and all(place in _WEIGHTS[node.op] for place in places)


def held(network: Network, name: str, values: np.ndarray) -> np.ndarray | None:
    """Which elements of a trained tensor must stay as they are, (like `values`); None where none must.

    Those that are all but zero beside others stay: they belong to channels that are dead, which a large factor may
    follow, or were pruned. The slope of a PRelu is one where an element has no activation any more, and must not get
    one again.
    """
    sizes = np.abs(values)
    stays: np.ndarray = sizes < _ALL_BUT_ZERO * sizes.max(initial=0.0)
    if any(node.is_op("PRelu") and node.inputs[1] == name for node in network.consumers(name)):
        stays = values == 1
    return stays if stays.any() else None
