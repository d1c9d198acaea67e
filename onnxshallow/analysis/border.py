"""What a linear region makes of zeros: its constant part, pixel by pixel.

Zero padding between two convolutions makes the influence of the first one's bias weaker at the border. In the
composite that influence is one number a channel, which is right inside only. The map below is right everywhere,
and where the bias is all that goes wrong, adding it in place of the composite's bias makes the composite exact.
"""

from collections.abc import Callable, Mapping

import numpy as np

from onnxshallow.analysis.analysis import Analysis
from onnxshallow.analysis.regions import NotLinearError, Region
from onnxshallow.analysis.shortcuts import as_convolution, differs_at_border, joins_channels, source_of
from onnxshallow.analysis.sites import Site
from onnxshallow.convolution import convolve
from onnxshallow.model.network import Node

__all__ = ["constant_part"]


def constant_part(
    analysis: Analysis, region: Region, affine: Callable[[Site], tuple[np.ndarray, np.ndarray]]
) -> np.ndarray:
    """The region's output (C_out, *spatial) for the input zero, its sites replaced by affine maps.

    Args:
        analysis: of the model that `region` was traced in.
        region: the region.
        affine: scale and shift, (C,) or (1,) each, for a site.

    Raises:
        NotLinearError: the spatial sizes are not known.
    """
    sizes = analysis.network.shape(region.source)
    if sizes is None or not all(sizes[1:]):
        raise NotLinearError(f"the size of {region.source!r} is not known")
    known = {region.source: np.zeros((1, *(size or 0 for size in sizes[1:])))}
    for index in region.nodes:
        node = analysis.network.nodes[index]
        layer = analysis.layers.by_node.get(index)
        site = analysis.site_of_node.get(index)
        if layer is not None:
            if index == layer.nodes[-1]:
                known[layer.output] = convolve(analysis.layers.convolution(layer), known[layer.source])
        elif site is not None:
            scale, shift = (part.reshape(1, -1, *(1,) * site.rank) for part in affine(site))
            known[site.output] = scale * known[site.source] + shift
        else:
            known |= {name: _made(analysis, node, name, known) for name in node.outputs if name}
    result: np.ndarray = known[region.output][0]
    return result


def _made(analysis: Analysis, node: Node, output: str, known: Mapping[str, np.ndarray]) -> np.ndarray:
    """What a node that is neither layer nor site makes."""
    other = as_convolution(analysis.network, node, output)
    if other is not None:
        read = known[source_of(analysis.network, node)]
        counted = convolve(other, np.ones_like(read)) if differs_at_border(node) else np.ones(1)
        averages: np.ndarray = convolve(other, read) / counted
        return averages
    if node.is_op("Add", "Sum"):
        total: np.ndarray = known[node.inputs[0]] + known[node.inputs[1]]
        return total
    if joins_channels(analysis.network, node):
        return np.concatenate([known[name] for name in node.inputs], axis=1)
    return known[node.inputs[0]]
