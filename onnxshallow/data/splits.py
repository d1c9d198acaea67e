"""Disjoint random parts of a collection."""

from collections.abc import Sequence

import numpy as np

from onnxshallow.data.columns import Indices
from onnxshallow.errors import DataError

__all__ = ["split", "subset"]


def split(count: int, fractions: Sequence[float], seed: int) -> tuple[Indices, ...]:
    """Draws disjoint random parts of `count` samples.

    Args:
        count: number of samples.
        fractions: the share of each part, positive, together at most 1. Sizes are rounded, and no part stays
            empty.
        seed: the same seed gives the same parts.

    Returns:
        For each part its sorted positions.

    Raises:
        DataError: there are fewer samples than parts.
        ValueError: the fractions are not positive or add up to more than 1.
    """
    if not fractions or min(fractions) <= 0 or sum(fractions) > 1 + 1e-9:
        raise ValueError(f"fractions {tuple(fractions)} must be positive and add up to at most 1")
    if count < len(fractions):
        raise DataError(
            f"{count} samples cannot be divided into {len(fractions)} parts of at least one sample; give "
            "more samples."
        )
    ends = np.rint(np.cumsum(fractions) * count).astype(int)
    sizes = np.maximum(np.diff(ends, prepend=0), 1)
    while sizes.sum() > count:
        sizes[np.argmax(sizes)] -= 1
    shuffled = np.random.default_rng(seed).permutation(count)[: sizes.sum()]
    return tuple(np.sort(part) for part in np.split(shuffled, np.cumsum(sizes)[:-1]))


def subset(count: int, limit: int, seed: int) -> Indices:
    """Sorted positions of at most `limit` of `count` samples, drawn at random when there are more."""
    if count <= limit:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, limit, replace=False))
