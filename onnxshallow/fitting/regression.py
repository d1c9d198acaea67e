"""Regression of a convolution's weights on calibration activations.

**Ridge.** For patches P (rows x unknowns), targets T (rows x outputs) and current weights W0, minimise

    |T - P W - 1 b|^2 + lambda d |W - W0|^2,        d = mean diagonal of the centred P'P,

with an unpenalised bias b. With S_xx and S_xt the centred sums, W = W0 + (S_xx + lambda d I)^-1 (S_xt - S_xx W0).
Centring the ridge on W0 instead of on zero makes the answer fall back to what the network computed before wherever
the data say little. Where rows are few, lambda is the one of several that predicts held-out samples best.

**Through the activation that follows.** A few rounds of the same regression with new targets fit what the activation
makes of the sum, each at the price of two products: the factorised matrix stays (`onnxshallow.fitting.rectifier`).
"""

import logging
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from onnxshallow.convolution import Convolution
from onnxshallow.fitting.normal_equations import Products, System, factorise
from onnxshallow.fitting.patches import weight_columns, with_weight_columns
from onnxshallow.fitting.products import blocks, predict
from onnxshallow.fitting.rectifier import Rectifier

__all__ = ["Fit", "Rows", "bytes_needed", "bytes_of_row", "regress"]

logger = logging.getLogger(__name__)

# What the strength of the ridge may be multiplied by where rows are few.
_RIDGE_FACTORS = (1.0, 10.0, 100.0, 1000.0, 10000.0)
_RIDGE_OUTPUTS = 64


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of one regression.

    Attributes:
        patches: (groups, rows, unknowns) inputs under the kernel, as `gather_patches` makes them.
        targets: (groups, rows, outputs) what the layer's output plus `offsets` should be.
        offsets: (groups, rows, outputs) what is added to the layer's output, or None for nothing.
        free_scale: whether the offsets may be multiplied, output by output, by numbers that are fitted along.
        scales: the least and the largest of these numbers.
    """

    patches: NDArray[np.float32]
    targets: NDArray[np.float32]
    offsets: NDArray[np.float32] | None = None
    free_scale: bool = False
    scales: tuple[float, float] = (-np.inf, np.inf)

    def residual_targets(self) -> NDArray[np.float32]:
        """What the layer itself has to make: the targets less the offsets as they are."""
        return self.targets if self.offsets is None else self.targets - self.offsets

    def part(self, which: slice) -> "Rows":
        """Some of the rows."""
        offsets = None if self.offsets is None else self.offsets[:, which]
        return replace(self, patches=self.patches[:, which], targets=self.targets[:, which], offsets=offsets)

    def outputs(self, which: slice) -> "Rows":
        """The rows with some of the outputs."""
        offsets = None if self.offsets is None else self.offsets[:, :, which]
        return replace(self, targets=self.targets[:, :, which], offsets=offsets)


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted convolution.

    Attributes:
        convolution: the convolution.
        scale: (C_out,) what the offsets are to be multiplied by, or None where they stay as they are.
    """

    convolution: Convolution
    scale: NDArray[np.float64] | None = None


def bytes_needed(unknowns: int, outputs: int, groups: int) -> int:
    """Roughly what the sums and their factorisation take, for one group's unknowns and outputs."""
    return 8 * (groups * unknowns * (2 * unknowns + 2 * outputs) + 2 * unknowns * unknowns)


def bytes_of_row(unknowns: int, outputs: int, groups: int, *, offsets: bool) -> int:
    """What a row of a regression takes: its inputs, its targets, those of a round, and what is predicted.

    Args:
        unknowns: of one group.
        outputs: likewise.
        groups: how many.
        offsets: whether something is added to the layer's output, which takes what the fit leaves of it as well.
    """
    return 4 * groups * (unknowns + (5 if offsets else 3) * outputs)


