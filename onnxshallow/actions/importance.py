"""How much each element of an activation matters to the layers that read it.

Importance is what pruning calls by that name: here the error that is left where the element is not kept, weighted by
the norm of the weights that read it.
"""

import numpy as np
from numpy.typing import NDArray

from onnxshallow.analysis import Analysis, Site

__all__ = ["most_important"]


def most_important(analysis: Analysis, site: Site, left: NDArray[np.float64], count: int) -> NDArray[np.bool_]:
    """The `count` elements whose errors do most harm to the layers that read the site, as a mask.

    Args:
        analysis: of the graph as it is now.
        site: the activation.
        left: (C,) or (C, *spatial), mean squared error of each element where it is not kept.
        count: how many to keep.
    """
    weight = _reader_norms(analysis, site.output, site.channels)
    importance = left * weight.reshape(-1, *(1,) * (left.ndim - 1))
    order = np.argsort(-importance, axis=None, kind="stable")[:count]
    kept = np.zeros(left.size, dtype=np.bool_)
    kept[order] = True
    return kept.reshape(left.shape)


def _reader_norms(analysis: Analysis, tensor: str, channels: int) -> NDArray[np.float64]:
    """For each channel of `tensor`, the squared norm of the weights by which the nearest layers read it, (C,)."""
    found, seen = np.zeros(channels), set[str]()
    tensors = [tensor]
    while tensors and not found.any():
        seen.update(tensors)
        readers = [layer for name in tensors for layer in analysis.layers.sources.get(name, ())]
        for layer in readers:
            if analysis.layers.groups(layer) == 1 and layer.weight_shape[1] == channels:
                weight = analysis.layers.convolution(layer).weight
                found += np.square(weight).sum(axis=(0, *range(2, weight.ndim)))
        following = [node.outputs[0] for name in tensors for node in analysis.network.consumers(name)]
        alike = [name for name in dict.fromkeys(following) if _width(analysis, name) == channels]
        tensors = [name for name in alike if name not in seen]
    return found if found.any() else np.ones(channels)


def _width(analysis: Analysis, tensor: str) -> int | None:
    shape = analysis.network.shape(tensor)
    return shape[1] if shape is not None and len(shape) > 1 else None
