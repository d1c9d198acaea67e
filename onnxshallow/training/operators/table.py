"""All operators that are known, by type."""

from collections.abc import Mapping

from onnxshallow.model.network import Node, is_default_domain
from onnxshallow.model.shapes import OWN_DOMAIN
from onnxshallow.model.spelling.smooth import called
from onnxshallow.training.operators import elementwise, layers, pools, reductions, resampling, shapes
from onnxshallow.training.operators.call import Call, Operator, Refusal

__all__ = ["OPERATORS", "lacking", "operator_of"]

OPERATORS: Mapping[str, Operator] = {
    **elementwise.OPERATORS,
    **layers.OPERATORS,
    **pools.OPERATORS,
    **reductions.OPERATORS,
    **resampling.OPERATORS,
    **shapes.OPERATORS,
}
"""By type."""

_CALLED: Mapping[str, Operator] = {
    "Elu": OPERATORS["Elu"],
    "FastGelu": lambda call, x: 0.5 * x * (1 + (0.7978845608 * (x + 0.044715 * x**3)).tanh()),
    "Gelu": lambda call, x: 0.5 * x * (1 + (x * 0.5**0.5).erf()),
    "HardSigmoid": lambda call, x: (x / 6 + 0.5).clamp(0, 1),
    "HardSwish": OPERATORS["HardSwish"],
    "LogSigmoid": lambda call, x: x.clamp(max=0) - (-x.abs()).exp().log1p(),
    "Mish": OPERATORS["Mish"],
    "QuickGelu": lambda call, x: x * (1.702 * x).sigmoid(),
    "Selu": OPERATORS["Selu"],
    "Sigmoid": OPERATORS["Sigmoid"],
    "Silu": lambda call, x: x * (call.get("alpha", 1.0) * x).sigmoid(),
    "Softplus": OPERATORS["Softplus"],
    "Softsign": lambda call, x: x / (1 + x.abs()),
    "Tanh": OPERATORS["Tanh"],
}
_REFUSALS: Mapping[str, Refusal] = {**layers.REFUSALS, **pools.REFUSALS, **resampling.REFUSALS}


def operator_of(node: Node) -> Operator:
    """What runs a node that is not `lacking`."""
    return _CALLED[called(node) or ""] if node.domain == OWN_DOMAIN else OPERATORS[node.op]


def lacking(node: Node, opset: int) -> str | None:
    """The operator of a node, in words, where it is not known, or not in this form; None where it is."""
    if called(node) in _CALLED:
        return None
    if not is_default_domain(node.domain):
        return f"{node.domain}.{node.op}"
    if node.op not in OPERATORS or opset < 7:
        return node.op
    refusal = _REFUSALS.get(node.op)
    why = None if refusal is None else refusal(Call(node, opset))
    return None if why is None else f"{node.op} {why}"
