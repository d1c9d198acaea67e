"""Which elementary functions smooth activations are computed by, as an engine does that has no other.

    sigmoid(x), tanh(x), erf(x)    one each
    silu         x sigmoid(x)                      gelu         x (1 + erf(x / sqrt 2)) / 2
    quick_gelu   x sigmoid(1.702 x)                fast_gelu    x (1 + tanh(c x (1 + d x^2))) / 2
    softplus     log(1 + e^x)                      mish         x tanh(softplus(x))
    log_sigmoid  -log(1 + e^-x)
    elu          max(x, 0) + a (e^min(x, 0) - 1);  likewise selu and celu

What a protocol charges for one of these is a constant of `onnxshallow.private.protocols`.
"""

from collections.abc import Iterator, Mapping
from typing import Literal, get_args

from onnxshallow.analysis.smooth import Smooth

__all__ = ["FUNCTIONS", "Function", "Step", "steps_of"]

Function = Literal["sigmoid", "tanh", "erf", "exp", "softplus"]
"""Functions that an engine computes by polynomials or iterations, and that protocols charge for as a whole."""

FUNCTIONS: tuple[Function, ...] = get_args(Function)

Step = Literal["sigmoid", "tanh", "erf", "exp", "softplus", "comparison", "square", "product", "scale"]

_STEPS: Mapping[Smooth, tuple[Step, ...]] = {
    "sigmoid": ("sigmoid",),
    "tanh": ("tanh",),
    "softplus": ("softplus",),
    "log_sigmoid": ("softplus",),
    "silu": ("sigmoid", "product"),
    "quick_gelu": ("scale", "sigmoid", "product"),
    "gelu": ("scale", "erf", "scale", "product"),
    "fast_gelu": ("square", "scale", "product", "tanh", "scale", "product"),
    "mish": ("softplus", "tanh", "product"),
    "elu": ("comparison", "exp", "scale"),
    "celu": ("comparison", "scale", "exp", "scale"),
    "selu": ("comparison", "exp", "scale", "scale"),
}


def steps_of(kind: str | None, *, by_tanh: bool = False) -> Iterator[Step]:
    """What each element of a smooth activation takes, one after the other; nothing for other kinds.

    Args:
        kind: of the activation.
        by_tanh: whether a GELU is that of tanh.
    """
    if kind == "gelu" and by_tanh:
        kind = "fast_gelu"
    yield from next((steps for name, steps in _STEPS.items() if name == kind), ())
