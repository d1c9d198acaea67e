"""Ridge regression of a convolution, streamed.

For patches P (rows x unknowns), targets T (rows x outputs) and current weights W0, the new weights minimise

    |T - P W - 1 b|^2 + lambda d |W - W0|^2,        d = mean diagonal of the centred P'P,

with an unpenalised bias b. Centring the ridge on W0 instead of on zero makes the answer fall back to what the
network computed before wherever the data say little (FitNets-style layer matching, solved in closed form). With
S_xx and S_xt the centred sums, W = W0 + (S_xx + lambda d I)^-1 (S_xt - S_xx W0). Patch matrices are never stored:
only their products are, accumulated in float64 from float32 blocks.
"""

import logging

import numpy as np
from numpy.typing import NDArray

from onnxshallow.convolution import Convolution

__all__ = ["NormalEquations"]

logger = logging.getLogger(__name__)

_BLOCK = 8192


class NormalEquations:
    """Sums over rows from which a convolution's weights are found.

    Args:
        convolution: geometry, and the weights on which the ridge is centred.
    """

    def __init__(self, convolution: Convolution) -> None:
        self.convolution = convolution
        groups = convolution.groups
        unknowns = int(np.prod(convolution.weight.shape[1:]))
        outputs = convolution.out_channels // groups
        self.rows = 0
        self._x = np.zeros((groups, unknowns))
        self._t = np.zeros((groups, outputs))
        self._xx = np.zeros((groups, unknowns, unknowns))
        self._xt = np.zeros((groups, unknowns, outputs))

    @staticmethod
    def bytes_needed(unknowns: int, outputs: int, groups: int) -> int:
        """Roughly what the sums and their factorisation take, for one group's unknowns and outputs."""
        return 8 * (groups * unknowns * (unknowns + outputs) + 2 * unknowns * unknowns)

    def add(self, patches: NDArray[np.float32], targets: NDArray[np.float32]) -> None:
        """Add rows.

        Args:
            patches: (groups, rows, unknowns).
            targets: (groups, rows, outputs).
        """
        for start in range(0, patches.shape[1], _BLOCK):
            x, t = patches[:, start : start + _BLOCK], targets[:, start : start + _BLOCK]
            transposed = x.transpose(0, 2, 1)
            self._xx += transposed @ x
            self._xt += transposed @ t
            self._x += x.sum(axis=1, dtype=np.float64)
            self._t += t.sum(axis=1, dtype=np.float64)
        self.rows += patches.shape[1]

    def solve(self, ridge: float) -> Convolution:
        """The fitted convolution.

        Args:
            ridge: strength of the ridge, relative to the mean diagonal of S_xx. It is raised tenfold until the
                system is positive definite.

        Returns:
            The convolution with new weights and bias; the current one where the rows say nothing.
        """
        from scipy.linalg import LinAlgError, cho_factor, cho_solve

        current = self.convolution
        groups, unknowns = self._x.shape
        start = current.weight.reshape(groups, -1, unknowns)
        weight, bias = np.empty_like(start), np.empty((groups, start.shape[1]))
        for group in range(groups):
            mean = self._x[group] / self.rows
            s_xx = self._xx[group] - np.outer(mean, self._x[group])
            s_xt = self._xt[group] - np.outer(mean, self._t[group])
            scale = float(np.trace(s_xx)) / unknowns
            if not np.isfinite(scale) or scale <= 0 or not np.all(np.isfinite(s_xt)):
                return current
            residual = s_xt - s_xx @ start[group].T
            strength = ridge * scale
            while True:
                try:
                    factor = cho_factor(s_xx + strength * np.eye(unknowns), overwrite_a=True, check_finite=False)
                    break
                except LinAlgError:
                    strength = max(strength * 10, 1e-8 * scale)
                    logger.debug("Raising the ridge to %g: not positive definite.", strength / scale)
            weight[group] = start[group] + cho_solve(factor, residual, check_finite=False).T
            bias[group] = self._t[group] / self.rows - weight[group] @ mean
        return Convolution(
            weight.reshape(current.weight.shape),
            bias.reshape(-1),
            current.strides,
            current.dilations,
            current.pads_begin,
            current.pads_end,
            current.groups,
        )
