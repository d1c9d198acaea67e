"""The sweep: every candidate's damage, after its own fit, on held-out samples.

Candidates are applied in the order of the network, each to a network of its own, fitted on the leading batches, and
run to the output on the others, from where the network parts from the original on.
"""

import itertools
import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from onnxshallow.actions.apply import Rewritten, apply_candidates
from onnxshallow.actions.base import Candidate, Statistics
from onnxshallow.analysis import Analysis, Layers, NotLinearError
from onnxshallow.fitting.calibration import Calibration
from onnxshallow.fitting.correction import correct, downstream
from onnxshallow.fitting.gathering import KnownRows
from onnxshallow.runtime.progress import Step
from onnxshallow.runtime.waypoints import Waypoints, parting
from onnxshallow.runtime.whole import join_batches
from onnxshallow.search.sensitivity.cache import SweepCache
from onnxshallow.search.sensitivity.measures import Measure, damage
from onnxshallow.search.workers import run_all, worker_count
from onnxshallow.validation.kinds import OutputKind

__all__ = ["LOOKAHEAD", "SweepOptions", "sweep"]

logger = logging.getLogger(__name__)


LOOKAHEAD = 2
"""Layers after a change that are corrected before its damage is measured.

The correction that follows the real plan goes on to the output. Two layers of it rank candidates nearly as all do
(docs/decisions/damage-after-correction.md) at a third of the price.
"""

# Rewritten networks wait for their turn if all fit into this many bytes; else they are made again.
_MOST_KEPT = 1 << 30
# Parts that the candidates are cut into for each worker, so that none waits long for the last.
_PARTS = 2
# Stored, read, and in double precision.
_BYTES_A_WEIGHT = 16


@dataclass(frozen=True)
class SweepOptions:
    """How damage is measured.

    Attributes:
        measure: how far outputs have moved.
        lookahead: number of untouched layers after a change that are corrected first.
        kinds: what the outputs mean; None to guess it from their shapes alone.
    """

    measure: Measure = "kl"
    lookahead: int = LOOKAHEAD
    kinds: Sequence[OutputKind] | None = None


def sweep(
    analysis: Analysis,
    candidates: Sequence[Candidate],
    statistics: Statistics,
    calibration: Calibration,
    reference: Sequence[np.ndarray],
    cache: SweepCache,
    options: SweepOptions,
    step: Step = lambda: None,
    waypoints: Waypoints | None = None,
) -> dict[str, float]:
    """Damage of each candidate by its key.

    Args:
        analysis: of the original.
        candidates: what to measure.
        statistics: what the original's sites do.
        calibration: inputs, split into batches to fit on and batches to measure on.
        reference: the original's outputs on the latter.
        cache: damages known from earlier runs; new ones are added as they come.
        options: how damage is measured.
        step: called when a candidate is done.
        waypoints: of the original on the calibration's batches, from an earlier sweep.
    """
    damages = {c.key: cache[c.key] for c in candidates if c.key in cache}
    for _ in damages:
        step()
    missing = [c for c in candidates if c.key not in damages]
    task = _Sweep(analysis, missing, statistics, calibration, reference, options)
    keys = [c.key for c in missing]
    parts = [keys[first :: _PARTS * worker_count()] for first in range(_PARTS * worker_count())]
    found = (
        task.damages(keys, waypoints)
        if worker_count() == 1
        else itertools.chain.from_iterable(run_all(_measured, task, parts))
    )
    for key, value in found:
        if value is not None:
            damages[key] = cache[key] = value
        step()
    return damages


@dataclass(frozen=True, eq=False)
class _Sweep:
    """What is measured, and by what; as for `sweep`. All candidates are new."""

    analysis: Analysis
    candidates: Sequence[Candidate]
    statistics: Statistics
    calibration: Calibration
    reference: Sequence[np.ndarray]
    options: SweepOptions

    def damages(
        self, keys: Collection[str], waypoints: Waypoints | None = None
    ) -> Iterator[tuple[str, float | None]]:
        """The damage of some of the candidates by key, in the order of the network; None for one that does not apply.

        Args:
            keys: of the candidates.
            waypoints: of the original on the calibration's batches, where there are such.
        """
        analysis, calibration = self.analysis, self.calibration
        position = {name: node.index for node in analysis.network.nodes for name in node.outputs}
        weights = sum(int(np.prod(layer.weight_shape)) for layer in analysis.layers)
        hold = weights * _BYTES_A_WEIGHT * len(keys) <= _MOST_KEPT
        todo: list[tuple[int, Candidate, Rewritten | None]] = []
        wanted = set(keys)
        for candidate in (each for each in self.candidates if each.key in wanted):
            try:
                rewritten = apply_candidates(analysis, [candidate], self.statistics)
            except NotLinearError as error:  # find() promised too much
                logger.warning("Candidate %s does not apply: %s.", candidate.key, error.__cause__)
                yield candidate.key, None
                continue
            todo.append((position.get(candidate.source, -1), candidate, rewritten if hold else None))
        batches, store, rows = calibration.batches, calibration.store, KnownRows(calibration.store)
        if waypoints is None:
            waypoints = Waypoints(analysis.network, batches, store, calibration.threads)
        for _, candidate, known in sorted(todo, key=lambda item: item[0]):
            rewritten = known or apply_candidates(analysis, [candidate], self.statistics)
            layers, reference = analysis.layers, self.reference
            value = _damage_of(waypoints, rewritten, layers, calibration, reference, self.options, rows)
            yield candidate.key, value


def _measured(task: _Sweep, keys: Collection[str]) -> list[tuple[str, float | None]]:
    """What a worker measures."""
    return list(task.damages(keys))


def _damage_of(
    waypoints: Waypoints,
    rewritten: Rewritten,
    known: Layers,
    calibration: Calibration,
    reference: Sequence[np.ndarray],
    options: SweepOptions,
    rows: KnownRows,
) -> float:
    network, layers = rewritten.analysis.network, rewritten.analysis.layers
    touched = rewritten.fit | rewritten.frozen | {partial.output for partial in rewritten.partials}
    following = [layer for layer in downstream(network, layers, touched) if layer.output not in touched]
    near = set(following[: options.lookahead])
    chosen = [layer for layer in layers if layer.output in rewritten.fit or layer in near]
    begin, everything = parting(waypoints.network, network, layers.made_by(chosen)), slice(None)
    after = waypoints.cursor(network, begin, everything, goals=None)
    if chosen or rewritten.partials:
        before = waypoints.cursor(waypoints.network, begin, everything, goals=())
        correct(
            before,
            after,
            layers,
            chosen,
            calibration.fit_batches,
            calibration.fit,
            changed=rewritten.fit,
            known=known,
            partials=rewritten.partials,
            dead=rewritten.dead,
            rows=rows,
        )
    after.restrict(calibration.selection)
    return damage(options.measure, reference, join_batches(after.outputs()), options.kinds)
