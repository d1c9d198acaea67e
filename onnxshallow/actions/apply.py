"""Apply candidates to a model, one after the other."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from onnxshallow.actions.base import Action, Candidate, Statistics
from onnxshallow.actions.registry import actions
from onnxshallow.analysis import Analysis, NotLinearError, analyze
from onnxshallow.analysis.partial import Partial
from onnxshallow.model.editor import GraphEditor

__all__ = ["Rewritten", "apply_candidates"]


@dataclass(frozen=True, eq=False)
class Rewritten:
    """A model after some candidates were applied, before anything was fitted.

    Attributes:
        analysis: of the rewritten model.
        fit: outputs of the layers that must be fitted.
        frozen: outputs of the layers that must not be.
        partials: activations of which a part is kept, in graph order.
        dead: by tensor, which channels hold zeros and are left out in the end, (C,).
    """

    analysis: Analysis
    fit: frozenset[str]
    frozen: frozenset[str]
    partials: tuple[Partial, ...] = ()
    dead: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)

    @property
    def model(self) -> onnx.ModelProto:
        """The rewritten model."""
        return self.analysis.network.model


def apply_candidates(
    analysis: Analysis, candidates: Sequence[Candidate], statistics: Statistics, boundaries: Collection[str] = ()
) -> Rewritten:
    """The model with `candidates` applied, action by action, each in graph order.

    A layer that is written may take in what follows it, such as an Identity or a BatchNormalization. It must not
    swallow a tensor at which a candidate that comes later begins or ends.

    Args:
        analysis: of the original.
        candidates: what to do; no two may share a site or overlap.
        statistics: what the original's sites do.
        boundaries: further tensors that no layer of the result reaches across.

    Raises:
        NotLinearError: a candidate cannot be carried out, as another gets in its way.
    """
    by_name = {action.name: action for action in actions()}
    rank = {name: position for position, name in enumerate(by_name)}
    fit: set[str] = set()
    frozen: set[str] = set()
    partials: list[Partial] = []
    dead: dict[str, NDArray[np.bool_]] = {}
    shapes = analysis.network.input_shapes
    ordered = sorted(candidates, key=lambda c: (rank[c.action], min(c.nodes, default=0)))
    editor = None
    for position, candidate in enumerate(ordered, start=1):
        later = ordered[position:]
        editor = editor or GraphEditor(analysis.network.model)
        try:
            outcome = by_name[candidate.action].apply(editor, analysis, candidate, statistics)
        except NotLinearError as error:
            raise NotLinearError(
                f"{candidate.key} cannot be carried out: {error}; leave it out of the plan, or what gets in its way."
            ) from error
        fit.update(outcome.fit)
        frozen.update(outcome.frozen)
        partials.extend(outcome.partials)
        dead.update(outcome.dead)
        if later and later[0].action == candidate.action and _goes_on(by_name[candidate.action], analysis, editor):
            editor.settle()
            continue
        ends = {name for each in later for name in (each.source, each.output)}
        analysis = analyze(editor.finish(), shapes, ends.union(boundaries), analysis.network.infos)
        editor = None
    fitted, kept = (_outputs_of_layers(analysis, tensors) for tensors in (fit, frozen))
    return Rewritten(analysis, fitted, kept, tuple(partials), dead)


def _goes_on(action: Action[Any], analysis: Analysis, editor: GraphEditor) -> bool:
    """Whether the next candidate of an action finds what it needs in the graph under edit and the analysis before it.

    Layers are compared by their places among the nodes, and new nodes and tensors are named after old nodes. Where
    edits change those places, or names that are numbered as several nodes have the same, that is looked at anew.
    """
    return action.apart and not editor.moved and analysis.network.has_own_names


def _outputs_of_layers(analysis: Analysis, tensors: Collection[str]) -> frozenset[str]:
    """The outputs of the layers that make `tensors`, on which they may do more."""
    makers = [analysis.network.producer(name) for name in tensors]
    layers = [analysis.layers.by_node.get(maker.index) for maker in makers if maker is not None]
    return frozenset(layer.output for layer in layers if layer is not None)
