"""Which elements of an activation are kept: nested sets, a handful of sizes for each site."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from onnxshallow.actions.base import Candidate, FindOptions
from onnxshallow.analysis import Analysis, Site

__all__ = ["most_needed", "partial_candidates", "partly_refused"]

# Pixel masks that a plan written by hand may ask for keep so many parts of the elements.
_PARTS = 64


def partial_candidates(
    name: str, analysis: Analysis, site: Site, options: FindOptions, levels: Sequence[int]
) -> list[Candidate]:
    """The candidates of one site that save something.

    Where a PRelu lets elements pass already, those that are kept may all be others.

    Args:
        name: the action's name.
        analysis: of the network.
        site: the activation.
        options: of the search.
        levels: how many channels are kept; with pixel masks how many elements.
    """
    pixels = name == "mask" and options.granularity == "pixel"
    elements = site.size or 0
    shape = analysis.network.full_shape(site.output) or ()
    area = 1 if pixels else analysis.network.per_sample(math.prod(shape) // site.channels)
    whole = elements if pixels else site.channels
    if options.every_size:
        levels = [*levels, *range(0, whole, max(1, whole // _PARTS) if pixels else 1)]
    found = []
    for kept in sorted({level for level in levels if 0 <= level < whole and level * area < elements}):
        gone = elements - kept * area
        found.append(
            Candidate(
                action=name,
                sites=(site.name,),
                source=site.source,
                output=site.output,
                relus=gone,
                nodes=frozenset({site.node}),
                kept=kept,
                pixels=pixels,
                squares=(site.channels - kept) * area if name == "quadratic" else 0,
            )
        )
    return found


def partly_refused(analysis: Analysis, site: Site, pixels: bool) -> str | None:
    """Why a part of a site cannot be kept; None where it can."""
    if site.refusal is not None:
        return site.refusal
    if site.channels <= 1:
        return "it has one channel only"
    if analysis.network.opset < 9:
        return f"opset {analysis.network.opset} is older than 9; convert the model with onnx.version_converter first"
    if site.kind == "prelu" and analysis.network.constant(analysis.network.nodes[site.node].inputs[1]) is None:
        return "its slope is no constant; make it an initializer that callers may not override"
    if pixels and site.kind == "clip":
        return "a Clip cannot be kept for single pixels; use --granularity channel"
    if pixels and not analysis.network.is_fixed:
        return "pixels need inputs of fixed height and width; export the model so, or use --granularity channel"
    shape = analysis.network.full_shape(site.output)
    if pixels and (shape is None or analysis.network.per_sample(shape[0]) != 1):
        return "its first axis holds more than the samples; use --granularity channel"
    return None


def most_needed(analysis: Analysis, site: Site, left: NDArray[np.float64], count: int) -> NDArray[np.bool_]:
    """The `count` elements whose errors do most harm to the layers that read the site, as a mask.

    Args:
        analysis: of the graph as it is now.
        site: the activation.
        left: (C,) or (C, *spatial), mean squared error of each element where it is not kept.
        count: how many to keep.
    """
    weight = _reader_norms(analysis, site.output, site.channels)
    harm = left * weight.reshape(-1, *(1,) * (left.ndim - 1))
    order = np.argsort(-harm, axis=None, kind="stable")[:count]
    kept = np.zeros(left.size, dtype=np.bool_)
    kept[order] = True
    return kept.reshape(left.shape)


def _reader_norms(analysis: Analysis, tensor: str, channels: int) -> NDArray[np.float64]:
    """For each channel of `tensor`, the squared norm of the weights by which the next layers read it, (C,)."""
    found = np.zeros(channels)
    todo, seen = [tensor], set[str]()
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        readers = [layer for layer in analysis.layers.sources.get(name, ()) if layer.kind != "affine"]
        for layer in readers:
            if analysis.layers.groups(layer) == 1 and layer.weight_shape[1] == channels:
                weight = analysis.layers.convolution(layer).weight
                found += np.square(weight).sum(axis=(0, *range(2, weight.ndim)))
        inside = {index for layer in readers for index in layer.nodes}
        for node in analysis.network.consumers(name):
            shape = analysis.network.shape(node.outputs[0])
            if node.index not in inside and shape is not None and len(shape) > 1 and shape[1] == channels:
                todo.append(node.outputs[0])
    return found if found.any() else np.ones(channels)
