"""Where a network is most sensitive, by its nodes, for quantizers that can leave some out."""

from onnxshallow.analysis import Analysis
from onnxshallow.analysis.cost import is_linear
from onnxshallow.analysis.sites import Site
from onnxshallow.model.network import Node
from onnxshallow.report.schema.reports import SiteReport

__all__ = ["nodes_to_exclude"]


def nodes_to_exclude(analysis: Analysis, sites: list[SiteReport]) -> list[str]:
    """The names of sites and of the layers that feed them, the most sensitive first.

    Nodes without a name of their own are left out, since a quantizer knows nodes by that alone.

    Args:
        analysis: of the network.
        sites: with their measured sensitivities; a site without one is left out.
    """
    places = {site.name: site for site in analysis.sites if site.node >= 0}
    measured = [(one.sensitivity, one.name) for one in sites if one.sensitivity is not None and one.name in places]
    found: dict[str, None] = {}
    for _, name in sorted(measured, key=lambda pair: -pair[0]):
        for node in (_layer_before(analysis, places[name]), analysis.network.nodes[places[name].node]):
            if node is not None and node.proto.name:
                found[node.proto.name] = None
    return list(found)


def _layer_before(analysis: Analysis, site: Site) -> Node | None:
    """The linear layer whose output a site reads, past a normalization; None where something else is between."""
    network = analysis.network
    node = network.producer(site.source)
    if node is not None and node.is_op("BatchNormalization"):
        node = network.producer(node.inputs[0])
    return node if node is not None and is_linear(network, node) else None
