"""The whole frontier in one run: what is lost at each of several ReLU targets.

The sweep and the plans tried are shared by all targets, and each point is fitted and validated as `optimize` would,
which tries more plans for its one target, and may find a better one.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

from onnxshallow.analysis import analyze
from onnxshallow.errors import TargetError
from onnxshallow.fitting.threads import computing
from onnxshallow.model.document import ModelSource, as_document
from onnxshallow.model.providers import running_on
from onnxshallow.model.session import Session
from onnxshallow.model.weights import byte_size
from onnxshallow.options.arguments import read_arguments
from onnxshallow.options.config import Config
from onnxshallow.options.schema import Options
from onnxshallow.report.build.changes import decisions
from onnxshallow.report.build.run import cost_report, fidelity_report, file_report
from onnxshallow.report.schema.reports import ParetoPoint, ParetoReport
from onnxshallow.rewriting.realize import Realized
from onnxshallow.runtime.progress import Clock, Progress, Silent
from onnxshallow.search.attempt import carry_out, validate
from onnxshallow.search.compete import search_together
from onnxshallow.search.inputs import Inputs, load_inputs, observe
from onnxshallow.search.latency import measured_latency
from onnxshallow.search.plan import Plan, plan_to_json
from onnxshallow.search.planner import read_budget
from onnxshallow.search.sensitivity.cache import cache_path
from onnxshallow.search.sensitivity.meter import DamageMeter
from onnxshallow.validation.compare import Comparison, Recorded
from onnxshallow.versions import versions

__all__ = ["DEFAULT_TARGETS", "pareto"]

DEFAULT_TARGETS = (0.9, 0.8, 0.7, 0.6, 0.5, 0.45, 0.4, 0.35, 0.3, 0.25)


def pareto(
    model: ModelSource,
    calibration: object = None,
    *,
    targets: Sequence[float | str] = DEFAULT_TARGETS,
    validation: object = None,
    config: Config | None = None,
    progress: Progress | None = None,
    cache: Path | bool | None = True,
    **options: Unpack[Options],
) -> ParetoReport:
    """Optimize a model for several ReLU targets and say what each costs; no model is written.

    Args:
        model: see `onnxshallow.optimize`.
        calibration: see `onnxshallow.optimize`.
        targets: ReLU targets, each as in `--target-relus`.
        validation: see `onnxshallow.optimize`.
        config: see `onnxshallow.optimize`, as for the following; `target_relus` and `target_latency` are not used.
        progress: shows how it goes.
        cache: folder for measured measured, which a later `optimize` at one of the targets finds there.
        **options: single options by name.

    Returns:
        One point a target, largest first; targets out of reach have a reason in place of figures.

    Raises:
        UsageError: options that are wrong or contradict each other.
        ModelError: a model that cannot be used.
        DataError: data that cannot be used.
    """
    config = read_arguments(model, config, options, calibration, validation)
    config = config.model_copy(update={"target_latency": None})
    clock, progress = Clock(), progress or Silent()
    with computing(config.threads), running_on(config.providers):
        with clock("load"):
            inputs = load_inputs(as_document(model, config.tensor_limit), config)
        wanted = [config.model_copy(update={"target_relus": target}) for target in targets]
        budgets = sorted({read_budget(c, inputs.analysis) for c in wanted}, key=lambda b: -(b.relus or 0))
        with clock("observe"):
            observation = observe(inputs, progress)
        with clock("sensitivity"):
            measured = DamageMeter(inputs, observation, progress, cache_path(cache)).matter_to(budgets)
        with clock("plan"):
            found = search_together(inputs, observation, measured, budgets, progress)
        done: dict[frozenset[str], tuple[Realized, Comparison]] = {}
        session = Session(inputs.document.model, threads=inputs.calibration.threads)
        original = Recorded(session, inputs.report_batches, inputs.calibration.store.hold)
        for plan in found:
            if isinstance(plan, TargetError) or plan.keys in done:
                continue
            with clock("fit"):
                realized = carry_out(inputs, observation, plan, progress)
            with clock("validate"):
                done[plan.keys] = realized, validate(inputs, realized, progress, original)
        with clock("latency"):
            latency = measured_latency(inputs, [realized.model for realized, _ in done.values()])
    milliseconds = dict(zip(done, latency[1:], strict=True))
    points = [
        ParetoPoint(target_relus=budget.relus or 0, reason=str(plan))
        if isinstance(plan, TargetError)
        else _point(inputs, budget.relus or 0, plan, *done[plan.keys], milliseconds[plan.keys])
        for budget, plan in zip(budgets, found, strict=True)
    ]
    first = next((c.first for _, c in done.values()), None) if inputs.data.validated else None
    document = inputs.document
    return ParetoReport(
        model=file_report(document),
        original=cost_report(inputs.analysis.cost, first, byte_size(document.model), latency[0]),
        points=points,
        validated=inputs.data.validated,
        timings=clock.seconds,
        versions=versions(),
        config=config.model_dump(mode="json", by_alias=True, exclude_none=True),
        seed=config.seed,
    )


def _point(
    inputs: Inputs, target: int, plan: Plan, realized: Realized, comparison: Comparison, latency: float
) -> ParetoPoint:
    if realized.unstable is not None:
        return ParetoPoint(target_relus=target, reason=f"The best plan is refused: {realized.unstable}.")
    validated = inputs.data.validated
    labelled = validated and comparison.first is not None
    cost = analyze(realized.model, inputs.config.input_shape).cost
    second = comparison.second if validated else None
    return ParetoPoint(
        target_relus=target,
        optimized=cost_report(cost, second, byte_size(realized.model), latency),
        accuracy_lost=comparison.drop if labelled else None,
        accuracy_lost_interval=comparison.drop_interval if labelled else None,
        fidelity=fidelity_report(comparison, inputs.data.report, realized.composition_error),
        damage=plan.damage,
        decisions=decisions(inputs.analysis, plan),
        plan=plan_to_json(plan, inputs.document.sha256),
    )
