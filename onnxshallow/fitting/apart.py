"""Fit the three parts of a layer whose kernels were set apart from what mixes channels.

A k x k convolution becomes a 1 x 1 onto `rank` channels, a kernel for each of these, and a 1 x 1 to the outputs.
With W the weights that are wanted and S the covariance of the patches, the three minimise

    tr (W - D F) S (W - D F)',        F_r = k_r (x) e_r

over the weights e_r of the first, the kernels k_r and the weights D of the third. For given F the best D is that of
a regression, D = W S F' (F S F')^-1, and the gradient over F is what it is for a fixed D (variable projection; Golub
and Pereyra, 1973). So E and K are found together, by L-BFGS.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxshallow.fitting.roots import root

__all__ = ["Apart", "fit_apart"]

_Matrix = NDArray[np.float32]
_Real = NDArray[np.float64]

# Corrections that L-BFGS remembers.
_REMEMBERED = 10
# Shares of a mean diagonal that are added to what single precision may leave singular.
_ROUNDING = 1e-6
# Where a step lowers the error by less than this share, nothing more is to be had in single precision.
_ENOUGH = 1e-7


@dataclass(frozen=True, eq=False)
class Apart:
    """Weights of the three.

    Attributes:
        narrow: E, (rank, channels), those of the first.
        kernels: K, (rank, taps).
        wide: D, (N, rank), those of the third.
        left: what their product lacks of the weights wanted, (N, taps * channels).
    """

    narrow: _Real
    kernels: _Real
    wide: _Real
    left: _Real


def fit_apart(weight: _Matrix, spread: _Matrix, channels: int, rank: int, steps: int) -> Apart:
    """The three that come closest to a layer on what it reads.

    Args:
        weight: W, (N, taps * channels), channels innermost.
        spread: S, (taps * channels, taps * channels), positive definite.
        channels: how many the layer reads.
        rank: channels between the three.
        steps: of L-BFGS at the most; each takes rank * (taps * channels)^2 multiply-adds.
    """
    from scipy.optimize import minimize

    problem = _Problem(weight, spread, channels, rank)
    found = minimize(
        problem.error,
        problem.start(),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": steps, "maxfun": 2 * steps + 2, "maxcor": _REMEMBERED, "ftol": _ENOUGH, "gtol": 0.0},
    )
    narrow, kernels = problem.parts(found.x)
    rows = problem.rows(narrow, kernels)
    wide = problem.wide(rows, rows @ spread)
    left = weight.astype(np.float64) - wide @ rows.astype(np.float64)
    return Apart(narrow / problem.sizes, kernels, wide, left)


class _Problem:
    """The error and its gradient, over E and K as one vector; channels are scaled to one variance.

    Args:
        weight: see `fit_apart`, as for the following.
        spread: likewise.
        channels: likewise.
        rank: likewise.
    """

    def __init__(self, weight: _Matrix, spread: _Matrix, channels: int, rank: int) -> None:
        self.weight, self.spread, self.channels, self.rank = weight, spread, channels, rank
        self.taps = len(spread) // channels
        self.wanted = weight @ spread
        self.total = max(float(np.vdot(self.wanted, weight)), 1e-30)
        variances = spread.diagonal().astype(np.float64).reshape(self.taps, channels).mean(axis=0)
        self.sizes = np.sqrt(np.maximum(variances, 1e-30))

    def start(self) -> _Real:
        """E and K of the largest terms with a single channel each: those of what reads it, on what it reads."""
        weights = self.weight.reshape(-1, self.taps, self.channels).transpose(2, 0, 1).astype(np.float64)
        blocks = self.spread.reshape(self.taps, self.channels, self.taps, self.channels)
        own = np.einsum("acbc->cab", blocks).astype(np.float64)
        own += _ROUNDING * np.einsum("caa->c", own)[:, np.newaxis, np.newaxis] * np.eye(self.taps)
        roots = np.stack([root(block) for block in own])
        squares, directions = np.linalg.eigh(np.swapaxes(weights @ roots, 1, 2) @ (weights @ roots))
        order = np.argsort(-squares, axis=None, kind="stable")[: self.rank]
        picked, terms = np.unravel_index(order, squares.shape)
        leading = directions[picked, :, terms][:, :, np.newaxis]
        kernels = np.linalg.solve(roots[picked].swapaxes(1, 2), leading)[:, :, 0]
        kernels /= np.linalg.norm(kernels, axis=1, keepdims=True)
        narrow = np.zeros((self.rank, self.channels))
        narrow[np.arange(self.rank), picked] = 1.0
        return np.concatenate([narrow.ravel(), kernels.ravel()])

    def parts(self, vector: _Real) -> tuple[_Real, _Real]:
        """E (rank, channels), scaled, and K (rank, taps)."""
        narrow, kernels = np.split(vector, [self.rank * self.channels])
        return narrow.reshape(self.rank, self.channels), kernels.reshape(self.rank, self.taps)

    def rows(self, narrow: _Real, kernels: _Real) -> _Matrix:
        """F, (rank, taps * channels)."""
        rows: _Real = kernels[:, :, np.newaxis] * (narrow / self.sizes)[:, np.newaxis]
        return rows.reshape(self.rank, -1).astype(np.float32)

    def wide(self, rows: _Matrix, seen: _Matrix) -> _Real:
        """D for F and F S."""
        from scipy.linalg import cho_solve

        inner = (seen @ rows.T).astype(np.float64)
        inner = (inner + inner.T) / 2
        inner[np.diag_indices(self.rank)] += _ROUNDING * max(float(np.trace(inner)) / self.rank, 1e-30)
        found: _Real = cho_solve((root(inner), True), seen @ self.weight.T).T
        return found

    def error(self, vector: _Real) -> tuple[float, _Real]:
        """The squared error as a share of what the layer makes, and its gradient."""
        narrow, kernels = self.parts(vector)
        rows = self.rows(narrow, kernels)
        seen = rows @ self.spread
        wide = self.wide(rows, seen).astype(np.float32)
        left = self.wanted - wide @ seen
        error = float(np.vdot(left, self.weight - wide @ rows)) / self.total
        slope = (wide.T @ left).astype(np.float64).reshape(self.rank, self.taps, self.channels)
        slope *= -2 / self.total
        by_narrow = np.einsum("rtc,rt->rc", slope, kernels) / self.sizes
        by_kernels = np.einsum("rtc,rc->rt", slope, narrow / self.sizes)
        return error, np.concatenate([by_narrow.ravel(), by_kernels.ravel()])
