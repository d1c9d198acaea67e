"""Which elements of an activation are kept: nested sets, a handful of sizes for each site."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from onnxshallow.actions.base import Candidate, FindOptions, Found
from onnxshallow.analysis import Analysis, Site

__all__ = ["most_needed", "partial_candidates"]


def partial_candidates(name: str, analysis: Analysis, options: FindOptions, shares: Sequence[float]) -> Found:
    """One candidate for each site and each share of its channels that keeps the activation.

    Args:
        name: the action's name.
        analysis: of the original.
        options: of the search.
        shares: which part of the channels is kept, in ascending order.
    """
    candidates: list[Candidate] = []
    refusals: dict[str, str] = {}
    for site in analysis.sites:
        reason = _refusal(analysis, site)
        if reason is not None:
            refusals[site.name] = reason
            continue
        if options.granularity == "layer":
            shares = [share for share in shares if share == 0]
        levels = sorted({round(share * site.channels) for share in shares})
        candidates.extend(_candidate(name, site, kept) for kept in levels if kept < site.channels)
    return Found(tuple(candidates), refusals)


def _candidate(name: str, site: Site, kept: int) -> Candidate:
    gone = (site.size or 0) // site.channels * (site.channels - kept)
    return Candidate(
        action=name,
        sites=(site.name,),
        source=site.source,
        output=site.output,
        relus=gone,
        nodes=frozenset({site.node}),
        kept=kept,
        squares=gone if name == "quadratic" else 0,
    )


def _refusal(analysis: Analysis, site: Site) -> str | None:
    """Why a part of a site cannot be kept; None where it can."""
    if site.refusal is not None:
        return site.refusal
    if site.channels <= 1:
        return "it has one channel only"
    if analysis.network.opset < 9:
        return f"opset {analysis.network.opset} is older than 9; convert the model with onnx.version_converter first"
    return None


def most_needed(analysis: Analysis, site: Site, left: NDArray[np.float64], count: int) -> NDArray[np.bool_]:
    """The `count` elements whose errors do most harm to the layers that read the site, as a mask.

    Args:
        analysis: of the graph as it is now.
        site: the activation.
        left: (C,) or (C, *spatial), mean squared error of each element where it is not kept.
        count: how many to keep.
    """
    weight = reader_norms(analysis, site.output, site.channels)
    harm = left * weight.reshape(-1, *(1,) * (left.ndim - 1))
    order = np.argsort(-harm, axis=None, kind="stable")[:count]
    kept = np.zeros(left.size, dtype=np.bool_)
    kept[order] = True
    return kept.reshape(left.shape)


def reader_norms(analysis: Analysis, tensor: str, channels: int) -> NDArray[np.float64]:
    """For each channel of `tensor`, the squared norm of the weights by which the next layers read it, (C,)."""
    found = np.zeros(channels)
    todo, seen = [tensor], set[str]()
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        readers = analysis.layers.sources.get(name, ())
        for layer in readers:
            if analysis.layers.groups(layer) == 1 and layer.weight_shape[1] == channels:
                weight = analysis.layers.convolution(layer).weight
                found += np.square(weight).sum(axis=(0, *range(2, weight.ndim)))
        inside = {index for layer in readers if layer.kind != "affine" for index in layer.nodes}
        for node in analysis.network.consumers(name):
            shape = analysis.network.shape(node.outputs[0])
            if node.index not in inside and shape is not None and len(shape) > 1 and shape[1] == channels:
                todo.append(node.outputs[0])
    return found if found.any() else np.ones(channels)
