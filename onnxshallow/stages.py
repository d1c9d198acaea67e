"""The stages of a run, one function each: each takes what came before and returns a frozen dataclass."""

import itertools
import logging
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from onnxshallow.actions.apply import ACTIONS
from onnxshallow.actions.base import Candidate, Evidence, FindOptions
from onnxshallow.analysis import Analysis, analyze
from onnxshallow.config import Config, parse_bytes
from onnxshallow.data.prepare import Prepared, is_fixed, labelled_batches, prepare
from onnxshallow.errors import ModelError, TargetError
from onnxshallow.fitting.calibration import Calibration
from onnxshallow.fitting.correction import FitOptions
from onnxshallow.model.document import Document
from onnxshallow.model.session import Session
from onnxshallow.planning.outlook import first_look, outlook
from onnxshallow.planning.plan import Plan
from onnxshallow.planning.planner import Planner
from onnxshallow.planning.realize import Realized, realize
from onnxshallow.planning.solver import Budget
from onnxshallow.progress import Progress, Silent, counted
from onnxshallow.runtime.store import ActivationStore, default_memory
from onnxshallow.runtime.whole import run_batches
from onnxshallow.sensitivity.cache import SweepCache
from onnxshallow.sensitivity.evidence import collect_evidence
from onnxshallow.sensitivity.magnitude import magnitude_damages
from onnxshallow.sensitivity.measures import Measure, damage
from onnxshallow.sensitivity.sweep import LOOKAHEAD, MOST_FIT_SAMPLES, SweepOptions, reduced, sweep
from onnxshallow.validation.compare import Comparison, compare_models
from onnxshallow.versions import versions

__all__ = [
    "Inputs",
    "Observation",
    "Sensitivity",
    "carry_out",
    "find_candidates",
    "find_every_candidate",
    "load_inputs",
    "measure",
    "measure_for",
    "observe",
    "require_reachable",
    "search",
    "validate",
]

logger = logging.getLogger(__name__)

# What measuring all candidates may cost, and the fewest samples that make a comparison.
_SWEEP_MACS, _FEWEST_FIT_SAMPLES = 2e13, 64
# How often the sweep goes down the network for candidates that turn out to matter.
_MOST_LOOKS = 8
# What comparing plans may cost, and how many plans are compared at the most.
_SEARCH_FLOPS, _MOST_TRIES = 8e13, 16
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

    @property
    def fixed_batch(self) -> bool:
        """Whether the model runs on batches of one size only."""
        return is_fixed(self.analysis.network.inputs)


@dataclass(frozen=True, eq=False)
class Observation:
    """What the original does with the calibration samples.

    Attributes:
        evidence: affine maps of the removable sites, from the fitting samples.
        reference: the outputs on the trial's selection samples, one array (N, ...) each.
    """

    evidence: Evidence
    reference: Sequence[np.ndarray]


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """What each candidate would cost.

    Attributes:
        candidates: all that is possible.
        refusals: for sites with no candidate, the reason.
        damages: damage by candidate key.
        observation: what it was measured from.
    """

    candidates: tuple[Candidate, ...]
    refusals: Mapping[str, str]
    damages: Mapping[str, float]
    observation: Observation


