"""One pass over the original network: the least-squares affine map of every site."""

from collections.abc import Iterator, Sequence

import numpy as np

from onnxshallow.actions.base import Evidence
from onnxshallow.analysis import Analysis, Site
from onnxshallow.fitting.calibration import Calibration, Step
from onnxshallow.fitting.moments import affine_fit
from onnxshallow.runtime.frontier import Frontier

__all__ = ["collect_evidence"]


def collect_evidence(
    analysis: Analysis,
    sites: Sequence[Site],
    calibration: Calibration,
    step: Step = lambda: None,
) -> Evidence:
    """The affine map y = a z + b of each of `sites`, by name.

    Args:
        analysis: of the original.
        sites: removable sites, in graph order.
        calibration: inputs, whose fitting batches are used.
        step: called after each site.
    """
    goals = {tensor for site in sites for tensor in (site.source, site.output)}
    batches = calibration.batches[calibration.fitting]
    frontier = Frontier.at_inputs(
        analysis.network, batches, calibration.store, goals=goals, threads=calibration.threads
    )
    evidence = {}
    for site in sites:
        frontier.advance([site.source, site.output])
        evidence[site.name] = affine_fit(_pairs(frontier, site), site.channels)
        frontier.goals -= {site.source, site.output}
        step()
    return evidence


def _pairs(frontier: Frontier, site: Site) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """What a site reads and makes, batch by batch."""
    for pair in zip(frontier[site.source], frontier[site.output], strict=True):
        yield pair
        frontier.store.rest()
