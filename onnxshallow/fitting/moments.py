"""Moments of activations, channel by channel, and the polynomials of degree one and two that follow from them.

The least-squares affine map for y = act(z) on one channel is y ~ a z + b with

    a = Cov(z, y) / Var(z),        b = E[y] - a E[z].

The least-squares parabola y ~ p t^2 + r t + s follows likewise from the moments of t = (z - E[z]) / sd(z), where

    p = (E[t^2 y] - E[y] - E[t^3] E[t y]) / (E[t^4] - 1 - E[t^3]^2),      r = E[t y] - p E[t^3],      s = E[y] - p.

With any other p the best r and s are the same functions of p, so a parabola that may bend only so much is as easily
found. Far out it must not grow much faster than the activation does: at the ends of all z that are known it makes at
most `SWELL` times what the activation makes of any.

Moments also tell the mean squared error of any such polynomial on other samples than it was fitted to.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxshallow.analysis.partial import Bounds

__all__ = ["SWELL", "Moments", "Parabola", "SiteStatistics", "site_statistics"]

SWELL = 1.8
"""How much more than its activation a parabola may make at the ends of its range, as a multiple."""

# Elements that are summed at a time, in double precision.
_PIECE = 1 << 20
_PER_CHANNEL = ("scale", "shift", "affine_error", "quadratic_error", "low", "high", "least", "most")
_PRODUCTS = ("z", "zz", "zzz", "zzzz", "y", "zy", "zzy", "yy")


@dataclass(frozen=True, eq=False)
class Parabola:
    """y = square * z^2 + linear * z + constant, channel by channel; (C,) each."""

    square: NDArray[np.float64]
    linear: NDArray[np.float64]
    constant: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SiteStatistics:
    """What an activation does to each channel: y ~ scale * z + shift, or a parabola.

    Attributes:
        scale: (C,), or (1,) for all channels alike, as for the following.
        shift: (C,).
        affine_error: mean square of y that the affine map leaves.
        parabola: the best one.
        quadratic_error: mean square of y that the parabola leaves.
        low: the smallest z.
        high: the largest z.
        least: the smallest y.
        most: the largest y.
        pixels: the same for each element by itself, (C, *spatial), where that was asked for.
        order: the channels of the site's stream, those first that what reads them can do without best; (C,), where
            that was asked for.
    """

    scale: NDArray[np.float64]
    shift: NDArray[np.float64]
    affine_error: NDArray[np.float64]
    parabola: Parabola
    quadratic_error: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    least: NDArray[np.float64]
    most: NDArray[np.float64]
    pixels: "SiteStatistics | None" = None
    order: NDArray[np.int64] | None = None

    @property
    def peak(self) -> float:
        """The largest |y| of all channels."""
        return float(np.maximum(-self.least, self.most).max(initial=0.0))

    @property
    def bounds(self) -> Bounds:
        """What parabolas have to stay within."""
        return Bounds(self.low, self.high, np.maximum(-self.least, self.most))

    def reshaped(self, shape: tuple[int, ...]) -> "SiteStatistics":
        """The same with the elements in another shape."""
        parts = {name: getattr(self, name).reshape(shape) for name in _PER_CHANNEL}
        curve = Parabola(*(getattr(self.parabola, name).reshape(shape) for name in ("square", "linear", "constant")))
        return SiteStatistics(parabola=curve, **parts)


class Ranges:
    """The least and the largest values of pairs (z, y) of one channel or more.

    Args:
        channels: number of channels C; 1 pools everything.

    Attributes:
        low: (C,), the smallest z.
        high: (C,), the largest z.
        least: (C,), the smallest y.
        most: (C,), the largest y.
    """

    def __init__(self, channels: int) -> None:
        self.channels = channels
        self.low, self.least = np.full((2, channels), np.inf)
        self.high, self.most = np.full((2, channels), -np.inf)

    def reach(self, bounds: Bounds) -> None:
        """Reach as far as is known of the same channels elsewhere."""
        self.low, self.high = np.minimum(self.low, bounds.low), np.maximum(self.high, bounds.high)
        self.most = np.maximum(self.most, bounds.peak)

    def add(self, z: np.ndarray, y: np.ndarray) -> None:
        """Add a batch of activations, (N, C, *spatial) each; any shape where C is 1."""
        z, y = (_by_channel(values, self.channels) for values in (z, y))
        self.low, self.high = np.minimum(self.low, z.min((0, 2))), np.maximum(self.high, z.max((0, 2)))
        self.least, self.most = np.minimum(self.least, y.min((0, 2))), np.maximum(self.most, y.max((0, 2)))


def _by_channel(values: np.ndarray, channels: int) -> np.ndarray:
    """Activations (N, C, *spatial) as (N, C, places); of any shape as (rows, 1, columns) where C is 1."""
    return values.reshape((len(values), channels, -1) if channels > 1 else (values.size // values.shape[-1], 1, -1))


class Moments:
    """Running sums over pairs (z, y) of one channel or more.

    Args:
        channels: number of channels C; 1 pools everything.
    """

    def __init__(self, channels: int) -> None:
        self.channels = channels
        self.count = 0
        self.sums = {name: np.zeros(channels) for name in _PRODUCTS}

    def add(self, z: np.ndarray, y: np.ndarray) -> None:
        """Add a batch of activations, (N, C, *spatial) each; any shape where C is 1."""
        z, y = (_by_channel(values, self.channels) for values in (z, y))
        samples = max(1, _PIECE // max(z[:1].size, 1))
        for start in range(0, len(z), samples):
            first, second = (part[start : start + samples].astype(np.float64) for part in (z, y))
            square = first * first
            for name, (a, b) in {
                "zz": (first, first),
                "zzz": (first, square),
                "zzzz": (square, square),
                "zy": (first, second),
                "zzy": (square, second),
                "yy": (second, second),
            }.items():
                self.sums[name] += np.einsum("ncs,ncs->c", a, b)
            self.sums["z"] += first.sum(axis=(0, 2))
            self.sums["y"] += second.sum(axis=(0, 2))
        self.count += z.shape[0] * z.shape[2]

    def _mean(self, name: str) -> NDArray[np.float64]:
        return self.sums[name] / max(self.count, 1)

    def affine(self) -> Parabola:
        """The least-squares map from z to y without a square; a constant where z does not vary."""
        z, zz, y, zy = (self._mean(name) for name in ("z", "zz", "y", "zy"))
        variance, covariance = zz - z * z, zy - z * y
        varies = variance > 1e-12 * np.maximum(zz, 1e-30)
        scale = np.where(varies, covariance / np.where(varies, variance, 1.0), 0.0)
        return Parabola(np.zeros(self.channels), scale, y - scale * z)

    def parabola(self, ranges: Ranges | None = None) -> Parabola:
        """The least-squares parabola; the affine map where z takes too few values.

        Args:
            ranges: by whose range of z and y the bend is limited, so that it is no more than what keeps both ends in
                bounds, and none where that takes one downwards; where it is not given, nothing is limited.
        """
        z, zz, zzz, zzzz, y, zy, zzy = (self._mean(name) for name in _PRODUCTS[:-1])
        line = self.affine()
        varies = zz - z * z > 1e-9 * np.maximum(zz, 1e-30)
        deviation = np.sqrt(np.where(varies, zz - z * z, 1.0))
        third = (zzz - 3 * z * zz + 2 * z**3) / deviation**3
        fourth = (zzzz - 4 * z * zzz + 6 * z * z * zz - 3 * z**4) / deviation**4
        slope = (zy - z * y) / deviation
        bend = (zzy - 2 * z * zy + z * z * y) / deviation**2
        spread = fourth - 1 - third**2
        bends = varies & (spread > 1e-6)
        p = np.where(bends, (bend - y - third * slope) / np.where(bends, spread, 1.0), 0.0)
        if ranges is not None:
            most = SWELL * np.maximum(ranges.most, -ranges.least)
            for end in (ranges.low, ranges.high):
                t = (end - z) / deviation  # p t^2 + (slope - third p) t + y - p <= most
                bend = t * t - third * t - 1
                limited = bend > 0
                p = np.where(limited, np.minimum(p, (most - y - slope * t) / np.where(limited, bend, 1.0)), p)
            p = np.maximum(p, 0.0)
        r, s = slope - p * third, y - p
        square, linear = p / deviation**2, r / deviation - 2 * p * z / deviation**2
        constant = s - r * z / deviation + p * z * z / deviation**2
        chosen = zip((square, linear, constant), (line.square, line.linear, line.constant), strict=True)
        return Parabola(*(np.where(bends, one, other) for one, other in chosen))

    def error(self, curve: Parabola) -> NDArray[np.float64]:
        """Mean squared difference between y and a polynomial of z, (C,)."""
        q, a, b = curve.square, curve.linear, curve.constant
        z, zz, zzz, zzzz, y, zy, zzy, yy = (self._mean(name) for name in _PRODUCTS)
        own = q * q * zzzz + 2 * q * a * zzz + (a * a + 2 * q * b) * zz + 2 * a * b * z + b * b
        return np.maximum(yy - 2 * (q * zzy + a * zy + b * y) + own, 0.0)


class Lines:
    """Running sums that tell the least-squares affine map and its error, and nothing of parabolas.

    Products of single precision are enough for these, summed in double precision sample by sample. What is summed is
    z and y less what the first sample makes of them on average, so that hardly anything cancels out. What is too
    large to be squared in single precision is summed in double precision throughout.

    Args:
        channels: number of channels C; 1 pools everything.
    """

    def __init__(self, channels: int) -> None:
        self.channels = channels
        self.count = 0
        self._from: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None
        self._z, self._y, self._zz, self._zy, self._yy = np.zeros((5, channels))

    def add(self, z: np.ndarray, y: np.ndarray) -> None:
        """Add a batch of activations, (N, C, *spatial) each; any shape where C is 1."""
        z, y = (_by_channel(values, self.channels) for values in (z, y))
        if not z.size:
            return
        if self._from is None:
            z0, y0 = (values[0].mean(axis=1, dtype=np.float64).astype(np.float32) for values in (z, y))
            self._from = z0, y0
        z0, y0 = self._from
        samples = max(1, _PIECE // max(z[:1].size, 1))
        for start in range(0, len(z), samples):
            first, second = (
                part[start : start + samples] - value[:, np.newaxis] for part, value in ((z, z0), (y, y0))
            )
            self._z += first.sum(axis=2).sum(axis=0, dtype=np.float64)
            self._y += second.sum(axis=2).sum(axis=0, dtype=np.float64)
            for sums, a, b in ((self._zz, first, first), (self._zy, first, second), (self._yy, second, second)):
                sums += _products(a, b)
        self.count += z.shape[0] * z.shape[2]

    def affine(self) -> Parabola:
        """The least-squares map from z to y without a square; a constant where z does not vary."""
        z, y, zz, zy = (sums / max(self.count, 1) for sums in (self._z, self._y, self._zz, self._zy))
        variance = zz - z * z
        varies = variance > 1e-5 * np.maximum(zz, 1e-30)
        scale = np.where(varies, (zy - z * y) / np.where(varies, variance, 1.0), 0.0)
        z0, y0 = (0.0, 0.0) if self._from is None else self._from
        return Parabola(np.zeros(self.channels), scale, y + y0 - scale * (z + z0))

    def error(self, line: Parabola) -> NDArray[np.float64]:
        """Mean squared difference between y and an affine map of z, (C,)."""
        z, y, zz, zy, yy = (sums / max(self.count, 1) for sums in (self._z, self._y, self._zz, self._zy, self._yy))
        z0, y0 = (0.0, 0.0) if self._from is None else self._from
        a, b = line.linear, line.constant + line.linear * z0 - y0
        return np.maximum(yy - 2 * (a * zy + b * y) + a * a * zz + 2 * a * b * z + b * b, 0.0)


def _products(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    """Sums over samples and places of the products of (N, C, places) arrays, (C,)."""
    with np.errstate(over="ignore", invalid="ignore"):
        sums = np.einsum("ncs,ncs->nc", a, b)
    if not np.all(np.isfinite(sums)):
        sums = np.einsum("ncs,ncs->nc", a, b, dtype=np.float64)
    total: NDArray[np.float64] = sums.sum(axis=0, dtype=np.float64)
    return total


def site_statistics(
    pairs: Iterable[tuple[np.ndarray, np.ndarray]],
    channels: int,
    held_out: Iterable[tuple[np.ndarray, np.ndarray]] = (),
    further: Iterable[tuple[np.ndarray, np.ndarray]] = (),
    bounds: Bounds | None = None,
    *,
    curved: bool = True,
) -> SiteStatistics:
    """What a site does, from batches of (z, y): the least-squares polynomials, their errors, and the ranges.

    Args:
        pairs: to fit to.
        channels: number of channels, see `Moments`.
        held_out: to measure the errors and the range on as well; without any, the errors are those of the fit.
        further: to measure the range on alone.
        bounds: that the range reaches in any case.
        curved: whether parabolas are of interest; where they are not, the affine map stands for the parabola.
    """
    sums: type[Moments] | type[Lines] = Moments if curved else Lines
    fitted, others, ranges = sums(channels), sums(channels), Ranges(channels)
    if bounds is not None:
        ranges.reach(bounds)
    for batches, parts in ((pairs, (fitted, ranges)), (held_out, (others, ranges)), (further, (ranges,))):
        for z, y in batches:
            for part in parts:
                part.add(z, y)
    judge = others if others.count else fitted
    line = fitted.affine()
    parabola = fitted.parabola(ranges) if isinstance(fitted, Moments) else line
    return SiteStatistics(
        scale=line.linear,
        shift=line.constant,
        affine_error=judge.error(line),
        parabola=parabola,
        quadratic_error=judge.error(parabola),
        low=ranges.low,
        high=ranges.high,
        least=ranges.least,
        most=ranges.most,
    )
