"""Of plans that do about the same damage the faster one in onnxruntime (docs/decisions/faster-of-equals.md).

Multiply-adds do not tell: a 5x5 kernel in the place of two 3x3 ones has 1.4 times as many, and takes twice as long on
small maps. So the plans are written, not yet fitted, and timed side by side.
"""

import logging
from collections.abc import Sequence

from onnxshallow.search.inputs import Inputs, Observation
from onnxshallow.search.latency import fast_enough, timed
from onnxshallow.search.plan import Plan
from onnxshallow.validation.latency import speedup

__all__ = ["faster_of", "kept_in_time"]

logger = logging.getLogger(__name__)

# How many plans are timed at the most, and how many times as fast as another a plan is, at the lower end of the
# interval, to count as faster. The same inputs are to give the same model, so what noise may decide is left alone.
_MOST_TIMED, _CLEARLY = 6, 1.05


def faster_of(inputs: Inputs, observation: Observation, plans: Sequence[Plan]) -> Plan:
    """The first of `plans`, or one that is clearly faster.

    Args:
        inputs: model, data and options.
        observation: what the original does with the data.
        plans: that do about the same damage, the one to keep first, at least one.
    """
    plans = plans[:_MOST_TIMED]
    if len(plans) == 1:
        return plans[0]
    _, *timings = timed(inputs, observation, plans)
    best = 0
    for number, timing in enumerate(timings):
        ratio, (low, _) = speedup(timings[best].turns, timing.turns, inputs.config.seed)
        if low > _CLEARLY:
            logger.info("Of plans of about the same damage one is taken that is %.2fx as fast as another.", ratio)
            best = number
    return plans[best]


def kept_in_time(inputs: Inputs, observation: Observation, plans: Sequence[Plan]) -> list[Plan]:
    """The plans that keep `--target-latency`, of those that do the least damage; all where none does.

    The limits that were found for it hold for other plans than the one that was timed, which may be slower.
    """
    if inputs.config.target_latency is None:
        return list(plans)
    least = sorted(plans, key=lambda plan: plan.damage or 0.0)[:_MOST_TIMED]
    fast = fast_enough(inputs, timed(inputs, observation, least))
    return [plan for plan, within in zip(least, fast, strict=True) if within] or list(plans)
