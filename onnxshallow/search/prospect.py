"""Whether a network can gain, said from its graph alone: what fewer ReLUs would leave of its work and its time.

For some shares of the ReLUs the plan is made that `optimize --sensitivity magnitude` would make, and counted, not
carried out. The network's effort (`onnxshallow.analysis.effort`) is put in milliseconds by what one well-known layer
takes on this machine, on one core; that of its layers is taken to fall as their multiply-adds do, which is rough.
What is lost of the accuracy takes samples to tell.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from onnxshallow.actions.base import FindOptions
from onnxshallow.analysis import Analysis
from onnxshallow.analysis.effort import count_effort
from onnxshallow.errors import TargetError
from onnxshallow.search.candidates import find_candidates
from onnxshallow.search.planner import Planner
from onnxshallow.search.sensitivity.magnitude import magnitude_damages
from onnxshallow.search.solver import Budget
from onnxshallow.search.timetable import Timetable

__all__ = ["SHARES", "Prospect", "gain_in_words", "prospects"]

SHARES = (0.75, 0.5, 0.25)
"""Of the ReLUs, for which it is said what can be had."""


# What a layer takes, measured once for all networks that this process looks at.
_known: dict[str, float] = {}


@dataclass(frozen=True)
class Prospect:
    """What a network can be made into.

    Attributes:
        relus: that stay at most.
        macs: multiply-adds.
        depth: linear layers on the longest path, at least.
        estimated_ms: of one sample on one core of this machine.
    """

    relus: int
    macs: int
    depth: int
    estimated_ms: float


def prospects(analysis: Analysis, shares: Sequence[float] = SHARES) -> list[Prospect]:
    """The network as it is, and what whole layers make of it for each share of the ReLUs that can be reached.

    Args:
        analysis: of a network.
        shares: of its ReLUs.

    Returns:
        The first is the network as it is; nothing where it is not known what it computes.
    """
    cost = analysis.cost
    if cost.unknown or not cost.macs:
        return []
    unit = 1000 * Timetable(1, _known).unit
    other = unit * count_effort(analysis.network, lambda shape: 0.0)
    layers = unit * count_effort(analysis.network) - other
    found = [Prospect(cost.relus, cost.macs, cost.depth, layers + other)]
    if not cost.relus:
        return found
    candidates, _ = find_candidates(analysis, FindOptions())
    damages = magnitude_damages(analysis, candidates)
    for share in shares:
        planner = Planner(analysis, candidates, damages, Budget(int(share * cost.relus), cost.macs))
        try:
            plan = next(planner.proposals())
        except (TargetError, StopIteration):
            break
        relus, macs, depth = (
            getattr(cost, name) - sum(getattr(candidate, name) for candidate in plan.candidates)
            for name in ("relus", "macs", "depth")
        )
        found.append(Prospect(relus, macs, depth, other + layers * macs / cost.macs))
    return found


def gain_in_words(found: Sequence[Prospect]) -> str:
    """Whether a network can gain, in a few sentences; nothing where that is not known.

    Args:
        found: what `prospects` found.
    """
    if not found:
        return ""
    now, *others = dict.fromkeys(found)  # one plan may serve several shares
    if not others:
        why = (
            f"Whole ReLUs cannot be brought down to {SHARES[0]:g} of what there are"
            if now.relus
            else "It has no ReLU"
        )
        return f"It takes about {now.estimated_ms:.3g} ms on one core. {why}; --target-macs may still gain."
    told = [
        f"{each.relus / now.relus:.2f} of the ReLUs with {each.macs / now.macs:.2f} of the MACs and about "
        f"{each.estimated_ms:.3g} ms"
        for each in others
    ]
    return (
        f"It takes about {now.estimated_ms:.3g} ms on one core, and can be brought to {'; '.join(told)}. What that "
        "costs in accuracy, `optimize` tells with samples."
    )
