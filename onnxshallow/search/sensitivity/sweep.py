"""The sweep: every candidate's damage, after its own fit, on held-out samples.

The original's cursor goes down the network once. At each cut the candidates that begin there are applied, each
to a network of its own, fitted on the leading batches, and run to the output on the others from the cut on.
"""

import itertools
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from onnxshallow.actions.apply import Rewritten, apply_candidates
from onnxshallow.actions.base import Candidate, Statistics
from onnxshallow.analysis import Analysis, Layers, NotLinearError
from onnxshallow.fitting.calibration import Calibration
from onnxshallow.fitting.correction import correct, downstream
from onnxshallow.runtime.cursor import Cursor
from onnxshallow.runtime.progress import Step
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
    """
    damages = {c.key: cache[c.key] for c in candidates if c.key in cache}
    for _ in damages:
        step()
    missing = [c for c in candidates if c.key not in damages]
    task = _Sweep(analysis, missing, statistics, calibration, reference, options)
    keys = [c.key for c in missing]
    parts = [keys[first :: _PARTS * worker_count()] for first in range(_PARTS * worker_count())]
    found = (
        task.damages(keys) if worker_count() == 1 else itertools.chain.from_iterable(run_all(_measured, task, parts))
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

    def damages(self, keys: Collection[str]) -> Iterator[tuple[str, float | None]]:
        """The damage of some of the candidates by key; None for one that does not apply after all.

        The cursor stops where any candidate begins, also those of others, so that what it computes does not depend
        on which are measured here.
        """
        analysis, calibration = self.analysis, self.calibration
        position = {name: node.index for node in analysis.network.nodes for name in node.outputs}
        weights = sum(int(np.prod(layer.weight_shape)) for layer in analysis.layers)
        hold = weights * _BYTES_A_WEIGHT * len(keys) <= _MOST_KEPT
        todo: list[tuple[int, str, Candidate, Rewritten | None]] = []
        for candidate in self.candidates:
            try:
                rewritten = apply_candidates(analysis, [candidate], self.statistics)
            except NotLinearError as error:  # find() promised too much
                if candidate.key in keys:
                    logger.warning("Candidate %s does not apply: %s.", candidate.key, error.__cause__)
                    yield candidate.key, None
                continue
            start = _start(analysis, candidate, rewritten, position)
            kept = rewritten if hold and candidate.key in keys else None
            todo.append((position.get(start, -1), start, candidate, kept))
        batches, store = calibration.batches, calibration.store
        cursor = Cursor.at_inputs(analysis.network, batches, store, threads=calibration.threads)
        for _, start, candidate, known in sorted(todo, key=lambda item: item[0]):
            cursor.advance([start])
            if candidate.key in keys:
                rewritten = known or apply_candidates(analysis, [candidate], self.statistics)
                reference = self.reference
                yield (
                    candidate.key,
                    _damage_of(cursor, rewritten, analysis.layers, calibration, reference, self.options),
                )


def _measured(task: _Sweep, keys: Collection[str]) -> list[tuple[str, float | None]]:
    """What a worker measures."""
    return list(task.damages(keys))


def _start(analysis: Analysis, candidate: Candidate, rewritten: Rewritten, position: Mapping[str, int]) -> str:
    """The tensor, known to both networks, at which the rewritten one begins to differ.

    That is where a layer begins that is to be fitted, or the change itself, whichever comes first.
    """
    network, layers = rewritten.analysis.network, rewritten.analysis.layers
    sources = [layer.source for layer in layers if layer.output in rewritten.fit][:1]
    layer = analysis.layers.by_output.get(candidate.source)
    gone = candidate.source in position and network.producer(candidate.source) is None
    if not gone:
        sources.append(candidate.source)
    elif not sources and layer is not None:
        return layer.source
    return min(sources or [candidate.source], key=lambda name: position.get(name, -1))


def _damage_of(
    cursor: Cursor,
    rewritten: Rewritten,
    known: Layers,
    calibration: Calibration,
    reference: Sequence[np.ndarray],
    options: SweepOptions,
) -> float:
    network, layers = rewritten.analysis.network, rewritten.analysis.layers
    after = cursor.fork(network)
    touched = rewritten.fit | rewritten.frozen | {partial.output for partial in rewritten.partials}
    following = [layer for layer in downstream(network, layers, touched) if layer.output not in touched]
    near = set(following[: options.lookahead])
    chosen = [layer for layer in layers if layer.output in rewritten.fit or layer in near]
    if chosen or rewritten.partials:
        before = cursor.fork(cursor.network)
        before.goals = set()
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
        )
    after.restrict(calibration.selection)
    return damage(options.measure, reference, join_batches(after.outputs()), options.kinds)
