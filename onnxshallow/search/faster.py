"""Of plans that do about the same damage the faster one (docs/decisions/faster-of-equals.md).

Multiply-adds do not tell: a 5x5 kernel in the place of two 3x3 ones has 1.4 times as many, and takes twice as long on
small maps. So the plans are written, not yet fitted, and what they are to a core is counted. No clock is asked, which
would choose one plan today and another tomorrow; it is asked where `--target-latency` says so.
"""

import logging
from collections.abc import Sequence

from onnxshallow.analysis.effort import count_effort
from onnxshallow.model.network import Network
from onnxshallow.search.inputs import Inputs, Observation
from onnxshallow.search.latency import fast_enough, timed, unfitted
from onnxshallow.search.plan import Plan

__all__ = ["faster_of", "kept_in_time"]

logger = logging.getLogger(__name__)

# How many plans are counted, and how many are timed together, at the most.
_COUNTED, _TIMED = 16, 6
# What a plan's effort is at the most, beside the first plan's, to be taken in its place: the counts are rough.
_CLEARLY = 0.95


def faster_of(inputs: Inputs, observation: Observation, plans: Sequence[Plan]) -> Plan:
    """The first of `plans`, or the one of the least effort where that is clearly less.

    Args:
        inputs: model, data and options.
        observation: what the original does with the data.
        plans: that do about the same damage, the one to keep first, at least one.
    """
    if len(plans) == 1:
        return plans[0]
    efforts = {plan.keys: count_effort(Network(unfitted(inputs, observation, plan))) for plan in plans[:_COUNTED]}
    first, least = plans[0], min(plans[:_COUNTED], key=lambda plan: efforts[plan.keys])
    if efforts[least.keys] > _CLEARLY * efforts[first.keys]:
        return first
    share = efforts[least.keys] / efforts[first.keys]
    logger.info("Of plans of about the same damage one is taken that is %.2f of the work of another.", share)
    return least


def kept_in_time(inputs: Inputs, observation: Observation, plans: Sequence[Plan]) -> list[Plan]:
    """The plans that keep `--target-latency`, of those that do the least damage of those; all where none does.

    The limits that were found for it hold for other plans than the one that was timed, which may be slower.
    """
    if inputs.config.target_latency is None:
        return list(plans)
    by_damage = sorted(plans, key=lambda plan: plan.damage or 0.0)
    for first in range(0, len(by_damage), _TIMED):
        least = by_damage[first : first + _TIMED]
        fast = fast_enough(inputs, timed(inputs, observation, least))
        if kept := [plan for plan, within in zip(least, fast, strict=True) if within]:
            return kept
    return list(plans)
