"""What an optimized model must keep, so that it passes."""

from dataclasses import dataclass
from typing import Literal

from onnxshallow.errors import UsageError
from onnxshallow.validation.compare import Comparison
from onnxshallow.validation.numbers import Real

__all__ = ["DEFAULT_MAX_DROP", "DEFAULT_MAX_ERROR", "Gate", "Limits", "check_gates", "not_finite"]

DEFAULT_MAX_DROP = 0.05
"""What a classifier may lose where no gate is given."""

DEFAULT_MAX_ERROR = 0.1
"""How far other outputs may be off where no gate is given."""


@dataclass(frozen=True)
class Limits:
    """The gates that the user gave; None for those that were not given.

    Attributes:
        max_drop: accuracy that may be lost, as a fraction; without labels disagreement with the original, and
            without classes the largest error over the outputs.
        min_agreement: the least share of samples with the same class.
        max_error: the largest error over the outputs: relative for floats, the share of unequal elements for others.
    """

    max_drop: float | None = None
    min_agreement: float | None = None
    max_error: float | None = None

    @property
    def given(self) -> bool:
        """Whether there is any gate."""
        return any(limit is not None for limit in (self.max_drop, self.min_agreement, self.max_error))


@dataclass(frozen=True)
class Gate:
    """One gate, checked.

    Attributes:
        name: `max-drop`, `min-agreement` or `max-error`.
        limit: what is allowed.
        value: what was found.
        met: whether it is allowed.
        default: whether the user gave no gate.
        what: what `value` is, in words.
    """

    name: Literal["max-drop", "min-agreement", "max-error"]
    limit: float
    value: Real
    met: bool
    default: bool = False
    what: str = ""

    def describe(self) -> str:
        """A sentence for a gate that is not met."""
        if self.name == "min-agreement":
            share = f"{100 * self.value:.2f} %"
            return f"{share} of the samples keep their class, fewer than --min-agreement {self.limit:g} asks for."
        if self.name == "max-drop":
            return (
                f"{100 * self.value:.2f} points of {self.what} are lost, more than --max-drop {self.limit:g} allows."
            )
        return f"The {self.what} is {self.value:.4g}, more than --max-error {self.limit:g} allows."


def check_gates(comparison: Comparison, limits: Limits) -> list[Gate]:
    """Every gate that was given or, where none was, the default one.

    The default is `DEFAULT_MAX_DROP` for a network with class scores, else `DEFAULT_MAX_ERROR`.

    Args:
        comparison: of both models.
        limits: the gates.

    Raises:
        UsageError: a gate needs what the network or the data do not have.
    """
    fidelity, default = comparison.fidelity, not limits.given
    agreement = fidelity.agreement
    if default:
        limits = Limits(max_drop=DEFAULT_MAX_DROP) if agreement is not None else Limits(max_error=DEFAULT_MAX_ERROR)
    gates = []
    if limits.max_drop is not None:
        loss = comparison.loss
        gates.append(Gate("max-drop", limits.max_drop, loss.value, loss.value <= limits.max_drop, default, loss.what))
    if limits.min_agreement is not None:
        if agreement is None:
            raise UsageError(
                "--min-agreement needs class scores, floats (N, classes), which no output of this network has; "
                "give --max-error instead."
            )
        met = agreement >= limits.min_agreement
        gates.append(Gate("min-agreement", limits.min_agreement, agreement, met, what="samples with the same class"))
    if limits.max_error is not None:
        error = fidelity.error
        met = error.value <= limits.max_error
        gates.append(Gate("max-error", limits.max_error, error.value, met, default, error.what))
    return gates


def not_finite(comparison: Comparison) -> list[str]:
    """A sentence for each output at which the second model gives NaN or infinities, which break every gate."""
    return [
        f"Output {output.name!r} of the optimized model is NaN or infinite for {output.not_finite} of "
        f"{comparison.fidelity.samples} samples."
        for output in comparison.fidelity.outputs
        if output.not_finite
    ]
