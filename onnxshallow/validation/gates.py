"""What an optimized model must keep, so that it passes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from onnxshallow.errors import UsageError
from onnxshallow.options.config import Config
from onnxshallow.options.forms import Kind
from onnxshallow.validation.compare import Comparison
from onnxshallow.validation.judgement import Finding
from onnxshallow.validation.numbers import Number, Real
from onnxshallow.validation.outputs import Loss, share_lost
from onnxshallow.validation.statistics import wilson_interval

__all__ = [
    "DEFAULT_MAX_DROP",
    "DEFAULT_MAX_ERROR",
    "DEFAULT_MAX_TURN",
    "ROUNDING",
    "Gate",
    "Limits",
    "check_gates",
    "gate_findings",
]

DEFAULT_MAX_DROP = 0.05
"""What a classifier may lose where no gate is given: accuracy, samples that keep their class, or pixels that do."""

DEFAULT_MAX_ERROR = 0.1
"""How far other outputs may be off where no gate is given."""

DEFAULT_MAX_TURN = 0.05
"""How much of its cosine an embedding may lose where no gate is given: it turns by 18 degrees."""

ROUNDING = 1e-5
"""Outputs that are off by no more than so much of their size are moved by rounding, and leave no doubt."""

_MAX_ERRORS: tuple[tuple[tuple[Kind | None, ...], float], ...] = (
    (("embedding",), DEFAULT_MAX_TURN),
    (("scores", "boxes", "regression", None), DEFAULT_MAX_ERROR),
)
_SET_YOUR_OWN = "set your own with --max-drop, --min-agreement or --max-error"


@dataclass(frozen=True)
class Limits:
    """The gates that the user gave; None for those that were not given.

    Attributes:
        max_drop: accuracy that may be lost, as a fraction; without labels disagreement with the original, and
            without classes the most that an output lost, by what it means.
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

    @property
    def lost(self) -> float:
        """What was found to be lost."""
        return share_lost(self.value) if self.name == "min-agreement" else self.value

    @property
    def allowed(self) -> float:
        """What may be lost."""
        return share_lost(self.limit) if self.name == "min-agreement" else self.limit

    @property
    def times(self) -> float:
        """How many times what is allowed is lost; 0 where nothing is allowed, so that no number says it."""
        return self.lost / self.allowed if self.allowed > 0 else 0.0

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
        if math.isinf(self.worst):
            return f"One sample says nothing of the {self.what} on others; validate on more."
        if self.worst >= self.limit if self.name == "min-agreement" else self.worst <= self.limit:
            return None
        may = f"the {self.what} may be {self.worst:.2g}, more than the gate allows"
        if self.name == "min-agreement":
            may = f"only {100 * self.worst:.2f} % may keep their class, fewer than the gate asks for"
        elif self.name == "max-drop":
            may = f"{100 * self.worst:.2f} points may be lost, more than the gate allows"
        return f"By {samples} samples {may} (95 % interval); validate on more."


def check_gates(comparison: Comparison, limits: Limits) -> list[Gate]:
    """Every gate that was given, and the default one of each kind of output that none of these speaks of.

    `max_error` speaks of all outputs; `max_drop` and `min_agreement` of those that tell classes, and where there are
    none `max_drop` speaks of all.

    Args:
        comparison: of both models.
        limits: the gates.

    Raises:
        UsageError: a gate needs what the network or the data do not have.
    """
    given = _given(comparison, limits)
    has_classes = comparison.fidelity.agreement is not None
    if limits.max_error is not None or (limits.max_drop is not None and not has_classes):
        return given
    defaults = [_default_of_numbers(comparison, kinds, limit) for kinds, limit in _MAX_ERRORS]
    defaults.insert(0, _default_of_masks(comparison))
    if has_classes and not limits.given:
        loss = comparison.loss
        defaults.insert(0, _gate("max-drop", DEFAULT_MAX_DROP, loss, _most_lost(comparison), default=True))
    return given + [gate for gate in defaults if gate is not None]


