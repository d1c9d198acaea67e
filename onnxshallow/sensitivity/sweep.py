"""The sweep: every candidate's damage, after its own fit, on held-out samples.

The original's frontier goes down the network once. At each cut the candidates that begin there are applied, each
to a network of its own, fitted on the leading batches, and run to the output on the others from the cut on.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from onnxshallow.actions.apply import Rewritten, apply_candidates
from onnxshallow.actions.base import Candidate, Evidence
from onnxshallow.analysis import Analysis, NotLinearError
from onnxshallow.fitting.correction import FitOptions, correct
from onnxshallow.runtime.frontier import Batches, Frontier
from onnxshallow.runtime.store import ActivationStore
from onnxshallow.sensitivity.cache import SweepCache
from onnxshallow.sensitivity.measures import Measure, damage, join_batches

__all__ = ["Calibration", "run_outputs", "sweep"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Calibration:
    """Calibration inputs in batches, and how to work with them.

    Attributes:
        batches: inputs by name, batch by batch.
        fit_batches: the leading batches that layers are fitted on; the others are for selection.
        store: where activations are kept.
        fit: how layers are fitted.
        measure: how damage is measured.
        threads: of onnxruntime; 0 lets it decide.
    """

    batches: Batches
    fit_batches: int
    store: ActivationStore
    fit: FitOptions
    measure: Measure = "kl"
    threads: int = 0

    @property
    def selection(self) -> slice:
        """The batches that are held out from fitting."""
        return slice(self.fit_batches, None)


def run_outputs(analysis: Analysis, calibration: Calibration, batches: slice) -> list[np.ndarray]:
    """The network's outputs on some of the calibration batches, one array (N, ...) each."""
    chosen = calibration.batches[batches]
    frontier = Frontier.at_inputs(analysis.network, chosen, calibration.store, threads=calibration.threads)
    return join_batches(frontier.outputs())


def sweep(
    analysis: Analysis,
    candidates: Sequence[Candidate],
    evidence: Evidence,
    calibration: Calibration,
    reference: Sequence[np.ndarray],
    cache: SweepCache,
    progress: Callable[[str], None] = lambda key: None,
) -> dict[str, float]:
    """Damage of each candidate by its key.

    Args:
        analysis: of the original.
        candidates: what to measure.
        evidence: affine maps of the sites.
        calibration: inputs, split into batches to fit on and batches to measure on.
        reference: the original's outputs on the latter.
        cache: damages known from earlier runs; new ones are added as they come.
        progress: called with each candidate's key when it is done.
    """
    damages = {c.key: cache[c.key] for c in candidates if c.key in cache}
    for key in damages:
        progress(key)
    position = {name: node.index for node in analysis.network.nodes for name in node.outputs}
    todo = []
    for candidate in candidates:
        if candidate.key in damages:
            continue
        try:
            rewritten = apply_candidates(analysis, [candidate], evidence)
        except NotLinearError as error:  # find() promised too much
            logger.warning("Candidate %s does not apply: %s.", candidate.key, error)
            progress(candidate.key)
            continue
        start = _start(candidate, rewritten)
        todo.append((position.get(start, -1), start, candidate, rewritten))
    frontier = Frontier.at_inputs(
        analysis.network, calibration.batches, calibration.store, threads=calibration.threads
    )
    for _, start, candidate, rewritten in sorted(todo, key=lambda item: item[0]):
        frontier.advance([start])
        damages[candidate.key] = _damage_of(frontier, start, rewritten, calibration, reference)
        cache[candidate.key] = damages[candidate.key]
        progress(candidate.key)
    return damages


def _start(candidate: Candidate, rewritten: Rewritten) -> str:
    """The tensor at which the rewritten network begins to differ."""
    layers = rewritten.analysis.layers
    sources = [layer.source for layer in layers if layer.output in rewritten.fit]
    return sources[0] if sources else candidate.source


def _damage_of(
    frontier: Frontier,
    start: str,
    rewritten: Rewritten,
    calibration: Calibration,
    reference: Sequence[np.ndarray],
) -> float:
    layers = rewritten.analysis.layers
    chosen = [layer for layer in layers if layer.output in rewritten.fit]
    after = frontier.fork(rewritten.analysis.network)
    if chosen:
        before = frontier.fork(frontier.network)
        before.goals = set()
        correct(before, after, layers, chosen, calibration.fit_batches, calibration.fit)
    after.restrict(calibration.selection)
    return damage(calibration.measure, reference, join_batches(after.outputs()))
