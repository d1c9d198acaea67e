"""SENet's data-free proxy of ReLU sensitivity.

A layer whose weights survive global magnitude pruning is one that the network leans on least sparsely: SENet
(arXiv 2301.09254) takes the sensitivity of the ReLUs after a layer as 1 minus the share of its weights that survive
when the whole network is pruned to a small density (10 %). It needs no data and costs nothing, and says nothing of
how well a fit repairs the removal.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from onnxshallow.actions.base import Candidate
from onnxshallow.analysis import Analysis, Layer, Site

__all__ = ["magnitude_damages", "magnitude_sensitivity"]

_DENSITY = 0.1


def magnitude_sensitivity(analysis: Analysis, density: float = _DENSITY) -> dict[str, float]:
    """Sensitivity of each removable site, by name, in [0, 1].

    Args:
        analysis: of the network.
        density: share of all weights that global magnitude pruning keeps.
    """
    layers = [layer for layer in analysis.layers if layer.kind != "affine"]
    weights = {layer.output: np.abs(analysis.layers.convolution(layer).weight).ravel() for layer in layers}
    if not weights:
        return {site.name: 1.0 for site in analysis.sites if site.refusal is None}
    everything = np.concatenate(list(weights.values()))
    kept = max(1, round(density * everything.size))
    threshold = np.partition(everything, everything.size - kept)[everything.size - kept]
    result = {}
    for site in analysis.sites:
        if site.refusal is None:
            layer = _layer_before(analysis, site)
            survives = 0.0 if layer is None else float(np.mean(weights[layer.output] >= threshold))
            result[site.name] = 1.0 - survives
    return result


def _layer_before(analysis: Analysis, site: Site) -> Layer | None:
    """The nearest convolution or Gemm upstream of a site."""
    todo, seen = [site.source], set[str]()
    while todo:
        tensor = todo.pop(0)
        layer = analysis.layers.by_output.get(tensor)
        if layer is not None and layer.kind != "affine":
            return layer
        node = analysis.network.producer(tensor)
        if node is not None and tensor not in seen:
            seen.add(tensor)
            todo.extend(name for name in node.inputs if name)
    return None


def magnitude_damages(analysis: Analysis, candidates: Sequence[Candidate]) -> Mapping[str, float]:
    """Damage of each candidate by the proxy: the sensitivity of its sites, weighted by the share of ReLUs that go."""
    sensitivity = magnitude_sensitivity(analysis)
    total = max(analysis.cost.relus, 1)
    sizes = {site.name: site.size or 0 for site in analysis.sites}
    damages = {}
    for candidate in candidates:
        whole = sum(sensitivity[name] * sizes[name] for name in candidate.sites) / total
        damages[candidate.key] = whole * candidate.relus / max(sum(sizes[name] for name in candidate.sites), 1)
    return damages
