"""The pipeline: document, analysis, measurement, plan, application, validation, report, in a line."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import onnx

from onnxshallow.analysis import Analysis, analyze
from onnxshallow.config import Config, resolve
from onnxshallow.damages import Damages
from onnxshallow.errors import AccuracyError, OnnxshallowError, TargetError, UsageError
from onnxshallow.fitting.threads import computing
from onnxshallow.latency import budget_for_latency, check_latency, measured_latency
from onnxshallow.model.document import Document, load_document, save_model
from onnxshallow.planning.frontier import expected_frontier
from onnxshallow.planning.plan import Plan, load_plan
from onnxshallow.planning.planner import most_useful, read_budget
from onnxshallow.planning.realize import Realized
from onnxshallow.planning.solver import Budget
from onnxshallow.progress import Clock, Progress, Silent
from onnxshallow.report.build import build_report, sensitivity_report
from onnxshallow.report.schema import Report, SensitivityReport
from onnxshallow.search import search
from onnxshallow.sensitivity.cache import cache_folder
from onnxshallow.stages import (
    Inputs,
    Observation,
    carry_out,
    find_every_candidate,
    load_inputs,
    observe,
    require_reachable,
    validate,
)
from onnxshallow.validation.compare import Comparison

__all__ = ["Result", "apply_plan", "cache_path", "measure_sensitivity", "optimize"]

logger = logging.getLogger(__name__)

# How many plans are validated before an accuracy budget is given up.
MAX_VALIDATED = 4
# Shares of the ReLUs that are tried when only an accuracy budget is given.
_SHARES = tuple(share / 20 for share in range(19, 0, -1))


@dataclass(frozen=True, eq=False)
class Result:
    """What came of a run.

    Attributes:
        document: the original.
        model: the optimized model; None where the run failed on its target.
        plan: what was done.
        report: everything in numbers.
        error: why the result must not be used; None where the goal is met.
    """

    document: Document
    model: onnx.ModelProto | None
    plan: Plan | None
    report: Report
    error: OnnxshallowError | None = None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the optimized model.

        Raises:
            AccuracyError: the accuracy budget is broken.
            TargetError: there is no model, as the target cannot be reached.
            ModelError: the folder cannot be written to.
        """
        if self.error is not None:
            raise self.error
        if self.model is not None:
            save_model(self.model, path, external=self.document.external)


@dataclass(frozen=True, eq=False)
class _Attempt:
    """One plan carried out and compared with the original.

    Attributes:
        plan: the plan.
        realized: its model.
        comparison: of the original and that model.
        labels_decide: whether the labels are those of validation data; those of a calibration file never decide.
    """

    plan: Plan
    realized: Realized
    comparison: Comparison
    labels_decide: bool

    @property
    def by_labels(self) -> bool:
        """Whether `drop` speaks of accuracy."""
        return self.labels_decide and self.comparison.first is not None

    def drop(self) -> float:
        """Accuracy lost, or disagreement with the original; without classes the largest relative output error."""
        agreement = self.comparison.fidelity.agreement
        if self.by_labels and self.comparison.drop is not None:
            return self.comparison.drop
        if agreement is not None:
            return 1.0 - agreement
        return max(self.comparison.fidelity.relative_error.values(), default=0.0)


@dataclass(frozen=True, eq=False)
class _Run:
    """What the steps of one run share.

    Attributes:
        inputs: model, data and options.
        observation: what the original does with the data.
        progress: shows how it goes.
        clock: seconds by stage.
        cache_folder: where damages are kept, or None.
        looked_at: the plans that competed so far.
    """

    inputs: Inputs
    observation: Observation
    progress: Progress
    clock: Clock
    cache_folder: Path | None = None
    looked_at: list[Plan] = field(default_factory=list)

    @cached_property
    def damages(self) -> Damages:
        """What candidates cost, measured when it is asked for."""
        return Damages(self.inputs, self.observation, self.progress, self.cache_folder)

    def frontier(self) -> list[Plan]:
        """What other ReLU counts would cost, to be expected from what was measured."""
        measured, analysis = self.damages.measured, self.inputs.analysis
        budget = read_budget(self.inputs.config, analysis)
        with self.clock("plan"):
            return expected_frontier(analysis, measured.candidates, measured.damages, self.looked_at, budget)

    def attempt(self, plan: Plan) -> _Attempt:
        """Carry out a plan and compare the result with the original."""
        with self.clock("fit"):
            realized = carry_out(self.inputs, self.observation, plan, self.progress)
        with self.clock("validate"):
            comparison = validate(self.inputs, realized, self.progress)
        return _Attempt(plan, realized, comparison, self.inputs.config.validate_data is not None)


