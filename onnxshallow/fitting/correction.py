"""Sequential correction: walk down two networks side by side and re-fit the rewritten one's layers.

A tensor keeps its name when the graph around it is rewritten, so the original's tensor of the same name is what
the rewritten one should compute. For every layer, in order,

    input    what the layer reads in the *rewritten* network, errors of earlier layers included,
    target   what it should make: the *original's* tensor of the same name; where a residual sum follows, the
             original's sum minus what the rewritten network has on the other side of it, which is scaled
             channel by channel where a layer makes it that can be scaled,

and the new weights are the ridge solution (`onnxshallow.fitting.regression`). Each fit thus also repairs what
earlier ones left behind, also that of a shortcut.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from onnxshallow.analysis import Layer, Layers
from onnxshallow.analysis.partial import Partial
from onnxshallow.convolution import Convolution, compose, scale_output
from onnxshallow.fitting.bottleneck import fit_bottleneck
from onnxshallow.fitting.gathering import KnownRows, Places, gather_rows
from onnxshallow.fitting.parabolas import fit_polynomials, inputs_of
from onnxshallow.fitting.regression import Fit, bytes_needed, bytes_of_row, regress
from onnxshallow.fitting.targets import Target, find_target, rectifier_after, scalable_side
from onnxshallow.model.network import Network
from onnxshallow.runtime.cursor import Cursor
from onnxshallow.runtime.progress import Step

__all__ = ["FitOptions", "correct", "downstream", "fit_layer"]

logger = logging.getLogger(__name__)

# What the other side of a sum may be multiplied by. Where that side is next to nothing, a fit that follows noise
# would multiply it by 1e5; and numbers above zero can be taken up by the layers around the sum.
_SCALES = (1 / 8, 8.0)
# How many times fewer rows a layer of as many groups gets at the least: groups have few unknowns, and all take time.
_FEWER_ROWS = 8


@dataclass(frozen=True)
class FitOptions:
    """How layers are fitted.

    Attributes:
        ridge: strength of the ridge, relative to the mean diagonal of the Gram matrix.
        rows_per_unknown: rows to use for each unknown of a regression.
        least_rows: rows to use however few the unknowns are.
        rounds: rounds of fitting through the activation that follows.
        turns: how often the parts of a split layer are fitted in turn, where no formula is known.
        fewest_rows: rows for each unknown below which a layer that still does what it did is left as it is. Its
            fit would follow the samples more than it repairs (docs/decisions/fitting.md).
        rows_enough: rows for each unknown with which the ridge stays as strong as `ridge` says.
        held_out: whether rows that are held out choose its strength with fewer, see `regress`.
        memory: bytes that one regression may take; a layer that needs more is left as it is.
        seed: of the generator that draws output positions.
    """

    ridge: float = 1e-3
    rows_per_unknown: int = 64
    least_rows: int = 100_000
    rounds: int = 3
    turns: int = 3
    fewest_rows: int = 8
    rows_enough: int = 40
    held_out: bool = True
    memory: int = 2 << 30
    seed: int = 0

    def rows_wanted(self, unknowns: int, groups: int) -> int:
        """Rows to draw where there are so many: by the unknowns of a group, and fewer where there are many groups."""
        return max(self.rows_per_unknown * unknowns, self.least_rows // min(groups, _FEWER_ROWS))


def downstream(network: Network, layers: Layers, touched: Collection[str]) -> list[Layer]:
    """The layers whose output is in `touched`, or whose input depends on such a layer, in order.

    A BatchNormalization that stands alone is left out: it has nothing to fit that its neighbours lack.
    """
    reached = {index for name in touched for index in _reach(network, name)}
    return [
        layer for layer in layers if layer.output in touched or (layer.kind != "affine" and layer.main in reached)
    ]


def _reach(network: Network, tensor: str) -> set[int]:
    found: set[int] = set()
    todo = [tensor]
    while todo:
        for node in network.consumers(todo.pop()):
            if node.index not in found:
                found.add(node.index)
                todo.extend(node.outputs)
    return found


def correct(
    original: Cursor,
    rewritten: Cursor,
    layers: Layers,
    chosen: Sequence[Layer],
    fit_batches: int,
    options: FitOptions,
    step: Step = lambda: None,
    *,
    changed: Collection[str] = (),
    known: Layers | None = None,
    partials: Sequence[Partial] = (),
    dead: Mapping[str, NDArray[np.bool_]] | None = None,
    polynomial_batches: int | None = None,
    rows: KnownRows | None = None,
) -> dict[str, Convolution]:
    """Re-fit layers and polynomials of the rewritten network in order.

    Args:
        original: cursor of the original network.
        rewritten: cursor of the rewritten network, at the same cut; its fitted layers are replaced.
        layers: the rewritten network's layers.
        chosen: which of them to fit, in graph order.
        fit_batches: number of leading batches to fit on; the others are only run.
        options: how to fit.
        step: called after each layer.
        changed: outputs of layers that are new, and so are fitted by however few rows.
        known: the original network's layers; the one that was split is what its parts start from.
        partials: the rewritten network's partial activations, whose polynomials are fitted as well
            (`rewritten.partials`).
        dead: by tensor, which channels are to hold zeros, (C,).
        polynomial_batches: number of leading batches that these are fitted to, whose ranges are those of all; None
            for `fit_batches`.
        rows: what is known of the original on the leading batches, and is noted for other fits on the same ones.

    Returns:
        The fitted convolutions by the name of the layer's output.
    """
    places: list[tuple[Layer, Target] | Partial] = [p for p in partials if not p.is_plain]
    by_source = {partial.source: partial for partial in partials}
    fitted_along = set[str]()
    for layer in chosen:
        if layer.output in fitted_along:
            step()
            continue
        target = find_target(original.network, rewritten.network, layers, layer)
        if target is None:
            logger.debug("Layer %s makes a tensor that the original lacks; it is left as it is.", layer.name)
            step()
        else:
            fitted_along.update(part.output for part in target.through[:-1])
            gone = (dead or {}).get(target.tensor)
            places.append((layer, replace(target, partial=by_source.get(target.tensor), dead=gone)))
    places.sort(key=lambda place: _position(rewritten.network, place))
    goals = original.goals, rewritten.goals
    for position, place in enumerate(places):
        to_come = [_needs(rewritten.network, later) for later in places[position:]]
        original.goals = goals[0] | {name for first, _ in to_come for name in first}
        rewritten.goals = goals[1] | {name for _, second in to_come for name in second}
        if isinstance(place, Partial):
            fit_polynomials(original, rewritten, place, polynomial_batches or fit_batches)
            continue
        layer, target = place
        if target.through:
            parts = _fit_parts(original, rewritten, layers, known, layer, target, fit_batches, options, rows)
            for part, convolution in zip((layer, *target.through), parts, strict=True):
                rewritten.replace(part, convolution)
            step()
            continue
        side = scalable_side(rewritten.network, layers, target, chosen)
        limits = replace(options, fewest_rows=0) if layer.output in changed else options
        fit = fit_layer(original, rewritten, layers, layer, target, fit_batches, limits, side is not None, rows)
        if fit is not None:
            rewritten.replace(layer, fit.convolution)
        if fit is not None and fit.scale is not None and side is not None:
            scaled = scale_output(rewritten.replaced.get(side) or layers.convolution(side), fit.scale)
            rewritten.replace(side, scaled)
            rewritten.rescale(side.output, fit.scale)
        step()
    original.goals, rewritten.goals = goals
    return {layer.output: convolution for layer, convolution in rewritten.replaced.items()}


def _position(network: Network, place: tuple[Layer, Target] | Partial) -> int:
    if not isinstance(place, Partial):
        return place[0].main
    maker = network.producer(place.output)
    return -1 if maker is None else maker.index


def _needs(network: Network, place: tuple[Layer, Target] | Partial) -> tuple[list[str], list[str]]:
    """The tensors of the original and of the rewritten network that a fit takes."""
    if isinstance(place, Partial):
        return [place.output], list(inputs_of(network, place))
    layer, target = place
    return target.originals, [layer.source] if target.minus is None else [layer.source, target.minus]


def fit_layer(
    original: Cursor,
    rewritten: Cursor,
    layers: Layers,
    layer: Layer,
    target: Target,
    fit_batches: int,
    options: FitOptions,
    free_scale: bool = False,
    known: KnownRows | None = None,
) -> Fit | None:
    """The fit of one layer; None where it would take more than `options.memory` or has fewer than `fewest_rows`.

    `free_scale` says whether what `target` subtracts may be scaled, `known` what is known of the original's rows.
    """
    unknowns, groups = int(np.prod(layer.weight_shape[1:])), layers.groups(layer)
    if bytes_needed(unknowns, layer.weight_shape[0] // groups, groups) > options.memory:
        logger.info("Layer %s is too large to re-fit within the memory budget.", layer.name)
        return None
    convolution = rewritten.replaced.get(layer) or layers.convolution(layer)
    places = _places(rewritten, layer, target, convolution, fit_batches)
    if places.count < options.fewest_rows * unknowns:
        rewritten.leave(layer)
        return None
    places = _drawn(places, convolution, target, options)
    rows = gather_rows(original, rewritten, layer.source, target, convolution, places, known)
    rows = replace(rows, free_scale=free_scale, scales=_SCALES)
    rectifier = rectifier_after(original.network, rewritten.network, target, groups)
    return regress(
        convolution,
        rows,
        options.ridge,
        rectifier=rectifier,
        rounds=options.rounds,
        enough=options.rows_enough,
        held_out=options.held_out,
    )


def _fit_parts(
    original: Cursor,
    rewritten: Cursor,
    layers: Layers,
    known: Layers | None,
    layer: Layer,
    target: Target,
    fit_batches: int,
    options: FitOptions,
    rows: KnownRows | None,
) -> tuple[Convolution, ...]:
    """The fit of `layer` and what to start from with `target.through`, into which one layer was split."""
    parts = tuple(layers.convolution(part) for part in (layer, *target.through))
    whole = known.by_output.get(target.through[-1].output) if known is not None else None
    if known is not None and whole is not None and whole.source == layer.source:
        convolution = known.convolution(whole)
    else:
        convolution = reduce(compose, parts)
    places = _places(rewritten, layer, target, convolution, fit_batches)
    few = places.count < options.fewest_rows * int(np.prod(convolution.weight.shape[1:]))
    places = _drawn(places, convolution, target, options)
    gathered = gather_rows(original, rewritten, layer.source, target, convolution, places, rows)
    return fit_bottleneck(
        convolution,
        parts,
        gathered,
        options.ridge,
        few=few,
        turns=options.turns,
        enough=options.rows_enough,
    )


def _places(rewritten: Cursor, layer: Layer, target: Target, convolution: Convolution, fit_batches: int) -> Places:
    """Every place at which there is a row, once the rewritten network has come to the layer."""
    rewritten.advance(_needs(rewritten.network, (layer, target))[1])
    return Places.all(convolution, rewritten[layer.source][:fit_batches])


def _drawn(places: Places, convolution: Convolution, target: Target, options: FitOptions) -> Places:
    """The places to use: all, unless they are far more than the unknowns or the memory."""
    unknowns, outputs = int(np.prod(convolution.weight.shape[1:])), convolution.out_channels // convolution.groups
    row_bytes = bytes_of_row(unknowns, outputs, convolution.groups, offsets=target.minus is not None)
    wanted = min(options.rows_wanted(unknowns, convolution.groups), options.memory // row_bytes)
    return places.drawn(wanted, (options.seed, target.tensor))
