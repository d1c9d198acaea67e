"""What every site does to its channels, from one pass over the original network."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from onnxshallow.actions.base import Statistics
from onnxshallow.analysis import Analysis, Site
from onnxshallow.errors import ModelError
from onnxshallow.fitting.calibration import Calibration
from onnxshallow.fitting.moments import SiteStatistics, site_statistics
from onnxshallow.runtime.cursor import Cursor
from onnxshallow.runtime.progress import Step

__all__ = ["collect_statistics"]

# Squares of what is larger do not add up in float32: 8192 of them, a block of `fitting.products`, come to 8e37.
_LARGEST = 1e17


def collect_statistics(
    analysis: Analysis,
    sites: Sequence[Site],
    calibration: Calibration,
    step: Step = lambda: None,
    *,
    pixels: bool = False,
    curved: bool = True,
) -> Statistics:
    """What each of `sites` does to its channels, by the site's name.

    Args:
        analysis: of the original.
        sites: removable sites, in graph order.
        calibration: inputs, to whose fitting batches the best polynomials are fitted; errors are those on the others.
        step: called after each site.
        pixels: whether each element is looked at by itself, too.
        curved: whether parabolas are of interest.

    Raises:
        ModelError: a site reads values that are too large to be fitted.
    """
    goals = {tensor for site in sites for tensor in (site.source, site.output)}
    batches = [*calibration.batches, *calibration.watched]
    given = len(calibration.batches)
    parts, added = (calibration.fitting, slice(calibration.fit_batches, given)), slice(given, None)
    cursor = Cursor.at_inputs(analysis.network, batches, calibration.store, goals=goals, threads=calibration.threads)
    statistics = {}
    for site in sites:
        cursor.advance([site.source, site.output])
        fitted, judged, further = (_pairs(cursor, site, part) for part in (*parts, added))
        found = site_statistics(fitted, site.channels, judged, further, curved=curved)
        if pixels and site.channels > 1:
            found = replace(found, pixels=_by_element(cursor, site, parts, curved))
        statistics[site.name] = found
        cursor.goals -= {site.source, site.output}
        step()
    return statistics


def _by_element(cursor: Cursor, site: Site, parts: Sequence[slice], curved: bool) -> SiteStatistics:
    """The polynomials of each element of a site by itself, (C, *spatial)."""
    shape = cursor[site.source][0].shape[1:]
    elements = int(np.prod(shape))
    fitted, judged = (
        ((z.reshape(len(z), elements), y.reshape(len(y), elements)) for z, y in _pairs(cursor, site, part))
        for part in parts
    )
    return site_statistics(fitted, elements, judged, curved=curved).reshaped(shape)


def _pairs(cursor: Cursor, site: Site, batches: slice) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """What a site reads and makes, batch by batch."""
    for pair in zip(cursor[site.source][batches], cursor[site.output][batches], strict=True):
        _require_fitting_range(site, pair[0])
        yield pair
        cursor.store.rest()


def _require_fitting_range(site: Site, values: np.ndarray) -> None:
    """Refuse what float64 holds and sums of squares in float32, which fits are made of, do not."""
    largest = float(np.max(np.abs(values), initial=0))
    if site.dtype == np.float64 and largest > _LARGEST:
        raise ModelError(
            f"Activation {site.name!r} reads values up to {largest:.1g}, and layers are fitted in single precision, "
            f"to values of at most {_LARGEST:g}; scale the samples, or the weights before it, down."
        )
