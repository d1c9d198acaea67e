"""Carry out a plan: apply its candidates, fit what they leave to fit, correct what follows, write the model."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import onnx
from numpy.typing import NDArray

from onnxshallow.actions.apply import Rewritten, apply_candidates
from onnxshallow.actions.base import Candidate, Statistics
from onnxshallow.actions.emission import write_layers
from onnxshallow.actions.registry import removal
from onnxshallow.analysis import Analysis, Layer, analyze
from onnxshallow.analysis.partial import Partial
from onnxshallow.fitting.calibration import Calibration
from onnxshallow.fitting.correction import correct, downstream
from onnxshallow.fitting.gathering import KnownRows
from onnxshallow.model.network import Network
from onnxshallow.model.spelling import Plain
from onnxshallow.rewriting.lossless import Removed
from onnxshallow.rewriting.lowering.lower import MaskForm, lower
from onnxshallow.runtime.cursor import Cursor
from onnxshallow.runtime.progress import Step
from onnxshallow.runtime.waypoints import Waypoints, parting
from onnxshallow.runtime.whole import join_batches, run_batches
from onnxshallow.validation.metrics import relative_error

__all__ = ["Realized", "previewed", "realize", "unfitted"]


@dataclass(frozen=True, eq=False)
class Realized:
    """A rewritten and fitted model.

    Attributes:
        network: the model's graph.
        outputs: its outputs on the calibration's selection batches, one array (N, ...) each.
        composition_error: where kernels were composed exactly, by how much that moved the outputs: RMS of the
            difference to the same network with its convolutions left apart, over the RMS of that; else None.
        short: names of the layers that were left as they are, as there were too few rows to fit them to.
        plain: how the network is spelled in a file; None where as it stands here.
        removed: what went beside what a plan takes out, as it changes nothing.
    """

    network: Network
    outputs: list[np.ndarray]
    composition_error: float | None = None
    short: tuple[str, ...] = ()
    plain: Plain | None = None
    removed: Removed | None = None

    @property
    def model(self) -> onnx.ModelProto:
        """The model."""
        return self.network.model

    @property
    def written(self) -> onnx.ModelProto:
        """The model as it stands in a file."""
        return self.model if self.plain is None else self.plain.restored(self.model)

    @cached_property
    def analysis(self) -> Analysis:
        """The model's parts."""
        return analyze(self.network)


def realize(
    analysis: Analysis,
    candidates: Sequence[Candidate],
    statistics: Statistics,
    calibration: Calibration,
    *,
    correction: bool = True,
    form: MaskForm = "split",
    step: Step = lambda: None,
    rows: KnownRows | None = None,
) -> Realized:
    """Apply `candidates` to the analysed model.

    Mergers whose kernels are to be composed exactly are first carried out as removals of their sites alone, so
    that the separate convolutions can be fitted; composing these is then pure algebra. Where padding spoils the
    border of a composite, the layers after it are corrected once more.

    Args:
        analysis: of the original.
        candidates: what to do.
        statistics: what the original's sites do.
        calibration: inputs.
        correction: whether untouched layers downstream of a change are re-fitted too.
        form: how activations that are kept in part are written.
        step: called after each fitted layer.
        rows: what is known of the original's activations, for plans that are fitted to the same samples.

    Raises:
        NotLinearError: a candidate cannot be carried out, as another gets in its way.
        ModelError: onnxruntime fails on the rewritten network.
    """
    composed = [c for c in candidates if c.exactness != "fitted"]
    apart = [c for c in candidates if c.exactness == "fitted"]
    apart += [removal(analysis.site_by_name[name]) for c in composed for name in c.sites]
    ends = {name for c in composed for name in _ends(analysis, c)}
    rewritten = apply_candidates(analysis, apart, statistics, ends)
    chosen = _layers_to_fit(rewritten, rewritten.fit, correction)
    model, partials, short = _fit(analysis, rewritten, chosen, rewritten.fit, calibration, step, rows)
    dead = rewritten.dead
    apart_only = _finished(analysis, model, partials, dead, form, calibration)
    if not composed:
        return replace(apart_only, short=short)
    separate = analyze(model, analysis.network.input_shapes, ends)
    merged = apply_candidates(separate, [_relocated(analysis, separate, c) for c in composed], statistics)
    merged = replace(merged, partials=tuple(partials), dead=dead)
    result = _finished(analysis, merged.model, partials, dead, form, calibration)
    error = max(relative_error(a, b) for a, b in zip(apart_only.outputs, result.outputs, strict=True))
    if correction and any(c.exactness != "exact" for c in composed):
        chosen = [layer for layer in _layers_to_fit(merged, merged.frozen, True) if layer.output not in merged.frozen]
        model, partials, short = _fit(analysis, merged, chosen, rewritten.fit, calibration, step, rows)
        result = _finished(analysis, model, partials, dead, form, calibration)
    return replace(result, composition_error=error, short=short)


