"""The one judgement of a model that was made: what is known for and against it, and whether it may be shipped.

Every command that makes or checks a model collects findings and hands them to `judge`. A finding that refuses makes
the judgement one: targets and speed end with exit code 5, all else with 4, which counts for more.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from onnxshallow.errors import AccuracyError, ExitCode, OnnxshallowError, TargetError

__all__ = ["About", "Finding", "Judgement", "Status", "judge"]

About = Literal["target", "speed", "accuracy", "stability", "data"]
"""What a finding speaks of."""

Status = Literal["met", "accuracy", "target", "forced"]
"""`accuracy` also stands for instability and for data that prove nothing, `target` also for speed that was asked for;
`forced`: refused, and written all the same."""

_TARGETS: tuple[About, ...] = ("target", "speed")


@dataclass(frozen=True)
class Finding:
    """Something that is known of a model that was made.

    Attributes:
        about: what it speaks of.
        text: a sentence, told in the line of the verdict; where it refuses, it also says what to do.
        refuses: whether the model may not be shipped for it.
    """

    about: About
    text: str
    refuses: bool = False


@dataclass(frozen=True)
class Judgement:
    """Whether a model may be shipped, and why.

    Attributes:
        findings: all that is known, what refuses first.
        forced: whether the user wants the model though it is refused.
    """

    findings: tuple[Finding, ...]
    forced: bool = False

    @property
    def refusals(self) -> tuple[Finding, ...]:
        """The findings that refuse."""
        return tuple(finding for finding in self.findings if finding.refuses)

    @property
    def status(self) -> Status:
        """How it ended, in a word."""
        if not self.refusals:
            return "met"
        if self.forced:
            return "forced"
        return "target" if all(finding.about in _TARGETS for finding in self.refusals) else "accuracy"

    @property
    def error(self) -> OnnxshallowError | None:
        """Why the model must not be used; None where it may be."""
        text = " ".join(finding.text for finding in self.refusals)
        if self.status == "accuracy":
            return AccuracyError(text)
        return TargetError(text) if self.status == "target" else None

    @property
    def exit_code(self) -> ExitCode:
        """What the process ends with."""
        return ExitCode.OK if self.error is None else self.error.exit_code

    def line(self, facts: Sequence[str], met: str = "Goal met") -> str:
        """The one line that answers whether the model may be shipped, and why.

        Args:
            facts: what was reached and what was lost, in a few words each; told where nothing refuses.
            met: what is said first there.
        """
        head = f"{met}: {', '.join(facts)}." if facts else f"{met}."
        if self.refusals:
            head = "Forced, though refused:" if self.forced else "Not met:"
        return " ".join([head, *(finding.text for finding in self.findings)])


def judge(findings: Iterable[Finding], *, forced: bool = False) -> Judgement:
    """The judgement that follows from all that is known.

    Args:
        findings: in the order in which they are to be told.
        forced: whether a refused model is wanted all the same.
    """
    return Judgement(tuple(sorted(findings, key=lambda finding: not finding.refuses)), forced)
