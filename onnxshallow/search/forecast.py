"""How long a run will take, and how much memory, told before it begins.

    seconds of a stage = a (samples) + b (multiply-adds of fits) + c (numbers that are gathered or looked at)
                       + d (batches at a layer) + e (networks built)

What there is to do is counted from the same rules by which the search decides how much it does; how long one of each
takes is measured on this machine (`onnxshallow.search.pace`). The factors a to e are pure numbers: how many times
as long the stage takes as its counts say, fitted to the runs that docs/decisions/forecast.md lists.
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field, replace

from onnxshallow.actions.base import Candidate
from onnxshallow.analysis import Analysis, Layer
from onnxshallow.analysis.cost import layer_macs
from onnxshallow.fitting.calibration import Calibration
from onnxshallow.fitting.regression import bytes_needed, bytes_of_row
from onnxshallow.runtime.cursor import Batches
from onnxshallow.runtime.store import memory_in_use
from onnxshallow.runtime.waypoints import MOST_BYTES
from onnxshallow.search.candidates import possible_candidates
from onnxshallow.search.estimates import first_look
from onnxshallow.search.inputs import ROUGHLY_WATCHED, Inputs
from onnxshallow.search.memory import bytes_of_copies, bytes_of_sample
from onnxshallow.search.pace import Pace
from onnxshallow.search.sensitivity.sweep import LOOKAHEAD
from onnxshallow.search.tries import fewest_closely, tries_alone, tries_together
from onnxshallow.search.watched import Watching, affordable_pool
from onnxshallow.text import in_time
from onnxshallow.validation.peaks import looked_at

__all__ = ["Forecast", "Work", "count_samples", "forecast", "work_of"]

# How many targets are tried where only an accuracy budget is given.
_BISECTED = 5
# Seconds that the result is timed for: by the clock, on every machine.
_TIMING = 4.0
# How often a plan with squares is fitted, as a rule, until nothing grows too far.
_FITS = 2
# To find the ends of activations takes so much of the time of looking at them closely.
_ENDS = 0.25
# What a search consists of.
_SEARCH = ("observe", "sensitivity", "plan")


@dataclass(frozen=True)
class Work:
    """What a stage does.

    Attributes:
        samples: how often the network is run on one sample.
        flops: multiply-adds of fits.
        cells: numbers that are gathered for them, or looked at.
        batches: how often something is done with a batch at a layer, which takes its time however small it is.
        builds: networks that are made, analysed and loaded.
    """

    samples: float = 0.0
    flops: float = 0.0
    cells: float = 0.0
    batches: float = 0.0
    builds: float = 0.0

    def times(self, count: float) -> "Work":
        """So many times as much."""
        return Work(*(count * one for one in astuple(self)))

    def plus(self, other: "Work") -> "Work":
        """This and other work."""
        return Work(*(one + more for one, more in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True)
class Forecast:
    """What a run will take.

    Attributes:
        stages: seconds by the names under which the report tells what they took.
        memory_bytes: the most that the process will hold.
        masks: seconds by stage of a second search, with channel masks, which `auto` makes where whole layers miss the
            target; nothing where it makes none.
    """

    stages: Mapping[str, float]
    memory_bytes: int
    masks: Mapping[str, float] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Of all stages."""
        return sum(self.stages.values())

    def in_short(self) -> str:
        """The forecast in a sentence, and in another what it does not know."""
        told = f"This will take about {in_time(self.seconds)} and {self.memory_bytes / 2**30:.1f} GiB of memory."
        if not self.masks:
            return told
        more = in_time(sum(self.masks.values()))
        return (
            f"{told} Where whole layers miss the target, channel masks are looked at, too, which takes {more} more."
        )

    def with_masks(self, search: "Forecast") -> "Forecast":
        """The same where a second search may follow.

        Args:
            search: what a run with channel masks would take.
        """
        return replace(self, masks={stage: each for stage, each in search.stages.items() if stage in _SEARCH})

    @property
    def twice(self) -> "Forecast":
        """What it takes once the second search has come."""
        stages = {stage: seconds + self.masks.get(stage, 0.0) for stage, seconds in self.stages.items()}
        return Forecast(stages, self.memory_bytes)


