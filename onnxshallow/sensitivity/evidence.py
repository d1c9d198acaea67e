"""One pass over the original network: the least-squares affine map of every site."""

from collections.abc import Sequence

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
        pairs = zip(frontier[site.source], frontier[site.output], strict=True)
        evidence[site.name] = affine_fit(pairs, site.channels)
        frontier.goals -= {site.source, site.output}
        step()
    return evidence
