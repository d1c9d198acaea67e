"""The stages of a run, one function each: each takes what came before and returns a frozen dataclass."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from onnxshallow.actions.apply import ACTIONS
from onnxshallow.actions.base import Candidate, Evidence, FindOptions
from onnxshallow.analysis import Analysis, analyze
from onnxshallow.config import Config
from onnxshallow.data.prepare import Prepared, is_fixed, labelled_batches, open_sizes, prepare
from onnxshallow.errors import ModelError, TargetError
from onnxshallow.fitting.calibration import Calibration
from onnxshallow.fitting.correction import FitOptions
from onnxshallow.memory import divide_memory
from onnxshallow.model.document import Document
from onnxshallow.model.session import Session
from onnxshallow.planning.plan import Plan
from onnxshallow.planning.planner import Planner
from onnxshallow.planning.realize import Realized, realize
from onnxshallow.planning.solver import Budget
from onnxshallow.progress import Progress, counted
from onnxshallow.runtime.store import ActivationStore
from onnxshallow.runtime.whole import run_batches
from onnxshallow.sensitivity.evidence import collect_evidence
from onnxshallow.sensitivity.sweep import MOST_FIT_SAMPLES, reduced
from onnxshallow.validation.compare import Comparison, Runs, compare_models

__all__ = [
    "Inputs",
    "Observation",
    "carry_out",
    "find_candidates",
    "find_every_candidate",
    "find_options",
    "load_inputs",
    "observe",
    "realize_with",
    "refused_though_asked",
    "require_reachable",
    "validate",
]

logger = logging.getLogger(__name__)

# What measuring all candidates may cost, and the fewest samples that make a comparison.
_SWEEP_MACS, _FEWEST_FIT_SAMPLES = 2e13, 64
# About how many candidates are measured for each site; twice as many where a part of it may be kept.
_CANDIDATES = 3
_RIDGE_REAL, _RIDGE_SYNTHETIC = 1e-3, 10.0


@dataclass(frozen=True, eq=False)
class Inputs:
    """A model and the samples to work with.

    Attributes:
        document: the model as it was loaded.
        analysis: its parts.
        config: the options.
        data: the samples.
        calibration: the calibration samples in batches.
        trial: fewer of them, on which candidates and plans are compared.
    """

    document: Document
    analysis: Analysis
    config: Config
    data: Prepared
    calibration: Calibration
    trial: Calibration

    @cached_property
    def found(self) -> tuple[tuple[Candidate, ...], dict[str, str]]:
        """The candidates that the options allow, and the reason for each site that has none."""
        return find_candidates(self.analysis, find_options(self))

    def found_with(self, evidence: Evidence) -> tuple[tuple[Candidate, ...], dict[str, str]]:
        """The same once samples have been seen."""
        return find_candidates(self.analysis, replace(find_options(self), evidence=evidence))

    @property
    def report_batches(self) -> int:
        """How many batches the samples of the report make; a rest is left out where the model fixes its batch."""
        samples, batch = len(self.data.report), self.data.batch
        return samples // batch if self.fixed_batch else -(-samples // batch)

    @property
    def fixed_batch(self) -> bool:
        """Whether the model runs on batches of one size only."""
        return is_fixed(self.analysis.network.inputs)


@dataclass(frozen=True, eq=False)
class Observation:
    """What the original does with the calibration samples.

    Attributes:
        evidence: what the removable sites do.
        reference: the outputs on the trial's selection samples, one array (N, ...) each.
    """

    evidence: Evidence
    reference: Sequence[np.ndarray]


def load_inputs(document: Document, config: Config) -> Inputs:
    """Analyse the model and read the data.

    Raises:
        ModelError: the model does not run.
        DataError: the data cannot be used.
        UsageError: options do not fit the model.
    """
    analysis = analyze(document.model, config.input_shape)
    data = prepare(config, analysis.network.inputs)
    if analysis.cost.unknown and (sizes := open_sizes(data.fit, analysis.network.inputs)):
        config = config.model_copy(update={"input_shape": {**sizes, **(config.input_shape or {})}})
        analysis = analyze(document.model, config.input_shape)
    memory = divide_memory(config)
    whole = is_fixed(analysis.network.inputs)
    if not whole:
        data = replace(data, batch=memory.batch_size(analysis, data.batch))
    batches = [
        [feeds for feeds, _ in labelled_batches(part, data.batch, whole=whole)] for part in (data.fit, data.selection)
    ]
    ridge = config.ridge if config.ridge is not None else _RIDGE_SYNTHETIC if data.synthetic else _RIDGE_REAL
    calibration = Calibration(
        batches=[*batches[0], *batches[1]],
        fit_batches=len(batches[0]),
        store=ActivationStore(memory.activations),
        fit=FitOptions(ridge=ridge, memory=memory.fit, seed=config.seed),
        threads=config.threads or 0,
    )
    trial = _trial(analysis, calibration, 2 * _CANDIDATES if config.in_part else _CANDIDATES)
    return Inputs(document, analysis, config, data, calibration, trial)


def _trial(analysis: Analysis, calibration: Calibration, candidates: int) -> Calibration:
    """As many samples to compare on as keep the sweep within `_SWEEP_MACS`, at about so many candidates a site.

    The number depends on the network, never on the clock, so that the same inputs give the same plan.
    """
    affordable = int(_SWEEP_MACS / max(1, analysis.cost.macs * candidates * len(analysis.sites)))
    fit_samples = int(np.clip(affordable * 3 // 8, _FEWEST_FIT_SAMPLES, MOST_FIT_SAMPLES))
    return reduced(calibration, fit_samples, max(_FEWEST_FIT_SAMPLES // 2, affordable * 5 // 8))


def find_candidates(analysis: Analysis, options: FindOptions) -> tuple[tuple[Candidate, ...], dict[str, str]]:
    """Every candidate of every action, and the reason for each site that has none."""
    found = [action.find(analysis, options) for action in ACTIONS]
    candidates = tuple(candidate for result in found for candidate in result.candidates)
    covered = {name for candidate in candidates for name in candidate.sites}
    refusals = {name: reason for result in found for name, reason in result.refusals.items() if name not in covered}
    return candidates, refusals


def refused_though_asked(inputs: Inputs, evidence: Evidence) -> list[str]:
    """Where actions that only the options bring into play refuse, in words: one sentence for each and reason."""
    if not inputs.config.in_part:
        return []
    sites: dict[tuple[str, str], list[str]] = {}
    options = replace(find_options(inputs), evidence=evidence)
    for action in ACTIONS:
        usual = action.find(inputs.analysis, FindOptions())
        refusals = {} if usual.candidates or usual.refusals else action.find(inputs.analysis, options).refusals
        for name, reason in refusals.items():
            if reason != inputs.analysis.site_by_name[name].refusal:
                sites.setdefault((action.name, reason), []).append(name)
    return [
        f"{action} is refused at {len(names)} of {len(inputs.analysis.sites)} sites, such as {names[0]!r}: {reason}"
        for (action, reason), names in sites.items()
    ]


def find_every_candidate(inputs: Inputs) -> tuple[Candidate, ...]:
    """Every candidate with every kernel size and exactness, for plans that people write."""
    memory = inputs.calibration.fit.memory
    channels = FindOptions("auto", memory, deeper=True, every_size=True, granularity="channel", polynomials=True)
    options = (channels, replace(channels, granularity="pixel"), FindOptions("exact", memory))
    found = {c.key: c for option in options for c in find_candidates(inputs.analysis, option)[0]}
    return tuple(found.values())


def find_options(inputs: Inputs) -> FindOptions:
    """Layers are added only where multiply-adds or latency are asked for, and what that does is measured."""
    config = inputs.config
    faster = config.target_macs is not None or config.target_latency is not None
    measured = config.kernel != "exact" and config.sensitivity != "magnitude"
    return FindOptions(
        config.kernel,
        inputs.calibration.fit.memory,
        deeper=measured and faster,
        granularity=config.granularity,
        polynomials=config.polynomials,
    )


def require_reachable(inputs: Inputs, budget: Budget) -> None:
    """Make sure that some plan reaches the budget, before anything is measured.

    Raises:
        TargetError: none does; says what can be reached.
        ModelError: the model does not run, which counts for more; or the size of no activation is known.
    """
    sizes = [site.size for site in inputs.analysis.sites if site.node >= 0]
    if budget.relus is not None and sizes and all(size is None for size in sizes):
        Session(inputs.document.model, threads=inputs.calibration.threads)
        raise ModelError(
            f"The size of none of the {len(sizes)} activations of {inputs.document.path} is known, so no part of "
            "them can be asked for; fix the open axes of the inputs with --input-shape NAME:1,3,224,224."
        )
    candidates, _ = inputs.found
    try:
        next(Planner(inputs.analysis, candidates, {c.key: 0.0 for c in candidates}, budget).proposals())
    except TargetError:
        Session(inputs.document.model, threads=inputs.calibration.threads)
        raise


def observe(inputs: Inputs, progress: Progress, plan: Plan | None = None) -> Observation:
    """Run the original on the calibration samples.

    Args:
        inputs: model and data.
        progress: shows how it goes.
        plan: what is to be done, where that is known; else what the options allow.

    Raises:
        ModelError: onnxruntime fails on the model, or it computes values that are not finite.
    """
    calibration, trial = inputs.calibration, inputs.trial
    reference = run_batches(inputs.document.model, trial.batches[trial.selection], trial.threads)
    if not any(output.dtype.kind == "f" for output in reference):
        raise ModelError(
            f"No output of {inputs.document.path} is a floating-point tensor, so what a change does cannot be "
            "measured; make the tensor before it, such as the class scores, an output."
        )
    if not all(np.all(np.isfinite(output)) for output in reference if output.dtype.kind == "f"):
        raise ModelError(
            f"{inputs.document.path} computes values that are not finite on the calibration samples; check that "
            "these are preprocessed as the model wants."
        )
    sites = [site for site in inputs.analysis.sites if site.refusal is None]
    with progress.stage("Reading activations", len(sites)) as step:
        config, known = inputs.config, () if plan is None else plan.candidates
        pixels = config.granularity == "pixel" or any(c.pixels for c in known)
        evidence = collect_evidence(
            inputs.analysis,
            sites,
            calibration,
            step,
            stirred=config.polynomials or any(c.squares for c in known),
            pixels=pixels and inputs.analysis.network.has_fixed_sizes,
        )
        return Observation(evidence, reference)


def carry_out(inputs: Inputs, observation: Observation, plan: Plan, progress: Progress) -> Realized:
    """Apply a plan, fitting on all calibration samples."""
    return realize_with(replace(inputs.calibration, everything=True), inputs, observation, plan, progress)


def realize_with(
    calibration: Calibration, inputs: Inputs, observation: Observation, plan: Plan, progress: Progress
) -> Realized:
    """Apply a plan, fitting on some samples."""
    with progress.stage("Rewriting and fitting", len(inputs.analysis.layers)) as step:
        return realize(
            inputs.analysis,
            plan.candidates,
            observation.evidence,
            calibration,
            correction=inputs.config.correction,
            form=inputs.config.mask_form or "split",
            step=step,
        )


def validate(inputs: Inputs, realized: Realized, progress: Progress, original: Runs | None = None) -> Comparison:
    """Compare the rewritten model with the original on samples that neither fitting nor choosing has seen.

    Args:
        inputs: model and data.
        realized: the rewritten model.
        progress: shows how it goes.
        original: what runs the original, if it is not to be loaded anew.
    """
    report, batch = inputs.data.report, inputs.data.batch
    threads = inputs.calibration.threads
    with progress.stage("Validating", inputs.report_batches) as step:
        batches = counted(labelled_batches(report, batch, whole=inputs.fixed_batch), step)
        first = original or Session(inputs.document.model, threads=threads)
        return compare_models(first, Session(realized.model, threads=threads), batches)
