"""How weights move: kernels and matrices in all directions alike, all others by Adam.

The step of a matrix is its running gradient with all singular values made one, which is known as Muon (K. Jordan and
others, 2024, kellerjordan.github.io/posts/muon). A gradient has few large singular values and many small ones, and
what a student still lacks is in the small ones: that taught in 200 steps what took Adam more than 400
(docs/decisions/training.md). Adam is that of arXiv 1412.6980.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Optimizer", "is_matrix", "orthogonal"]

# How much of the running gradient stays in each step.
_MOMENTUM = 0.95
# Coefficients of x -> a x + b x^3 + c x^5, which drives numbers from 0 to 1 towards one, and how often it is applied.
_A, _B, _C, _TIMES = 3.4445, -4.7750, 2.0315, 5
# What Adam moves goes so many times as far in a step.
_FURTHER = 4


class Optimizer:
    """Moves weights against their gradients.

    Args:
        weights: by name; changed in place.
        sizes: what the rate is multiplied by for each.
        free: 1 where an element may move and 0 where not, for those of which some may not.
    """

    def __init__(
        self,
        weights: "Mapping[str, Tensor]",
        sizes: Mapping[str, float],
        free: "Mapping[str, Tensor]",
    ) -> None:
        import torch

        self._weights, self._sizes, self._free = weights, sizes, free
        matrices = {name: weight for name, weight in weights.items() if is_matrix(weight)}
        self._running = {name: torch.zeros_like(weight) for name, weight in matrices.items()}
        others = [
            {"params": [weight], "size": sizes[name]} for name, weight in weights.items() if name not in matrices
        ]
        self._adam = torch.optim.Adam(others) if others else None

    def step(self, rate: float) -> None:
        """Move matrices by about a share `rate` of their sizes, and others by up to four times as much."""
        import torch

        with torch.no_grad():
            for name, running in self._running.items():
                weight, gradient = self._weights[name], self._weights[name].grad
                if gradient is None:
                    continue
                running.lerp_(gradient, 1 - _MOMENTUM)
                matrix = gradient.lerp(running, _MOMENTUM).flatten(1)
                step = orthogonal(matrix).reshape(weight.shape) * self._free.get(name, 1)
                of_size_one = max(matrix.shape) ** 0.5
                weight.sub_(step, alpha=rate * self._sizes[name] * of_size_one)
        if self._adam is not None:
            for group in self._adam.param_groups:
                group["lr"] = _FURTHER * rate * group["size"]
            self._adam.step()

    def state(self) -> dict[str, Any]:
        """All that a later process needs to go on."""
        return {"running": self._running, "adam": None if self._adam is None else self._adam.state_dict()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from where `state` was taken."""
        for name, running in self._running.items():
            running.copy_(state["running"][name])
        if self._adam is not None:
            self._adam.load_state_dict(state["adam"])


def is_matrix(weight: "Tensor") -> bool:
    """Whether a weight maps several channels to several: no bias, no factors, and no kernel of single channels."""
    return bool(weight.dim() > 1 and min(weight.shape[:2]) > 1)


def orthogonal(matrix: "Tensor") -> "Tensor":
    """A matrix (M, N) with its singular vectors, and all of its singular values near one; those of zero stay.

    With G = X X', each pass of the polynomial multiplies X by Q = a + b G + c G^2, and G by Q^2. So all but the first
    and the last product are of the shorter side, which for kernels is several times as fast.
    """
    import torch

    if matrix.shape[0] > matrix.shape[1]:
        return orthogonal(matrix.T).T
    matrix = matrix / matrix.norm().clamp(min=1e-30)
    gram, one = matrix @ matrix.T, torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    whole = one
    for _ in range(_TIMES):
        factor = _A * one + _B * gram + _C * (gram @ gram)
        gram, whole = factor @ gram @ factor, factor @ whole
    return whole @ matrix
