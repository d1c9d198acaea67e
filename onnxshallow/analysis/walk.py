"""The way through a linear region: what lies on it, and the map that it makes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from onnxshallow.analysis.affine_ops import is_passthrough
from onnxshallow.analysis.analysis import Analysis
from onnxshallow.analysis.averages import averages, flattens
from onnxshallow.analysis.layers import Layer
from onnxshallow.analysis.shortcuts import as_convolution, differs_at_border, joins_channels, source_of
from onnxshallow.analysis.sites import Site
from onnxshallow.convolution import (
    Convolution,
    add_shortcut,
    averaged,
    averages_exactly,
    compose,
    composes_exactly,
    flattened,
)
from onnxshallow.errors import UsageError
from onnxshallow.model.network import Node

__all__ = ["MAX_LAYERS", "MAX_SITES", "LinearMap", "NotLinearError", "Walk"]

# Regions with more sites than this are left to several steps.
MAX_SITES = 3
# Layers on the longest way through a region; twice as many may lie in it, in the body and on shortcuts.
MAX_LAYERS = 4


class NotLinearError(UsageError):
    """Why a part of the graph cannot be changed as asked, in words; of a plan, what is wrong with it."""


@dataclass(frozen=True, eq=False)
class LinearMap:
    """A composite and whether it equals what it stands for everywhere.

    Attributes:
        convolution: the composite.
        exact: whether it is right at the borders too.
        averaged: whether the composite reads the average of each channel in place of its pixels.
    """

    convolution: Convolution
    exact: bool
    averaged: bool = False


class Walk:
    """Composes the map from `source` to a tensor, and notes what it passes."""

    def __init__(
        self,
        analysis: Analysis,
        source: str,
        layer_map: Callable[[Layer], Convolution],
        site_map: Callable[[Site, Convolution], Convolution],
        other_map: Callable[[Convolution], Convolution],
        join_map: Callable[[Sequence[Convolution]], Convolution],
        start: Convolution,
    ) -> None:
        self.analysis = analysis
        self.network = analysis.network
        self.source = source
        origin = self.network.producer(source)
        self._first = 0 if origin is None else origin.index + 1
        self.layer_map, self.site_map, self.other_map = layer_map, site_map, other_map
        self.join_map = join_map
        self.start = start
        self.nodes: set[int] = set()
        self.layers: dict[str, Layer] = {}
        self.sites: dict[str, Site] = {}
        self.groups: set[int] = set()
        self._maps: dict[str, LinearMap] = {}

    def map_to(self, tensor: str) -> LinearMap:
        """The map from the source to `tensor`.

        Raises:
            NotLinearError: something on the way is not linear.
        """
        if tensor == self.source:
            return LinearMap(self.start, True)
        if tensor not in self._maps:
            self._maps[tensor] = self._step(tensor)
        return self._maps[tensor]

    def _step(self, tensor: str) -> LinearMap:
        node = self.network.producer(tensor)
        if self.network.is_constant(tensor):
            raise NotLinearError(f"the constant {tensor!r} that is added is not one number a channel")
        if node is None or node.index < self._first:
            raise NotLinearError(f"{tensor!r} does not come from {self.source!r} alone")
        layer = self.analysis.layers.by_output.get(tensor)
        if layer is not None:
            self._pass(layer=layer)
            return self._compose(self.map_to(layer.source), self.layer_map(layer))
        self.nodes.add(node.index)
        site = self.analysis.site_of_node.get(node.index)
        if site is not None:
            if site.refusal is not None:
                raise NotLinearError(f"site {site.name!r} cannot be removed: {site.refusal}")
            self._pass(site=site)
            before = self.map_to(site.source)
            return replace(before, convolution=self.site_map(site, before.convolution))
        if is_passthrough(self.network, node):
            return self.map_to(node.inputs[0])
        if averages(self.network, node):
            return self._averaged(node)
        if flattens(self.network, node):
            before = self.map_to(node.inputs[0])
            if before.averaged:
                return replace(before, convolution=flattened(before.convolution))
        if joins_channels(self.network, node):
            return self._joined(node)
        other = as_convolution(self.network, node, tensor)
        if other is not None:
            self.groups.add(other.groups)
            made = self._compose(self.map_to(source_of(self.network, node)), self.other_map(other))
            return replace(made, exact=made.exact and not differs_at_border(node))
        if node.is_op("Add", "Sum") and len(node.inputs) == 2:
            return self._sum(node)
        raise NotLinearError(f"{node.op} node {node.name!r} is no convolution")

    def _pass(self, layer: Layer | None = None, site: Site | None = None) -> None:
        """Note a layer or a site on the way, before what lies behind it is looked at: deep networks end here."""
        if layer is not None:
            self.nodes.update(layer.nodes)
            self.layers[layer.name] = layer
            self.groups.add(self.analysis.layers.groups(layer))
        if site is not None:
            self.sites[site.name] = site
        if len(self.sites) > MAX_SITES or len(self.layers) > 2 * MAX_LAYERS:
            raise NotLinearError(f"too many layers or activations lie behind {self.source!r} for one convolution")

    def _averaged(self, node: Node) -> LinearMap:
        before = self.map_to(node.inputs[0])
        exact = before.exact and (before.averaged or averages_exactly(before.convolution))
        found = LinearMap(averaged(before.convolution), exact, averaged=True)
        shape = self.network.shape(node.outputs[0])
        return replace(found, convolution=flattened(found.convolution)) if shape and len(shape) == 2 else found

    def _compose(self, before: LinearMap, convolution: Convolution) -> LinearMap:
        if before.averaged and not averages_exactly(convolution):
            raise NotLinearError("a convolution with more than one tap, a stride or padding reads an average")
        try:
            exact = before.exact and composes_exactly(before.convolution, convolution)
            return replace(before, convolution=compose(before.convolution, convolution), exact=exact)
        except ValueError as error:
            raise NotLinearError(str(error)) from error

    def _sum(self, node: Node) -> LinearMap:
        shapes = [self.network.shape(name) for name in node.inputs]
        if shapes[0] is None or shapes[0] != shapes[1]:
            raise NotLinearError(f"the operands of {node.op} node {node.name!r} are broadcast or of unknown shape")
        first, second = _alike([self.map_to(name) for name in node.inputs], node)
        if first.convolution.weight[0].size < second.convolution.weight[0].size:
            first, second = second, first
        try:
            total = add_shortcut(first.convolution, second.convolution)
        except ValueError as error:
            raise NotLinearError(f"the shortcut of {node.name!r} cannot be folded: {error}") from error
        return LinearMap(total, first.exact and second.exact, first.averaged)

    def _joined(self, node: Node) -> LinearMap:
        maps = _alike([self.map_to(name) for name in node.inputs], node)
        self.groups.add(1)
        try:
            joined, exact = self.join_map([each.convolution for each in maps]), all(each.exact for each in maps)
            return LinearMap(joined, exact, maps[0].averaged)
        except ValueError as error:
            raise NotLinearError(f"the branches of {node.name!r} cannot be joined: {error}") from error


def _alike(maps: list[LinearMap], node: Node) -> list[LinearMap]:
    """The maps that a node adds or joins, all of pixels or all of averages."""
    if len({each.averaged for each in maps}) > 1:
        raise NotLinearError(f"{node.op} node {node.name!r} reads an average over the map beside what is none")
    return maps
