"""The pipeline: document, analysis, measurement, plan, application, validation, report, in a line."""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from onnxshallow.actions.apply import apply_candidates
from onnxshallow.analysis import Analysis
from onnxshallow.analysis import analyze as analyze_model
from onnxshallow.arguments import read_arguments
from onnxshallow.choice import Attempt, Run, choose, has_target, verdict
from onnxshallow.config import Config
from onnxshallow.damages import Damages
from onnxshallow.errors import OnnxshallowError, TargetError, UsageError
from onnxshallow.fitting.threads import computing
from onnxshallow.latency import budget_for_latency, check_latency, measured_latency
from onnxshallow.model.document import ModelSource, as_document
from onnxshallow.model.providers import running_on
from onnxshallow.packing.pack import pack
from onnxshallow.planning.plan import Plan, load_plan, match_plan
from onnxshallow.planning.planner import Planner, read_budget
from onnxshallow.planning.solver import Budget
from onnxshallow.progress import Clock, Progress, Silent
from onnxshallow.report.build import build_report, plan_report, sensitivity_report
from onnxshallow.report.schema import SensitivityReport
from onnxshallow.result import Proposal, Result
from onnxshallow.sensitivity.cache import cache_folder
from onnxshallow.stages import (
    Inputs,
    find_every_candidate,
    load_inputs,
    observe,
    refused_though_asked,
    require_reachable,
)

__all__ = [
    "Proposal",
    "Result",
    "analyze",
    "apply_plan",
    "cache_path",
    "measure_sensitivity",
    "optimize",
    "plan",
]

logger = logging.getLogger(__name__)

# Parabolas that were fitted to fewer samples are told to be a risk.
_ENOUGH_FOR_SQUARES = 256


def analyze(
    model: ModelSource, *, input_shape: Mapping[str, Sequence[int]] | None = None, max_tensor: str | None = None
) -> Analysis:
    """Find the parts of a model and count what it costs, without running it on data.

    Args:
        model: a path, a model in memory, or a document.
        input_shape: sizes for open axes, by input name.
        max_tensor: see `Config`.

    Raises:
        UsageError: an option is invalid.
        ModelError: a model that cannot be used.
    """
    config = read_arguments(model, None, {"input_shape": input_shape, "max_tensor": max_tensor})
    return analyze_model(as_document(model, config.tensor_limit).model, config.input_shape)


def measure_sensitivity(
    model: ModelSource,
    calibration: object = None,
    *,
    validation: object = None,
    config: Config | None = None,
    progress: Progress | None = None,
    cache: Path | bool | None = True,
    **options: Any,
) -> SensitivityReport:
    """Measure the damage of every candidate; see `optimize` for the arguments and errors."""
    config = read_arguments(model, config, options, calibration, validation)
    progress = progress or Silent()
    with computing(config.threads), running_on(config.providers):
        inputs = load_inputs(as_document(model, config.tensor_limit), config)
        sensitivity = Damages(inputs, observe(inputs, progress), progress, cache_path(cache)).all()
        return sensitivity_report(inputs, sensitivity)