# By stage, how many times as long it takes as its counts say: samples, multiply-adds, cells, batches, builds.
_FACTORS: Mapping[str, tuple[float, float, float, float, float]] = {
    "observe": (0.8, 0.0, 8.8, 3.0, 3.0),
    "sensitivity": (1.4, 1.0, 18.0, 4.0, 4.0),
    "plan": (0.9, 1.15, 11.0, 1.5, 3.3),
    "fit": (1.9, 1.0, 4.4, 2.6, 3.0),
    "validate": (1.0, 0.0, 0.0, 2.7, 15.0),
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
        takes = (pace.sample, pace.flop, pace.cell, pace.batch, pace.build)
        parts = zip(_FACTORS[stage], astuple(work), takes, strict=True)
        seconds[stage] = pace.busy * sum(factor * count * each for factor, count, each in parts)
    return Forecast({**seconds, "latency": _TIMING}, _memory(inputs))


def work_of(inputs: Inputs, targets: int | None = None) -> dict[str, Work]:
    """What each stage does, by the names that the report gives to their times; see `forecast`."""
    if targets is None:
        searches, tries = 1 if inputs.config.has_target else _BISECTED, tries_alone(inputs)
        looks = searches
    else:
        searches, tries = targets, tries_together(inputs, targets)
        looks = 1
    tries = min(tries, _possible_plans(inputs))
    watching = Watching.of(inputs) if inputs.config.squares else Watching(0, 0, 0, 0)
    whole = _carried_out(inputs, replace(inputs.calibration, everything=True), watching.watched)
    if watching.watched:
        growth = _growth(inputs, watching.changes)
        whole = whole.plus(growth).times(_FITS).plus(growth)  # once for the original
    comparing = Work()
    if tries > 1:
        few = watching.compared
        closely = _carried_out(inputs, inputs.reduced, few).times(searches * min(tries, fewest_closely(tries)))
        comparing = _carried_out(inputs, inputs.rough, few // ROUGHLY_WATCHED).times(looks * tries).plus(closely)
    report = sum(map(len, (inputs.data.report, *inputs.data.others.values())))
    return {
        "observe": _observed(inputs).plus(_looked_at(inputs, watching.run)),
        "sensitivity": _sweep(inputs),
        "plan": comparing,
        "fit": whole.times(searches),
        "validate": Work(2 * report, batches=2 * inputs.report_batches, builds=2).times(searches),
    }


def _observed(inputs: Inputs) -> Work:
    """What it takes to see what the sites do with every sample."""
    calibration, reduced = inputs.calibration, inputs.reduced
    compared = reduced.batches[reduced.selection]
    samples = count_samples(calibration.batches)
    sites = [site for site in inputs.analysis.sites if site.refusal is None]
    return Work(
        samples + count_samples(compared),
        cells=samples * inputs.analysis.cost.relus,
        batches=len(calibration.batches) * (len(sites) + 1) + len(compared),
        builds=1,
    )


def _looked_at(inputs: Inputs, samples: int) -> Work:
    """What it takes to run a network on samples and to look at the ends of activations."""
    batches = samples / inputs.data.batch * (len(inputs.analysis.sites) + 1)
    return Work(samples, cells=_ENDS * samples * inputs.analysis.cost.relus, batches=batches)


def _growth(inputs: Inputs, changes: int) -> Work:
    """What it takes to look how far the activations of a network grow."""
    macs, pools = inputs.analysis.cost.macs, (affordable_pool(inputs), inputs.data.report)
    return _looked_at(inputs, sum(looked_at(len(pool), changes, macs) for pool in pools))


def _sweep(inputs: Inputs) -> Work:
    """What it takes to measure the candidates that are looked at first: each leaves or changes some layers."""
    if inputs.config.sensitivity == "magnitude":
        return Work()
    candidates, _ = possible_candidates(inputs)
    calibration, layers = inputs.swept, sorted(_layers(inputs.analysis), key=lambda layer: layer.main)
    fitted, samples = count_samples(calibration.batches[calibration.fitting]), count_samples(calibration.batches)
    work = Work()
    for candidate in first_look(candidates):
        work = work.plus(_merged(inputs.analysis, candidate, fitted, calibration))
        after = [layer for layer in layers if layer.main > max(candidate.nodes, default=-1)][:LOOKAHEAD]
        for layer in after:
            work = work.plus(_fit(inputs.analysis, layer, fitted, calibration))
        rest = 1 - min(candidate.nodes, default=0) / len(inputs.analysis.network.nodes)
        steps = 2 + len(after)
        work = work.plus(Work(rest * samples, batches=steps * len(calibration.batches), builds=1))
    return work


def _merged(analysis: Analysis, candidate: Candidate, samples: int, calibration: Calibration) -> Work:
    """What it takes to fit the layer that a candidate leaves in place of several; nothing where it leaves none."""
    made = analysis.network.full_shape(candidate.output)
    if candidate.layers != 1 or made is None or len(made) < 2 or not math.prod(made[1:]):
        return Work()
    before = (layer for layer in _layers(analysis) if layer.main in candidate.nodes)
    macs = sum(layer_macs(analysis.network, analysis.network.nodes[layer.main]) or 0 for layer in before)
    outputs, places = made[1], math.prod(made[2:])
    unknowns = max(macs - candidate.macs, 0) // (outputs * places)
    rows = min(samples * places, calibration.fit.rows_wanted(unknowns, 1))
    return _regression(unknowns, outputs, 1, rows, calibration)


def _carried_out(inputs: Inputs, calibration: Calibration, watched: int = 0) -> Work:
    """What it takes to carry out one plan: the network is run once, and all layers are fitted."""
    analysis, layers = inputs.analysis, _layers(inputs.analysis)
    fitted = count_samples(calibration.batches[calibration.fitting]) + watched
    batches = (len(calibration.batches) + watched / inputs.data.batch) * (len(layers) + 1)
    work = Work(count_samples(calibration.batches) + watched, batches=batches, builds=1)
    for layer in layers:
        work = work.plus(_fit(analysis, layer, fitted, calibration))
    return work


def _fit(analysis: Analysis, layer: Layer, samples: int, calibration: Calibration) -> Work:
    """What it takes to fit a layer; nothing where there are too few rows."""
    rows = _rows(analysis, layer, samples, calibration)
    return _regression(*_sizes(analysis, layer), rows, calibration)


def _regression(unknowns: int, outputs: int, groups: int, rows: int, calibration: Calibration) -> Work:
    """The sums, their factorisation, and rounds of new targets, for one group's unknowns and outputs."""
    if not rows:
        return Work()
    products = rows * unknowns * groups * (unknowns + 4 * outputs * (1 + calibration.fit.rounds))
    return Work(flops=products + groups * unknowns**3, cells=rows * groups * (unknowns + 3 * outputs))


def _possible_plans(inputs: Inputs) -> int:
    """How many plans there can be: at each place one of its candidates, or none, and something at all."""
    candidates, _ = possible_candidates(inputs)
    return math.prod(count + 1 for count in Counter(c.place for c in candidates).values()) - 1


def _memory(inputs: Inputs) -> int:
    """The most bytes that the process will hold: what it holds now, and what the final fit adds.

    Libraries are loaded before this, or when the fit is over.
    """
    analysis, calibration = inputs.analysis, inputs.calibration
    samples = count_samples(calibration.batches) + (Watching.of(inputs).watched if inputs.config.squares else 0)
    kept = min(samples * bytes_of_sample(analysis) // 2, calibration.store.budget)
    fits = max((_fit_bytes(analysis, layer, samples, calibration) for layer in _layers(analysis)), default=0)
    running = inputs.data.batch * bytes_of_sample(analysis)
    models = bytes_of_copies(analysis)
    compared = 4 * count_samples(inputs.reduced.batches) * analysis.cost.relus  # where changes begin
    return memory_in_use() + kept + fits + running + models + min(compared, MOST_BYTES)


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


def _layers(analysis: Analysis) -> list[Layer]:
    """The layers that are fitted."""
    return [layer for layer in analysis.layers if layer.kind != "affine"]


def count_samples(batches: Batches) -> int:
    """The samples of some batches."""
    return sum(len(next(iter(batch.values()))) for batch in batches)
