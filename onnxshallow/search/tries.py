"""How many plans are carried out in a cheap way, and how many of these are compared closely.

As many as pay for themselves: fewer where each takes long, and fewer where so few samples compare them that a further
one would win by luck.
"""

import math

import numpy as np

from onnxshallow.analysis import Analysis, Layer
from onnxshallow.analysis.cost import layer_macs
from onnxshallow.fitting.correction import FitOptions
from onnxshallow.search.inputs import Inputs

__all__ = ["fewest_closely", "tries_alone", "tries_together"]

# What looking at plans roughly may cost, and the fewest and the most plans to look at.
_SEARCH_FLOPS, _FEWEST_TRIES, _MOST_TRIES = 6e12, 12, 24
# One plan for each two samples that compare them, and the fewest where these are few.
_SAMPLES_A_PLAN, _FEWEST_TOLD_APART = 2, 6
# The part of all that where plans hold masks and parabolas, each of which takes longer to be fitted and lowered.
_PARTLY = 0.6
# How many plans are looked at for each target at the most where several share them.
_MOST_EACH = 12
# How many are compared closely at the least; of few plans one in so many.
_FEWEST_CLOSELY, _ONE_IN_FEW = 6, 3


def tries_alone(inputs: Inputs, budgets: int = 1) -> int:
    """How many plans to carry out for one budget; only one where damages are read off the weights."""
    if inputs.config.sensitivity == "magnitude":
        return 1
    return min(_affordable_tries(inputs), inputs.most_plans or _MOST_TRIES)


def tries_together(inputs: Inputs, budgets: int) -> int:
    """How many plans to carry out for several budgets, which share them."""
    most = min(_MOST_EACH * budgets, inputs.most_plans or _MOST_EACH * budgets)
    return max(budgets, min(_affordable_tries(inputs) * 3 // 2, most))


def fewest_closely(tries: int) -> int:
    """How many plans are compared closely, at the least, where so many are looked at."""
    return max(2, tries // _ONE_IN_FEW) if tries <= _FEWEST_TRIES else _FEWEST_CLOSELY


def _affordable_tries(inputs: Inputs) -> int:
    """How many plans to look at: many for small networks, fewer for large ones, or where few samples compare them."""
    rough, reduced, analysis = inputs.rough, inputs.reduced, inputs.analysis
    fitted, selected, watched, compared = (
        sum(len(next(iter(batch.values()))) for batch in part)
        for part in (
            rough.batches[rough.fitting],
            rough.batches[rough.selection],
            rough.watched,
            reduced.batches[reduced.selection],
        )
    )
    flops = 2.0 * analysis.cost.macs * (fitted + selected + 3 * watched)
    flops += sum(
        _fit_flops(analysis, layer, fitted, rough.fit) for layer in analysis.layers if layer.kind != "affine"
    )
    share = _PARTLY if inputs.config.in_part else 1.0
    most = min(1 + share * (_MOST_TRIES - 1), max(compared // _SAMPLES_A_PLAN, _FEWEST_TOLD_APART))
    return int(np.clip(share * _SEARCH_FLOPS / max(flops, 1.0), min(_FEWEST_TRIES, most), most))


def _fit_flops(analysis: Analysis, layer: Layer, samples: int, fit: FitOptions) -> float:
    """What it takes to fit a layer, if it has the rows: the sums, their factorisation, rounds of new targets."""
    outputs, unknowns = layer.weight_shape[0], math.prod(layer.weight_shape[1:])
    macs = layer_macs(analysis.network, analysis.network.nodes[layer.main]) or 0
    available = samples * macs / (outputs * unknowns)
    if available < fit.fewest_rows * unknowns:
        return 0.0
    groups = analysis.layers.groups(layer)
    rows = min(available, fit.rows_wanted(unknowns, groups))
    products = rows * unknowns * (groups * unknowns + 4 * outputs * (1 + fit.rounds))
    return products + float(groups * unknowns**3)
