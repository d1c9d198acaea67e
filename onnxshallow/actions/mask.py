"""Keep an activation for the channels, or the elements, that need it most; the others become affine maps.

SENet (arXiv 2301.09254) trains networks with such masks. Here the maps are the least-squares ones of
`onnxshallow.fitting.moments`, and the layers around them are re-fitted.
"""

import numpy as np

from onnxshallow.actions.base import Action, FindOptions, Found, Rewrite, Statistics
from onnxshallow.actions.folding import site_that_makes
from onnxshallow.actions.importance import most_important
from onnxshallow.actions.partial import InPart, found_in_part, keep_in_part, partial_candidates, partly_refused
from onnxshallow.analysis import Analysis, NotLinearError, Site
from onnxshallow.fitting.moments import Parabola
from onnxshallow.model.editor import GraphEditor

__all__ = ["Mask"]

_SHARES = (1 / 8, 1 / 4, 3 / 8, 1 / 2, 5 / 8, 3 / 4, 7 / 8)
# Where the others may become parabolas, which do less damage, masks are for sites that lose next to nothing.
_SHARES_BESIDE_PARABOLAS = (1 / 2, 7 / 8)
# Channels of which the affine map leaves less than this, next to the mean over all channels, lose nothing.
_NOTHING = 1e-9


class Mask(Action[InPart]):
    """Keeps the activation of some elements of a site."""

    name = "mask"
    candidate_class = InPart
    apart = True

    def find(self, analysis: Analysis, options: FindOptions) -> Found:
        """Every removable site, with a handful of numbers of elements that are kept."""
        if options.granularity == "layer":
            return Found((), {})
        pixels = options.granularity == "pixel"
        reasons = {site.name: partly_refused(analysis, site, pixels) for site in analysis.sites}

        def candidates(site: Site) -> list[InPart]:
            return partial_candidates(self.name, analysis, site, options, self._counts(site, options), pixels=pixels)

        return found_in_part(analysis.sites, reasons, candidates)

    def _counts(self, site: Site, options: FindOptions) -> list[int]:
        """Shares of the elements, and all but those whose activation never changes its slope on the samples."""
        whole = (site.size or 0) if options.granularity == "pixel" else site.channels
        shares = _SHARES_BESIDE_PARABOLAS if options.polynomials else _SHARES
        counts = [round(share * whole) for share in shares]
        if options.statistics is not None and options.granularity == "channel":
            left = options.statistics[site.name].affine_error
            idle = int(np.sum(left <= _NOTHING * left.mean()))
            counts += [whole - idle] if idle else []
        return counts

    def apply(self, editor: GraphEditor, analysis: Analysis, candidate: InPart, statistics: Statistics) -> Rewrite:
        """Keep the elements of which the affine map explains least."""
        site = site_that_makes(analysis, candidate.output)
        found = statistics[candidate.sites[0]]
        if candidate.pixels:
            if found.pixels is None:
                raise NotLinearError(f"the elements of {site.name!r} were not measured; use --granularity pixel")
            found = found.pixels
        kept = most_important(analysis, site, found.affine_error, candidate.kept)
        line = Parabola(0 * found.scale, found.scale, found.shift)
        return keep_in_part(editor, analysis, site, kept, line)
