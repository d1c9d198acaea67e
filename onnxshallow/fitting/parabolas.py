"""Parabolas that take an activation's place, fitted and kept in bounds.

Outside the range that it was fitted on, a parabola leaves the activation quickly, and what is too large in one layer
is squared in the next. So it is bounded at the ends of all that is known of z (`Moments.parabola`), in the rewritten
network once more, whose z may reach further than the original's. A channel becomes a parabola only where one that
is so bounded bends upwards, and explains clearly more than the affine map does on samples that it was not fitted to.
It must also be fit to be written as one square, q (z + l / 2q)^2 + c - l^2 / 4q: where it hardly bends, l^2 / 4q is
large, and the parabola a small difference of large numbers.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from onnxshallow.analysis.partial import Partial
from onnxshallow.fitting.moments import Parabola, SiteStatistics, site_statistics
from onnxshallow.model.network import Network
from onnxshallow.runtime.cursor import Cursor

__all__ = ["fit_polynomials", "inputs_of", "trusted"]

# The share of the affine map's error that a parabola may leave.
_GAIN = 0.95
# How much larger than the activation's peak what the square of a parabola has too much may be.
_MOST_COMPLETED = 64.0


def trusted(found: SiteStatistics) -> NDArray[np.bool_]:
    """The channels of a site that may become parabolas, (C,)."""
    curve = found.parabola
    completes = curve.linear**2 <= 4 * curve.square * _MOST_COMPLETED * found.bounds.peak
    bends: NDArray[np.bool_] = (curve.square > 0) & completes & (found.quadratic_error < _GAIN * found.affine_error)
    return bends


def inputs_of(network: Network, partial: Partial) -> tuple[str, str]:
    """The tensors that a partial activation reads and that its activation makes."""
    choice = network.producer(partial.output)
    assert choice is not None
    return partial.source, choice.inputs[1]


def fit_polynomials(original: Cursor, rewritten: Cursor, partial: Partial, fit_batches: int) -> Partial:
    """Fit the polynomials of one site to what the original makes there; the rewritten network goes on with them.

    Args:
        original: cursor of the original, at the site or before it.
        rewritten: cursor of the rewritten network, likewise.
        partial: what the site computes now.
        fit_batches: number of leading batches to fit on; the ranges are those of all.
    """
    source, active = inputs_of(rewritten.network, partial)
    original.advance([partial.output])
    rewritten.advance([source, active])
    shape, elements = partial.kept.shape, partial.kept.size
    pairs = [
        (z.reshape(len(z), elements, -1), y.reshape(len(y), elements, -1))
        for z, y in zip(rewritten[source], original[partial.output], strict=True)
    ]
    curved = bool(partial.squared.any())
    found = site_statistics(
        pairs[:fit_batches], elements, further=pairs[fit_batches:], bounds=partial.bounds, curved=curved
    )
    line = Parabola(0 * found.scale, found.scale, found.shift)
    bends = partial.squared.reshape(-1) & trusted(found)
    straight = ~(partial.kept | partial.passed).reshape(-1) & ~bends
    parts = {}
    for name in ("square", "linear", "constant"):
        values = getattr(partial, name).reshape(-1)
        values = np.where(bends, getattr(found.parabola, name), np.where(straight, getattr(line, name), values))
        parts[name] = values.reshape(shape)
    fitted = replace(partial, **parts)
    rewritten.partials[partial.output] = fitted
    rewritten.put(partial.output, (fitted(*pair) for pair in zip(rewritten[source], rewritten[active], strict=True)))
    return fitted
