"""Write one partial activation by its parts: what is activated, what is squared, and the rest.

    z -> Split -> act -------> Concat -> y
               -> Mul(u, u) ->
               ------------->

A polynomial q z^2 + l z + c is the square of u = sqrt|q| (z + l / 2q), times the sign of q, plus c - l^2 / 4q. What
each part needs before its activation or its square, a number to multiply a channel by and one to add, is folded into
the layer that makes z where nothing else reads z. Where a sum makes z, a layer on one of its sides takes the number
to add; that to multiply by is left to `onnxshallow.rewriting.lowering.rescale`. Channels of a part that do not lie
together are gathered, and put back into their order afterwards.

In the PRelu form activated and other elements stay together: they go through a PRelu whose slope is one where nothing
is activated. In the Max form they go through a Max with a floor that nothing is below there.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxshallow.actions.emission import write_layer
from onnxshallow.actions.partial import mask_refusal
from onnxshallow.analysis import Analysis, Layer, NotLinearError, Site
from onnxshallow.analysis.floors import floors_of, lowest
from onnxshallow.analysis.partial import Partial
from onnxshallow.convolution import scale_output
from onnxshallow.model.editor import GraphEditor
from onnxshallow.rewriting.lowering.node_writer import NodeWriter

__all__ = ["MaskForm", "roles", "write_parts"]

MaskForm = Literal["split", "prelu", "max"]
"""How partial activations are written."""

Values = NDArray[np.float64]

_ACTIVE, _SQUARED, _OTHER = range(3)
# Activations that are x above zero, and x times a slope below.
_SLOPED = ("relu", "leaky_relu", "prelu")
# What a layer before a sum adds is at most this.
_MOST_ADDED = 2.0**10


def roles(site: Site, partial: Partial, form: MaskForm) -> NDArray[np.int64]:
    """What becomes of each channel, as numbers (C,); those of one number are written together.

    Returns:
        (C, *spatial) where places of one channel are not written together.
    """
    active = partial.kept
    if _own_form(site, partial, form) != "split" and np.any(partial.kept):
        active = ~partial.squared
    groups = np.where(active, _ACTIVE, np.where(partial.squared, _SQUARED, _OTHER))
    by_channel = groups.reshape(len(groups), -1)
    return by_channel[:, 0] if np.all(by_channel == by_channel[:, :1]) else groups


def _own_form(site: Site, partial: Partial, form: MaskForm) -> MaskForm:
    """The form that a site is written in where `form` is asked for: one that has it."""
    if site.kind == "max" or (site.kind == "relu" and form == "max"):
        return "split" if np.any(partial.squared) else "max"
    return "prelu" if site.kind in _SLOPED and (form == "prelu" or partial.kept.ndim > 1) else "split"


def write_parts(editor: GraphEditor, analysis: Analysis, site: Site, partial: Partial, form: MaskForm) -> None:
    """Let only what `partial` keeps go through the activation that makes its output.

    Args:
        editor: the graph under edit.
        analysis: of the model, in which the activation is whole.
        site: the activation.
        partial: what to write.
        form: see `onnxshallow.rewriting.lowering.lower`.

    Raises:
        NotLinearError: the activation cannot be written in part.
    """
    if site.dtype is None:
        raise NotLinearError(f"the element type of {site.name!r} is not known")
    if np.all(partial.kept):
        return
    scale, shift = _folded(editor, analysis, partial, *_scale_and_shift(partial))
    made = editor.tensor(partial.output)
    (activation,) = made.inputs
    writer = NodeWriter(editor, site.name, site.dtype, site.rank, analysis.network.opset)
    own = _own_form(site, partial, form)
    recipe = _Recipe(site, partial, scale, shift, _slope(analysis, site), _floors(analysis, site, own), own)
    source = editor.tensor(partial.source)
    groups = roles(site, partial, form)
    if groups.ndim > 1:
        _write_places(writer, recipe, activation, source, groups)
    else:
        _write_groups(writer, recipe, activation, source, groups)
    inner = analysis.network.producer(partial.source) is not None and analysis.network.is_private(partial.source)
    if not writer.nodes and inner:
        editor.rename_output(partial.source, partial.output)
        return
    if not writer.nodes:
        writer.write("Identity", "same", [source])
    writer.replace(activation, made)


@dataclass(frozen=True)
class _Recipe:
    """How a partial activation is computed, with one number a channel (C,) or place (C, *spatial).

    Attributes:
        site: the activation.
        partial: what becomes of it.
        scale: what z is multiplied by before all else.
        shift: what is added to it then.
        slope: that of the activation below zero, (C, *spatial) or with ones; None where it has no such slope.
        floors: below which nothing goes where the activation is a Max, (C, *spatial) or with ones; None for others.
        form: whether elements that are not activated go through a PRelu or a Max too.
    """

    site: Site
    partial: Partial
    scale: Values
    shift: Values
    slope: Values | None
    floors: Values | None
    form: MaskForm


def _scale_and_shift(partial: Partial) -> tuple[Values, Values]:
    """What to multiply z by and what to add then, before any activation or square."""
    scale = np.where(partial.kept, 1.0, partial.linear)
    shift = np.where(partial.kept, 0.0, partial.constant)
    root = np.sqrt(np.abs(partial.square))
    return np.where(partial.squared, root, scale), np.where(partial.squared, root * _vertex(partial), shift)


def _vertex(partial: Partial) -> Values:
    """Minus the place of each parabola's vertex, zero where there is none."""
    vertex: Values = np.where(partial.squared, partial.linear, 0) / np.where(partial.squared, 2 * partial.square, 1)
    return vertex


