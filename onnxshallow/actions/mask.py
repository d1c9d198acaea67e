"""Keep an activation for the channels, or the elements, that need it most; the others become affine maps.

Layers of reduced activations are what SENet (arXiv 2301.09254) trains; here the others are the least-squares maps of
`onnxshallow.fitting.moments`, and the layers around them are re-fitted.
"""

from onnxshallow.actions.base import Candidate, Evidence, FindOptions, Found, Rewrite
from onnxshallow.actions.before import site_that_makes
from onnxshallow.actions.levels import most_needed, partial_candidates
from onnxshallow.actions.partially import keep_partly
from onnxshallow.analysis import Analysis
from onnxshallow.fitting.moments import Parabola
from onnxshallow.model.surgery import Workbench

__all__ = ["Mask"]

_SHARES = (1 / 8, 1 / 4, 1 / 2, 3 / 4, 7 / 8)


class Mask:
    """Keeps the activation of some elements of a site."""

    name = "mask"

    def find(self, analysis: Analysis, options: FindOptions) -> Found:
        """Every removable site, with a handful of numbers of elements that are kept."""
        if options.granularity == "layer":
            return Found((), {})
        return partial_candidates(self.name, analysis, options, _SHARES)

    def apply(self, bench: Workbench, analysis: Analysis, candidate: Candidate, evidence: Evidence) -> Rewrite:
        """Keep the elements of which the affine map explains least."""
        site = site_that_makes(analysis, candidate.output)
        found = evidence[candidate.sites[0]]
        kept = most_needed(analysis, site, found.unexplained, candidate.kept or 0)
        line = Parabola(0 * found.scale, found.scale, found.shift)
        return keep_partly(bench, analysis, site, kept, line)
