"""Remove one activation: y = act(z) becomes y = a z + b.

    Layer -> act            the layer computes a * layer + b, unless its weights are very large
    Add -> act              the sum stays; a layer that feeds it and a scale on its other side are fitted to make
                            the activated sum
    anything else -> act    act becomes a Mul and an Add

a and b are the least-squares map over calibration activations (`onnxshallow.fitting.moments`). Replacing an
activation by the identity instead costs ten times the accuracy.
"""

import numpy as np
import onnx_graphsurgeon as gs

from onnxshallow.actions.base import Candidate, Evidence, FindOptions, Found, Rewrite
from onnxshallow.actions.emission import affine_nodes, layer_nodes
from onnxshallow.analysis import Analysis, Layer, NotLinearError, Site
from onnxshallow.convolution import scale_output
from onnxshallow.fitting.correction import find_target
from onnxshallow.fitting.moments import Affine
from onnxshallow.model.network import Node
from onnxshallow.model.surgery import Workbench

__all__ = ["Linearize"]


class Linearize:
    """Removes single activation sites; layers and shapes stay."""

    name = "linearize"

    def find(self, analysis: Analysis, options: FindOptions) -> Found:
        """Every site that can be removed at all."""
        candidates = tuple(
            Candidate(
                action=self.name,
                sites=(site.name,),
                source=site.source,
                output=site.output,
                relus=site.size or 0,
                nodes=frozenset({site.node}),
            )
            for site in analysis.sites
            if site.refusal is None
        )
        refusals = {site.name: site.refusal for site in analysis.sites if site.refusal is not None}
        return Found(candidates, refusals)

    def apply(self, bench: Workbench, analysis: Analysis, candidate: Candidate, evidence: Evidence) -> Rewrite:
        """Remove the site that makes `candidate.output`."""
        producer = analysis.network.producer(candidate.output)
        site = analysis.site_of_node.get(producer.index) if producer is not None else None
        if site is None:
            raise NotLinearError(f"no activation makes tensor {candidate.output!r}")
        affine = evidence[candidate.sites[0]]
        layer = analysis.layers.by_output.get(site.source)
        private = analysis.network.is_private(site.source)
        if layer is not None and layer.is_light and private and site.channels > 1:
            convolution = scale_output(analysis.layers.convolution(layer), affine.scale, affine.shift)
            old = [analysis.network.nodes[index].outputs[0] for index in (*layer.nodes, site.node)]
            nodes = layer_nodes(
                bench,
                convolution,
                layer.source,
                site.output,
                name=layer.name,
                dtype=analysis.layers.dtype(layer),
            )
            bench.replace(old, nodes)
            return Rewrite(fit=(site.output,))
        total = analysis.network.producer(site.source)
        fed_by = _feeding_layer(analysis, total) if total is not None and private else None
        if total is not None and fed_by is not None:
            self._scaled_sum(bench, analysis, site, total, fed_by)
            return Rewrite(fit=(fed_by.output,))
        self._in_place(bench, site, affine)
        return Rewrite()

    def _scaled_sum(self, bench: Workbench, analysis: Analysis, site: Site, total: Node, fed_by: Layer) -> None:
        """Let the sum make the site's output, its other side multiplied channel by channel, for now by one."""
        (other,) = (name for name in total.inputs if name != fed_by.output)
        side = analysis.layers.by_output.get(other)
        if site.dtype is None or site.channels <= 1 or (side is not None and analysis.network.is_private(other)):
            bench.rename_output(site.source, site.output)
            return
        scaled = bench.fresh(f"{site.name}_shortcut")
        one, zero = np.ones(site.channels), np.zeros(site.channels)
        nodes = affine_nodes(
            bench, one, zero, other, scaled, name=f"{site.name}/shortcut", dtype=site.dtype, rank=site.rank
        )
        inputs = [bench.tensor(fed_by.output), *nodes[-1].outputs]
        nodes.append(gs.Node("Add", total.name, {}, inputs, [bench.tensor(site.output)]))
        bench.replace([site.source, site.output], nodes)

    def _in_place(self, bench: Workbench, site: Site, affine: Affine) -> None:
        if site.dtype is None:
            raise NotLinearError(f"the element type of {site.name!r} is not known")
        nodes = affine_nodes(
            bench,
            affine.scale,
            affine.shift,
            site.source,
            site.output,
            name=f"{site.name}/affine",
            dtype=site.dtype,
            rank=site.rank,
        )
        bench.replace([site.output], nodes)


def _feeding_layer(analysis: Analysis, total: Node) -> Layer | None:
    """The last layer that a residual sum reads and that nothing else does, if it can be fitted to make the sum."""
    if not total.is_op("Add", "Sum") or len(total.inputs) != 2:
        return None
    layers = [analysis.layers.by_output.get(name) for name in total.inputs]
    shapes = {analysis.network.shape(name) for name in (*total.inputs, total.outputs[0])}
    fits = [layer for layer in layers if layer is not None and analysis.network.is_private(layer.output)]
    usable = [layer for layer in fits if layer.kind != "affine"]
    if not usable or len(shapes) > 1:
        return None
    last = max(usable, key=lambda layer: layer.main)
    target = find_target(analysis.network, analysis.network, analysis.layers, last)
    return last if target is not None and target.tensor == total.outputs[0] else None
