"""The whole frontier in one run: what is lost at each of several ReLU targets.

The sweep and the plans tried are shared by all targets, and each point is fitted and validated as `optimize` would,
which tries more plans for its one target, and may find a better one. With `finetune` the weights of each point
learn from the original for that long.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Unpack, get_args

from onnxshallow.errors import TargetError, UsageError
from onnxshallow.fitting.threads import computing
from onnxshallow.model.document import ModelSource, as_document
from onnxshallow.model.providers import running_on
from onnxshallow.model.session import Session
from onnxshallow.options.arguments import read_arguments
from onnxshallow.options.config import Config
from onnxshallow.options.keywords import Options
from onnxshallow.report.build.forecast import forecast_report
from onnxshallow.report.build.pareto import By, pareto_report
from onnxshallow.report.schema.reports import ParetoReport
from onnxshallow.report.terminal.progress import as_progress
from onnxshallow.runtime.progress import Clock, Progress
from onnxshallow.search.attempt import Attempt
from onnxshallow.search.granularity import ranked
from onnxshallow.search.inputs import load_inputs
from onnxshallow.search.latency import measured_speeds
from onnxshallow.search.plan import Plan
from onnxshallow.search.planner import read_budget
from onnxshallow.search.run import Run
from onnxshallow.search.solver import COUNTED, Budget
from onnxshallow.search.time_budget import foreseen
from onnxshallow.search.trained import require_lesson, train
from onnxshallow.search.tries import tries_together
from onnxshallow.search.workers import working
from onnxshallow.validation.compare import Recorded, Runner
from onnxshallow.workflows.outcome import require_data_for_gates

__all__ = ["DEFAULT_TARGETS", "pareto"]

DEFAULT_TARGETS = (0.9, 0.8, 0.7, 0.6, 0.5, 0.45, 0.4, 0.35, 0.3, 0.25)
"""Shares of the ReLUs."""


def pareto(
    model: ModelSource,
    calibration: object = None,
    *,
    targets: Sequence[float | str] = DEFAULT_TARGETS,
    by: By = "relus",
    validation: object = None,
    config: Config | None = None,
    progress: Progress | bool | None = None,
    cache: Path | bool | None = True,
    **options: Unpack[Options],
) -> ParetoReport:
    """Optimize a model for several targets and say what each costs; no model is written.

    Args:
        model: see `onnxshallow.optimize`.
        calibration: see `onnxshallow.optimize`.
        targets: each as in `--target-relus`, or in what `by` names.
        by: what is limited: `relus`, `macs`, `params`, `size` (bytes of the file), or what private inference costs:
            seconds for `private`, `bytes` or `messages`.
        validation: see `onnxshallow.optimize`.
        config: see `onnxshallow.optimize`, as for the following; `target_latency` and what `by` names are not used.
        progress: shows how it goes.
        cache: folder for measured damages, which a later `optimize` at one of the targets finds there.
        **options: single options by name.

    Returns:
        One point a target, largest first; targets out of reach have a reason in place of figures.

    Raises:
        UsageError: options that are wrong or contradict each other.
        ModelError: a model that cannot be used.
        DataError: data that cannot be used.
    """
    if by not in get_args(By):
        raise UsageError(f"A frontier is by one of {', '.join(get_args(By))}, and not by {by!r}.")
    if not targets:
        raise UsageError("There are no targets; give some, such as targets=[0.7, 0.5].")
    config = read_arguments(model, config, options, calibration, validation)
    config = config.model_copy(update={"target_latency": None})
    require_data_for_gates(config)
    if config.finetune is not None:
        require_lesson(config.calib is not None)
    clock = Clock()
    with computing(config.threads), running_on(config.providers), working(config):
        with clock("load"):
            inputs = load_inputs(as_document(model, config.tensor_limit, freeze=config.freeze_weights), config)
        wanted = [config.model_copy(update={f"target_{by}": target}) for target in targets]
        asked = {read_budget(c, inputs.analysis): c for c in wanted}
        budgets = sorted(asked, key=_from_the_largest)
        if by != "relus" and wanted:  # what is paid, and that squares may lower it, is the same for all
            inputs = replace(inputs, config=wanted[0])
        shown = as_progress(progress)
        with clock("forecast"):
            inputs, expected = foreseen(inputs, shown, len(budgets))
        run = Run.begin(inputs, shown, clock, cache)
        searched = ranked(run, budgets, tries_together)
        session = Session(inputs.document.model, threads=inputs.calibration.threads)
        original = Recorded(session, inputs.report_batches, inputs.calibration.store.hold)
        done: dict[frozenset[str], Attempt] = {}
        found: list[tuple[Config, Attempt | TargetError]] = []
        for budget, result in zip(budgets, searched, strict=True):
            if isinstance(result, TargetError):
                found.append((asked[budget], result))
                continue
            plan = result.plans[0]
            if plan.keys not in done:
                done[plan.keys] = _carried_out(result.run, plan, original)
            found.append((asked[budget], done[plan.keys]))
        with clock("latency"):
            models = [attempt.realized.written for attempt in done.values()]
            speeds = measured_speeds(inputs, models or [inputs.document.model])
    by_plan = dict(
        zip(done, speeds, strict=False)
    )  # where no plan was carried out, that of the original is left over
    report = pareto_report(inputs, found, by, by_plan, speeds[0].original_ms, clock.seconds)
    return report.model_copy(update={"forecast": forecast_report(expected, clock)})


def _carried_out(run: Run, plan: Plan, original: Runner) -> Attempt:
    """A plan carried out, whose weights learned from the original where that is asked for."""
    attempt = run.attempt(plan, original)
    if run.inputs.config.finetune is None:
        return attempt
    return train(run.inputs, plan, attempt.realized, run.progress, run.clock).attempt


def _from_the_largest(budget: Budget) -> tuple[float, ...]:
    """What puts budgets of which one limit differs in order, the one that allows most first."""
    return budget.price_saved or 0.0, *(-(getattr(budget, name) or 0) for name in COUNTED)
