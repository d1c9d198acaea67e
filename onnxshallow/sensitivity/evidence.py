"""One pass over the original network: the least-squares affine map of every site."""

from collections.abc import Callable, Sequence

from onnxshallow.actions.base import Evidence
from onnxshallow.analysis import Analysis, Site
from onnxshallow.fitting.moments import affine_fit
from onnxshallow.runtime.frontier import Batches, Frontier
from onnxshallow.runtime.store import ActivationStore

__all__ = ["collect_evidence"]


def collect_evidence(
    analysis: Analysis,
    sites: Sequence[Site],
    batches: Batches,
    store: ActivationStore,
    *,
    threads: int = 0,
    progress: Callable[[], None] = lambda: None,
) -> Evidence:
    """The affine map y = a z + b of each of `sites`, by name.

    Args:
        analysis: of the original.
        sites: removable sites, in graph order.
        batches: calibration inputs to fit on.
        store: where activations are kept.
        threads: of onnxruntime.
        progress: called after each site.
    """
    goals = {tensor for site in sites for tensor in (site.source, site.output)}
    frontier = Frontier.at_inputs(analysis.network, batches, store, goals=goals, threads=threads)
    evidence = {}
    for site in sites:
        frontier.advance([site.source, site.output])
        pairs = zip(frontier[site.source], frontier[site.output], strict=True)
        evidence[site.name] = affine_fit(pairs, site.channels)
        frontier.goals -= {site.source, site.output}
        progress()
    return evidence