def optimize(
    model: str | os.PathLike[str],
    *,
    config: Config | None = None,
    progress: Progress | None = None,
    cache: Path | bool | None = True,
    **options: Any,
) -> Result:
    """Make a model shallower.

    Args:
        model: path of the ONNX file.
        config: all options; else they are taken from `options` and from an `onnxshallow.toml` beside the model.
        progress: shows how it goes; nothing is shown by default.
        cache: folder for measured sensitivities; True for the user's, False or None for none.
        **options: single options by name, such as `target_relus=0.58`, `calib="data.npz"`, `max_drop=0.01`.

    Returns:
        The result, whose `error` is set where a target or the accuracy budget could not be met.

    Raises:
        UsageError: options that are wrong or contradict each other.
        ModelError: a model that cannot be used.
        DataError: data that cannot be used.
    """
    config = config or resolve(options, Path(model))
    clock, progress = Clock(), progress or Silent()
    _check_goal(config)
    _check_drop(config)
    with computing(config.threads):
        with clock("load"):
            inputs = load_inputs(load_document(model, config.tensor_limit), config)
        budget = read_budget(config, inputs.analysis)
        try:
            require_reachable(inputs, budget)
            with clock("observe"):
                observation = observe(inputs, progress)
            run = _Run(inputs, observation, progress, clock, cache_path(cache))
            if config.target_latency is not None:
                with clock("latency"):
                    budget = budget_for_latency(inputs, observation, run.damages, budget)
            attempt, reasons = _choose(run, budget)
        except TargetError as error:
            return _result(inputs, None, error, [], clock)
        return _result(inputs, attempt, _verdict(config, inputs, attempt), reasons, clock, run)