def previewed(
    analysis: Analysis,
    candidates: Sequence[Candidate],
    statistics: Statistics,
    calibration: Calibration,
    waypoints: Waypoints,
    rows: KnownRows,
    *,
    correction: bool = True,
) -> list[np.ndarray] | None:
    """The outputs that `realize` would tell of, up to rounding, of a model that is not written.

    Args:
        analysis: of the original, as for the following.
        candidates: what to do.
        statistics: what the original's sites do.
        calibration: inputs.
        waypoints: of the original on all batches of these, from which the rewritten network is run on.
        rows: what is known of the original's activations.
        correction: whether untouched layers downstream of a change are re-fitted too.

    Returns:
        One array (N, ...) an output on the selection batches. None where kernels are composed or activations kept in
        part, of which only the written model tells.

    Raises:
        NotLinearError: a candidate cannot be carried out, as another gets in its way.
        ModelError: onnxruntime fails on the rewritten network.
    """
    if any(c.exactness != "fitted" for c in candidates):
        return None
    rewritten = apply_candidates(analysis, candidates, statistics)
    if rewritten.partials:
        return None
    network, layers = rewritten.analysis.network, rewritten.analysis.layers
    chosen = _layers_to_fit(rewritten, rewritten.fit, correction)
    begin = parting(analysis.network, network, layers.made_by(chosen))
    before, after = (
        waypoints.cursor(each, begin, calibration.fitting, goals=()) for each in (analysis.network, network)
    )
    correct(
        before,
        after,
        layers,
        chosen,
        calibration.fit_batches,
        calibration.fit,
        changed=rewritten.fit,
        known=analysis.layers,
        dead=rewritten.dead,
        rows=rows,
    )
    judged = waypoints.cursor(network, begin, calibration.selection, goals=None)
    judged.replaced = after.replaced
    return join_batches(judged.outputs())


def unfitted(
    analysis: Analysis, candidates: Sequence[Candidate], statistics: Statistics, form: MaskForm = "split"
) -> onnx.ModelProto:
    """The model that candidates lead to, with weights that nothing was fitted to; it costs what the fitted one does.

    Args:
        analysis: of the original, as for `realize`.
        candidates: what to do.
        statistics: what the original's sites do.
        form: how activations that are kept in part are written.

    Raises:
        NotLinearError: a candidate cannot be carried out, as another gets in its way.
    """
    rewritten = apply_candidates(analysis, candidates, statistics)
    return _written(analysis, rewritten.analysis, rewritten.partials, rewritten.dead, form)


def _ends(analysis: Analysis, candidate: Candidate) -> list[str]:
    """The tensors at which `candidate` begins, and at which it may end once sites are gone."""
    return [candidate.source, *_names_after_removals(analysis, candidate.output)]


def _relocated(original: Analysis, separate: Analysis, candidate: Candidate) -> Candidate:
    """`candidate` where it is found once the sites are gone."""
    names = _names_after_removals(original, candidate.output)
    return replace(candidate, output=next(name for name in names if separate.network.producer(name) is not None))


def _names_after_removals(analysis: Analysis, tensor: str) -> list[str]:
    """`tensor` and the outputs of the sites that follow in a row: a removed site passes its output's name on."""
    following = {site.source: site.output for site in analysis.sites}
    names = [tensor]
    while names[-1] in following:
        names.append(following[names[-1]])
    return names


def _layers_to_fit(rewritten: Rewritten, changed: Collection[str], correction: bool) -> list[Layer]:
    """The layers to fit: those that make `changed` tensors, and with correction those after them."""
    layers = rewritten.analysis.layers
    if correction:
        return downstream(rewritten.analysis.network, layers, {*changed, *(p.output for p in rewritten.partials)})
    return [layer for layer in layers if layer.output in changed]


def _fit(
    original: Analysis,
    rewritten: Rewritten,
    chosen: Sequence[Layer],
    changed: Collection[str],
    calibration: Calibration,
    step: Step,
    rows: KnownRows | None,
) -> tuple[onnx.ModelProto, list[Partial], tuple[str, ...]]:
    """The rewritten model with `chosen` layers and its partial activations fitted to the original's activations.

    Third come the names of those of the layers for which there are too few rows.
    """
    fitted = calibration.batches[calibration.fitting]
    squares = any(partial.squared.any() for partial in rewritten.partials)
    batches = [*fitted, *(calibration.watched if squares else ())]
    before, after = (
        Cursor.at_inputs(analysis.network, batches, calibration.store, goals=(), threads=calibration.threads)
        for analysis in (original, rewritten.analysis)
    )
    layers = rewritten.analysis.layers
    correct(
        before,
        after,
        layers,
        chosen,
        len(batches),
        calibration.fit,
        step,
        changed=changed,
        known=original.layers,
        partials=rewritten.partials,
        dead=rewritten.dead,
        polynomial_batches=len(fitted),
        rows=rows,
    )
    partials = [after.partials.get(partial.output, partial) for partial in rewritten.partials]
    written = write_layers(rewritten.analysis.network, layers, after.replaced)
    return written, partials, tuple(layer.name for layer in after.short)


def _written(
    original: Analysis,
    made: Analysis,
    partials: Sequence[Partial],
    dead: Mapping[str, NDArray[np.bool_]],
    form: MaskForm,
) -> onnx.ModelProto:
    """What was made, without dead channels, with partial activations by their parts, and with factors taken up."""
    known = {layer.output for layer in original.layers if layer.kind == "affine"}
    added = any(layer.kind == "affine" and layer.output not in known for layer in made.layers)
    return lower(made, partials, form, dead) if partials or added or dead else made.network.model


def _finished(
    analysis: Analysis,
    model: onnx.ModelProto,
    partials: Sequence[Partial],
    dead: Mapping[str, NDArray[np.bool_]],
    form: MaskForm,
    calibration: Calibration,
) -> Realized:
    """The model as it is written, its partial activations by their parts, and what is known of it."""
    shapes = analysis.network.input_shapes
    made = analyze(model, shapes, known=analysis.network.infos)
    written = Network(_written(analysis, made, partials, dead, form), shapes)
    outputs = run_batches(written.model, calibration.batches[calibration.selection], calibration.threads)
    return Realized(written, outputs)
