"""Latency in onnxruntime on this machine: measured, and as a target.

What a network takes nearly is a sum over its nodes, so that what candidates save of it by the machine's table
(`onnxshallow.search.timetable`) is a row of the integer program. Nearly is not enough to keep a target: so the plan
that comes first for a limit is written, not yet fitted, and timed in turns with the original, and the limit is moved
until the plan is as fast as asked for, and not much faster.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx

from onnxshallow.errors import TargetError
from onnxshallow.options.quantities import parse_latency
from onnxshallow.rewriting import realize
from onnxshallow.search.inputs import Inputs, Observation
from onnxshallow.search.plan import Plan
from onnxshallow.search.planner import Planner
from onnxshallow.search.sensitivity.meter import DamageMeter
from onnxshallow.search.solver import Budget
from onnxshallow.validation.latency import Timing, speedup, time_in_parts
from onnxshallow.validation.speed import Speed, speeds

__all__ = ["budget_for_latency", "fast_enough", "measured_speeds", "timed", "unfitted"]

logger = logging.getLogger(__name__)

# How far below the target a plan has to be: a fit may change its time a little, and the verdict asks whether the
# interval of the speedup, which is some per cent wide on a busy machine, keeps it.
_MARGIN = 0.95
# How many plans are timed while limits are looked for, and how near two shares are that are as good as one.
_MOST_TIMED, _NEAR = 8, 0.01
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
    original, *others = timings
    return [_share(original, timing) <= _allowed(inputs, original) for timing in others]


def budget_for_latency(inputs: Inputs, observation: Observation, meter: DamageMeter, budget: Budget) -> Budget:
    """`budget` with a limit on time whose plans are as fast as `--target-latency` asks for.

    Raises:
        TargetError: no such limit was found.
    """
    target = inputs.config.target_latency
    if target is None:
        return budget
    search = _LatencySearch(inputs, observation, meter, budget)
    first = search.timed(budget)
    if first.share <= first.wanted:
        return budget
    low, high, best, share = 0.0, 1.0, None, first.wanted
    for _ in range(_MOST_TIMED):
        tried = search.limited(share)
        try:
            found = search.timed(tried)
        except TargetError:  # the table says that there is no such plan
            low, guess = share, high
        else:
            fast = found.share <= found.wanted
            best, low, high = (tried, share, high) if fast else (best, low, share)
            guess = found.wanted * found.expected / found.share
        if high - low < _NEAR or (best is tried and guess < share + _NEAR):
            break
        share = guess if low + _NEAR < guess < high - _NEAR else (low + high) / 2
    if best is None:
        raise TargetError(
            f"The latency of {target} cannot be reached: the fastest plan that was found takes {search.fastest:.2f} "
            "of the original's time. Raise the target."
        )
    return best


@dataclass(frozen=True)
class _Timed:
    """What came of a plan.

    Attributes:
        share: of the original's time that it takes.
        expected: the share that it takes by the table.
        wanted: the share that it may take, with some room.
    """

    share: float
    expected: float
    wanted: float


class _LatencySearch:
    """Times the plans that come first for limits.

    Attributes:
        fastest: the least time that a plan took, as a share of the original's.
    """

    def __init__(self, inputs: Inputs, observation: Observation, meter: DamageMeter, budget: Budget) -> None:
        self._inputs, self._observation, self._meter, self._budget = inputs, observation, meter, budget
        self._whole = 0.0 if meter.table is None else meter.table.seconds(inputs.analysis.network)
        self.fastest = 1.0

    def timed(self, budget: Budget) -> _Timed:
        """How fast the plan is that comes first for a budget.

        Raises:
            TargetError: no plan reaches the budget.
        """
        (known,) = self._meter.measure_for([budget])
        plan = next(Planner(self._inputs.analysis, known.candidates, known.damages, budget).proposals())
        original, made = timed(self._inputs, self._observation, [plan], _SECONDS)
        expected = 1 - sum(candidate.time for candidate in plan.candidates) / self._whole
        found = _Timed(_share(original, made), expected, _allowed(self._inputs, original))
        logger.info(
            "A plan takes %.3f of the original's %.3f ms; %.3f was expected.",
            found.share,
            1000 * original.median,
            expected,
        )
        self.fastest = min(self.fastest, found.share)
        return found

    def limited(self, share: float) -> Budget:
        """The budget with a limit on the share of the original's time, by the table."""
        return replace(self._budget, time_saved=(1 - share) * self._whole)


def _share(original: Timing, made: Timing) -> float:
    """The share of the original's time that a model takes, as the verdict has it: by turns, not by medians."""
    ratio, _ = speedup(original.turns, made.turns)
    return 1 / ratio


def _allowed(inputs: Inputs, original: Timing) -> float:
    """The share of the original's time that a plan may take, with a margin."""
    target = inputs.config.target_latency
    return (
        float("inf")
        if target is None
        else _MARGIN * parse_latency(target, 1000 * original.median) / 1000 / original.median
    )


def _in_turns(inputs: Inputs, models: Sequence[onnx.ModelProto], seconds: float | None) -> list[Timing]:
    feeds = inputs.data.report.batch(np.arange(_batch_size(inputs)))
    every = [inputs.document.model, *models]
    return time_in_parts(every, feeds, inputs.calibration.threads, seconds=seconds, seed=inputs.config.seed)


def _batch_size(inputs: Inputs) -> int:
    return inputs.data.batch if inputs.fixed_batch else 1
