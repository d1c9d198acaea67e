"""What stands next to a site that no region covers, as the reason for that."""

from onnxshallow.analysis.affine_ops import is_passthrough
from onnxshallow.analysis.analysis import Analysis
from onnxshallow.analysis.averages import averages, flattens
from onnxshallow.analysis.shortcuts import as_convolution, joins_channels
from onnxshallow.analysis.sites import Site
from onnxshallow.model.network import Node

__all__ = ["damaged_neighbour", "foreign_neighbour"]


def _neighbours(analysis: Analysis, site: Site) -> list[tuple[Node, str]]:
    """The nodes that make what a site reads and that read what it makes, and which they do."""
    before = analysis.network.producer(site.source)
    after = analysis.network.consumers(site.output)
    return [*([(before, "comes before it")] if before else []), *((node, "follows it") for node in after)]


def damaged_neighbour(analysis: Analysis, site: Site) -> str | None:
    """Why a linear node next to a site is no layer, where one is not."""
    for node, _ in _neighbours(analysis, site):
        reason = analysis.layers.reasons.get(node.index)
        if reason is not None:
            return f"{node.op} node {node.name!r} beside it cannot be merged: {reason}"
    return None


def foreign_neighbour(analysis: Analysis, site: Site) -> str:
    """What stands next to a site in place of a convolution, or behind arithmetic and sites that follow it."""
    if analysis.network.is_output(site.output):
        return "what it makes is an output of the model"
    for node, where in _neighbours(analysis, site):
        if not _is_linear(analysis, node) and node.index not in analysis.site_of_node:
            return f"{node.op} node {node.name!r} {where} and is no convolution"
    joint = None
    tensor, readers = site.output, analysis.network.consumers(site.output)
    while len(readers) == 1 and _leads_on(analysis, readers[0]):
        joint = joint or (readers[0] if readers[0].is_op("Concat") else None)
        tensor = readers[0].outputs[0]
        readers = analysis.network.consumers(tensor)
    if tensor != site.output and len(readers) > 1:
        return f"tensor {tensor!r} behind it is read by {len(readers)} nodes"
    if len(readers) == 1 and not _is_linear(analysis, readers[0]):
        return f"{readers[0].op} node {readers[0].name!r} follows it and is no convolution"
    if joint is not None:
        return (
            f"Concat node {joint.name!r} joins it with branches that are no convolutions of one tensor, or too many"
        )
    return "no convolution follows that could be merged with one before it"


def _is_linear(analysis: Analysis, node: Node) -> bool:
    """Whether a node may stand in a chain."""
    if node.index in analysis.layers.by_node or node.is_op("Add", "Sum"):
        return True
    if is_passthrough(analysis.network, node) or joins_channels(analysis.network, node):
        return True
    if averages(analysis.network, node) or flattens(analysis.network, node):
        return True
    return as_convolution(analysis.network, node, node.outputs[0]) is not None


def _leads_on(analysis: Analysis, node: Node) -> bool:
    """Whether a node is another site, or one of those between layers that a chain may go over."""
    layer = analysis.layers.by_node.get(node.index)
    if layer is not None:
        return layer.kind == "affine"
    return node.index in analysis.site_of_node or (
        len(node.outputs) == 1 and not node.is_op("Add", "Sum") and _is_linear(analysis, node)
    )
