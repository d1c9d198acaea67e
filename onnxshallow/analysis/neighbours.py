"""What stands next to a site that no region covers, as the reason for that."""

from onnxshallow.analysis.affine_ops import is_passthrough
from onnxshallow.analysis.analysis import Analysis
from onnxshallow.analysis.shortcuts import as_convolution
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
    """What stands next to a site in place of a convolution."""
    if analysis.network.is_output(site.output):
        return "what it makes is an output of the model"
    for node, where in _neighbours(analysis, site):
        known = node.index in analysis.layers.by_node or node.index in analysis.site_of_node
        known = known or as_convolution(analysis.network, node, node.outputs[0]) is not None
        if not known and not node.is_op("Add", "Sum") and not is_passthrough(analysis.network, node):
            return f"{node.op} node {node.name!r} {where} and is no convolution"
    return "no convolution follows that could be merged with one before it"
