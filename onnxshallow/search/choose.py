"""The stage that chooses: the best of the plans that competed are carried out and validated, and one is kept."""

import logging
from dataclasses import replace

from onnxshallow.errors import TargetError
from onnxshallow.search.allocation import evenly_split
from onnxshallow.search.attempt import Attempt
from onnxshallow.search.granularity import Ranked, finer, ranked, ranked_alone
from onnxshallow.search.learners import best_learner
from onnxshallow.search.plan import Plan
from onnxshallow.search.run import Run
from onnxshallow.search.solver import Budget
from onnxshallow.search.tries import tries_alone

__all__ = ["choose"]

logger = logging.getLogger(__name__)

# How many plans are validated before the best of those that are refused is taken.
MAX_VALIDATED = 4
# Where one loses so many times what is allowed, the next ones, which did more damage before, are not tried.
_HOPELESS = 1.25
# Shares of the ReLUs that are tried when only an accuracy budget is given, and how far they lie apart.
_SHARES, _STEP = tuple(share / 20 for share in range(19, 0, -1)), 0.05


def choose(run: Run, budget: Budget) -> tuple[Run, Attempt, list[str]]:
    """The plan to keep, carried out and validated, the run that it was found in, and what to say of it.

    Plans compete on the selection samples. Those that come out best are then validated, one after the other, until
    one may be used. Where none may, plans with channel masks have their turn, if `auto` allows them. Where weights
    are trained afterwards, the best get a short course, and that is kept which is best after it.

    Raises:
        TargetError: no plan reaches the budget.
    """
    if not run.inputs.config.has_target:
        return _deepest(run)
    if run.inputs.config.allocation != "measured":
        return run, run.attempt(evenly_split(run.inputs, budget)), []
    (found,) = ranked(run, [budget], tries_alone)
    if isinstance(found, TargetError):
        raise found
    best = _best_of(found)
    if not _is_enough(best, run) and (refined := finer(found.run)) is not None:
        (masked,) = ranked_alone(refined, [replace(budget, shallower=False)], tries_alone)
        if not isinstance(masked, TargetError) and (other := _best_of(masked)).rank() < best.rank():
            found, best = masked, other
    if run.inputs.config.finetune is None:
        return found.run, best, []
    return found.run, *best_learner(found.run, best, found.plans)


def _best_of(found: Ranked) -> Attempt:
    """The first plan that may be used, or the best that may not, carried out.

    Raises:
        TargetError: there is no plan.
    """
    best: Attempt | None = None
    for tries, plan in enumerate(found.plans[:MAX_VALIDATED], 1):
        attempt = found.run.attempt(plan)
        if best is None or attempt.rank() < best.rank():
            best = attempt
        if _is_enough(attempt, found.run) or any(gate.times > _HOPELESS for gate in attempt.gates):
            break
        why = " ".join(finding.text for finding in attempt.findings if finding.refuses)
        logger.info("Plan %d is not taken: %s Trying another.", tries, why)
    if best is None:
        raise TargetError("No plan was carried out; raise the target.")
    return best


def _is_enough(attempt: Attempt, run: Run) -> bool:
    """Whether no other plan has to be tried: it may be used, or may be once it has learned what it lacks."""
    return attempt.usable or (run.inputs.config.finetune is not None and attempt.stable)


def _deepest(run: Run) -> tuple[Run, Attempt, list[str]]:
    """As few ReLUs as the accuracy budget allows, with channel masks where `auto` allows them and they go further."""
    best = _bisected(run, run.attempt(Plan((), {})))
    if (refined := finer(run)) is not None:
        further = _bisected(refined, best)
        if further is not best:
            run, best = refined, further
    return run, best, ["the lowest ReLU count that was found within the accuracy budget"]


def _bisected(run: Run, best: Attempt) -> Attempt:
    """The plan of the fewest ReLUs that may be used, at the run's own granularity.

    Args:
        run: what the search needs.
        best: what stays where nothing with clearly fewer ReLUs may be used.
    """
    relus = run.inputs.analysis.cost.relus
    shares = [share for share in _SHARES if share * relus <= best.realized.analysis.cost.relus - _STEP * relus + 1e-6]
    low, high = 0, len(shares)
    while low < high:
        middle = (low + high) // 2
        budget = replace(run.inputs.budget, relus=int(shares[middle] * relus))
        (found,) = ranked_alone(run, [budget], tries_alone)
        attempt = None if isinstance(found, TargetError) else run.attempt(found.plans[0])
        if attempt is not None and attempt.usable:
            best, low = attempt, middle + 1
        else:
            high = middle
    return best
