"""Latency in onnxruntime on this machine: measured, and as a target.

Latency is no sum over layers, so it is no row of the integer program. But it falls with the multiply-adds: the limit
on these is lowered until the plan that it leads to, written but not yet fitted, is as fast as asked for.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import onnx

from onnxshallow.actions.apply import apply_candidates
from onnxshallow.errors import TargetError
from onnxshallow.model.session import Session
from onnxshallow.options.quantities import parse_latency
from onnxshallow.search.inputs import Inputs, Observation
from onnxshallow.search.planner import Planner
from onnxshallow.search.sensitivity.meter import DamageMeter
from onnxshallow.search.solver import Budget
from onnxshallow.validation.judgement import Finding
from onnxshallow.validation.latency import time_models

__all__ = ["budget_for_latency", "measured_latency", "speed_finding"]

logger = logging.getLogger(__name__)

_RUNS, _SECONDS_EACH = 100, 2.0
# How often the limit is lowered, and how far below the target the plan has to be, as the plan kept may be another.
_MOST_STEPS, _MARGIN = 8, 0.97
# Medians of repeated measurements differ by a few per cent.
_NOISE = 1.05


def measured_latency(inputs: Inputs, models: Sequence[onnx.ModelProto]) -> list[float]:
    """Median milliseconds of the original and of each of `models`, which take turns, on one batch of the samples.

    A batch is one sample, unless the model fixes its size.
    """
    feeds = inputs.data.report.batch(np.arange(inputs.data.batch if inputs.fixed_batch else 1))
    threads = inputs.calibration.threads
    sessions = {
        str(n): Session(m, threads=threads, in_turns=True) for n, m in enumerate([inputs.document.model, *models])
    }
    times = time_models(sessions, feeds, _RUNS, _SECONDS_EACH * len(sessions))
    return [round(1000 * timing.median, 4) for timing in times.values()]


def budget_for_latency(inputs: Inputs, observation: Observation, meter: DamageMeter, budget: Budget) -> Budget:
    """`budget` with a limit on multiply-adds whose plans are as fast as `--target-latency` asks for.

    Raises:
        TargetError: no such limit was found.
    """
    target = inputs.config.target_latency
    if target is None:
        return budget
    fastest = float("inf")
    for _ in range(_MOST_STEPS):
        (found,) = meter.measure_for([budget])
        try:
            plan = next(Planner(inputs.analysis, found.candidates, found.damages, budget).proposals())
        except TargetError:
            break
        model = apply_candidates(inputs.analysis, plan.candidates, observation.statistics).model
        before, after = measured_latency(inputs, [model])
        allowed = parse_latency(target, before)
        logger.info("A plan within %s MACs takes %.3f ms, %.3f ms are allowed.", budget.macs, after, allowed)
        if after <= _MARGIN * allowed:
            return budget
        fastest = min(fastest, after / before)
        macs = inputs.analysis.cost.macs - sum(c.macs for c in plan.candidates)
        budget = replace(budget, macs=int(macs * min(0.95, max(0.5, _MARGIN * allowed / after))))
    raise TargetError(
        f"The latency of {target} cannot be reached: the fastest plan that was found takes {fastest:.2f} of the "
        "original's time. Raise the target."
    )


def speed_finding(inputs: Inputs, milliseconds: Sequence[float]) -> Finding:
    """How fast the model is that was made, which refuses it where it is slower than `--target-latency`.

    Args:
        inputs: with the target.
        milliseconds: of the original and of the model.
    """
    before, after = milliseconds
    target = inputs.config.target_latency
    if target is None or after <= _NOISE * parse_latency(target, before):
        return Finding("speed", f"{before / after:.2f}x as fast")
    return Finding(
        "speed",
        f"The optimized model takes {after:.3f} ms, the original {before:.3f} ms: more than "
        f"--target-latency {target} allows. Raise the target, or measure on a machine with less other load.",
        refuses=True,
    )
