"""In which order a layer can do without its input channels.

With S the covariance of a layer's patches and W its weights, leaving out a channel's unknowns c costs, when the
others are fitted anew to make up for it,

    tr W_c (S^-1_cc)^-1 W_c'

of the squared error, and the best weights are then W - W_c (S^-1_cc)^-1 S^-1_c (optimal brain surgeon; Hassibi and
Stork, 1993; by structures Frantar and Alistarh, arXiv 2301.00774). The cheapest channels go first, a few at a time,
and S^-1 is that of what is left. Where rows are few S is mixed with the identity, and the order comes close to that
of the weights' norms.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxshallow.convolution import Convolution
from onnxshallow.fitting.normal_equations import System
from onnxshallow.fitting.patches import weight_columns

__all__ = ["Reader", "elimination_order"]

# The share of the mean square by which float32 sums may be off; less variance than that is none.
_NOISE = 2e-5
# Channels that go between two looks, as a part of all.
_AT_ONCE = 1 / 64


@dataclass(frozen=True, eq=False)
class Reader:
    """A layer that reads channels.

    Attributes:
        weight: (N, C, unknowns of a channel).
        covariance: (C, unknowns of a channel, C, unknowns of a channel) of what it reads.
    """

    weight: NDArray[np.float64]
    covariance: NDArray[np.float64]

    @classmethod
    def of(cls, convolution: Convolution, sums: System, channels: int, ridge: float) -> "Reader":
        """A dense layer.

        Args:
            convolution: what it computes.
            sums: over its patches.
            channels: C; a flattened input has a run of elements for each.
            ridge: the least share of the mean variance that is added to each.
        """
        unknowns = sums.gram.shape[1]
        weight, mean = weight_columns(convolution)[0], sums.sums[0] / sums.count
        covariance = np.tril(sums.gram[0]) / sums.count
        covariance = covariance + np.tril(covariance, -1).T - np.outer(mean, mean)
        strength = max(ridge, (unknowns / sums.count) ** 2)
        variance, square = (float(np.trace(each)) / unknowns for each in (covariance, sums.gram[0] / sums.count))
        covariance[np.diag_indices(unknowns)] += max(strength * variance, _NOISE * square, 1e-30)
        each = unknowns // channels
        if convolution.rank == 0:
            order = np.arange(unknowns)
        else:  # patches hold the channels of a tap side by side
            order = np.arange(unknowns).reshape(each, channels).T.reshape(-1)
        covariance = covariance[np.ix_(order, order)]
        return cls(weight[:, order].reshape(-1, channels, each), covariance.reshape(channels, each, channels, each))


def elimination_order(readers: Sequence[Reader]) -> NDArray[np.int64]:
    """The channels that several layers read, those that they can do without first, (C,).

    A layer's error counts relative to what it makes.
    """
    states = [_State.of(reader) for reader in readers]
    left = np.arange(states[0].weight.shape[1])
    at_once = max(1, round(_AT_ONCE * len(left)))
    gone: list[NDArray[np.int64]] = []
    while len(left) > 1:
        costs = np.sum([state.costs() for state in states], axis=0)
        which = np.argsort(costs, kind="stable")[: min(at_once, len(left) - 1)]
        gone.append(left[which])
        rest = np.setdiff1d(np.arange(len(left)), which)
        states = [state.without(which, rest) for state in states]
        left = left[rest]
    return np.concatenate([*gone, left])


@dataclass(frozen=True, eq=False)
class _State:
    """Weights (N, C, each) and inverse covariance (C, each, C, each) of the channels that are left."""

    weight: NDArray[np.float64]
    inverse: NDArray[np.float64]

    @classmethod
    def of(cls, reader: Reader) -> "_State":
        from scipy.linalg import cho_factor, cho_solve

        shape = reader.covariance.shape
        covariance = reader.covariance.reshape(shape[0] * shape[1], -1)
        flat = reader.weight.reshape(len(reader.weight), -1)
        made = float(np.sum((flat @ covariance) * flat))
        inverse = cho_solve(cho_factor(covariance, lower=True), np.eye(len(covariance)))
        return cls(reader.weight / np.sqrt(max(made, 1e-30)), inverse.reshape(shape))

    def costs(self) -> NDArray[np.float64]:
        """What leaving out each channel costs, (C,)."""
        channels = np.arange(self.weight.shape[1])
        own = self.inverse[channels, :, channels]
        weight = self.weight.transpose(1, 2, 0)
        found: NDArray[np.float64] = np.einsum("cin,cin->c", weight, np.linalg.solve(own, weight))
        return found

    def without(self, which: NDArray[np.int64], rest: NDArray[np.int64]) -> "_State":
        """The state once some channels are left out and the others make up for them."""
        each = self.weight.shape[2]
        size = len(which) * each
        own = self.inverse[which][:, :, which].reshape(size, size)
        cross = self.inverse[which][:, :, rest].reshape(size, -1)
        gain = np.linalg.solve(own, cross)
        weight = self.weight[:, rest].reshape(len(self.weight), -1)
        weight = weight - self.weight[:, which].reshape(len(weight), -1) @ gain
        inverse = self.inverse[rest][:, :, rest].reshape(len(rest) * each, -1) - cross.T @ gain
        return _State(weight.reshape(-1, len(rest), each), inverse.reshape(len(rest), each, len(rest), each))
