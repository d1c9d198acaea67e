"""How long a run will take, and how much memory, told before it begins.

    seconds of a stage = a (samples) + b (multiply-adds of fits) + c (numbers gathered for them) + d (networks built)

What there is to do is counted from the same rules by which the search decides how much it does; how long one of each
takes is measured on this machine (`onnxshallow.search.pace`). The factors a to d are pure numbers: how many times
as long the stage takes as its counts say, fitted to the runs that docs/decisions/forecast.md lists.
"""

import math
from collections.abc import Mapping
from dataclasses import astuple, dataclass, replace

from onnxshallow.analysis import Analysis, Layer
from onnxshallow.fitting.calibration import Calibration
from onnxshallow.fitting.regression import bytes_needed, bytes_of_row
from onnxshallow.runtime.cursor import Batches
from onnxshallow.runtime.store import memory_in_use
from onnxshallow.runtime.waypoints import MOST_BYTES
from onnxshallow.search.candidates import possible_candidates
from onnxshallow.search.compete import fit_flops, tries_alone, tries_together
from onnxshallow.search.estimates import first_look
from onnxshallow.search.inputs import Inputs
from onnxshallow.search.memory import bytes_of_copies, bytes_of_sample
from onnxshallow.search.pace import Pace
from onnxshallow.search.sensitivity.sweep import LOOKAHEAD
from onnxshallow.text import in_time

__all__ = ["Forecast", "Work", "count_samples", "forecast", "work_of"]

# How many plans are compared closely, as `onnxshallow.search.compete` does.
_CLOSELY = 6
# How many targets are tried where only an accuracy budget is given.
_BISECTED = 5
# Seconds that the result is timed for: by the clock, on every machine.
_TIMING = 4.0
# Candidates that are measured for each that is measured at first.
_LOOKED_AT = 1.3
# Bytes of what is loaded on the way.
_LIBRARIES = 30 << 20


