"""`optimize`: document, analysis, measurement, plan, application, validation, report, in a line."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from onnxshallow.analysis import analyze as analyze_model
from onnxshallow.errors import TargetError, UsageError
from onnxshallow.fitting.threads import computing
from onnxshallow.model.document import ModelSource, as_document
from onnxshallow.model.providers import running_on
from onnxshallow.options.arguments import read_arguments
from onnxshallow.options.config import Config
from onnxshallow.options.keywords import Options
from onnxshallow.report.build.forecast import forecast_report
from onnxshallow.report.build.run import plan_report
from onnxshallow.report.terminal.progress import as_progress
from onnxshallow.runtime.progress import Clock, Progress
from onnxshallow.search.candidates import refused_though_asked
from onnxshallow.search.choose import choose
from onnxshallow.search.granularity import fine_enough, proposed, remark
from onnxshallow.search.inputs import Inputs, load_inputs
from onnxshallow.search.latency import budget_for_latency, unfitted
from onnxshallow.search.run import Run
from onnxshallow.search.solver import Budget
from onnxshallow.search.time_budget import foreseen
from onnxshallow.search.trained import require_lesson, train
from onnxshallow.search.workers import working
from onnxshallow.validation.gates import Limits
from onnxshallow.workflows.lossless import tidy
from onnxshallow.workflows.outcome import outcome, require_data_for_gates, unreached
from onnxshallow.workflows.result import Proposal, Result

__all__ = ["optimize", "plan"]

logger = logging.getLogger(__name__)


def plan(
    model: ModelSource,
    calibration: object = None,
    *,
    validation: object = None,
    config: Config | None = None,
    progress: Progress | bool | None = None,
    cache: Path | bool | None = True,
    **options: Unpack[Options],
) -> Proposal:
    """Find the plan of least predicted damage and what it would save; nothing is fitted and no model is made.

    `optimize` begins with this plan, carries out others beside it, and may keep one of those.

    Args:
        model: see `optimize`, as for the following.
        calibration: what to measure on.
        validation: is kept apart, so that `optimize` finds what is measured here in the cache.
        config: all options.
        progress: shows how it goes.
        cache: folder for measured damages.
        **options: single options by name; a target is needed.

    Raises:
        TargetError: no plan reaches the targets; says what can be reached.
        UsageError: options that are wrong or contradict each other.
        ModelError: a model that cannot be used.
        DataError: data that cannot be used.
    """
    config = read_arguments(model, config, options, calibration, validation)
    if not config.has_target:
        raise UsageError(
            "A plan that is not carried out needs a target, such as --target-relus 0.58; what --max-drop allows is "
            "only known of models that are made."
        )
    _check_allocation(config)
    if Limits.from_config(config).given:
        logger.warning("--max-drop is not looked at, nor any other gate: it takes a model to know what is lost.")
    with computing(config.threads), running_on(config.providers), working(config):
        clock = Clock()
        with clock("load"):
            inputs = load_inputs(as_document(model, config.tensor_limit, freeze=config.freeze_weights), config)
        run, budget = _begun(inputs, as_progress(progress), clock, cache)
        run, chosen = proposed(run, budget)
        with clock("plan"):
            made = analyze_model(unfitted(inputs, run.observation, chosen), inputs.analysis.network.input_shapes)
        return Proposal(inputs.document, chosen, plan_report(inputs, chosen, made, clock.seconds))


def optimize(
    model: ModelSource,
    calibration: object = None,
    *,
    validation: object = None,
    config: Config | None = None,
    progress: Progress | bool | None = None,
    cache: Path | bool | None = True,
    force: bool = False,
    **options: Unpack[Options],
) -> Result:
    """Make a model shallower; without a target or a gate, leave out of it what changes nothing.

    Args:
        model: path of an ONNX file, a model in memory, which is not changed, or a document.
        calibration: unlabelled samples: what `--calib` takes, or arrays, a CalibrationDataReader, a DataLoader, or an
            iterable of batches (`onnxshallow.data.objects`). The option `calib` is the same.
        validation: likewise, where accuracy is measured, perhaps with labels. The option `validate` is the same.
        config: all options; else they are taken from `options` and from an `onnxshallow.toml` beside the model.
        progress: shows how it goes; True for bars, or lines on stderr; nothing is shown by default.
        cache: folder for measured damages; True for the user's, False or None for none.
        force: take the model also where it is refused; the report says what was overridden.
        **options: single options by name, such as `target_relus=0.58`, `preset="cifar10"`, `max_drop=0.01`; all are
            listed in `Config`. Where no gate is set, a default one counts, see `check_gates`.

    Returns:
        The result, whose `error` is set where the model that was made must not be used, or none was made.

    Raises:
        UsageError: options that are wrong or contradict each other.
        ModelError: a model that cannot be used.
        DataError: data that cannot be used.
    """
    config = read_arguments(model, config, options, calibration, validation)
    aimless = not config.has_target and not Limits.from_config(config).given
    if aimless and config.finetune is not None:
        raise UsageError("--finetune regains what a target costs; say how far to go, such as --target-relus 0.58.")
    _check_allocation(config)
    require_data_for_gates(config)
    if config.finetune is not None:
        require_lesson(config.calib is not None)
    clock, shown = Clock(), as_progress(progress)
    with computing(config.threads), running_on(config.providers), working(config):
        with clock("load"):
            inputs = load_inputs(as_document(model, config.tensor_limit, freeze=config.freeze_weights), config)
        if aimless:
            return tidy(inputs, shown, clock, force=force)
        try:
            with clock("forecast"):
                inputs, expected = foreseen(fine_enough(inputs), shown)
            run, budget = _begun(inputs, shown, clock, cache)
            run, attempt, remarks = choose(run, budget)
        except TargetError as error:
            return unreached(inputs, error, clock)
        remarks += remark(config, attempt.plan)
        remarks += refused_though_asked(inputs, run.observation.statistics)
        trained = None
        if config.finetune is not None:
            trained = train(run.inputs, attempt.plan, attempt.realized, run.progress, clock)
            attempt = trained.attempt
        result = outcome(inputs, attempt, remarks, clock, run, force=force, trained=trained)
        told = forecast_report(expected, clock)
        return replace(result, report=result.report.model_copy(update={"forecast": told}))


def _check_allocation(config: Config) -> None:
    """Make sure that splits alone can do what is asked for, where ranks are spread without measuring.

    Raises:
        UsageError: they cannot.
    """
    if config.allocation == "measured":
        return
    others = (config.target_relus, config.target_depth, config.target_latency)
    if config.has_price or any(target is not None for target in others):
        raise UsageError(
            f"--allocation {config.allocation} splits layers and does nothing else, which saves multiply-adds and "
            "weights alone; leave the other targets out, or take --allocation measured."
        )
    if config.target_macs is None and not config.has_weight:
        raise UsageError(f"--allocation {config.allocation} needs --target-macs, --target-params or --target-size.")


def _begun(inputs: Inputs, progress: Progress, clock: Clock, cache: Path | bool | None) -> tuple[Run, Budget]:
    """A run that has seen its samples, and the budget with what `--target-latency` asks for.

    Raises:
        TargetError: no plan reaches the budget; says what can be reached.
    """
    inputs = fine_enough(inputs)
    run = Run.begin(inputs, progress, clock, cache)
    if inputs.config.target_latency is None:
        return run, inputs.budget
    with clock("latency"):
        return run, budget_for_latency(inputs, run.observation, run.meter, inputs.budget)
