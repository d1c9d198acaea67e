"""What an operator is given: its node's attributes, and the inputs as tensors of torch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from onnxshallow.model.network import Node

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Call", "Operator", "Refusal", "integers"]


@dataclass(frozen=True, eq=False)
class Call:
    """One node as its operator sees it.

    Attributes:
        node: the node.
        opset: version of ONNX's own operator set.
    """

    node: Node
    opset: int

    def get(self, name: str, default: Any = None) -> Any:
        """The value of an attribute."""
        return self.node.attributes.get(name, default)

    def axes(self, given: "Tensor | None", name: str = "axes") -> list[int] | None:
        """Integers that older opsets hold in an attribute and newer ones in an input; None where they are absent."""
        if given is not None:
            return integers(given)
        stated = self.get(name)
        return None if stated is None else [int(value) for value in stated]


Operator: TypeAlias = "Callable[..., Tensor | Sequence[Tensor]]"
"""Takes a `Call` and the inputs, None for those left out in between; gives one output or all of them."""

Refusal: TypeAlias = Callable[[Call], str | None]
"""Says which form of an operator is not known, in a few words; None where this one is."""


def integers(values: "Tensor") -> list[int]:
    """The integers in a tensor."""
    return [int(value) for value in values.reshape(-1).tolist()]
