"""The analyze stage: one look at a model, shared by all later stages."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import onnx

from onnxshallow.analysis.cost import Cost, count_cost, node_depths
from onnxshallow.analysis.layers import Layers
from onnxshallow.analysis.siblings import SHARED, follows_sibling
from onnxshallow.analysis.sites import Site, find_sites
from onnxshallow.model.network import Network
from onnxshallow.text import html_table

__all__ = ["Analysis", "analyze"]


@dataclass(frozen=True, eq=False, repr=False)
class Analysis:
    """A model's parts.

    Attributes:
        network: the graph, indexed.
        layers: its linear layers.
        sites: its activation sites, in graph order.
    """

    network: Network
    layers: Layers
    sites: tuple[Site, ...]

    @cached_property
    def cost(self) -> Cost:
        """What the model costs per sample."""
        return count_cost(self.network, self.sites)

    @cached_property
    def depths(self) -> Sequence[int]:
        """For every node, by index, the linear layers on the longest path up to and including it."""
        return node_depths(self.network)

    @cached_property
    def site_of_node(self) -> Mapping[int, Site]:
        """Sites of the main graph by node index."""
        return {site.node: site for site in self.sites if site.node >= 0}

    @cached_property
    def site_by_name(self) -> Mapping[str, Site]:
        """Sites by name."""
        return {site.name: site for site in self.sites}

    def __repr__(self) -> str:
        cost = self.cost
        return f"<Analysis: {len(self.sites)} sites, {cost.relus} ReLUs, {cost.macs} MACs, depth {cost.depth}>"

    def _repr_html_(self) -> str:
        """The sites as a table, for notebooks."""
        rows = [
            (site.name, site.kind, "?" if site.size is None else str(site.size), site.refusal or "yes")
            for site in self.sites
        ]
        return html_table(repr(self)[1:-1], ["site", "kind", "size", "removable"], rows)


def analyze(
    model: onnx.ModelProto | Network,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    boundaries: Collection[str] = (),
) -> Analysis:
    """Find a model's layers and activation sites.

    Args:
        model: a checked model, external data loaded; or its graph, which knows its inputs' shapes.
        input_shapes: sizes for inputs with open axes, by input name.
        boundaries: tensors that no layer reaches across.

    Raises:
        ModelError: the graph is damaged.
        UsageError: `input_shapes` does not fit the model.
    """
    network = model if isinstance(model, Network) else Network(model, input_shapes)
    layers = Layers(network, boundaries)
    sites = tuple(
        replace(site, refusal=f"of the layer before it, {SHARED}")
        if site.refusal is None and follows_sibling(network, site.source, layers.shared)
        else site
        for site in find_sites(network)
    )
    return Analysis(network, layers, sites)
