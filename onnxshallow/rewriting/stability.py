"""Whether a network with parabolas stays near the original on inputs that are not quite like the calibration samples.

A parabola that leaves its activation makes the next one leave it further. So the rewritten network is run on scaled
and shifted inputs, and at no site may the largest activation be a multiple of what the original makes of the same.
"""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from onnxshallow.actions.base import Statistics
from onnxshallow.analysis import Analysis
from onnxshallow.fitting.calibration import Calibration
from onnxshallow.model.network import Network
from onnxshallow.model.session import Session
from onnxshallow.rewriting.site_statistics import PERTURBATIONS, perturb
from onnxshallow.runtime.cursor import Batches
from onnxshallow.runtime.segment import build_segment

__all__ = ["growth", "samples_looked_at", "why_unstable"]

# The multiple of the original's largest activation that is too much on some held-out batches, and how many these are.
_TOO_MUCH = 4.0
_BATCHES = 4
# What is too much on any sample; one in thousands may grow by more than the others.
_RUINOUS = 50.0
# A site that never gets beyond this share of the largest activation of all counts as if it did.
_SMALL = 1e-3


def why_unstable(
    original: Analysis, statistics: Statistics, rewritten: Network, calibration: Calibration
) -> str | None:
    """What goes wrong on perturbed samples, in words; None where nothing does.

    While plans compete these are some held-out samples. Once the network is to be written all are looked at, too, for
    growth that ends in nonsense.

    Args:
        original: the original's parts.
        statistics: what the original's removable sites do, on perturbed samples as well.
        rewritten: the rewritten network, whose tensors go by the original's names.
        calibration: inputs.

    Raises:
        ModelError: onnxruntime fails on the rewritten network.
    """
    checks = [(_first(calibration), _TOO_MUCH)]
    if calibration.everything:
        checks.append((calibration.batches, _RUINOUS))
    peaks = {
        site.output: statistics[site.name].peak
        for site in original.sites
        if site.name in statistics and site.node >= 0 and rewritten.producer(site.output) is not None
    }
    for batches, limit in checks:
        found = growth(peaks, rewritten, batches, calibration.threads)
        tensor, factor = max(found.items(), key=lambda item: item[1], default=("", 0.0))
        if factor > limit:
            name = next(site.name for site in original.sites if site.output == tensor)
            return (
                f"on calibration samples scaled and shifted by a fifth, the activations of {name!r} grow to "
                f"{factor:.3g} times the original's"
            )
    return None


def samples_looked_at(calibration: Calibration) -> int:
    """How many perturbed samples `why_unstable` runs a network on while plans compete."""
    return sum(len(next(iter(batch.values()))) for batch in _first(calibration)) * PERTURBATIONS


def growth(peaks: Mapping[str, float], rewritten: Network, batches: Batches, threads: int) -> dict[str, float]:
    """The largest absolute value of each tensor by what it is in the original.

    Args:
        peaks: the largest absolute values in the original, by tensor.
        rewritten: the rewritten network.
        batches: inputs, which are perturbed.
        threads: of onnxruntime.
    """
    least = _SMALL * max(peaks.values(), default=0.0) or 1.0
    largest = _largest(rewritten, list(peaks), batches, threads)
    pairs = zip(peaks.items(), largest, strict=True)
    return {name: (now if np.isfinite(now) else np.inf) / max(peak, least) for (name, peak), now in pairs}


def _first(calibration: Calibration) -> Batches:
    return (calibration.batches[calibration.selection] or calibration.batches)[:_BATCHES]


def _largest(network: Network, tensors: Sequence[str], batches: Batches, threads: int) -> list[float]:
    model, reads = build_segment(network, network.ancestors(tensors), tensors)
    session = Session(model, threads=threads)
    largest = np.zeros(len(tensors))
    for batch in itertools.chain.from_iterable(perturb([batch]) for batch in batches):
        values = session.run({name: batch[name] for name in reads}, tensors)
        largest = np.maximum(largest, [np.max(np.abs(value)) if value.size else 0.0 for value in values])
    return [float(value) for value in largest]
