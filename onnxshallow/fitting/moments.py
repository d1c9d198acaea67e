"""First and second moments of activations, channel by channel, and the affine map that follows from them.

The least-squares affine map for y = act(z) on one channel is y ~ a z + b with

    a = Cov(z, y) / Var(z),        b = E[y] - a E[z].
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Affine", "Moments", "affine_fit"]


# Elements that are summed at a time, in double precision.
_PIECE = 1 << 20


@dataclass(frozen=True, eq=False)
class Affine:
    """y = scale * z + shift, channel by channel.

    Attributes:
        scale: (C,), or (1,) for all channels alike.
        shift: like `scale`.
        unexplained: variance of y that the map leaves, (C,) or (1,).
    """

    scale: NDArray[np.float64]
    shift: NDArray[np.float64]
    unexplained: NDArray[np.float64]


class Moments:
    """Running sums over pairs (z, y) of one channel or more.

    Args:
        channels: number of channels C; 1 pools everything.
    """

    def __init__(self, channels: int) -> None:
        self.channels = channels
        self.count = 0
        self.sums = np.zeros((5, channels))  # z, y, zz, zy, yy

    def add(self, z: np.ndarray, y: np.ndarray) -> None:
        """Add a batch of activations, (N, C, *spatial) each; any shape where C is 1."""
        shape = (z.shape[0], self.channels, -1) if self.channels > 1 else (z.size // max(z.shape[-1], 1), 1, -1)
        z, y = z.reshape(shape), y.reshape(shape)
        samples = max(1, _PIECE // max(z[:1].size, 1))
        for start in range(0, len(z), samples):
            first, second = (part[start : start + samples].astype(np.float64) for part in (z, y))
            products = (first, second, first * first, first * second, second * second)
            self.sums += [product.sum(axis=(0, 2)) for product in products]
        self.count += z.shape[0] * z.shape[2]

    def affine(self) -> Affine:
        """The least-squares map from z to y; a constant where z does not vary."""
        z, y, zz, zy, yy = self.sums / max(self.count, 1)
        variance = zz - z * z
        covariance = zy - z * y
        varies = variance > 1e-12 * np.maximum(zz, 1e-30)
        scale = np.where(varies, covariance / np.where(varies, variance, 1.0), 0.0)
        unexplained = np.maximum(yy - y * y - scale * covariance, 0.0)
        return Affine(scale, y - scale * z, unexplained)


def affine_fit(pairs: Iterable[tuple[np.ndarray, np.ndarray]], channels: int) -> Affine:
    """The least-squares affine map over batches of (z, y)."""
    moments = Moments(channels)
    for z, y in pairs:
        moments.add(z, y)
    return moments.affine()