def plan(
    model: ModelSource,
    calibration: object = None,
    *,
    validation: object = None,
    config: Config | None = None,
    progress: Progress | None = None,
    cache: Path | bool | None = True,
    **options: Any,
) -> Proposal:
    """Find the plan of least predicted damage and what it would save; nothing is fitted and no model is made.

    `optimize` begins with this plan, carries out others beside it, and may keep one of those.

    Args:
        model: see `optimize`, as for the following.
        calibration: what to measure on.
        validation: is kept apart, so that `optimize` finds what is measured here in the cache.
        config: all options.
        progress: shows how it goes.
        cache: folder for measured sensitivities.
        **options: single options by name; a target is needed.

    Raises:
        TargetError: no plan reaches the targets; says what can be reached.
        UsageError: options that are wrong or contradict each other.
        ModelError: a model that cannot be used.
        DataError: data that cannot be used.
    """
    config = read_arguments(model, config, options, calibration, validation)
    if not has_target(config):
        raise UsageError(
            "A plan that is not carried out needs a target, such as --target-relus 0.58; what --max-drop allows is "
            "only known of models that are made."
        )
    if config.max_drop is not None:
        logger.warning("--max-drop is not looked at, since it takes a model to know what is lost.")
    with computing(config.threads), running_on(config.providers):
        clock = Clock()
        with clock("load"):
            inputs = load_inputs(as_document(model, config.tensor_limit), config)
        run, budget = _observed(inputs, read_budget(config, inputs.analysis), progress or Silent(), clock, cache)
        with clock("sensitivity"):
            (sensitivity,) = run.damages.matter_to([budget])
        with clock("plan"):
            planner = Planner(inputs.analysis, sensitivity.candidates, sensitivity.damages, budget)
            chosen = next(planner.proposals())
            rewritten = apply_candidates(inputs.analysis, chosen.candidates, run.observation.evidence)
            model = pack(rewritten.analysis, rewritten.partials, config.mask_form or "split")
            cost = analyze_model(model, config.input_shape).cost
        return Proposal(inputs.document, chosen, plan_report(inputs, chosen, cost, clock.seconds))


def optimize(
    model: ModelSource,
    calibration: object = None,
    *,
    validation: object = None,
    config: Config | None = None,
    progress: Progress | None = None,
    cache: Path | bool | None = True,
    **options: Any,
) -> Result:
    """Make a model shallower.

    Args:
        model: path of an ONNX file, a model in memory, which is not changed, or a document.
        calibration: unlabelled samples: what `--calib` takes, or arrays, a CalibrationDataReader, a DataLoader, or an
            iterable of batches (`onnxshallow.data.objects`). The option `calib` is the same.
        validation: likewise, where accuracy is measured, perhaps with labels. The option `validate` is the same.
        config: all options; else they are taken from `options` and from an `onnxshallow.toml` beside the model.
        progress: shows how it goes; nothing is shown by default.
        cache: folder for measured sensitivities; True for the user's, False or None for none.
        **options: single options by name, such as `target_relus=0.58`, `preset="cifar10"`, `max_drop=0.01`; all are
            listed in `Config`.

    Returns:
        The result, whose `error` is set where a target or the accuracy budget could not be met.

    Raises:
        UsageError: options that are wrong or contradict each other.
        ModelError: a model that cannot be used.
        DataError: data that cannot be used.
    """
    config = read_arguments(model, config, options, calibration, validation)
    _check_goal(config)
    _check_drop(config)
    clock = Clock()
    with computing(config.threads), running_on(config.providers):
        with clock("load"):
            inputs = load_inputs(as_document(model, config.tensor_limit), config)
        budget = read_budget(config, inputs.analysis)
        try:
            run, budget = _observed(inputs, budget, progress or Silent(), clock, cache)
            attempt, reasons = choose(run, budget)
            reasons = [
                *reasons,
                *refused_though_asked(inputs, run.observation.evidence),
                *_few_samples(inputs, attempt),
            ]
        except TargetError as error:
            return _result(inputs, None, error, [], clock)
        return _result(inputs, attempt, verdict(config, inputs, attempt), reasons, clock, run)


