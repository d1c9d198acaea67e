"""Replace an activation by parabolas, channel by channel: y = q z^2 + l z + c.

Under secure computation a square costs one multiplication, a fraction of a comparison. DELPHI (Mishra et al., 2020)
and AutoReP (arXiv 2308.10134) train such networks; here the parabolas are least-squares fits to calibration
activations, and used where these allow it (`onnxshallow.fitting.parabolas`).
"""

import numpy as np

from onnxshallow.actions.base import Action, FindOptions, Found, Rewrite, Statistics
from onnxshallow.actions.folding import site_that_makes
from onnxshallow.actions.importance import most_important
from onnxshallow.actions.partial import InPart, found_in_part, keep_in_part, partial_candidates, partly_refused
from onnxshallow.analysis import Analysis, Site
from onnxshallow.fitting.moments import Parabola
from onnxshallow.fitting.parabolas import trusted
from onnxshallow.model.editor import GraphEditor

__all__ = ["Quadratic"]

_SHARES = (0, 1 / 8, 1 / 4, 3 / 8, 1 / 2, 5 / 8, 3 / 4, 7 / 8)


class Quadratic(Action[InPart]):
    """Replaces the activation of a site, or of some of its channels, by parabolas."""

    name = "quadratic"
    candidate_class = InPart
    apart = True

    def find(self, analysis: Analysis, options: FindOptions) -> Found:
        """Every removable site, with a handful of numbers of channels that are kept."""
        if not options.polynomials:
            return Found((), {})
        reasons = {site.name: self._refusal(analysis, site, options) for site in analysis.sites}
        shares = _SHARES[:1] if options.granularity == "layer" else _SHARES

        def candidates(site: Site) -> list[InPart]:
            counts = [round(share * site.channels) for share in shares]
            return partial_candidates(self.name, analysis, site, options, counts, squares=True)

        return found_in_part(analysis.sites, reasons, candidates)

    def _refusal(self, analysis: Analysis, site: Site, options: FindOptions) -> str | None:
        reason = partly_refused(analysis, site, pixels=False)
        if reason is None and options.statistics is not None and not trusted(options.statistics[site.name]).any():
            return "no parabola of its channels that stays in bounds explains more than an affine map"
        return reason

    def apply(self, editor: GraphEditor, analysis: Analysis, candidate: InPart, statistics: Statistics) -> Rewrite:
        """Keep the channels that need it most; others that no parabola is trusted with become affine."""
        site = site_that_makes(analysis, candidate.output)
        found = statistics[candidate.sites[0]]
        bends = trusted(found)
        kept = most_important(
            analysis, site, np.where(bends, found.quadratic_error, found.affine_error), candidate.kept
        )
        curve = Parabola(
            np.where(bends, found.parabola.square, 0.0),
            np.where(bends, found.parabola.linear, found.scale),
            np.where(bends, found.parabola.constant, found.shift),
        )
        return keep_in_part(editor, analysis, site, kept, curve, found.bounds)
