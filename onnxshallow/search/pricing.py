"""What private inference costs, as a target: what each candidate saves of it, and which plans keep it.

Prices nearly add up, as an engine runs one node after the other: the bytes and the messages of a network are the sums
over its nodes. So a candidate saves what the network with it alone is cheaper than the original, and the integer
program has one row more. What a plan really costs is counted on the model that it leads to, written, not yet fitted.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace

from onnxshallow.actions.base import Candidate, Statistics
from onnxshallow.analysis import Analysis, NotLinearError, analyze
from onnxshallow.private.tariff import Tariff
from onnxshallow.rewriting.lowering.lower import MaskForm
from onnxshallow.rewriting.realize import unfitted
from onnxshallow.search.inputs import Inputs, Observation
from onnxshallow.search.plan import Plan
from onnxshallow.search.solver import Budget

__all__ = ["kept_in_price", "priced"]

logger = logging.getLogger(__name__)

# How far below the limit a plan has to be, as a fit may leave more, or less, to be written.
_MARGIN = 0.995


def priced(
    analysis: Analysis, candidates: Sequence[Candidate], statistics: Statistics, tariff: Tariff, form: MaskForm
) -> tuple[Candidate, ...]:
    """The candidates with what each saves; one that cannot be carried out alone saves nothing.

    Args:
        analysis: of the original.
        candidates: without prices.
        statistics: what the original's sites do.
        tariff: what is paid.
        form: how activations that are kept in part are written.
    """
    whole = tariff.charge(analysis)

    def saved(candidate: Candidate) -> float:
        try:
            return whole - _charged(analysis, [candidate], statistics, tariff, form)
        except NotLinearError:
            return 0.0

    return tuple(replace(candidate, price=saved(candidate)) for candidate in candidates)


def kept_in_price(inputs: Inputs, observation: Observation, budget: Budget, plans: Sequence[Plan]) -> list[Plan]:
    """The plans whose models save what a budget asks for; all where none does, or no price is limited.

    Args:
        inputs: model, data and options.
        observation: what the original does with the data.
        budget: what has to be reached.
        plans: that keep it by the sum of what their candidates save.
    """
    tariff, analysis = Tariff.from_config(inputs.config), inputs.analysis
    if tariff is None or budget.price_saved is None:
        return list(plans)
    limit, form, kept = tariff.charge(analysis) - budget.price_saved, inputs.config.form, []
    for plan in plans:
        charged = _charged(analysis, plan.candidates, observation.statistics, tariff, form)
        logger.info("A plan of damage %.4g costs %.4g of %.4g %s.", plan.damage or 0, charged, limit, tariff.unit)
        if charged <= _MARGIN * limit:
            kept.append(plan)
    return kept or list(plans)


def _charged(
    analysis: Analysis, candidates: Sequence[Candidate], statistics: Statistics, tariff: Tariff, form: MaskForm
) -> float:
    return tariff.charge(analyze(unfitted(analysis, candidates, statistics, form), analysis.network.input_shapes))
