"""Which of the best plans learns most: each gets a short course, and they compete on held-out samples after it.

What does the least damage before training is not what is best after it (docs/decisions/training.md).
"""

import logging
from collections.abc import Sequence
from dataclasses import replace

from onnxshallow.options.quantities import Length, read_length
from onnxshallow.search.attempt import Attempt
from onnxshallow.search.plan import Plan
from onnxshallow.search.run import Run
from onnxshallow.search.trained import lesson_of
from onnxshallow.training.distil import distil

__all__ = ["best_learner"]

logger = logging.getLogger(__name__)

# How many plans compete, and how much more damage than the least they may do before training.
_COMPETE, _WORTH_IT = 3, 1.5
# The part of the whole course that each of them gets.
_PART = 1 / 20


def best_learner(run: Run, best: Attempt, plans: Sequence[Plan]) -> tuple[Attempt, list[str]]:
    """The plan that is best after a short course, and what to say of it.

    Args:
        run: that the plans were found in.
        best: the plan that would be kept without training, carried out.
        plans: others, those that do the least damage first.

    Raises:
        ModelError: there is nothing that could be trained.
        DataError: there are too few samples.
    """
    most = _WORTH_IT * (best.plan.damage or 0.0)
    others = [plan for plan in plans if plan is not best.plan and plan.damage is not None and plan.damage <= most]
    if best.plan.damage is None or not others:
        return best, []
    attempts = [best, *(run.attempt(plan) for plan in others[: _COMPETE - 1])]
    length = _short(read_length(run.inputs.config.finetune))
    with run.clock("compete"):
        errors = [_error_after(run, attempt, length) for attempt in attempts]
    least = min(errors)
    logger.info("After a short course the plans are off by %s.", ", ".join(f"{found:.4g}" for found in errors))
    if least == errors[0]:
        return best, []
    remark = (
        f"of {len(attempts)} plans another than that of the least damage is taken, since after a short course its "
        f"error is less ({least:.4g} for {errors[0]:.4g})"
    )
    return attempts[errors.index(least)], [remark]


def _short(length: Length) -> Length:
    """A part of a course; steps stay whole."""
    number = length.number * _PART
    return replace(length, number=max(1, round(number)) if length.unit == "steps" else number)


def _error_after(run: Run, attempt: Attempt, length: Length) -> float:
    """How far a plan is off on held-out samples after a course; infinite where it may not be used."""
    best = distil(lesson_of(run.inputs, attempt.realized, length), run.progress).best
    return best.error if best.usable else float("inf")
