"""Fit a layer that was split in two, both parts, in the norm of what it reads.

The layer is first fitted as a whole, from the inputs of the *rewritten* network. The two parts then come as close to
that as their form allows, on these inputs: with W the whole's weights and S the covariance of the patches, they
minimise tr (W - D E) S (W - D E)' over the weights E of the first and D of the second. Where one group is projected
on fewer channels this is reduced-rank regression (Izenman, 1975; Zhang et al., arXiv 1505.06798). In general, for
groups and for kernels that are shared out, no formula is known, and the two take turns: D by a regression on what the
first makes, E by conjugate gradients. A few rounds do.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from onnxshallow.convolution import Convolution, Form, form_of, split
from onnxshallow.fitting.normal_equations import System
from onnxshallow.fitting.patches import weight_columns, with_weight_columns
from onnxshallow.fitting.regression import Rows, regress

__all__ = ["fit_bottleneck"]

# Rounds of turns, and steps of the conjugate gradients in each.
_ROUNDS, _STEPS = 3, 12
# What is added to the covariance, as a share of its mean diagonal, so that nothing is free.
_LEAST_RIDGE = 1e-4
# How much inputs count as varying at the least, as a share of their mean square.
_LEAST_SPREAD = 1e-2


def fit_bottleneck(
    whole: Convolution, parts: tuple[Convolution, Convolution], rows: Rows, ridge: float, *, few: bool = False
) -> tuple[Convolution, Convolution]:
    """The two convolutions in place of `whole`.

    Args:
        whole: the convolution that was split, or the composite of its parts; what the fit starts from.
        parts: two convolutions of the form that is wanted, of any weights.
        rows: (1, rows, unknowns) patches of `whole`, and (1, rows, N) targets of the sum that follows the second.
        ridge: strength of the ridge, see `regress`.
        few: whether the rows are too few to fit `whole` on.

    Returns:
        The two, finite in any case: where the rows are not, the closest of that form to the weights of `whole`.

    Raises:
        ValueError: no split makes such parts.
    """
    form = form_of(*parts)
    if form is None:
        raise ValueError("The two convolutions are no split of one.")
    if not (np.all(np.isfinite(rows.residual_targets())) and np.all(np.isfinite(rows.patches))):
        return split(whole, form)
    if not few:
        whole = regress(whole, replace(rows, free_scale=False), ridge).convolution
    return _approximated(whole, form, rows.patches)


def _approximated(whole: Convolution, form: Form, patches: NDArray[np.float32]) -> tuple[Convolution, Convolution]:
    """The two of a form that make of patches (1, rows, unknowns) what `whole` does, as well as they can."""
    first, second = split(whole, form)
    sums = System.of(patches, np.zeros((1, patches.shape[1], 0), dtype=np.float32))
    mean = sums.sums[0] / sums.count
    spread = np.tril(sums.gram[0]) / sums.count
    spread = spread + np.tril(spread, -1).T - np.outer(mean, mean)
    unknowns = len(mean)
    strength = max(_LEAST_RIDGE, (unknowns / sums.count) ** 2)
    # Inputs that do not vary leave nothing but rounding, which must not count.
    least = _LEAST_SPREAD * float(np.trace(sums.gram[0])) / (sums.count * unknowns)
    spread[np.diag_indices(unknowns)] += strength * max(float(np.trace(spread)) / unknowns, least, 1e-30)
    turns = _Turns.of(weight_columns(whole)[0], spread, form, first)
    narrow = turns.start(form.rank)
    for _ in range(_ROUNDS):
        narrow = turns.first(narrow, turns.second(narrow))
    wide = turns.second(narrow)
    left = turns.left(narrow, wide) @ mean
    bias = (whole.bias + left)[np.newaxis]
    return with_weight_columns(first, narrow, first.bias), with_weight_columns(second, wide[np.newaxis], bias)


@dataclass(frozen=True, eq=False)
class _Turns:
    """What both parts are fitted from.

    The whole's taps are pairs of one of the first part's and one of the second's, in this order. Weights of the first
    are (groups, rank, own taps * channels of a group), those of the second (N, own taps * channels between).

    Attributes:
        weight: W, (N, unknowns), that of the whole.
        spread: S, (unknowns, unknowns), seen from each tap of the second and each group: (taps of the second, groups,
            what a group of the first reads, unknowns).
        wanted: W S.
        shape: sizes of the unknowns: taps of the first, taps of the second, groups, channels of a group.
    """

    weight: NDArray[np.float64]
    spread: NDArray[np.float64]
    wanted: NDArray[np.float64]
    shape: tuple[int, int, int, int]

    @classmethod
    def of(cls, weight: NDArray[np.float64], spread: NDArray[np.float64], form: Form, first: Convolution) -> "_Turns":
        taps, channels = int(np.prod(first.kernel_shape)), first.in_channels
        shape = (taps, weight.shape[1] // (taps * channels), form.groups, channels // form.groups)
        seen = spread.reshape(*shape, -1).transpose(1, 2, 0, 3, 4).reshape(shape[1], form.groups, -1, len(spread))
        return cls(weight, np.ascontiguousarray(seen), weight @ spread, shape)

    def start(self, rank: int) -> NDArray[np.float64]:
        """Weights of the first that are best as far as groups, and taps of the second, have nothing in common."""
        from scipy.linalg import solve_triangular

        found = []
        own = range(len(self.spread))
        for group, weight in enumerate(self._by_group(self.weight).swapaxes(0, 1)):
            seen = sum(self._by_group(self.spread[tap, group])[tap, group] for tap in own) / len(own)
            root = _root(seen)
            rows = np.linalg.svd(weight.reshape(-1, weight.shape[-1]) @ root, full_matrices=False)[2][:rank]
            found.append(solve_triangular(root, rows.T, lower=True, trans="T").T)
        return np.stack(found)

    def second(self, first: NDArray[np.float64]) -> NDArray[np.float64]:
        """The weights of the second that are best for the first's."""
        between = self._between(first)
        inner = self._reduced(between, first)
        inner = (inner + inner.T) / 2
        inner[np.diag_indices(len(inner))] += 1e-9 * max(float(np.trace(inner)) / len(inner), 1e-30)
        found: NDArray[np.float64] = np.linalg.solve(inner, between @ self.weight.T).T.astype(np.float64)
        return found

    def first(self, start: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
        """Better weights of the first for the second's, by conjugate gradients."""
        found, left = start.copy(), self._pulled(self.wanted - second @ self._between(start), second)
        step, size = left, float(np.sum(left**2))
        for _ in range(_STEPS):
            image = self._pulled(second @ self._between(step), second)
            curvature = float(np.sum(step * image))
            if curvature <= 0 or size <= 0:
                break
            length = size / curvature
            found += length * step
            left = left - length * image
            size, before = float(np.sum(left**2)), size
            step = left + size / before * step
        return found

    def left(self, first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
        """What the two lack of the whole's weights, (N, unknowns)."""
        taps, others, groups, channels = self.shape
        inner = first.reshape(groups, -1, taps, channels)
        outer = second.reshape(len(second), others, groups, -1)
        both = np.einsum("nagr,grbc->nbagc", outer, inner, optimize=True)
        lacking: NDArray[np.float64] = self.weight - both.reshape(self.weight.shape)
        return lacking

    def _between(self, first: NDArray[np.float64]) -> NDArray[np.float64]:
        """Covariances of the channels between, under each tap of the second, with the patches."""
        made: NDArray[np.float64] = first[np.newaxis] @ self.spread
        return made.reshape(-1, made.shape[-1])

    def _reduced(self, values: NDArray[np.float64], first: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values (count, unknowns) of patches as those of the channels between, under each tap of the second."""
        parts: NDArray[np.float64] = self._by_group(values) @ first.swapaxes(1, 2)[np.newaxis]
        return parts.transpose(2, 0, 1, 3).reshape(len(values), -1)

    def _pulled(self, values: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values (N, unknowns) of the whole's weights as those of the first's."""
        _, others, groups, _ = self.shape
        outer = second.reshape(len(second), others, groups, -1).transpose(1, 2, 3, 0)
        pulled: NDArray[np.float64] = (outer @ self._by_group(values)).sum(axis=0)
        return pulled

    def _by_group(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(count, unknowns) as (taps of the second, groups, count, what a group of the first reads)."""
        taps, others, groups, channels = self.shape
        parts = values.reshape(-1, taps, others, groups, channels).transpose(2, 3, 0, 1, 4)
        return parts.reshape(others, groups, len(values), taps * channels)


def _root(spread: NDArray[np.float64]) -> NDArray[np.float64]:
    """The lower Cholesky factor of a covariance, with a larger diagonal where rounding made it indefinite."""
    from scipy.linalg import cholesky

    size = max(float(np.trace(spread)) / len(spread), 1e-30)
    for added in (0.0, 1e-8, 1e-6, 1e-4):
        try:
            root: NDArray[np.float64] = cholesky(spread + added * size * np.eye(len(spread)), lower=True)
        except np.linalg.LinAlgError:
            continue
        return root
    return np.diag(np.full(len(spread), np.sqrt(size)))  # as if all that is read varied alike
