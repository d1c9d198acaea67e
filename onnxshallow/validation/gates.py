"""What an optimized model must keep, so that it passes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from onnxshallow.errors import UsageError
from onnxshallow.options.config import Config
from onnxshallow.validation.compare import Comparison
from onnxshallow.validation.judgement import Finding
from onnxshallow.validation.numbers import Number, Real
from onnxshallow.validation.statistics import wilson_interval

__all__ = ["DEFAULT_MAX_DROP", "DEFAULT_MAX_ERROR", "Gate", "Limits", "check_gates", "gate_findings"]

DEFAULT_MAX_DROP = 0.05
"""What a classifier may lose where no gate is given."""

DEFAULT_MAX_ERROR = 0.1
"""How far other outputs may be off where no gate is given."""

_SET_YOUR_OWN = "set your own with --max-drop, --min-agreement or --max-error"


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

    @classmethod
    def from_config(cls, config: Config) -> "Limits":
        """Those among the options."""
        return cls(config.max_drop, config.min_agreement, config.max_error)

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
        worst: how bad the value may be on other samples of the kind, by the end of its 95 % interval; None where
            nothing says so.
    """

    name: Literal["max-drop", "min-agreement", "max-error"]
    limit: float
    value: Real
    met: bool
    default: bool = False
    what: str = ""
    worst: Number = None

    def describe(self, source: str = "") -> str:
        """A sentence for a gate that is not met.

        Args:
            source: where the samples come from.
        """
        on = f" on {source}" if source else ""
        if self.name == "min-agreement":
            share = f"{100 * self.value:.2f} %"
            return f"{share} of the samples keep their class{on}, fewer than --min-agreement {self.limit:g} asks for."
        allows = f"--{self.name} {self.limit:g} allows"
        if self.default:
            allows = f"--{self.name} {self.limit:g}, the default, allows; {_SET_YOUR_OWN}"
        if self.name == "max-drop":
            return f"{100 * self.value:.2f} points of {self.what} are lost{on}, more than {allows}."
        return f"The {self.what} is {self.value:.4g}{on}, more than {allows}."

    def in_short(self) -> str:
        """What was found and what is allowed, in a few words, for a gate that is met."""
        default = " (default)" if self.default else ""
        if self.name == "min-agreement":
            return (
                f"{100 * self.value:.2f} % of the samples keep their class, of at least {100 * self.limit:g}{default}"
            )
        if self.name == "max-drop":
            return f"{100 * self.value:.2f} points of {self.what} lost, of at most {100 * self.limit:g}{default}"
        return f"{self.what} {self.value:.4g}, of at most {self.limit:g}{default}"

    def doubt(self, samples: int) -> str | None:
        """A sentence for a gate that is met by so few samples that it may not be; None where there is no doubt."""
        if not self.met or self.worst is None:
            return None
        if self.name == "min-agreement":
            if self.worst >= self.limit:
                return None
            may = f"only {100 * self.worst:.2f} % may keep their class, fewer than the gate asks for"
        else:
            if self.worst <= self.limit:
                return None
            may = f"{100 * self.worst:.2f} points may be lost, more than the gate allows"
        return f"By {samples} samples {may} (95 % interval); validate on more."


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
    fewest = None
    if agreement is not None:
        fewest, _ = wilson_interval(round(agreement * fidelity.samples), fidelity.samples)
    gates = []
    if limits.max_drop is not None:
        loss = comparison.loss
        worst = None if fewest is None else 1.0 - fewest
        if comparison.drop_interval is not None:
            _, worst = comparison.drop_interval
        met = loss.value <= limits.max_drop
        gates.append(Gate("max-drop", limits.max_drop, loss.value, met, default, loss.what, worst))
    if limits.min_agreement is not None:
        if agreement is None:
            raise UsageError(
                "--min-agreement needs class scores, floats (N, classes), which no output of this network has; "
                "give --max-error instead."
            )
        met, what = agreement >= limits.min_agreement, "samples with the same class"
        gates.append(Gate("min-agreement", limits.min_agreement, agreement, met, what=what, worst=fewest))
    if limits.max_error is not None:
        error = fidelity.error
        met = error.value <= limits.max_error
        gates.append(Gate("max-error", limits.max_error, error.value, met, default, error.what))
    return gates


def gate_findings(comparison: Comparison, gates: Sequence[Gate], advice: str = "") -> list[Finding]:
    """What the outputs of the second model say for or against it.

    Args:
        comparison: of both models.
        gates: that were checked.
        advice: what to do where one is broken, in a sentence.
    """
    said = [gate.describe(comparison.fidelity.source) for gate in gates if not gate.met]
    advised = [f"{text} {advice}".rstrip() for text in said]
    findings = [Finding("accuracy", text, refuses=True) for text in (*_not_finite(comparison), *advised)]
    differs = comparison.fidelity.error.value > 0
    doubts = [gate.doubt(comparison.fidelity.samples) for gate in gates if differs]
    return [*findings, *(Finding("accuracy", doubt) for doubt in doubts if doubt is not None)]


def _not_finite(comparison: Comparison) -> list[str]:
    """A sentence for each output that cannot be told from a ruined one, which breaks every gate."""
    said = []
    for output in comparison.fidelity.outputs:
        if output.not_finite:
            said.append(
                f"Output {output.name!r} of the optimized model is NaN or infinite for {output.not_finite} of "
                f"{comparison.fidelity.samples} samples."
            )
        elif output.relative_error is not None and not math.isfinite(output.relative_error):
            said.append(
                f"The relative error of output {output.name!r} is infinite: the original's is zero everywhere, or no "
                "number, where the optimized model's is not; check what the models are run on."
            )
    return said
