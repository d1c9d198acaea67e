"""An order of channels in which the groups of several sites lie together.

The channels start as one block. Site by site, each block is split by the site's groups, so that these follow each
other in one order across all blocks. Several orders of the groups may do; a few of the ways are followed up. A site
that none of them serves is left out. Sets that contain each other can always be ordered so.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise, permutations

import numpy as np
from numpy.typing import NDArray

__all__ = ["common_order", "is_together"]

Groups = NDArray[np.int64]
Blocks = list[NDArray[np.int64]]

# So many ways are followed up at most.
_MOST_WAYS = 16


def is_together(groups: Groups) -> bool:
    """Whether the members of each group, given by a number a channel (C,), follow each other."""
    return int(np.count_nonzero(np.diff(groups))) == len(np.unique(groups)) - 1


def common_order(sites: Sequence[Groups]) -> NDArray[np.int64]:
    """A permutation of the channels, the identity where it serves.

    Args:
        sites: the group of each channel (C,) at each of one or more sites, the most important one first.
    """
    channels = np.arange(len(sites[0]))
    if all(is_together(groups) for groups in sites):
        return channels
    ways: list[Blocks] = [[channels]]
    for groups in sites:
        ways = [refined for blocks in ways for refined in _refined(blocks, groups)][:_MOST_WAYS] or ways
    return np.concatenate(ways[0])


def _refined(blocks: Blocks, groups: Groups) -> Iterator[Blocks]:
    """The ways to split blocks so that the members of each group follow each other."""
    for order in permutations(np.unique(groups)):
        pieces = [(rank, block[groups[block] == group]) for block in blocks for rank, group in enumerate(order)]
        filled = [(rank, piece) for rank, piece in pieces if len(piece)]
        if all(first <= second for (first, _), (second, _) in pairwise(filled)):
            yield [piece for _, piece in filled]
