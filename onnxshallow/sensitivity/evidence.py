"""One pass over the original network: what every site does to its channels."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from onnxshallow.actions.base import Evidence
from onnxshallow.analysis import Analysis, Site
from onnxshallow.fitting.calibration import Calibration, Step
from onnxshallow.fitting.moments import Response, response, widened
from onnxshallow.runtime.frontier import Batches, Frontier

__all__ = ["STIRS", "collect_evidence", "stir"]

_CHANGES = ((1.2, 0.0), (0.8, 0.0), (1.0, 0.2), (1.0, -0.2))
STIRS = len(_CHANGES)
"""How many changed samples `stir` makes of one."""


def collect_evidence(
    analysis: Analysis,
    sites: Sequence[Site],
    calibration: Calibration,
    step: Step = lambda: None,
    *,
    stirred: bool = False,
    pixels: bool = False,
) -> Evidence:
    """The least-squares polynomials of each of `sites`, by name.

    Args:
        analysis: of the original.
        sites: removable sites, in graph order.
        calibration: inputs, whose fitting batches the polynomials are fitted to; errors are those on the others.
        step: called after each site.
        stirred: whether the range of what a site reads and the peak of what it makes are those of changed inputs as
            well (`stir`).
        pixels: whether each element is looked at by itself, too.
    """
    goals = {tensor for site in sites for tensor in (site.source, site.output)}
    held_out = calibration.batches[calibration.selection]
    batches = [*calibration.batches, *(stir(held_out) if stirred else ())]
    given = len(calibration.batches)
    parts, changed = (calibration.fitting, slice(calibration.fit_batches, given)), slice(given, None)
    frontier = Frontier.at_inputs(
        analysis.network, batches, calibration.store, goals=goals, threads=calibration.threads
    )
    evidence = {}
    for site in sites:
        frontier.advance([site.source, site.output])
        fitted, judged = (_pairs(frontier, site, part) for part in parts)
        found = response(fitted, site.channels, judged)
        if pixels and site.channels > 1:
            found = replace(found, pixels=_by_element(frontier, site, parts))
        evidence[site.name] = widened(found, _pairs(frontier, site, changed))
        frontier.goals -= {site.source, site.output}
        step()
    return evidence


def stir(batches: Batches) -> list[dict[str, np.ndarray]]:
    """Inputs as another camera may give them: scaled by a fifth up and down, shifted by a fifth of their spread.

    Args:
        batches: inputs by name, batch by batch; other than floating-point ones stay as they are.
    """
    return [
        {
            name: (scale * x + shift * x.std()).astype(x.dtype) if x.dtype.kind == "f" else x
            for name, x in batch.items()
        }
        for scale, shift in _CHANGES
        for batch in batches
    ]


def _by_element(frontier: Frontier, site: Site, parts: Sequence[slice]) -> Response:
    """The polynomials of each element of a site by itself, (C, *spatial)."""
    shape = frontier[site.source][0].shape[1:]
    elements = int(np.prod(shape))
    fitted, judged = (
        ((z.reshape(len(z), elements), y.reshape(len(y), elements)) for z, y in _pairs(frontier, site, part))
        for part in parts
    )
    return response(fitted, elements, judged).reshaped(shape)


def _pairs(frontier: Frontier, site: Site, batches: slice) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """What a site reads and makes, batch by batch."""
    for pair in zip(frontier[site.source][batches], frontier[site.output][batches], strict=True):
        yield pair
        frontier.store.rest()
