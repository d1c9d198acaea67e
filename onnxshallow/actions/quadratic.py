"""Replace an activation by parabolas, channel by channel: y = q z^2 + l z + c.

Under secure computation a square costs one multiplication, a fraction of a comparison. DELPHI (Mishra et al., 2020)
and AutoReP (arXiv 2308.10134) train such networks; here the parabolas are least-squares fits to calibration
activations, and used where these allow it.
"""

import numpy as np

from onnxshallow.actions.base import Candidate, Evidence, FindOptions, Found, Rewrite
from onnxshallow.actions.before import site_that_makes
from onnxshallow.actions.levels import most_needed, partial_candidates
from onnxshallow.actions.partially import keep_partly
from onnxshallow.analysis import Analysis
from onnxshallow.fitting.moments import Parabola
from onnxshallow.fitting.parabolas import trusted
from onnxshallow.model.surgery import Workbench

__all__ = ["Quadratic"]

_SHARES = (0.0, 1 / 8, 1 / 4, 1 / 2, 3 / 4)


class Quadratic:
    """Replaces the activation of a site, or of some of its channels, by parabolas."""

    name = "quadratic"

    def find(self, analysis: Analysis, options: FindOptions) -> Found:
        """Every removable site, with a handful of numbers of channels that are kept."""
        if not options.polynomials:
            return Found((), {})
        return partial_candidates(self.name, analysis, options, _SHARES)

    def apply(self, bench: Workbench, analysis: Analysis, candidate: Candidate, evidence: Evidence) -> Rewrite:
        """Keep the channels of which neither a parabola nor an affine map explains enough."""
        site = site_that_makes(analysis, candidate.output)
        found = evidence[candidate.sites[0]]
        bends = trusted(found)
        left = np.where(bends, found.bent, found.unexplained)
        kept = most_needed(analysis, site, left, candidate.kept or 0)
        curve = Parabola(
            np.where(bends, found.parabola.square, 0.0),
            np.where(bends, found.parabola.linear, found.scale),
            np.where(bends, found.parabola.constant, found.shift),
        )
        return keep_partly(bench, analysis, site, kept, curve)
