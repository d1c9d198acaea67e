"""A network as a list of steps that an engine's process can follow without onnx.

A step is an operator of `party.py`, the names of the tensors that it reads, the name of the tensor that it makes, and
settings. All shapes are known, and all that can be computed from the weights alone has been.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

__all__ = ["Program", "ProgramWriter", "Step"]


@dataclass(frozen=True)
class Step:
    """One operator, as `party.py` knows it.

    Attributes:
        op: its name there.
        inputs: names of the tensors that it reads.
        output: name of the tensor that it makes.
        settings: whatever else it needs: numbers, lists and texts.
    """

    op: str
    inputs: tuple[str, ...]
    output: str
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Program:
    """A network as steps.

    Attributes:
        inputs: names of what is fed, which is secret.
        outputs: names of what is revealed.
        steps: in the order in which they run.
        weights: what the model's owner knows, by name, float32.
        public: constants that say nothing of the model, by name, float32.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    steps: tuple[Step, ...]
    weights: Mapping[str, np.ndarray]
    public: Mapping[str, np.ndarray]

    def order(self) -> dict[str, Any]:
        """All but the arrays, for JSON."""
        return {"inputs": self.inputs, "outputs": self.outputs, "steps": [asdict(step) for step in self.steps]}


class ProgramWriter:
    """Steps and arrays as they are found; new tensors get names of their own."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.weights: dict[str, np.ndarray] = {}
        self.public: dict[str, np.ndarray] = {}

    def step(self, op: str, *inputs: str, into: str = "", **settings: Any) -> str:
        """Add a step and name what it makes."""
        output = into or f"step {len(self.steps)}"
        self.steps.append(Step(op, inputs, output, settings))
        return output

    def weight(self, value: np.ndarray) -> str:
        """Add an array of the model's."""
        return _add(self.weights, "weight", value)

    def known(self, value: np.ndarray) -> str:
        """Add an array that all may know."""
        return _add(self.public, "public", value)

    def written(self, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> Program:
        """The program; only steps and arrays that an output depends on."""
        needed, kept = set(outputs), []
        for step in reversed(self.steps):
            if step.output in needed:
                needed.update(step.inputs)
                kept.append(step)
        arrays = ({name: array for name, array in group.items() if name in needed}
                  for group in (self.weights, self.public))  # fmt: skip
        return Program(inputs, outputs, tuple(reversed(kept)), *arrays)


def _add(arrays: dict[str, np.ndarray], kind: str, value: np.ndarray) -> str:
    name = f"{kind} {len(arrays)}"
    arrays[name] = np.ascontiguousarray(value, dtype=np.float32)
    return name