def _folded(
    editor: GraphEditor, analysis: Analysis, partial: Partial, scale: Values, shift: Values
) -> tuple[Values, Values]:
    """Let what makes z scale and shift it where nothing else reads it; what is left to multiply by and to add."""
    channels = len(scale)
    factor, term = (values.reshape(channels, -1) for values in (scale, shift))
    uniform = np.all(factor == factor[:, :1]) and np.all(term == term[:, :1])
    if not uniform or not analysis.network.is_private(partial.source):
        return scale, shift
    layer, factor, term = analysis.layers.by_output.get(partial.source), factor[:, 0], term[:, 0]
    if layer is not None and layer.is_light and layer.weight_shape[0] == channels:
        if np.any(factor != 1) or np.any(term):
            _write_scaled(editor, analysis, layer, factor, term)
        return np.ones_like(scale), np.zeros_like(shift)
    layer = _layer_before_sum(analysis, partial.source, channels)
    added = np.where(factor != 0, term / np.where(factor != 0, factor, 1.0), 0.0)
    added = np.where(np.abs(added) <= _MOST_ADDED, added, 0.0)
    if layer is None or not np.any(added):
        return scale, shift
    _write_scaled(editor, analysis, layer, np.ones(channels), added)
    left = np.where(added != 0, 0.0, term)
    return scale, np.broadcast_to(left.reshape(channels, *(1,) * (shift.ndim - 1)), shift.shape)


def _layer_before_sum(analysis: Analysis, total: str, channels: int) -> Layer | None:
    """A layer that only the sum reads which makes a tensor."""
    network, node = analysis.network, analysis.network.producer(total)
    if node is None or not node.is_op("Add", "Sum"):
        return None
    layers = [analysis.layers.by_output.get(name) for name in node.inputs if network.is_private(name)]
    fits = (each for each in layers if each is not None and each.is_light and each.weight_shape[0] == channels)
    return next((each for each in fits if each.kind != "affine"), None)


def _write_scaled(editor: GraphEditor, analysis: Analysis, layer: Layer, scale: Values, shift: Values) -> None:
    convolution = scale_output(analysis.layers.convolution(layer), scale, shift)
    write_layer(editor, analysis.network, analysis.layers, layer, convolution)


def _slope(analysis: Analysis, site: Site) -> Values | None:
    """The slope of an activation below zero, with an axis for the channels and for each after it."""
    node = analysis.network.producer(site.output)
    if site.kind not in _SLOPED or node is None:
        return None
    if site.kind != "prelu":
        slope = float(node.attributes.get("alpha", 0.01)) if site.kind == "leaky_relu" else 0.0
        return np.full((1,) * (site.rank + 1), slope)
    value = analysis.network.constant(node.inputs[1])
    if value is None:
        raise NotLinearError(f"{site.name!r} cannot be written in part: {mask_refusal(analysis, site)}")
    return _by_channel(site, value)


