"""Samples that are watched where something is squared: the extremes of all that the calibration source holds.

A square has to stay in bounds on samples that nobody fitted to. Whether it will is decided by the largest inputs of
each channel, which a thousand samples do not show. So the original runs over everything in the source once, and for
each channel the samples that reach furthest are kept, and of copies changed as the world may change them, too.

Parabolas are bounded by how far these reach. Layers are fitted to them beside the calibration samples: one that never
saw a black image makes something of it that the original does not, and what follows is bounded for no good.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from onnxshallow.data.changes import Changer
from onnxshallow.data.prepare import labelled_batches
from onnxshallow.data.samples import Samples
from onnxshallow.data.splits import subset
from onnxshallow.model.session import Session
from onnxshallow.runtime.progress import Progress, counted
from onnxshallow.runtime.segment import build_segment
from onnxshallow.search.inputs import Inputs

__all__ = ["IN_SOURCE", "Watching", "affordable_pool", "extremes", "with_watched"]

IN_SOURCE = "calibration samples"
"""What all that the calibration source holds is called where growth is told."""

# What running a network over the whole source may cost, and over changed copies; of larger sources a part is drawn.
_POOL_MACS, _CHANGED_MACS = 1.5e13, 2e12
# How many extremes are watched next to calibration samples: as they are, of each kind of changed copy, and of those
# that reach furthest of all, as they hold nothing but black and white.
_AS_THEY_ARE, _CHANGED, _SATURATED = 0.4, 0.05, 0.25
# While plans compete, one batch in so many is watched.
_ONE_IN = 6


def affordable_pool(inputs: Inputs) -> Samples:
    """Everything that the calibration source holds, or of very much a part drawn at random."""
    pool = inputs.data.pool
    most = max(len(inputs.data.fit), int(_POOL_MACS / max(inputs.analysis.cost.macs, 1)))
    return pool.take(subset(len(pool), most, inputs.config.seed))


@dataclass(frozen=True)
class Watching:
    """About how much is watched, for a forecast.

    Attributes:
        run: samples that the original is run on to find the extremes, changed copies included.
        watched: samples that a plan which is kept is fitted to beside others.
        compared: samples of these that it is while plans are compared.
        changes: ways to change samples.
    """

    run: int
    watched: int
    compared: int
    changes: int

    @classmethod
    def of(cls, inputs: Inputs) -> "Watching":
        """What `with_watched` will do."""
        pool = len(affordable_pool(inputs))
        changes = Changer.of(inputs.analysis.network.inputs, inputs.calibration.batches[:1]).changes
        copies = min(pool, max(inputs.data.batch, _copied(inputs, changes)))
        watched = int((_AS_THEY_ARE + sum(map(_share, changes))) * inputs.data.calibrated)
        return cls(pool + len(changes) * copies, watched, watched // _ONE_IN, len(changes))


def with_watched(inputs: Inputs, progress: Progress) -> Inputs:
    """The same inputs, whose calibration holds the samples to watch."""
    if inputs.calibration.watched:
        return inputs
    network, batch = inputs.analysis.network, inputs.data.batch
    sites = [site for site in inputs.analysis.sites if site.refusal is None]
    if not sites:
        return inputs
    pool, tensors = affordable_pool(inputs), list(dict.fromkeys(site.source for site in sites))
    used = inputs.data.calibrated
    changer = Changer.of(network.inputs, inputs.calibration.batches, inputs.config.seed)
    changes = changer.changes
    with progress.stage("Looking for extremes", -(-len(pool) // batch)) as step:
        read = inputs.reference.read(IN_SOURCE, counted(_batches(pool, inputs), step), tensors)
        found = extremes(read)
    extreme = pool.take(found[: max(batch, int(_AS_THEY_ARE * used))])
    others = pool.take(subset(len(pool), max(batch, _copied(inputs, changes) - len(found)), inputs.config.seed))
    watched = list(_batches(extreme, inputs))
    parts = [*_parts(extreme, inputs), *_parts(others, inputs)]
    if changer.images:
        watched.append(changer.plain(_read(parts[0])))
    model, reads = build_segment(network, network.ancestors(tensors), tensors)
    session = Session(model, threads=inputs.calibration.threads)
    with progress.stage("Looking at changed samples", len(changes) * len(parts)) as step:
        for change in changes:
            copies = _Copies(parts, changer, change)
            found = extremes(
                (copy, session.run({name: copy[name] for name in reads}, tensors)) for copy in counted(copies, step)
            )
            watched += copies.picked(found[: max(batch, int(_share(change) * used))], batch)
    if inputs.fixed_batch:
        watched = [one for one in watched if len(next(iter(one.values()))) == batch]
    return replace(
        inputs,
        calibration=replace(inputs.calibration, watched=watched),
        reduced=replace(inputs.reduced, watched=watched[::_ONE_IN]),
    )


def _copied(inputs: Inputs, changes: Sequence[str]) -> int:
    """How many samples can be afforded of which copies are changed in each way."""
    return int(_CHANGED_MACS / max(inputs.analysis.cost.macs * len(changes), 1))


def _share(change: str) -> float:
    return _SATURATED if change == "saturated" else _CHANGED


def _batches(samples: Samples, inputs: Inputs) -> Iterator[Mapping[str, np.ndarray]]:
    """Samples batch by batch; full batches only for a model that fixes their size."""
    for feeds, _ in labelled_batches(samples, inputs.data.batch, whole=inputs.fixed_batch):
        yield feeds


def _parts(samples: Samples, inputs: Inputs) -> list[Samples]:
    """The samples of each of these batches, not yet read."""
    batch, count = inputs.data.batch, len(samples)
    last = count // batch * batch if inputs.fixed_batch else count
    return [samples.take(np.arange(start, min(start + batch, last))) for start in range(0, last, batch)]


def _read(part: Samples) -> dict[str, np.ndarray]:
    return part.batch(np.arange(len(part)))


@dataclass(frozen=True, eq=False)
class _Copies:
    """Changed copies of samples, of which one batch is held at a time; they are the same each time they are made.

    Attributes:
        parts: the samples, batch by batch.
        changer: changes them.
        change: how.
    """

    parts: Sequence[Samples]
    changer: Changer
    change: str

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        return map(self._copy, self.parts)

    def _copy(self, part: Samples) -> dict[str, np.ndarray]:
        return self.changer.changed(_read(part), self.change)

    def picked(self, positions: NDArray[np.intp], batch: int) -> list[dict[str, np.ndarray]]:
        """Some of the copies, made anew, in batches of their own, in the order of their positions."""
        ends = np.cumsum([len(part) for part in self.parts])
        found = []
        for part, end in zip(self.parts, ends, strict=True):
            rows = np.sort(positions[(positions < end) & (positions >= end - len(part))]) - (end - len(part))
            if len(rows):
                found.append({name: values[rows] for name, values in self._copy(part).items()})
        joined = {name: np.concatenate([one[name] for one in found]) for name in found[0]}
        starts = range(0, len(positions), batch)
        return [{name: values[start : start + batch] for name, values in joined.items()} for start in starts]


def extremes(read: Iterable[tuple[Mapping[str, np.ndarray], Sequence[np.ndarray]]]) -> NDArray[np.intp]:
    """For each end of each channel of some tensors the sample that reaches furthest; those that do so often first.

    Args:
        read: samples in batches, each with the values of the tensors, (N, C, *spatial).

    Returns:
        Positions of the samples, counted from 0.
    """
    best: list[NDArray[np.float64]] = []
    where: list[NDArray[np.intp]] = []
    start = 0
    for batch, values in read:
        count = len(next(iter(batch.values())))
        ends = [end for value in values for end in _ends(value, count)]
        if not best:
            best = [np.full(end.shape[1], -np.inf) for end in ends]
            where = [np.zeros(end.shape[1], np.intp) for end in ends]
        for number, end in enumerate(ends):
            furthest = end.argmax(axis=0)
            reached = end[furthest, np.arange(end.shape[1])]
            better = reached > best[number]
            best[number] = np.where(better, reached, best[number])
            where[number] = np.where(better, start + furthest, where[number])
        start += count
    positions, wins = np.unique(np.concatenate(where), return_counts=True)
    return positions[np.argsort(-wins, kind="stable")]


def _ends(values: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The largest and the smallest value of each channel, (N, C) each; one row where samples cannot be told apart."""
    rows = count if len(values) % count == 0 else 1
    flat = values.reshape(rows, values.shape[1] if values.ndim > 1 else 1, -1)
    return flat.max(axis=2), -flat.min(axis=2)