def _given(comparison: Comparison, limits: Limits) -> list[Gate]:
    agreement, gates = comparison.fidelity.agreement, []
    if limits.max_drop is not None:
        gates.append(_gate("max-drop", limits.max_drop, comparison.loss, _most_lost(comparison)))
    if limits.min_agreement is not None:
        if agreement is None:
            raise UsageError(
                "--min-agreement needs an output that tells classes, which this network has not (--output-kind says "
                "what an output means); give --max-error instead."
            )
        met, what = agreement >= limits.min_agreement, "samples with the same class"
        gates.append(
            Gate("min-agreement", limits.min_agreement, agreement, met, what=what, worst=_fewest_alike(comparison))
        )
    if limits.max_error is not None:
        gates.append(_gate("max-error", limits.max_error, comparison.fidelity.error))
    return gates


def _gate(
    name: Literal["max-drop", "max-error"],
    limit: float,
    loss: Loss,
    worst: float | None = None,
    *,
    default: bool = False,
) -> Gate:
    worst = loss.worst if worst is None else worst
    return Gate(name, limit, loss.value, loss.value <= limit, default, loss.what, worst)


def _most_lost(comparison: Comparison) -> float | None:
    """How much may be lost on other samples of the kind; None where no output tells classes."""
    if comparison.drop_interval is not None:
        return comparison.drop_interval[1]
    fewest = _fewest_alike(comparison)
    return None if fewest is None else 1.0 - fewest


def _fewest_alike(comparison: Comparison) -> float | None:
    """How few samples may keep their class on others of the kind; None where no output tells classes."""
    agreement, samples = comparison.fidelity.agreement, comparison.fidelity.samples
    return None if agreement is None else wilson_interval(round(agreement * samples), samples)[0]


def _default_of_masks(comparison: Comparison) -> Gate | None:
    lost = [output.loss for output in comparison.fidelity.outputs if output.kind == "mask"]
    if not lost:
        return None
    return _gate("max-drop", DEFAULT_MAX_DROP, max(lost, key=lambda loss: loss.value), default=True)


def _default_of_numbers(comparison: Comparison, kinds: tuple[Kind | None, ...], limit: float) -> Gate | None:
    """The default gate of the outputs of some kinds, which the worst of them decides; None where there are none."""
    outputs = [output for output in comparison.fidelity.outputs if output.kind in kinds]
    lost = [
        replace(output.loss, what=f"lost {output.loss.what}") if output.kind == "embedding" else output.error
        for output in outputs
    ]
    return _gate("max-error", limit, max(lost, key=lambda loss: loss.value), default=True) if lost else None


def gate_findings(comparison: Comparison, gates: Sequence[Gate], advice: str = "") -> list[Finding]:
    """What the outputs of the second model say for or against it.

    Args:
        comparison: of both models.
        gates: that were checked.
        advice: what to do where one is broken, in a sentence.
    """
    not_finite = _not_finite(comparison)
    broken = [gate for gate in gates if not gate.met]
    if not_finite:  # which says more than a default gate whose value is no number
        broken = [gate for gate in broken if not gate.default or math.isfinite(gate.value)]
    advised = [f"{gate.describe(comparison.fidelity.source)} {advice}".rstrip() for gate in broken]
    findings = [Finding("accuracy", text, refuses=True) for text in (*not_finite, *advised)]
    findings += _told_of_labels(comparison)
    differs = not comparison.fidelity.error.value <= ROUNDING
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


def _told_of_labels(comparison: Comparison) -> list[Finding]:
    """A finding where there are labels and none of the outputs is the one that they speak of."""
    if not comparison.unused_labels:
        return []
    text = (
        "The labels were not used: every output tells fewer classes than they name, or the original gets it right no "
        "more often than by chance. Check that they belong to these samples, or name the output's meaning with "
        "--output-kind."
    )
    return [Finding("data", text)]