def _floors(analysis: Analysis, site: Site, form: MaskForm) -> Values | None:
    """The floors of an activation that is a Max or is to be one, with axes as of `_slope`; None for others."""
    node = analysis.network.producer(site.output)
    known = None if node is None else floors_of(analysis.network, node)
    if known is not None:
        return _by_channel(site, known)
    return np.zeros((1,) * (site.rank + 1)) if form == "max" else None


def _by_channel(site: Site, value: np.ndarray) -> Values:
    """A constant that is broadcast against a site's elements, with an axis for the channels and for each after it."""
    return np.reshape(value, ((1,) * (site.rank + 1) + value.shape)[-site.rank - 1 :]).astype(np.float64)


def _write_places(
    writer: NodeWriter, recipe: _Recipe, activation: gs.Node, source: gs.Tensor, groups: NDArray[np.int64]
) -> None:
    """Like `_write_groups`, where places of one channel belong to several groups: with each place as a channel."""
    shape = groups.shape
    flat = replace(
        recipe,
        partial=recipe.partial.mapped(np.ravel),
        scale=recipe.scale.reshape(-1),
        shift=recipe.shift.reshape(-1),
        slope=None if recipe.slope is None else np.broadcast_to(recipe.slope, shape).reshape(-1),
        floors=None if recipe.floors is None else np.broadcast_to(recipe.floors, shape).reshape(-1),
    )
    writer.rank = 0
    read = writer.write("Flatten", "places", [source], axis=1)
    made = _write_groups(writer, flat, activation, read, groups.reshape(-1))
    writer.write("Reshape", "shaped", [made, writer.integers("shape", (0, *shape))])


def _write_groups(
    writer: NodeWriter, recipe: _Recipe, activation: gs.Node, source: gs.Tensor, groups: NDArray[np.int64]
) -> gs.Tensor:
    """Each group of channels by itself, those that come first in the order of channels first."""
    present = sorted(np.unique(groups), key=lambda role: int(np.argmax(groups == role)))
    members = [np.flatnonzero(groups == role) for role in present]
    made = []
    for role, chosen, x in zip(present, members, writer.split(source, members), strict=True):
        x = writer.affine("before", x, recipe.scale[chosen], recipe.shift[chosen])
        if role == _ACTIVE:
            x = _activated(writer, recipe, activation, x, chosen)
        elif role == _SQUARED:
            x = _squared(writer, recipe.partial, x, chosen)
        made.append(x)
    return writer.join(made, members)


def _activated(
    writer: NodeWriter, recipe: _Recipe, activation: gs.Node, x: gs.Tensor, chosen: NDArray[np.int64]
) -> gs.Tensor:
    kept, slope = recipe.partial.kept[chosen], recipe.slope
    if recipe.floors is not None:
        floors = _chosen(recipe.floors, chosen)
        floors = np.where(_along(kept, floors), floors, lowest(writer.dtype))
        return writer.move("active", gs.Node("Max", activation.name), [x, writer.numbers("floors", floors)])
    if slope is None or (recipe.form != "prelu" and (recipe.site.kind != "prelu" or len(slope) == 1)):
        return writer.move("active", activation, [x, *activation.inputs[1:]])
    own = _chosen(slope, chosen)
    inputs = [x, writer.numbers("slope", np.where(_along(kept, own), own, 1.0))]
    if recipe.site.kind == "prelu":
        return writer.move("active", activation, inputs)
    return writer.move("active", gs.Node("PRelu", activation.name), inputs)


def _chosen(values: Values, chosen: NDArray[np.int64]) -> Values:
    """The values of some channels; a single one is that of all."""
    return values if len(values) == 1 else values[chosen]


def _along(kept: NDArray[np.bool_], values: Values) -> NDArray[np.bool_]:
    """Which of the elements are kept, with as many axes as their values have."""
    return kept.reshape(*kept.shape, *(1,) * (values.ndim - kept.ndim))


def _squared(writer: NodeWriter, partial: Partial, x: gs.Tensor, chosen: NDArray[np.int64]) -> gs.Tensor:
    """The parabolas of `chosen` channels, from u = sqrt|q| (z + l / 2q)."""
    square, vertex = partial.square[chosen], _vertex(partial)[chosen]
    power = writer.write("Mul", "square", [x, x])
    return writer.affine("parabola", power, np.sign(square), partial.constant[chosen] - square * vertex**2)