def apply_plan(
    model: str | os.PathLike[str],
    plan: Path,
    *,
    config: Config | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Result:
    """Carry out a saved plan.

    Args:
        model: path of the ONNX file.
        plan: path of the plan.
        config: see `optimize`.
        progress: see `optimize`.
        **options: see `optimize`.

    Raises:
        UsageError: the plan does not fit the model, or options are wrong.
        ModelError: a model that cannot be used.
        DataError: data that cannot be used.
    """
    config = config or resolve(options, Path(model))
    clock, progress = Clock(), progress or Silent()
    _check_drop(config)
    with computing(config.threads):
        with clock("load"):
            inputs = load_inputs(load_document(model, config.tensor_limit), config)
            wanted = load_plan(plan, find_every_candidate(inputs))
        with clock("observe"):
            observation = observe(inputs, progress)
        attempt = _Run(inputs, observation, progress, clock).attempt(wanted)
        return _result(inputs, attempt, _verdict(config, inputs, attempt), [], clock)


def measure_sensitivity(
    model: str | os.PathLike[str],
    *,
    config: Config | None = None,
    progress: Progress | None = None,
    cache: Path | bool | None = True,
    **options: Any,
) -> SensitivityReport:
    """Measure the damage of every candidate; see `optimize` for the arguments and errors."""
    config = config or resolve(options, Path(model))
    progress = progress or Silent()
    with computing(config.threads):
        inputs = load_inputs(load_document(model, config.tensor_limit), config)
        sensitivity = Damages(inputs, observe(inputs, progress), progress, cache_path(cache)).all()
        return sensitivity_report(inputs, sensitivity)


def _check_goal(config: Config) -> None:
    if not _has_target(config) and config.max_drop is None:
        raise UsageError(
            "Say how far to go: --target-relus 0.58, --target-macs 0.7, --target-depth 0.8, "
            "--target-latency 0.7 or --max-drop 0.01."
        )


def _has_target(config: Config) -> bool:
    targets = (config.target_relus, config.target_macs, config.target_depth, config.target_latency)
    return any(target is not None for target in targets)


def _check_drop(config: Config) -> None:
    if config.max_drop is not None and config.calib is None and config.validate_data is None:
        raise UsageError("--max-drop needs real inputs to be checked on: give --calib or --validate.")


def cache_path(cache: Path | bool | None) -> Path | None:
    """Where damages are kept: True for the user's folder, False or None for nowhere."""
    if cache is True:
        return cache_folder()
    return None if cache is False or cache is None else cache


def _choose(run: _Run, budget: Budget) -> tuple[_Attempt, list[str]]:
    """The plan to keep, carried out and validated, and what to say of it.

    Plans compete on the selection samples. Those that come out best are then validated, one after the other, until
    one keeps the accuracy budget.

    Raises:
        TargetError: no plan reaches the budget.
    """
    limit, cost = run.inputs.config.max_drop, run.inputs.analysis.cost
    if limit is not None and not _has_target(run.inputs.config):
        return _deepest(run, limit)
    plans = _search(run, budget)
    best: _Attempt | None = None
    for tries in range(1, MAX_VALIDATED + 1):
        chosen = most_useful(plans, cost) if tries == 1 else min(plans, key=lambda plan: plan.damage or 0.0)
        plans = [plan for plan in plans if plan is not chosen]
        attempt = run.attempt(chosen)
        if best is None or attempt.drop() < best.drop():
            best = attempt
        if limit is None or attempt.drop() <= limit or not plans:
            break
        logger.info("Plan %d loses %.2f points; trying another.", tries, 100 * attempt.drop())
    if best is None:
        raise TargetError("No plan was carried out.")
    return best, []


def _search(run: _Run, budget: Budget) -> list[Plan]:
    with run.clock("sensitivity"):
        (sensitivity,) = run.damages.matter_to([budget])
    with run.clock("plan"):
        found = search(run.inputs, run.observation, sensitivity, budget, run.progress)
    run.looked_at.extend(found)
    return found


def _deepest(run: _Run, limit: float) -> tuple[_Attempt, list[str]]:
    """As few ReLUs as the accuracy budget allows, by bisection over shares of the ReLU count."""
    cost = run.inputs.analysis.cost
    best = run.attempt(Plan((), {}))
    low, high = 0, len(_SHARES)
    while low < high:
        middle = (low + high) // 2
        budget = Budget(int(_SHARES[middle] * cost.relus), cost.macs)
        try:
            attempt = run.attempt(most_useful(_search(run, budget), cost))
        except TargetError:
            high = middle
            continue
        if attempt.drop() <= limit:
            best, low = attempt, middle + 1
        else:
            high = middle
    return best, ["the lowest ReLU count that was found within the accuracy budget"]


def _verdict(config: Config, inputs: Inputs, attempt: _Attempt) -> AccuracyError | None:
    limit, drop = config.max_drop, attempt.drop()
    if limit is None or drop <= limit:
        return None
    what = "accuracy" if attempt.by_labels else "agreement with the original"
    if attempt.comparison.drop is None:
        what = "output precision"
    return AccuracyError(
        f"The best plan loses {100 * drop:.2f} points of {what} on {inputs.data.report.source}, more than "
        f"--max-drop {limit:g} allows. Allow more, raise the target, or give more calibration samples."
    )


def _result(
    inputs: Inputs,
    attempt: _Attempt | None,
    error: OnnxshallowError | None,
    reasons: list[str],
    clock: Clock,
    run: _Run | None = None,
) -> Result:
    """Everything known, as one report."""
    after: Analysis | None = None
    latency: Mapping[str, float] = {}
    if attempt is not None:
        after = analyze(attempt.realized.model, inputs.config.input_shape)
        with clock("latency"):
            milliseconds = measured_latency(inputs, [attempt.realized.model])
        latency = dict(zip(("original", "optimized"), milliseconds, strict=True))
        error = error or check_latency(inputs, milliseconds)
    report = build_report(
        inputs,
        attempt.plan if attempt else Plan((), {}),
        attempt.comparison if attempt else None,
        after,
        attempt.realized if attempt else None,
        latency,
        error,
        reasons,
        clock.seconds,
        run.looked_at if run else (),
        run.damages.measured if run else None,
        run.frontier() if run else (),
    )
    return Result(
        inputs.document,
        attempt.realized.model if attempt else None,
        attempt.plan if attempt else None,
        report,
        error,
    )
