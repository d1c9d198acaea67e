"""Whether a network with parabolas stays near the original while plans compete, where there is no time to look far.

A parabola that leaves its activation makes the next one leave it further. So the rewritten network is run on the
watched samples, and at no site may the largest activation be a multiple of what the original makes of all samples.
The network that is kept is looked at closely (`onnxshallow.validation.peaks`).
"""

import numpy as np

from onnxshallow.actions.base import Statistics
from onnxshallow.analysis import Analysis
from onnxshallow.fitting.calibration import Calibration
from onnxshallow.model.network import Network
from onnxshallow.validation.growth import BOUND, growth
from onnxshallow.validation.peaks import Peaks

__all__ = ["why_unstable"]


def why_unstable(
    original: Analysis, statistics: Statistics, rewritten: Network, calibration: Calibration
) -> str | None:
    """What goes wrong on the watched samples, in words; None where nothing does.

    Args:
        original: the original's parts.
        statistics: what the original's removable sites do, also on the watched samples.
        rewritten: the rewritten network, whose tensors go by the original's names.
        calibration: inputs.

    Raises:
        ModelError: onnxruntime fails on the rewritten network.
    """
    sites = [
        site
        for site in original.sites
        if site.name in statistics and site.node >= 0 and rewritten.producer(site.output) is not None
    ]
    if not sites:  # each went into what follows
        return None
    batches = calibration.watched or calibration.batches[calibration.selection]
    run = Peaks(rewritten, [site.output for site in sites], calibration.threads)
    before = np.array([statistics[site.name].peak for site in sites])
    after = np.max([run(batch).max(axis=0) for batch in batches], axis=0)
    factors = growth(before, after)
    worst = int(factors.argmax())
    if factors[worst] <= BOUND:
        return None
    return (
        f"on samples that were watched the activations of {sites[worst].name!r} grow to {factors[worst]:.3g} times "
        "the original's"
    )