@dataclass(frozen=True)
class Work:
    """What a stage does.

    Attributes:
        samples: how often the network is run on one sample.
        flops: multiply-adds of fits.
        cells: numbers that are gathered for them.
        builds: networks that are made, analysed and loaded.
    """

    samples: float = 0.0
    flops: float = 0.0
    cells: float = 0.0
    builds: float = 0.0

    def times(self, count: float) -> "Work":
        """So many times as much."""
        return Work(count * self.samples, count * self.flops, count * self.cells, count * self.builds)

    def plus(self, other: "Work") -> "Work":
        """This and other work."""
        return Work(*(one + more for one, more in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True)
class Forecast:
    """What a run will take.

    Attributes:
        stages: seconds by the names under which the report tells what they took.
        memory_bytes: the most that the process will hold.
    """

    stages: Mapping[str, float]
    memory_bytes: int

    @property
    def seconds(self) -> float:
        """Of all stages."""
        return sum(self.stages.values())

    def in_short(self) -> str:
        """The forecast in a sentence."""
        return f"This will take about {in_time(self.seconds)} and {self.memory_bytes / 2**30:.1f} GiB of memory."


# By stage, how many times as long it takes as its counts say: samples, multiply-adds, cells, builds.
_FACTORS: Mapping[str, tuple[float, float, float, float]] = {
    "observe": (1.6, 0.0, 0.0, 40.0),
    "sensitivity": (0.3, 6.8, 5.4, 0.6),
    "plan": (0.6, 2.4, 5.0, 14.0),
    "fit": (1.7, 0.9, 6.8, 1.7),
    "validate": (0.3, 0.0, 0.0, 14.0),
}


def forecast(inputs: Inputs, pace: Pace, targets: int | None = None) -> Forecast:
    """What `optimize` or `pareto` will take with these inputs, where nothing is in the cache.

    The second search, for channel masks, that `auto` makes where whole layers miss the target is one of its own.

    Args:
        inputs: model, data and options.
        pace: of this machine.
        targets: how many `pareto` looks at; None for `optimize`.
    """
    seconds = {}
    for stage, work in work_of(inputs, targets).items():
        takes = (pace.sample, pace.flop, pace.cell, pace.build)
        parts = zip(_FACTORS[stage], astuple(work), takes, strict=True)
        seconds[stage] = pace.busy * sum(factor * count * each for factor, count, each in parts)
    return Forecast({**seconds, "latency": _TIMING}, _memory(inputs))


def work_of(inputs: Inputs, targets: int | None = None) -> dict[str, Work]:
    """What each stage does, by the names that the report gives to their times; see `forecast`."""
    if targets is None:
        searches, tries = 1 if inputs.config.has_target else _BISECTED, tries_alone(inputs)
        looks = searches * tries
    else:
        searches, tries = targets, tries_together(inputs, targets)
        looks = tries
    whole = _carried_out(inputs, replace(inputs.calibration, everything=True))
    comparing = Work()
    if tries > 1:
        closely = _carried_out(inputs, inputs.reduced).times(searches * min(tries, _CLOSELY))
        comparing = _carried_out(inputs, inputs.rough).times(looks).plus(closely)
    return {
        "observe": Work(count_samples(inputs.calibration.batches) + count_samples(inputs.reduced.batches), builds=1),
        "sensitivity": _sweep(inputs),
        "plan": comparing,
        "fit": whole.times(searches),
        "validate": Work(2 * len(inputs.data.report), builds=2).times(searches),
    }


def _sweep(inputs: Inputs) -> Work:
    """What it takes to measure the candidates that are looked at first; each changes some layers."""
    if inputs.config.sensitivity == "magnitude":
        return Work()
    candidates, _ = possible_candidates(inputs)
    layers = max(len(_layers(inputs.analysis)), 1)
    each = _carried_out(inputs, inputs.swept)
    share = min(1.0, (1 + LOOKAHEAD) / layers)
    one = Work(each.samples / 2, share * each.flops, share * each.cells, 1)
    return one.times(_LOOKED_AT * len(first_look(candidates)))


def _carried_out(inputs: Inputs, calibration: Calibration) -> Work:
    """What it takes to carry out one plan: the network is run once, and all layers are fitted."""
    analysis = inputs.analysis
    fitted = count_samples(calibration.batches[calibration.fitting])
    flops = sum(fit_flops(analysis, layer, fitted, calibration.fit) for layer in _layers(analysis))
    cells = sum(_rows(analysis, layer, fitted, calibration) * _row(analysis, layer) for layer in _layers(analysis))
    return Work(count_samples(calibration.batches), flops, cells, 1)


def _memory(inputs: Inputs) -> int:
    """The most bytes that the process will hold: what it holds now, and what the final fit adds."""
    analysis, calibration = inputs.analysis, inputs.calibration
    samples = count_samples(calibration.batches)
    kept = min(samples * bytes_of_sample(analysis) // 2, calibration.store.budget)
    fits = max((_fit_bytes(analysis, layer, samples, calibration) for layer in _layers(analysis)), default=0)
    running = inputs.data.batch * bytes_of_sample(analysis)
    models = bytes_of_copies(analysis)
    compared = 4 * count_samples(inputs.reduced.batches) * analysis.cost.relus  # where changes begin
    return memory_in_use() + _LIBRARIES + kept + fits + running + models + min(compared, MOST_BYTES)


def _fit_bytes(analysis: Analysis, layer: Layer, samples: int, calibration: Calibration) -> int:
    """What the rows and the sums of a fit take; nothing where it is not made."""
    sums = bytes_needed(*_sizes(analysis, layer))
    return _rows(analysis, layer, samples, calibration) * _row_bytes(analysis, layer) + sums


def _rows(analysis: Analysis, layer: Layer, samples: int, calibration: Calibration) -> int:
    """How many rows a layer is fitted to; none where it is left as it is."""
    fit, unknowns = calibration.fit, math.prod(layer.weight_shape[1:])
    made = analysis.network.full_shape(layer.output) or ()
    available = samples * math.prod(made[2:])
    if available < fit.fewest_rows * unknowns:
        return 0
    wanted = fit.rows_wanted(unknowns, analysis.layers.groups(layer))
    return min(available, wanted, fit.memory // _row_bytes(analysis, layer))


def _row_bytes(analysis: Analysis, layer: Layer) -> int:
    """What a row takes, more where something is added to what the layer makes."""
    added = any(node.op == "Add" for node in analysis.network.consumers(layer.output))
    return bytes_of_row(*_sizes(analysis, layer), offsets=added)


def _sizes(analysis: Analysis, layer: Layer) -> tuple[int, int, int]:
    """Unknowns and outputs of a group, and the number of groups."""
    groups = analysis.layers.groups(layer)
    return math.prod(layer.weight_shape[1:]), layer.weight_shape[0] // groups, groups


def _row(analysis: Analysis, layer: Layer) -> int:
    """Numbers that are gathered for a row: what the layer reads, and three times what it makes."""
    unknowns, outputs, groups = _sizes(analysis, layer)
    return groups * (unknowns + 3 * outputs)


def _layers(analysis: Analysis) -> list[Layer]:
    """The layers that are fitted."""
    return [layer for layer in analysis.layers if layer.kind != "affine"]


def count_samples(batches: Batches) -> int:
    """The samples of some batches."""
    return sum(len(next(iter(batch.values()))) for batch in batches)
