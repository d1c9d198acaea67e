"""Linear regions: parts of a graph that are one convolution once their activations are removed.

A region leads from one tensor, its source, to one tensor, its output. Between them lie layers, activation sites,
residual additions, and shortcut paths:

    x -> Conv -> Relu -> Conv -> y                          a chain
    x -> Conv -> Relu -> Conv -> Add(x) -> s                a residual block up to its sum, shortcut folded in
    x -> Conv -> Relu -> Conv -> Add(x) -> Relu -> y        the whole block
    x -> 1x1 -> Clip -> depthwise -> Clip -> 1x1 -> y       an inverted residual
    x -> Conv -> Relu -> AveragePool -> Conv -> y           a chain over a pooling
    x -> Conv -> Relu -> Neg -> Sub(1) -> Conv -> y         a chain over arithmetic, a channel at a time
    x -> Split -> Conv, Conv -> Relu, Relu -> Concat -> Conv -> y    halves that come together again
    x -> Conv, Conv -> Relu, Relu -> Concat -> Conv -> y    branches of one tensor that are joined
    x -> Conv -> Relu -> GlobalAveragePool -> Gemm -> y     one layer of the averages of x

Nothing outside may read what lies inside. The merging of blocks is the idea of "Making Models Shallow Again"
(arXiv 2304.13274); here the region is found in the graph, not given by layer numbers.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, reduce

import numpy as np

from onnxshallow.analysis.analysis import Analysis
from onnxshallow.analysis.averages import AVERAGING, averages
from onnxshallow.analysis.layers import Layer
from onnxshallow.analysis.neighbours import damaged_neighbour, foreign_neighbour
from onnxshallow.analysis.shortcuts import IN_DISGUISE, joins_channels
from onnxshallow.analysis.sites import Site
from onnxshallow.analysis.walk import MAX_LAYERS, MAX_SITES, LinearMap, NotLinearError, Walk
from onnxshallow.convolution import Convolution, add_shortcut, identity, join, scale_output

__all__ = ["LinearMap", "NotLinearError", "Region", "find_regions", "linear_map", "trace_region"]


@dataclass(frozen=True)
class Region:
    """A part of the graph that is one convolution when its sites are removed.

    Attributes:
        source: the tensor that it reads.
        output: the tensor that it makes.
        sites: names of the activation sites inside, in graph order.
        layers: the linear layers inside, in graph order.
        nodes: indices of all nodes inside.
        shape: kernel, strides, dilations and pads of the composite, as a convolution of one channel.
        in_channels: channels of `source`.
        out_channels: channels of `output`.
        groups: groups of the composite.
        exact: whether composing is exact everywhere.
        averaged: whether the one convolution reads the average of each channel of `source`, (N, C, 1, ...), or (N, C)
            where `shape` has no spatial axes.
    """

    source: str
    output: str
    sites: tuple[str, ...]
    layers: tuple[Layer, ...]
    nodes: tuple[int, ...]
    shape: Convolution
    in_channels: int
    out_channels: int
    groups: int
    exact: bool
    averaged: bool = False


def trace_region(analysis: Analysis, source: str, output: str) -> Region:
    """The region from `source` to `output`.

    Raises:
        NotLinearError: there is none, and why.
    """
    network = analysis.network
    sizes, out_sizes = network.shape(source), network.shape(output)
    if sizes is None or out_sizes is None:
        raise NotLinearError(f"the shape of {source!r} or {output!r} is not known")
    if len(sizes) < 2 or len(out_sizes) < 2 or not sizes[1] or not out_sizes[1]:
        raise NotLinearError(f"the channels of {source!r} or {output!r} are not known")
    rank = len(sizes) - 2
    walk = Walk(
        analysis,
        source,
        layer_map=analysis.layers.geometry,
        site_map=lambda site, before: scale_output(before, 1.0, 1.0),  # what replaces a site adds a bias
        other_map=_single_channel,
        join_map=partial(reduce, add_shortcut),  # the taps of all of them
        start=_single_channel(identity(2, rank)),
    )
    found = walk.map_to(output)
    inside = {name for index in walk.nodes for name in network.nodes[index].outputs if name} - {output}
    for name in sorted(inside):
        if network.is_output(name):
            raise NotLinearError(f"tensor {name!r} inside is an output of the model")
        for reader in network.consumers(name):
            if reader.index not in walk.nodes:
                raise NotLinearError(f"tensor {name!r} inside is also read by {reader.op} node {reader.name!r}")
    layers = sorted(walk.layers.values(), key=lambda layer: layer.main)
    sites = sorted(walk.sites.values(), key=lambda site: site.node)
    return Region(
        source,
        output,
        tuple(site.name for site in sites),
        tuple(layers),
        tuple(sorted(walk.nodes)),
        found.convolution,
        int(sizes[1]),
        int(out_sizes[1]),
        math.gcd(*walk.groups) or 1,
        found.exact,
        found.averaged,
    )


def _single_channel(convolution: Convolution) -> Convolution:
    """A convolution of one channel with the same geometry; its bias is zero where the original's is."""
    return Convolution.of(
        np.ones((1, 1, *convolution.kernel_shape)),
        [float(np.any(convolution.bias != 0))],
        strides=convolution.strides,
        dilations=convolution.dilations,
        pads_begin=convolution.pads_begin,
        pads_end=convolution.pads_end,
    )