def load_inputs(document: Document, config: Config) -> Inputs:
    """Analyse the model and read the data.

    Raises:
        ModelError: the model does not run.
        DataError: the data cannot be used.
        UsageError: options do not fit the model.
    """
    analysis = analyze(document.model, config.input_shape)
    data = prepare(config, analysis.network.inputs)
    whole = is_fixed(analysis.network.inputs)
    batches = [
        [feeds for feeds, _ in labelled_batches(part, data.batch, whole=whole)] for part in (data.fit, data.selection)
    ]
    memory = default_memory() if config.memory is None else parse_bytes(config.memory)
    ridge = config.ridge if config.ridge is not None else _RIDGE_SYNTHETIC if data.synthetic else _RIDGE_REAL
    calibration = Calibration(
        batches=[*batches[0], *batches[1]],
        fit_batches=len(batches[0]),
        store=ActivationStore(memory * 3 // 4),
        fit=FitOptions(ridge=ridge, memory=max(memory // 4, 64 << 20), seed=config.seed),
        threads=config.threads or 0,
    )
    return Inputs(document, analysis, config, data, calibration, _trial(analysis, calibration))


def _trial(analysis: Analysis, calibration: Calibration) -> Calibration:
    """As many samples to compare on as keep the sweep within `_SWEEP_MACS`, at about three candidates a site.

    The number depends on the network, never on the clock, so that the same inputs give the same plan.
    """
    affordable = int(_SWEEP_MACS / max(1, analysis.cost.macs * 3 * len(analysis.sites)))
    fit_samples = int(np.clip(affordable * 3 // 8, _FEWEST_FIT_SAMPLES, MOST_FIT_SAMPLES))
    return reduced(calibration, fit_samples, max(_FEWEST_FIT_SAMPLES // 2, affordable * 5 // 8))


def find_candidates(analysis: Analysis, options: FindOptions) -> tuple[tuple[Candidate, ...], dict[str, str]]:
    """Every candidate of every action, and the reason for each site that has none."""
    found = [action.find(analysis, options) for action in ACTIONS]
    candidates = tuple(candidate for result in found for candidate in result.candidates)
    covered = {name for candidate in candidates for name in candidate.sites}
    refusals = {name: reason for result in found for name, reason in result.refusals.items() if name not in covered}
    return candidates, refusals


def find_every_candidate(inputs: Inputs) -> tuple[Candidate, ...]:
    """Every candidate with every kernel size and exactness, for plans that people write."""
    memory = inputs.calibration.fit.memory
    options = (FindOptions("auto", memory, deeper=True, every_size=True), FindOptions("exact", memory))
    found = {c.key: c for option in options for c in find_candidates(inputs.analysis, option)[0]}
    return tuple(found.values())


def _wanted(inputs: Inputs) -> FindOptions:
    """Layers are added only where multiply-adds are asked for, and what that does is measured."""
    config = inputs.config
    measured = config.kernel != "exact" and config.sensitivity != "magnitude"
    return FindOptions(
        config.kernel, inputs.calibration.fit.memory, deeper=measured and config.target_macs is not None
    )


def require_reachable(inputs: Inputs, budget: Budget) -> None:
    """Make sure that some plan reaches the budget, before anything is measured.

    Raises:
        TargetError: none does; says what can be reached.
    """
    candidates, _ = find_candidates(inputs.analysis, _wanted(inputs))
    next(Planner(inputs.analysis, candidates, {c.key: 0.0 for c in candidates}, budget).proposals())


def observe(inputs: Inputs, progress: Progress) -> Observation:
    """Run the original on the calibration samples.

    Raises:
        ModelError: onnxruntime fails on the model, or it computes values that are not finite.
    """
    calibration, trial = inputs.calibration, inputs.trial
    reference = run_batches(inputs.document.model, trial.batches[trial.selection], trial.threads)
    if not all(np.all(np.isfinite(output)) for output in reference if output.dtype.kind == "f"):
        raise ModelError(f"{inputs.document.path} computes values that are not finite on the calibration samples.")
    sites = [site for site in inputs.analysis.sites if site.refusal is None]
    with progress.stage("Reading activations", len(sites)) as step:
        return Observation(collect_evidence(inputs.analysis, sites, calibration, step), reference)


def measure(inputs: Inputs, observation: Observation, progress: Progress, cache_folder: Path | None) -> Sensitivity:
    """Find all candidates and measure the damage of each after its fit, on held-out samples.

    Raises:
        ModelError: onnxruntime fails on the model.
    """
    candidates, refusals = find_candidates(inputs.analysis, _wanted(inputs))
    known = _Measured(inputs, observation, progress, cache_folder)
    return Sensitivity(candidates, refusals, known.damages(candidates), observation)


def measure_for(
    inputs: Inputs,
    observation: Observation,
    budgets: Sequence[Budget],
    progress: Progress,
    cache_folder: Path | None,
) -> list[Sensitivity]:
    """For each budget, the damages of the candidates that matter to it (`onnxshallow.planning.outlook`).

    What is measured for one budget does not depend on the others, so that it is the same in a run of its own.

    Raises:
        ModelError: onnxruntime fails on the model.
    """
    candidates, refusals = find_candidates(inputs.analysis, _wanted(inputs))
    known = _Measured(inputs, observation, progress, cache_folder)
    wanted = [{c.key for c in first_look(candidates)} for _ in budgets]
    for _ in range(_MOST_LOOKS):
        damages = known.damages([c for c in candidates if any(c.key in keys for keys in wanted)])
        seen = [{key: damages[key] for key in keys if key in damages} for keys in wanted]
        more = [
            _undecided(inputs.analysis, candidates, keys, found, budget) - keys
            for keys, found, budget in zip(wanted, seen, budgets, strict=True)
        ]
        if not any(more):
            break
        wanted = [keys | further for keys, further in zip(wanted, more, strict=True)]
    return [Sensitivity(candidates, refusals, found, observation) for found in seen]


def _undecided(
    analysis: Analysis, candidates: Sequence[Candidate], asked: Set[str], damages: Mapping[str, float], budget: Budget
) -> set[str]:
    """What the best plans would contain if unmeasured candidates did as little damage as they may."""
    usable = [c for c in candidates if c.key in damages or c.key not in asked]
    planner = Planner(analysis, usable, outlook(usable, damages), budget)
    try:
        return {c.key for plan in itertools.islice(planner.proposals(), 2) for c in plan.candidates}
    except TargetError:
        return set()


class _Measured:
    """Damages, each measured when it is first asked for."""

    def __init__(
        self, inputs: Inputs, observation: Observation, progress: Progress, cache_folder: Path | None
    ) -> None:
        self._inputs, self._observation, self._progress = inputs, observation, progress
        self._cache = SweepCache(_identity(inputs), cache_folder)
        self._damages: dict[str, float] = {}
        self._asked: set[str] = set()

    def damages(self, candidates: Sequence[Candidate]) -> dict[str, float]:
        """Damage by key; candidates that do not apply after all have none."""
        inputs, config = self._inputs, self._inputs.config
        todo = [c for c in candidates if c.key not in self._asked]
        self._asked |= {c.key for c in todo}
        if config.sensitivity == "magnitude":
            self._damages |= magnitude_damages(inputs.analysis, todo)
        elif todo:
            settings = SweepOptions(config.sensitivity, LOOKAHEAD if config.correction else 0)
            observed = self._observation
            with self._progress.stage("Measuring sensitivity", len(todo)) as step:
                self._damages |= sweep(
                    inputs.analysis,
                    todo,
                    observed.evidence,
                    inputs.trial,
                    observed.reference,
                    self._cache,
                    settings,
                    step,
                )
        return {c.key: self._damages[c.key] for c in candidates if c.key in self._damages}


def _identity(inputs: Inputs) -> dict[str, object]:
    """All that the damages depend on."""
    fit = inputs.trial.fit
    return {
        "model": inputs.document.sha256,
        "data": inputs.data.fingerprint(),
        "samples": [len(inputs.trial.batches), inputs.trial.fit_batches],
        "fit": [
            fit.ridge,
            fit.rows_per_unknown,
            fit.least_rows,
            fit.fewest_rows,
            fit.rounds,
            fit.memory > 1 << 30,
            fit.seed,
        ],
        "correction": inputs.config.correction,
        "measure": inputs.config.sensitivity,
        "threads": inputs.config.threads,
        "versions": versions(),
    }


def search(inputs: Inputs, sensitivity: Sensitivity, budget: Budget, progress: Progress) -> list[Plan]:
    """Carry out proposed plans in a cheap way and measure what they do to the selection samples.

    How many depends on the size of the fits, not on the clock, so that the same inputs give the same plan.

    Returns:
        The plans with their measured damages, in the order of proposal.

    Raises:
        TargetError: no plan reaches the budget.
    """
    planner = Planner(inputs.analysis, sensitivity.candidates, sensitivity.damages, budget)
    tries = _affordable_tries(inputs) if inputs.config.sensitivity != "magnitude" else 1
    plans: list[Plan] = []
    with progress.stage("Comparing plans", tries) as step:
        for plan in itertools.islice(planner.proposals(), tries):
            measured = plan if tries == 1 else _try_out(inputs, sensitivity.observation, plan)
            if measured.damage is not None:
                planner.learn(plan, measured.damage)
            plans.append(measured)
            step()
            if not plan.candidates:
                break
    return plans


def _affordable_tries(inputs: Inputs) -> int:
    """How many plans to carry out: many for small networks, a few for large ones."""
    trial, analysis = inputs.trial, inputs.analysis
    samples = sum(len(next(iter(batch.values()))) for batch in trial.batches)
    flops = 4.0 * samples * analysis.cost.macs
    for layer in analysis.layers:
        unknowns = float(np.prod(layer.weight_shape[1:]))
        flops += 2 * trial.fit.fewest_rows * unknowns**3 if layer.kind != "affine" else 0.0
    return int(np.clip(_SEARCH_FLOPS / max(flops, 1.0), 2, _MOST_TRIES))


def carry_out(inputs: Inputs, observation: Observation, plan: Plan, progress: Progress) -> Realized:
    """Apply a plan, fitting on all calibration samples."""
    everything = replace(inputs, calibration=replace(inputs.calibration, everything=True))
    return _realize(everything, observation, plan, progress)


def _try_out(inputs: Inputs, observation: Observation, plan: Plan) -> Plan:
    """Apply a plan in a cheap way; the plan with its damage on the selection samples."""
    trial = replace(inputs, calibration=inputs.trial)
    realized = _realize(trial, observation, plan, Silent())
    measure: Measure = "kl" if inputs.config.sensitivity == "magnitude" else inputs.config.sensitivity
    return replace(plan, damage=damage(measure, observation.reference, realized.outputs))


def _realize(inputs: Inputs, observation: Observation, plan: Plan, progress: Progress) -> Realized:
    with progress.stage("Rewriting and fitting", len(inputs.analysis.layers)) as step:
        return realize(
            inputs.analysis,
            plan.candidates,
            observation.evidence,
            inputs.calibration,
            correction=inputs.config.correction,
            step=step,
        )


def validate(inputs: Inputs, realized: Realized, progress: Progress) -> Comparison:
    """Compare the rewritten model with the original on samples that neither fitting nor choosing has seen."""
    report, batch = inputs.data.report, inputs.data.batch
    threads = inputs.calibration.threads
    with progress.stage("Validating", -(-len(report) // batch)) as step:
        batches = counted(labelled_batches(report, batch, whole=inputs.fixed_batch), step)
        return compare_models(
            Session(inputs.document.model, threads=threads), Session(realized.model, threads=threads), batches
        )
