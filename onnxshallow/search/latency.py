"""Latency in onnxruntime on this machine: measured, and as a target.

Latency is no sum over layers, so it is no row of the integer program. But a network is faster with fewer
multiply-adds and with fewer activations, some of which (PRelu) take as long as a convolution. So limits on either
and on both are lowered until the plan that they lead to, written but not yet fitted, is as fast as asked for; those
limits are kept whose plan is to do the least damage.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import onnx

from onnxshallow.errors import TargetError
from onnxshallow.options.quantities import parse_latency
from onnxshallow.rewriting import realize
from onnxshallow.search.inputs import Inputs, Observation
from onnxshallow.search.overlaps import saved
from onnxshallow.search.plan import Plan
from onnxshallow.search.planner import Planner
from onnxshallow.search.sensitivity.meter import DamageMeter
from onnxshallow.search.solver import Budget
from onnxshallow.validation.latency import Timing, time_in_parts
from onnxshallow.validation.speed import Speed, speeds

__all__ = ["budget_for_latency", "fast_enough", "measured_speeds", "timed", "unfitted"]

logger = logging.getLogger(__name__)

# What is limited together, and the shares of the original's that are tried.
_LIMITS: tuple[tuple[str, ...], ...] = (("macs",), ("relus",), ("relus", "macs"))
_SHARES = tuple(share / 20 for share in range(19, 0, -1))
# How far below the target a plan has to be, as fitting may change its time a little.
_MARGIN = 0.97
# Seconds that a plan is timed for while limits are looked for: enough to tell some per cent.
_SECONDS = 1.0


def measured_speeds(inputs: Inputs, models: Sequence[onnx.ModelProto]) -> list[Speed]:
    """How fast each of `models` is beside the original, measured as `bench` does, on one batch of the samples.

    A batch is one sample, unless the model fixes its size.
    """
    timings = _in_turns(inputs, models, None)
    return speeds(timings, _batch_size(inputs), inputs.config.threads, inputs.config.seed)


def unfitted(inputs: Inputs, observation: Observation, plan: Plan) -> onnx.ModelProto:
    """The model that a plan leads to, with weights that nothing was fitted to; as fast as the fitted one."""
    return realize.unfitted(inputs.analysis, plan.candidates, observation.statistics, inputs.config.form)


def timed(
    inputs: Inputs, observation: Observation, plans: Sequence[Plan], seconds: float | None = None
) -> list[Timing]:
    """How long the original takes, and the model of each plan.

    Args:
        inputs: model, data and options.
        observation: what the original does with the data.
        plans: what to write and time.
        seconds: that it takes, about; None for as long as `bench` takes.
    """
    return _in_turns(inputs, [unfitted(inputs, observation, plan) for plan in plans], seconds)


def fast_enough(inputs: Inputs, timings: Sequence[Timing]) -> list[bool]:
    """Whether models keep `--target-latency`, with a margin; all do where it was not given.

    Args:
        inputs: with the options.
        timings: of the original, then of the models.
    """
    target, (original, *others) = inputs.config.target_latency, timings
    if target is None:
        return [True] * len(others)
    allowed = parse_latency(target, 1000 * original.median)
    return [1000 * timing.median <= _MARGIN * allowed for timing in others]


def budget_for_latency(inputs: Inputs, observation: Observation, meter: DamageMeter, budget: Budget) -> Budget:
    """`budget` with limits whose plans are as fast as `--target-latency` asks for.

    Raises:
        TargetError: no such limits were found.
    """
    target = inputs.config.target_latency
    if target is None:
        return budget
    search = _LatencySearch(inputs, observation, meter, budget)
    if search.fast_plan(budget) is not None:
        return budget
    found = [(plan, limits) for limits in _LIMITS if (plan := search.least_limited(limits)) is not None]
    if not found:
        raise TargetError(
            f"The latency of {target} cannot be reached: the fastest plan that was found takes {search.fastest:.2f} "
            "of the original's time. Raise the target."
        )
    plan, limits = min(found, key=lambda each: each[0].predicted)
    return search.limited({name: _left(inputs, plan, name) for name in limits})


class _LatencySearch:
    """Looks for limits under which plans are fast enough.

    Attributes:
        fastest: the least time that a plan took, as a share of the original's.
    """

    def __init__(self, inputs: Inputs, observation: Observation, meter: DamageMeter, budget: Budget) -> None:
        self._inputs, self._observation, self._meter, self._budget = inputs, observation, meter, budget
        self.fastest = 1.0

    def fast_plan(self, budget: Budget) -> Plan | None:
        """The plan that comes first for a budget, if it is fast enough.

        Raises:
            TargetError: no plan reaches the budget.
        """
        (found,) = self._meter.measure_for([budget])
        plan = next(Planner(self._inputs.analysis, found.candidates, found.damages, budget).proposals())
        timings = timed(self._inputs, self._observation, [plan], _SECONDS)
        before, after = (timing.median for timing in timings)
        logger.info("A plan for %s takes %.3f ms, the original %.3f ms.", budget, 1000 * after, 1000 * before)
        self.fastest = min(self.fastest, after / before)
        (fast,) = fast_enough(self._inputs, timings)
        return plan if fast else None

    def least_limited(self, limits: Sequence[str]) -> Plan | None:
        """By bisection the plan that is fast enough for the largest share of what is limited; None for none."""
        best, low, high = None, 0, len(_SHARES)
        while low < high:
            middle = (low + high) // 2
            allowed = {name: int(_SHARES[middle] * getattr(self._inputs.analysis.cost, name)) for name in limits}
            try:
                plan = self.fast_plan(self.limited(allowed))
            except TargetError:
                high = middle
                continue
            if plan is not None:
                best, high = plan, middle
            else:
                low = middle + 1
        return best

    def limited(self, allowed: Mapping[str, int]) -> Budget:
        """The budget with limits, by name, where it does not ask for less."""
        asked = {name: most for name in allowed if (most := getattr(self._budget, name)) is not None}
        return replace(self._budget, **{name: min(most, asked.get(name, most)) for name, most in allowed.items()})


def _left(inputs: Inputs, plan: Plan, name: str) -> int:
    """How many ReLUs or multiply-adds a plan leaves."""
    left: int = getattr(inputs.analysis.cost, name) - saved(plan.candidates, name)
    return left


def _in_turns(inputs: Inputs, models: Sequence[onnx.ModelProto], seconds: float | None) -> list[Timing]:
    feeds = inputs.data.report.batch(np.arange(_batch_size(inputs)))
    every = [inputs.document.model, *models]
    return time_in_parts(every, feeds, inputs.calibration.threads, seconds=seconds, seed=inputs.config.seed)


def _batch_size(inputs: Inputs) -> int:
    return inputs.data.batch if inputs.fixed_batch else 1