def linear_map(
    analysis: Analysis, region: Region, affine: Callable[[Site], tuple[np.ndarray, np.ndarray]]
) -> LinearMap:
    """The composite of a region whose sites are replaced by y = a z + b, channel by channel.

    Args:
        analysis: of the model that `region` was traced in.
        region: the region.
        affine: scale and shift, (C,) or (1,) each, for a site.

    Raises:
        NotLinearError: the region does not exist.
    """
    sizes = analysis.network.shape(region.source) or ()

    def through_site(site: Site, before: Convolution) -> Convolution:
        scale, shift = (np.broadcast_to(part, (before.out_channels,)) for part in affine(site))
        return scale_output(before, scale, shift)

    walk = Walk(
        analysis,
        region.source,
        layer_map=analysis.layers.convolution,
        site_map=through_site,
        other_map=lambda convolution: convolution,
        join_map=join,
        start=identity(region.in_channels, len(sizes) - 2),
    )
    return walk.map_to(region.output)


def find_regions(analysis: Analysis) -> tuple[tuple[Region, ...], dict[str, str]]:
    """All regions that hold a site, and for every site that lies in none, the reason.

    Returns:
        Regions in graph order of their outputs, and reasons by site name.
    """
    regions: dict[tuple[str, str], Region] = {}
    reasons: dict[str, str] = {}
    for output in _possible_outputs(analysis):
        for source in _possible_sources(analysis, output):
            try:
                region = trace_region(analysis, source, output)
            except NotLinearError as error:
                for name in _sites_before(analysis, output):
                    reasons.setdefault(name, str(error))
                continue
            if 0 < len(region.sites) <= MAX_SITES and len(region.layers) >= 1:
                regions[source, output] = region
    covered = {name for region in regions.values() for name in region.sites}
    for site in analysis.sites:
        if site.refusal is None and site.name not in covered:
            reasons[site.name] = (
                damaged_neighbour(analysis, site) or reasons.get(site.name) or foreign_neighbour(analysis, site)
            )
    return _without_dominated(analysis, tuple(regions.values())), {
        name: reason for name, reason in reasons.items() if name not in covered
    }


def _possible_outputs(analysis: Analysis) -> list[str]:
    """Tensors at which a region may end: sums, activations of sums, averages over the map, and outputs of layers."""
    found = []
    for node in analysis.network.nodes:
        layer = analysis.layers.by_node.get(node.index)
        if layer is not None:
            if node.index == layer.nodes[-1] and layer.kind != "affine":
                found.append(layer.output)
            continue
        if node.is_op("Add", "Sum") or averages(analysis.network, node):
            found.append(node.outputs[0])
        site = analysis.site_of_node.get(node.index)
        producer = analysis.network.producer(site.source) if site is not None else None
        if site is not None and producer is not None and producer.is_op("Add", "Sum"):
            if producer.index not in analysis.layers.by_node:
                found.append(site.output)
    return found


def _possible_sources(analysis: Analysis, output: str) -> list[str]:
    """Sources of the layers that lie a few layers and sums before `output`, nearest first."""
    found: dict[str, None] = {}
    todo: list[tuple[str, int, int]] = [(output, 0, 0)]
    seen: set[str] = set()
    while todo:
        tensor, passed, sums = todo.pop(0)
        if tensor in seen:
            continue
        seen.add(tensor)
        layer = analysis.layers.by_output.get(tensor)
        if layer is not None:
            if passed < MAX_LAYERS:
                found.setdefault(layer.source)
                todo.append((layer.source, passed + 1, sums))
            continue
        node = analysis.network.producer(tensor)
        if node is None:
            continue
        sums += node.is_op("Add", "Concat", "Sum")
        if sums <= MAX_LAYERS and (
            node.index in analysis.site_of_node
            or node.is_op(*IN_DISGUISE, *AVERAGING, "Concat", "Sum", "Identity", "Dropout")
        ):
            todo.extend((name, passed, sums) for name in node.inputs if name)
    return list(found)


def _sites_before(analysis: Analysis, output: str) -> list[str]:
    """The sites that the layer making `output` reads from, if any."""
    layer = analysis.layers.by_output.get(output)
    node = analysis.network.producer(layer.source) if layer is not None else None
    joined = node is not None and joins_channels(analysis.network, node)
    makers = [node] if not joined or node is None else [analysis.network.producer(name) for name in node.inputs]
    sites = (analysis.site_of_node.get(each.index) for each in makers if each is not None)
    return [site.name for site in sites if site is not None]


def _without_dominated(analysis: Analysis, regions: tuple[Region, ...]) -> tuple[Region, ...]:
    """Leave out regions that end just before what could be folded in at no cost.

    That is a residual sum behind a layer, and a layer behind an average over the map.
    """

    def is_longer(region: Region) -> bool:
        return (region.output in analysis.layers.by_output) == region.averaged

    longer = {(region.source, region.sites, region.averaged) for region in regions if is_longer(region)}
    return tuple(
        region
        for region in regions
        if is_longer(region) or (region.source, region.sites, region.averaged) not in longer
    )