@np.errstate(invalid="ignore", over="ignore")  # values that are not finite show in the result, which is looked at
def regress(
    convolution: Convolution,
    rows: Rows,
    ridge: float,
    *,
    rectifier: Rectifier | None = None,
    rounds: int = 3,
    enough: int = 40,
    held_out: bool = True,
) -> Fit:
    """Fit a convolution's weights and bias.

    Args:
        convolution: geometry, and the weights on which the ridge is centred.
        rows: what to fit.
        ridge: strength of the ridge, relative to the mean diagonal of S_xx. It is raised tenfold until the system
            is positive definite.
        rectifier: the activation to fit through, if any.
        rounds: how often the targets are renewed then.
        enough: rows for each unknown with which the strength of the ridge hardly matters. With fewer it decides.
        held_out: whether it is chosen then by rows that are held out, which takes several factorisations; else it is
            that of the middle.

    Returns:
        The fit, with the convolution given where the rows say nothing (an input that does not vary, values that
        are not finite). A group whose input does not vary stays as it is.
    """
    _, count, unknowns = rows.patches.shape
    few = count < enough * unknowns
    if few and not held_out:
        ridge *= _RIDGE_FACTORS[len(_RIDGE_FACTORS) // 2]
    if not few or not held_out:
        system = System.of(rows.patches, rows.residual_targets())
        return _Regression(convolution, rows, system, ridge).fit(rectifier, rounds)
    # Rows come in the order of the samples, so no sample is on both sides of the cut.
    cut = max(1, count * 3 // 4)
    inner, outer = rows.part(slice(0, cut)), rows.part(slice(cut, None))
    system = System.of(inner.patches, inner.residual_targets())
    ridge = _held_out_ridge(convolution, system, outer, ridge, rectifier or Rectifier(lower=-np.inf))
    system.add(System.of(outer.patches, outer.residual_targets()))
    return _Regression(convolution, rows, system, ridge).fit(rectifier, rounds)


def _held_out_ridge(
    convolution: Convolution, system: System, outer: Rows, ridge: float, rectifier: Rectifier
) -> float:
    """The strength, `ridge` or some tens of times that, which predicts best what it was not fitted to.

    The held-out error has one minimum as a rule, so it is followed downhill from the middle, and a part of the
    outputs is enough to see it.

    Args:
        convolution: the current weights.
        system: of the rows to fit on.
        outer: the rows held out.
        ridge: the smallest strength.
        rectifier: the activation to look through.
    """
    which = slice(None, None, -(-outer.targets.shape[2] // _RIDGE_OUTPUTS))
    outer, system, rectifier = outer.outputs(which), system.outputs(which), rectifier.outputs(which)
    start = weight_columns(convolution)[:, which]
    given = convolution.bias.reshape(len(start), -1)[:, which]
    sides = system.centred(start)
    errors: dict[int, float] = {}

    def error(position: int) -> float:
        if position not in errors:
            factors = [factorise(side, ridge * _RIDGE_FACTORS[position]) for side in sides]
            now = predict(outer.patches, *system.solve(sides, factors, system.products, start, given))
            if outer.offsets is not None:
                now += outer.offsets
            errors[position] = float(np.sum(rectifier.errors(outer.targets, now)))
        return errors[position]

    best, last = len(_RIDGE_FACTORS) // 2, len(_RIDGE_FACTORS) - 1
    step = -1 if error(best - 1) < error(best) else 1
    while 0 <= best + step <= last and error(best + step) < error(best):
        best += step
    logger.debug("Held-out error by ridge: %s.", {ridge * _RIDGE_FACTORS[k]: errors[k] for k in sorted(errors)})
    return ridge * _RIDGE_FACTORS[best]


@dataclass(frozen=True, eq=False)
class _Estimate:
    """Weights (groups, outputs, unknowns), biases and offset scales (groups, outputs)."""

    weight: NDArray[np.float64]
    bias: NDArray[np.float64]
    scale: NDArray[np.float64]

    def improved(self, other: "_Estimate", which: NDArray[np.bool_]) -> "_Estimate":
        """This estimate with some outputs, (groups, outputs), of another."""
        weight = np.where(which[:, :, np.newaxis], other.weight, self.weight)
        return _Estimate(weight, np.where(which, other.bias, self.bias), np.where(which, other.scale, self.scale))

    def is_finite(self) -> bool:
        return all(bool(np.all(np.isfinite(part))) for part in (self.weight, self.bias, self.scale))


class _Regression:
    """One factorised system, solved for one set of targets after the other.

    Where the offsets s may be scaled, t = P W + b + a s has one unknown a more for each output. Eliminating W
    (Frisch and Waugh, 1933) leaves

        a = sum s (t - P W_t) / sum s (s - P W_s),        W = W_t - a W_s

    with W_t fitted to t and W_s to s, the latter with its ridge centred on zero.
    """

    def __init__(self, convolution: Convolution, rows: Rows, system: System, ridge: float) -> None:
        self.convolution, self.rows, self.system = convolution, rows, system
        self.start = weight_columns(convolution)
        self.given = convolution.bias.reshape(len(self.start), -1)
        self.sides = system.centred(self.start)
        self.factors = [factorise(side, ridge) for side in self.sides]
        self.offset: tuple[_Estimate, NDArray[np.float32]] | None = None
        if rows.free_scale and rows.offsets is not None and any(self.factors):
            self.offset = self._explain(rows.offsets)

    def fit(self, rectifier: Rectifier | None, rounds: int) -> Fit:
        """The ridge solution, and `rounds` of new targets where an activation follows."""
        if not any(self.factors):
            return Fit(self.convolution)
        best, now = self._estimate(self.rows.targets)
        if not best.is_finite():
            return Fit(self.convolution)
        if rectifier is not None and rounds > 0:
            least = rectifier.errors(self.rows.targets, now)
            for _ in range(rounds):
                now = rectifier.renewed(self.rows.targets, now)  # in place of it, as memory is mostly rows
                last, now = self._estimate(now)
                errors = rectifier.errors(self.rows.targets, now)
                best, least = best.improved(last, errors < least), np.minimum(errors, least)
        convolution = with_weight_columns(self.convolution, best.weight, best.bias)
        return Fit(convolution, best.scale.reshape(-1) if self.offset is not None else None)

    def _estimate(self, targets: NDArray[np.float32]) -> tuple[_Estimate, NDArray[np.float32]]:
        """The solution for some targets, and what it predicts."""
        rows, offset = self.rows, self.offset
        one = np.ones(self.given.shape)
        first = targets is rows.targets and offset is None  # the system knows the products of these
        if rows.offsets is not None and offset is None:
            targets = targets - rows.offsets
        products = self.system.products if first else Products.of(rows.patches, targets, self.system.sums)
        weight, bias = self.system.solve(self.sides, self.factors, products, self.start, self.given)
        now = predict(rows.patches, weight, bias)
        if rows.offsets is None:
            return _Estimate(weight, bias, one), now
        if offset is None:
            now += rows.offsets
            return _Estimate(weight, bias, one), now
        explained, unexplained = offset
        parts = blocks(now.shape[1])
        left = sum(_inner(rows.offsets[:, part], targets[:, part] - now[:, part]) for part in parts)
        own = _inner(rows.offsets, unexplained)
        scale = np.where(own > 0, np.clip(left / np.where(own > 0, own, 1.0), *rows.scales), one)
        for part in parts:
            now[:, part] += scale[:, np.newaxis].astype(np.float32) * unexplained[:, part]
        weight = weight - scale[:, :, np.newaxis] * explained.weight
        return _Estimate(weight, bias - scale * explained.bias, scale), now

    def _explain(self, offsets: NDArray[np.float32]) -> tuple[_Estimate, NDArray[np.float32]]:
        """The fit to the offsets, and what it leaves of them."""
        products = Products.of(self.rows.patches, offsets, self.system.sums)
        zero = np.zeros(self.start.shape)
        sides = [None if side is None else replace(side, explained=0 * side.explained) for side in self.sides]
        weight, bias = self.system.solve(sides, self.factors, products, zero, np.zeros(self.given.shape))
        left = predict(self.rows.patches, weight, bias)
        return _Estimate(weight, bias, np.ones(self.given.shape)), np.subtract(offsets, left, out=left)


def _inner(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    """Sums of products over the rows, (groups, outputs)."""
    sums: NDArray[np.float64] = np.einsum("gro,gro->go", a, b, dtype=np.float64)
    return sums
