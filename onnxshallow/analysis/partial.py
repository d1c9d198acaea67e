"""Partial activations: a site that activates some of its elements, and makes the others by a polynomial.

    y = act(z)                                          where the element keeps its activation
    y = square * z^2 + linear * z + constant            elsewhere

An element is a channel, or one place of one channel. An affine map, a constant and the identity are polynomials too.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

__all__ = ["Bounds", "Partial", "along"]


@dataclass(frozen=True, eq=False)
class Bounds:
    """How far an activation reaches in the original, on all samples that were looked at; element by element.

    Attributes:
        low: the smallest z.
        high: the largest z.
        peak: the largest |y|.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    peak: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Partial:
    """What takes the place of an activation.

    Attributes:
        source: the tensor z (N, C, *spatial) that is read.
        output: the tensor y that is made.
        kept: (C,) or (C, *spatial), which elements keep the activation.
        square: like `kept`, coefficients; zero where the activation is kept, as for the following.
        linear: coefficients.
        constant: coefficients.
        bounds: what its parabolas have to stay within, (C,); None where there are none.
    """

    source: str
    output: str
    kept: NDArray[np.bool_]
    square: NDArray[np.float64]
    linear: NDArray[np.float64]
    constant: NDArray[np.float64]
    bounds: Bounds | None = None

    def mapped(self, change: Callable[[np.ndarray], np.ndarray]) -> "Partial":
        """The same with each of its four arrays put through `change`, which takes (C,) or (C, *spatial).

        Its parabolas are fitted by then, so the bounds go.
        """
        return replace(
            self,
            bounds=None,
            kept=change(self.kept),
            square=change(self.square),
            linear=change(self.linear),
            constant=change(self.constant),
        )

    @property
    def squared(self) -> NDArray[np.bool_]:
        """Which elements take a multiplication by themselves."""
        return np.asarray(~self.kept & (self.square != 0))

    @property
    def passed(self) -> NDArray[np.bool_]:
        """Which elements are z itself, which the layer before makes into what they should be."""
        return np.asarray(~self.kept & (self.square == 0) & (self.linear == 1) & (self.constant == 0))

    @property
    def is_plain(self) -> bool:
        """Whether every element is kept or passed on."""
        return bool(np.all(self.kept | self.passed))

    def polynomial(self, z: np.ndarray) -> np.ndarray:
        """The polynomial of all elements of z (N, C, *spatial), in z's type."""
        coefficients = (self.square, self.linear, self.constant)
        square, linear, constant = (along(value, z).astype(z.dtype) for value in coefficients)
        made: np.ndarray = (square * z + linear) * z + constant
        return made

    def __call__(self, z: np.ndarray, active: np.ndarray) -> np.ndarray:
        """What is made of z and act(z), (N, C, *spatial) each."""
        return np.where(along(self.kept, z), active, self.polynomial(z))


def along(values: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Values of channels (C,) or elements (C, *spatial) in the shape that is broadcast against z (N, C, *spatial)."""
    return values.reshape(values.shape + (1,) * (z.ndim - 1 - values.ndim))
