"""What can be done to a model: the candidates of all actions, and the reason for each site that has none."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from onnxshallow.actions.base import Action, Candidate, FindOptions, Statistics
from onnxshallow.actions.registry import actions
from onnxshallow.analysis import Analysis
from onnxshallow.errors import TargetError
from onnxshallow.model.session import Session
from onnxshallow.private.tariff import Tariff
from onnxshallow.search.countable import require_countable
from onnxshallow.search.inputs import Inputs
from onnxshallow.search.planner import Planner
from onnxshallow.search.pricing import priced
from onnxshallow.search.solver import Budget

__all__ = [
    "find_candidates",
    "find_every_candidate",
    "find_options",
    "possible_candidates",
    "refused_though_asked",
    "require_reachable",
]


def find_candidates(
    analysis: Analysis, options: FindOptions, among: Sequence[Action[Any]] | None = None
) -> tuple[tuple[Candidate, ...], dict[str, str]]:
    """Every candidate of all actions, or of those that are given, and the reason for each site that has none."""
    found = [action.find(analysis, options) for action in (actions() if among is None else among)]
    candidates = tuple(candidate for result in found for candidate in result.candidates)
    covered = {name for candidate in candidates for name in candidate.sites}
    refusals = {name: reason for result in found for name, reason in result.refusals.items() if name not in covered}
    return candidates, refusals


def possible_candidates(
    inputs: Inputs, statistics: Statistics | None = None
) -> tuple[tuple[Candidate, ...], dict[str, str]]:
    """The candidates that the options allow, and the reason for each site that has none.

    Args:
        inputs: model, data and options.
        statistics: what the sites do, once samples have been seen.
    """
    candidates, refusals = find_candidates(inputs.analysis, replace(find_options(inputs), statistics=statistics))
    tariff = Tariff.from_config(inputs.config)
    if statistics is not None and tariff is not None:
        candidates = priced(inputs.analysis, candidates, statistics, tariff, inputs.config.form)
    return candidates, refusals


def find_options(inputs: Inputs) -> FindOptions:
    """Layers are added only where multiply-adds or latency are asked for, and what that does is measured."""
    config = inputs.config
    faster = config.target_macs is not None or config.target_latency is not None
    measured = config.kernel != "exact" and config.sensitivity != "magnitude"
    return FindOptions(
        config.kernel,
        inputs.calibration.fit.memory,
        deeper=measured and faster,
        granularity="layer" if config.granularity == "auto" else config.granularity,
        polynomials=config.squares,
        poolings=config.has_price,
    )


def find_every_candidate(inputs: Inputs) -> tuple[Candidate, ...]:
    """Every candidate with every kernel size and exactness, for plans that people write."""
    memory = inputs.calibration.fit.memory
    channels = FindOptions("auto", memory, deeper=True, every_size=True, granularity="channel", polynomials=True)
    options = (channels, replace(channels, granularity="pixel"), FindOptions("exact", memory))
    found = {c.key: c for option in options for c in find_candidates(inputs.analysis, option)[0]}
    return tuple(found.values())


def refused_though_asked(inputs: Inputs, statistics: Statistics) -> list[str]:
    """Where actions that only the options bring into play refuse, in words: one sentence for each and reason."""
    if not inputs.config.in_part:
        return []
    sites: dict[tuple[str, str], list[str]] = {}
    options = replace(find_options(inputs), statistics=statistics)
    for action in actions():
        usual = action.find(inputs.analysis, FindOptions())
        refusals = {} if usual.candidates or usual.refusals else action.find(inputs.analysis, options).refusals
        for name, reason in refusals.items():
            if reason != inputs.analysis.site_by_name[name].refusal:
                sites.setdefault((action.name, reason), []).append(name)
    return [
        f"{action} is refused at {len(names)} of {len(inputs.analysis.sites)} sites, such as {names[0]!r}: {reason}"
        for (action, reason), names in sites.items()
    ]


def require_reachable(inputs: Inputs, budget: Budget) -> None:
    """Make sure that some plan reaches the budget, before anything is measured.

    Raises:
        TargetError: none does; says what can be reached.
        ModelError: the model does not run, which counts for more; or what is to be counted is not known.
    """
    require_countable(inputs, budget)
    candidates, _ = possible_candidates(inputs)
    free = replace(budget, price_saved=None)  # what candidates save of it is not known before samples are seen
    try:
        next(Planner(inputs.analysis, candidates, {c.key: 0.0 for c in candidates}, free).proposals())
    except TargetError:
        Session(inputs.document.model, threads=inputs.calibration.threads)
        raise
