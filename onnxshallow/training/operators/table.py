"""All operators that are known, by type."""

from collections.abc import Mapping

from onnxshallow.model.network import Node, is_default_domain
from onnxshallow.training.operators import elementwise, layers, pools, reductions, resampling, shapes
from onnxshallow.training.operators.call import Call, Operator, Refusal

__all__ = ["OPERATORS", "lacking"]

OPERATORS: Mapping[str, Operator] = {
    **elementwise.OPERATORS,
    **layers.OPERATORS,
    **pools.OPERATORS,
    **reductions.OPERATORS,
    **resampling.OPERATORS,
    **shapes.OPERATORS,
}
"""By type."""

_REFUSALS: Mapping[str, Refusal] = {**layers.REFUSALS, **pools.REFUSALS, **resampling.REFUSALS}


def lacking(node: Node, opset: int) -> str | None:
    """The operator of a node, in words, where it is not known, or not in this form; None where it is."""
    if not is_default_domain(node.domain):
        return f"{node.domain}.{node.op}"
    if node.op not in OPERATORS or opset < 7:
        return node.op
    refusal = _REFUSALS.get(node.op)
    why = None if refusal is None else refusal(Call(node, opset))
    return None if why is None else f"{node.op} {why}"
