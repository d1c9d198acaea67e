"""Taps on regular grids: strided slices, and kernels laid into a finer grid."""

import math
from collections.abc import Iterable, Sequence
from types import EllipsisType

__all__ = ["Index", "common_dilation", "grid_shape", "grid_window", "progression", "spatial_index"]

Index = tuple[int | slice | EllipsisType, ...]
"""What an array with leading channel axes is indexed by."""


def spatial_index(entries: Iterable[int | slice]) -> Index:
    """The index that applies one entry to each trailing (spatial) axis and leaves the leading ones alone.

    Args:
        entries: an int or a slice a spatial axis.

    Returns:
        The index.
    """
    return (..., *entries)


def progression(start: int, count: int, step: int) -> slice:
    """The slice that picks `count` entries, `step` apart, from `start` on.

    Args:
        start: first index, not negative.
        count: number of entries, at least 1.
        step: distance between two entries, at least 1.

    Returns:
        A slice that picks exactly `count` entries of an axis that is long enough.
    """
    return slice(start, start + (count - 1) * step + 1, step)


def common_dilation(*distances: int) -> int:
    """The widest grid that holds taps at all the given distances from each other.

    Args:
        distances: distances between taps; 0 where there is nothing to keep apart, as between the taps of a
            kernel that has only one.

    Returns:
        Their greatest common divisor; 1 if all of them are 0.
    """
    return math.gcd(*distances) or 1


def grid_shape(extents: Sequence[int], dilations: Sequence[int]) -> tuple[int, ...]:
    """Number of taps of a kernel that spans `extents` positions.

    Args:
        extents: positions from the first to the last tap, one int an axis.
        dilations: distance between neighbouring taps, one int an axis.

    Returns:
        Taps along each axis.
    """
    return tuple((extent - 1) // dilation + 1 for extent, dilation in zip(extents, dilations, strict=True))


def grid_window(
    starts: Sequence[int], kernel_shape: Sequence[int], spacings: Sequence[int], dilations: Sequence[int]
) -> Index:
    """Where the taps of a kernel lie in a larger kernel on a finer grid.

    Args:
        starts: position of the first tap, relative to the larger kernel's first tap, one int an axis.
        kernel_shape: taps of the kernel along each axis.
        spacings: distance between the kernel's taps along each axis, of no meaning where there is one tap.
        dilations: distance between the larger kernel's taps; it divides starts and spacings.

    Returns:
        The index of the larger kernel's weight that picks those taps.
    """
    axes = zip(starts, kernel_shape, spacings, dilations, strict=True)
    return spatial_index(
        progression(start // dilation, taps, max(spacing // dilation, 1)) for start, taps, spacing, dilation in axes
    )
