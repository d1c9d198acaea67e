"""One pass over the original network: what every site does to its channels."""

from collections.abc import Iterator, Sequence

import numpy as np

from onnxshallow.actions.base import Evidence
from onnxshallow.analysis import Analysis, Site
from onnxshallow.fitting.calibration import Calibration, Step
from onnxshallow.fitting.moments import response
from onnxshallow.runtime.frontier import Frontier

__all__ = ["collect_evidence"]


def collect_evidence(
    analysis: Analysis,
    sites: Sequence[Site],
    calibration: Calibration,
    step: Step = lambda: None,
) -> Evidence:
    """The least-squares polynomials of each of `sites`, by name.

    Args:
        analysis: of the original.
        sites: removable sites, in graph order.
        calibration: inputs, whose fitting batches the polynomials are fitted to; errors are those on the others.
        step: called after each site.
    """
    goals = {tensor for site in sites for tensor in (site.source, site.output)}
    frontier = Frontier.at_inputs(
        analysis.network, calibration.batches, calibration.store, goals=goals, threads=calibration.threads
    )
    evidence = {}
    for site in sites:
        frontier.advance([site.source, site.output])
        parts = (_pairs(frontier, site, part) for part in (calibration.fitting, calibration.selection))
        evidence[site.name] = response(next(parts), site.channels, next(parts))
        frontier.goals -= {site.source, site.output}
        step()
    return evidence


def _pairs(frontier: Frontier, site: Site, batches: slice) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """What a site reads and makes, batch by batch."""
    for pair in zip(frontier[site.source][batches], frontier[site.output][batches], strict=True):
        yield pair
        frontier.store.rest()
