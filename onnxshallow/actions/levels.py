"""Which elements of an activation are kept: nested sets, a handful of sizes for each site."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from onnxshallow.actions.base import Candidate, FindOptions, Found
from onnxshallow.analysis import Analysis, Site

__all__ = ["found_in_part", "most_needed", "partial_candidates"]

# Pixel masks that a plan written by hand may ask for keep so many parts of the elements.
_PARTS = 64


def partial_candidates(
    name: str,
    analysis: Analysis,
    site: Site,
    options: FindOptions,
    levels: Sequence[int],
    *,
    pixels: bool = False,
    squares: bool = False,
) -> list[Candidate]:
    """The candidates of one site that save something.

    Where a PRelu lets elements pass already, those that are kept may all be others.

    Args:
        name: the action's name.
        analysis: of the network.
        site: the activation.
        options: of the search.
        levels: how many channels are kept; with pixel masks how many elements.
        pixels: whether elements are kept, and not whole channels.
        squares: whether what is not kept may be squared.
    """
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
                squares=(site.channels - kept) * area if squares else 0,
            )
        )
    return found


def found_in_part(
    sites: Sequence[Site], reasons: Mapping[str, str | None], candidates: Callable[[Site], Sequence[Candidate]]
) -> Found:
    """What `candidates` makes of the sites that have no reason to be refused."""
    found = [candidate for site in sites if reasons[site.name] is None for candidate in candidates(site)]
    return Found(tuple(found), {name: reason for name, reason in reasons.items() if reason is not None})


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
    """For each channel of `tensor`, the squared norm of the weights by which the nearest layers read it, (C,)."""
    found, seen = np.zeros(channels), set[str]()
    tensors = [tensor]
    while tensors and not found.any():
        seen.update(tensors)
        readers = [layer for name in tensors for layer in analysis.layers.sources.get(name, ())]
        for layer in readers:
            if analysis.layers.groups(layer) == 1 and layer.weight_shape[1] == channels:
                weight = analysis.layers.convolution(layer).weight
                found += np.square(weight).sum(axis=(0, *range(2, weight.ndim)))
        following = [node.outputs[0] for name in tensors for node in analysis.network.consumers(name)]
        alike = [name for name in dict.fromkeys(following) if _width(analysis, name) == channels]
        tensors = [name for name in alike if name not in seen]
    return found if found.any() else np.ones(channels)


def _width(analysis: Analysis, tensor: str) -> int | None:
    shape = analysis.network.shape(tensor)
    return shape[1] if shape is not None and len(shape) > 1 else None