def apply_plan(
    model: ModelSource,
    plan: Plan | str | os.PathLike[str],
    calibration: object = None,
    *,
    validation: object = None,
    config: Config | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Result:
    """Carry out a plan.

    Args:
        model: see `optimize`.
        plan: the plan, or the path of a saved one.
        calibration: see `optimize`, as for the following.
        validation: where accuracy is measured.
        config: all options.
        progress: shows how it goes.
        **options: single options by name.

    Raises:
        UsageError: the plan does not fit the model, or options are wrong.
        ModelError: a model that cannot be used.
        DataError: data that cannot be used.
    """
    config = read_arguments(model, config, options, calibration, validation)
    clock, progress = Clock(), progress or Silent()
    _check_drop(config)
    with computing(config.threads), running_on(config.providers):
        with clock("load"):
            inputs = load_inputs(as_document(model, config.tensor_limit), config)
            possible = find_every_candidate(inputs)
            wanted = match_plan(plan, possible) if isinstance(plan, Plan) else load_plan(Path(plan), possible)
        _check_form(config, wanted)
        with clock("observe"):
            observation = observe(inputs, progress, wanted)
        attempt = Run(inputs, observation, progress, clock).attempt(wanted)
        return _result(inputs, attempt, verdict(config, inputs, attempt), _few_samples(inputs, attempt), clock)


def _check_goal(config: Config) -> None:
    if not has_target(config) and config.max_drop is None:
        raise UsageError(
            "Say how far to go: --target-relus 0.58, --target-macs 0.7, --target-depth 0.8, "
            "--target-latency 0.7 or --max-drop 0.01."
        )


def _check_drop(config: Config) -> None:
    if config.max_drop is not None and config.calib is None and config.validate_data is None:
        raise UsageError("--max-drop needs real inputs to be checked on: give --calib or --validate.")


def _check_form(config: Config, plan: Plan) -> None:
    if config.mask_form == "split" and any(candidate.pixels for candidate in plan.candidates):
        raise UsageError("The plan keeps single pixels, and these have only the prelu form; leave --mask-form out.")


def cache_path(cache: Path | bool | None) -> Path | None:
    """Where damages are kept: True for the user's folder, False or None for nowhere."""
    if cache is True:
        return cache_folder()
    return None if cache is False or cache is None else cache


def _observed(
    inputs: Inputs, budget: Budget, progress: Progress, clock: Clock, cache: Path | bool | None
) -> tuple[Run, Budget]:
    """A run that has seen its samples, and the budget with what `--target-latency` asks for.

    Raises:
        TargetError: no plan reaches the budget; says what can be reached.
    """
    require_reachable(inputs, budget)
    with clock("observe"):
        observation = observe(inputs, progress)
    run = Run(inputs, observation, progress, clock, cache_path(cache))
    if inputs.config.target_latency is not None:
        with clock("latency"):
            budget = budget_for_latency(inputs, observation, run.damages, budget)
    return run, budget


def _few_samples(inputs: Inputs, attempt: Attempt) -> list[str]:
    """A remark where squares were fitted to few samples, or to made-up ones."""
    samples = len(inputs.data.fit) + len(inputs.data.selection)
    if not any(c.squares for c in attempt.plan.candidates):
        return []
    if inputs.data.synthetic:
        return ["the squares were fitted to synthetic images, and may blow up on real ones; give --calib"]
    if samples >= _ENOUGH_FOR_SQUARES:
        return []
    return [f"the squares were fitted to {samples} samples only, and may blow up on others; give more with --calib"]


def _missed(inputs: Inputs, after: Analysis) -> TargetError | None:
    """An error where the written model has more ReLUs than were asked for."""
    wanted, found = read_budget(inputs.config, inputs.analysis).relus, after.cost.relus
    if wanted is None or found <= wanted:
        return None
    return TargetError(
        f"The best plan leaves {found} ReLUs of the {wanted} that --target-relus allows; lower the target a little."
    )


def _result(
    inputs: Inputs,
    attempt: Attempt | None,
    error: OnnxshallowError | None,
    reasons: list[str],
    clock: Clock,
    run: Run | None = None,
) -> Result:
    """Everything known, as one report."""
    after: Analysis | None = None
    latency: Mapping[str, float] = {}
    if attempt is not None:
        after = analyze_model(attempt.realized.model, inputs.config.input_shape)
        with clock("latency"):
            milliseconds = measured_latency(inputs, [attempt.realized.model])
        latency = dict(zip(("original", "optimized"), milliseconds, strict=True))
        error = error or check_latency(inputs, milliseconds) or _missed(inputs, after)
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
