"""What is at hand while a network is written as a program."""

from dataclasses import dataclass, field

import numpy as np

from onnxshallow.analysis import Analysis
from onnxshallow.errors import ModelError
from onnxshallow.model.network import Network
from onnxshallow.private.engine.program import ProgramWriter

__all__ = ["Lowering", "constant", "shape_of"]


@dataclass(frozen=True, eq=False)
class Lowering:
    """A network on its way to a program.

    Attributes:
        analysis: of the network.
        writer: takes the steps.
        made: the program's names of the network's tensors.
    """

    analysis: Analysis
    writer: ProgramWriter
    made: dict[str, str] = field(default_factory=dict)

    @property
    def network(self) -> Network:
        """The network."""
        return self.analysis.network

    def name(self, tensor: str) -> str:
        """The program's name of a tensor; a constant becomes one of its weights.

        Raises:
            ModelError: nothing makes the tensor.
        """
        if tensor not in self.made:
            value = constant(self.network, tensor)
            if value is None:
                raise ModelError(f"Tensor {tensor!r} cannot be computed under secure computation here.")
            self.made[tensor] = self.writer.weight(value)
        return self.made[tensor]

    def times(self, x: str, factor: np.ndarray) -> str:
        """A tensor times numbers of the model's; one number for all is no secret."""
        if len(np.unique(factor)) == 1:
            number = float(np.ravel(factor)[0])
            return x if number == 1 else self.writer.step("scale", x, number=number)
        return self.writer.step("multiply", x, self.writer.weight(factor))


def constant(network: Network, tensor: str) -> np.ndarray | None:
    """The value of a constant, or of a stored value that a caller may replace; None where it is computed."""
    value = network.constant(tensor)
    stored = network.initializer(tensor)
    if value is None and stored is not None:
        from onnxshallow.model.weights import value_of

        return value_of(stored)
    return value


def shape_of(network: Network, tensor: str) -> list[int]:
    """Sizes of a tensor.

    Raises:
        ModelError: they are not known.
    """
    sizes = network.full_shape(tensor)
    if sizes is None:
        raise ModelError(f"The shape of tensor {tensor!r} is not known; give the open axes with --input-shape.")
    return list(sizes)
