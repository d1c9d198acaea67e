"""Fit a layer that was split, all its parts, in the norm of what it reads.

The layer is first fitted as a whole, from the inputs of the *rewritten* network. The parts then come as close to
that as their form allows, on these inputs: with W the whole's weights and S the covariance of the patches, they
minimise tr (W - D E) S (W - D E)' over the weights E of the first and D of the second. Where one group is projected
on fewer channels this is reduced-rank regression (Izenman, 1975; Zhang et al., arXiv 1505.06798): with U the leading
eigenvectors of W S W', D = U and E = U' W. In general, for groups and for kernels that are shared out, no formula is
known, and the two take turns: D by a regression on what the first makes, E by conjugate gradients. A few rounds do.
Of three parts `onnxshallow.fitting.apart` tells.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from onnxshallow.convolution import Convolution, Form, balanced, form_of, low_rank, split
from onnxshallow.fitting.apart import fit_apart
from onnxshallow.fitting.patches import weight_columns, with_weight_columns
from onnxshallow.fitting.products import gram, predict
from onnxshallow.fitting.regression import Rows, regress
from onnxshallow.fitting.roots import root

__all__ = ["fit_bottleneck"]

_Matrix = NDArray[np.float32]

# Steps of the conjugate gradients in each turn.
_STEPS = 12
# Steps of what finds three parts together: in place of each turn, and of the one that D begins with; and as many as
# with all turns where they take fewer multiply-adds than this.
_STEPS_APART, _MOST_STEPS, _LITTLE = 25, 100, 2e10
# What is added to the covariance, as a share of its mean diagonal, so that nothing is free.
_LEAST_RIDGE = 1e-4
# What single precision leaves of a sum, as a share of the mean diagonal.
_ROUNDING = 1e-6
# How much inputs count as varying at the least, as a share of their mean square.
_LEAST_SPREAD = 1e-2


def fit_bottleneck(
    whole: Convolution,
    parts: tuple[Convolution, ...],
    rows: Rows,
    ridge: float,
    *,
    few: bool = False,
    turns: int = 3,
    enough: int = 40,
) -> tuple[Convolution, ...]:
    """The two or three convolutions in place of `whole`.

    Args:
        whole: the convolution that was split, or the composite of its parts; what the fit starts from.
        parts: convolutions of the form that is wanted, of any weights.
        rows: (1, rows, unknowns) patches of `whole`, and (1, rows, N) targets of the sum that follows the second.
        ridge: strength of the ridge, see `regress`.
        few: whether the rows are too few to fit `whole` on.
        turns: how often they take turns, where no formula is known.
        enough: see `regress`.

    Returns:
        The parts, finite in any case: where the rows are not, the closest of that form to the weights of `whole`.

    Raises:
        ValueError: no split makes such parts.
    """
    form = form_of(*parts)
    if form is None:
        raise ValueError("The convolutions are no split of one.")
    if not (np.all(np.isfinite(rows.residual_targets())) and np.all(np.isfinite(rows.patches))):
        return split(whole, form)
    if not few:
        whole = regress(whole, replace(rows, free_scale=False), ridge, enough=enough).convolution
    return balanced(_approximated(whole, parts, form, rows.patches, turns))


def _approximated(
    whole: Convolution,
    parts: tuple[Convolution, ...],
    form: Form,
    patches: NDArray[np.float32],
    turns: int,
) -> tuple[Convolution, ...]:
    """The parts of a form that make of patches (1, rows, unknowns) what `whole` does, as well as they can."""
    _, count, unknowns = patches.shape
    (weight,) = weight_columns(whole)
    mean = patches[0].mean(axis=0, dtype=np.float64)
    squares = float(np.vdot(patches, patches)) / count
    # Inputs that do not vary leave nothing but rounding, which must not count.
    varying = max(squares - float(mean @ mean), _LEAST_SPREAD * squares, 1e-30) / unknowns
    added = max(_LEAST_RIDGE, (unknowns / count) ** 2) * varying
    if form.taps == "all" and form.groups == 1:
        made = predict(patches, weight[np.newaxis], -(weight @ mean)[np.newaxis])
        spread = _covariance(made, np.zeros(len(weight))) + added * weight @ weight.T
        narrow, wide = _reduced_rank(weight, spread, form.rank)
        left = weight - wide @ narrow[0]
    else:
        covariance = _covariance(patches, mean)
        covariance[np.diag_indices(unknowns)] += added
        if form.taps == "apart":
            affordable = min(_MOST_STEPS, int(_LITTLE / (form.rank * unknowns**2)))
            steps = max(_STEPS_APART * (1 + turns), affordable)
            three = fit_apart(weight.astype(np.float32), covariance, whole.in_channels, form.rank, steps)
            return _of_weights(parts, (three.narrow, three.kernels, three.wide), whole.bias + three.left @ mean)
        pair = _Turns.of(weight.astype(np.float32), covariance, form, parts[0])
        narrow, wide, left = (part.astype(np.float64) for part in pair.found(form.rank, turns))
    first, second = parts
    bias = (whole.bias + left @ mean)[np.newaxis]
    no_bias = np.zeros((len(narrow), narrow.shape[1]))
    return with_weight_columns(first, narrow, no_bias), with_weight_columns(second, wide[np.newaxis], bias)


def _of_weights(
    parts: tuple[Convolution, ...], weights: tuple[NDArray[np.float64], ...], bias: NDArray[np.float64]
) -> tuple[Convolution, ...]:
    """The parts with other weights, of which the last alone has a bias."""
    biases = (*(np.zeros(part.out_channels) for part in parts[:-1]), bias)
    return tuple(
        replace(part, weight=weight.reshape(part.weight.shape), bias=offset)
        for part, weight, offset in zip(parts, weights, biases, strict=True)
    )


def _covariance(values: NDArray[np.float32], mean: NDArray[np.float64]) -> _Matrix:
    """The covariance of values (1, rows, columns) about their mean, (columns, columns)."""
    (sums,) = gram(values)
    sums /= values.shape[1]
    sums -= np.multiply.outer(mean, mean)
    half = sums.astype(np.float32)
    both: _Matrix = np.tril(half) + np.tril(half, -1).T
    return both


def _reduced_rank(
    weight: NDArray[np.float64], made: NDArray[np.floating], rank: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The weights of both parts, (1, rank, unknowns) and (N, rank), of one group and all taps.

    Args:
        weight: W, (N, unknowns).
        made: W S W', the covariance of what it makes, (N, N).
        rank: how many channels lie between.
    """
    from scipy.linalg import eigh

    leading = eigh(made, subset_by_index=(max(len(made) - rank, 0), len(made) - 1))[1][:, ::-1]
    wide = np.zeros((len(made), rank))
    wide[:, : leading.shape[1]] = leading
    return (wide.T @ weight)[np.newaxis], wide


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

    weight: _Matrix
    spread: _Matrix
    wanted: _Matrix
    shape: tuple[int, int, int, int]

    @classmethod
    def of(cls, weight: _Matrix, spread: _Matrix, form: Form, first: Convolution) -> "_Turns":
        taps, channels = int(np.prod(first.kernel_shape)), first.in_channels
        shape = (taps, weight.shape[1] // (taps * channels), form.groups, channels // form.groups)
        seen = spread.reshape(*shape, -1).transpose(1, 2, 0, 3, 4).reshape(shape[1], form.groups, -1, len(spread))
        return cls(weight, np.ascontiguousarray(seen), weight @ spread, shape)

    def found(self, rank: int, turns: int) -> tuple[_Matrix, _Matrix, _Matrix]:
        """The weights of both after so many turns, and what they lack of the whole's."""
        narrow = self.start(rank)
        for _ in range(turns):
            narrow = self.first(narrow, self.second(narrow))
        wide = self.second(narrow)
        return narrow, wide, self.left(narrow, wide)

    def start(self, rank: int) -> _Matrix:
        """Weights of the first that are best as far as groups, and taps of the second, have nothing in common."""
        from scipy.linalg import solve_triangular

        found = []
        own = range(len(self.spread))
        for group, weight in enumerate(self._by_group(self.weight).swapaxes(0, 1)):
            seen = sum(self._by_group(self.spread[tap, group])[tap, group] for tap in own) / len(own)
            half = root(seen)
            _, (rows,) = low_rank((weight.reshape(-1, weight.shape[-1]) @ half)[np.newaxis], rank)
            found.append(solve_triangular(half, rows.T, lower=True, trans="T").T)
        return np.stack(found)

    def second(self, first: _Matrix) -> _Matrix:
        """The weights of the second that are best for the first's."""
        between = self._between(first)
        inner = self._reduced(between, first).astype(np.float64)
        inner = (inner + inner.T) / 2
        inner[np.diag_indices(len(inner))] += _ROUNDING * max(float(np.trace(inner)) / len(inner), 1e-30)
        found: _Matrix = np.linalg.solve(inner, between @ self.weight.T).T.astype(np.float32)
        return found

    def first(self, start: _Matrix, second: _Matrix) -> _Matrix:
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

    def left(self, first: _Matrix, second: _Matrix) -> _Matrix:
        """What the two lack of the whole's weights, (N, unknowns)."""
        taps, others, groups, channels = self.shape
        inner = first.reshape(groups, -1, taps, channels)
        outer = second.reshape(len(second), others, groups, -1)
        both = np.einsum("nagr,grbc->nbagc", outer, inner, optimize=True)
        lacking: _Matrix = self.weight - both.reshape(self.weight.shape)
        return lacking

    def _between(self, first: _Matrix) -> _Matrix:
        """Covariances of the channels between, under each tap of the second, with the patches."""
        made: _Matrix = first[np.newaxis] @ self.spread
        return made.reshape(-1, made.shape[-1])

    def _reduced(self, values: _Matrix, first: _Matrix) -> _Matrix:
        """Values (count, unknowns) of patches as those of the channels between, under each tap of the second."""
        parts: _Matrix = self._by_group(values) @ first.swapaxes(1, 2)[np.newaxis]
        return parts.transpose(2, 0, 1, 3).reshape(len(values), -1)

    def _pulled(self, values: _Matrix, second: _Matrix) -> _Matrix:
        """Values (N, unknowns) of the whole's weights as those of the first's."""
        _, others, groups, _ = self.shape
        outer = second.reshape(len(second), others, groups, -1).transpose(1, 2, 3, 0)
        pulled: _Matrix = (outer @ self._by_group(values)).sum(axis=0)
        return pulled

    def _by_group(self, values: _Matrix) -> _Matrix:
        """(count, unknowns) as (taps of the second, groups, count, what a group of the first reads)."""
        taps, others, groups, channels = self.shape
        parts = values.reshape(-1, taps, others, groups, channels).transpose(2, 3, 0, 1, 4)
        return parts.reshape(others, groups, len(values), taps * channels)
