"""What is known of written models alone, as a target: the price of private inference, parameters, bytes of the file.

Prices nearly add up, as an engine runs one node after the other: the bytes and the messages of a network are the sums
over its nodes; and weights add up. So a candidate saves what the network with it alone costs less than the original,
and the integer program has a row more for each. What a plan really costs is counted on the model that it leads to,
written, not yet fitted.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace

from onnxshallow.actions.base import Candidate, Statistics
from onnxshallow.analysis import Analysis, NotLinearError, analyze
from onnxshallow.model.provenance import note_bytes
from onnxshallow.options.config import Config
from onnxshallow.private.tariff import Tariff
from onnxshallow.rewriting.realize import unfitted
from onnxshallow.search.inputs import Inputs, Observation
from onnxshallow.search.plan import Plan
from onnxshallow.search.solver import Budget

__all__ = ["kept_in_budget", "priced"]

logger = logging.getLogger(__name__)

# How far below the limit a price has to be, as a fit may leave more, or less, to be written.
_MARGIN = 0.995


def priced(
    analysis: Analysis, candidates: Sequence[Candidate], statistics: Statistics, config: Config
) -> tuple[Candidate, ...]:
    """The candidates with what each saves of what is limited; one that cannot be carried out alone saves nothing.

    What the file says of a change is part of its size.

    Args:
        analysis: of the original.
        candidates: without prices.
        statistics: what the original's sites do.
        config: the options.
    """
    tariff = Tariff.from_config(config)
    if tariff is None and not config.has_weight:
        return tuple(candidates)
    whole, plain = 0.0 if tariff is None else tariff.charge(analysis), note_bytes({})

    def with_savings(candidate: Candidate) -> Candidate:
        try:
            made = _written(analysis, [candidate], statistics, config)
        except NotLinearError:
            return replace(candidate, price=0.0, params=0, size_bytes=0)
        notes = note_bytes({analysis.network.nodes[index].name: candidate.what for index in candidate.nodes}) - plain
        return replace(
            candidate,
            price=0.0 if tariff is None else whole - tariff.charge(made),
            params=analysis.cost.params - made.cost.params,
            size_bytes=analysis.cost.size_bytes - made.cost.size_bytes - notes,
        )

    return tuple(with_savings(candidate) for candidate in candidates)


def kept_in_budget(inputs: Inputs, observation: Observation, budget: Budget, plans: Sequence[Plan]) -> list[Plan]:
    """The plans whose models keep what a budget asks for; all where none does, or nothing of this is limited.

    Args:
        inputs: model, data and options.
        observation: what the original does with the data.
        budget: what has to be reached.
        plans: that keep it by the sum of what their candidates save.
    """
    tariff, analysis = Tariff.from_config(inputs.config), inputs.analysis
    saved = 0.0 if budget.price_saved is None else budget.price_saved
    limit = None if tariff is None or budget.price_saved is None else tariff.charge(analysis) - saved
    if limit is None and budget.params is None and budget.size_bytes is None:
        return list(plans)
    kept = []
    for plan in plans:
        made = _written(analysis, plan.candidates, observation.statistics, inputs.config)
        within = budget.params is None or made.cost.params <= budget.params
        within &= budget.size_bytes is None or made.cost.size_bytes <= budget.size_bytes
        if tariff is not None and limit is not None:
            charged, damage = tariff.charge(made), plan.damage or 0
            logger.info("A plan of damage %.4g costs %.4g of %.4g %s.", damage, charged, limit, tariff.unit)
            within &= charged <= _MARGIN * limit
        if within:
            kept.append(plan)
    return kept or list(plans)


def _written(analysis: Analysis, candidates: Sequence[Candidate], statistics: Statistics, config: Config) -> Analysis:
    """The model that candidates lead to, not yet fitted."""
    return analyze(unfitted(analysis, candidates, statistics, config.form), analysis.network.input_shapes)
