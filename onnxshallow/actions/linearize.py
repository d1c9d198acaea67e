"""Remove one activation: y = act(z) becomes y = a z + b.

    Layer -> act            the layer computes a * layer + b, unless its weights are very large
    Add -> act              the sum stays; a layer that feeds it and a scale on its other side are fitted to make
                            the activated sum
    anything else -> act    act becomes a Mul and an Add

a and b are the least-squares map over calibration activations (`onnxshallow.fitting.moments`). Replacing an
activation by the identity instead costs ten times the accuracy.
"""

from dataclasses import dataclass

from onnxshallow.actions.base import Action, Candidate, FindOptions, Found, Rewrite, Statistics
from onnxshallow.actions.emission import affine_nodes
from onnxshallow.actions.folding import feeding_layer, fold, folding_layer, scaled_sum, site_that_makes
from onnxshallow.analysis import Analysis, NotLinearError, Site
from onnxshallow.fitting.moments import SiteStatistics
from onnxshallow.model.editor import GraphEditor

__all__ = ["Linearize", "Removal"]


@dataclass(frozen=True)
class Removal(Candidate):
    """An affine map in place of an activation."""

    @property
    def what(self) -> str:
        """What stands in its place."""
        return "replaced by the least-squares affine map of its channels"

    @property
    def short(self) -> str:
        """What stands in its place."""
        return "removed: an affine map"


class Linearize(Action[Removal]):
    """Removes single activation sites; layers and shapes stay."""

    name = "linearize"
    candidate_class = Removal

    def find(self, analysis: Analysis, options: FindOptions) -> Found:
        """Every site that can be removed at all."""
        candidates = tuple(self.candidate(site) for site in analysis.sites if site.refusal is None)
        refusals = {site.name: site.refusal for site in analysis.sites if site.refusal is not None}
        return Found(candidates, refusals)

    def candidate(self, site: Site) -> Removal:
        """The removal of one site, which leaves everything else in place."""
        return Removal(
            action=self.name,
            sites=(site.name,),
            source=site.source,
            output=site.output,
            relus=site.size or 0,
            nodes=frozenset({site.node}),
        )

    def apply(self, editor: GraphEditor, analysis: Analysis, candidate: Removal, statistics: Statistics) -> Rewrite:
        """Remove the site that makes `candidate.output`."""
        site = site_that_makes(analysis, candidate.output)
        affine = statistics[candidate.sites[0]]
        layer = folding_layer(analysis, site)
        if layer is not None:
            fold(editor, analysis, layer, affine.scale, affine.shift, site.output)
            return Rewrite(fit=(site.output,))
        fed_by = feeding_layer(analysis, site)
        if fed_by is not None:
            scaled_sum(editor, analysis, site, fed_by, site.output)
            return Rewrite(fit=(fed_by.output,))
        self._in_place(editor, site, affine)
        return Rewrite()

    def _in_place(self, editor: GraphEditor, site: Site, affine: SiteStatistics) -> None:
        if site.dtype is None:
            raise NotLinearError(f"the element type of {site.name!r} is not known")
        nodes = affine_nodes(
            editor,
            affine.scale,
            affine.shift,
            site.source,
            site.output,
            name=f"{site.name}/affine",
            dtype=site.dtype,
            rank=site.rank,
        )
        editor.replace([site.output], nodes)
