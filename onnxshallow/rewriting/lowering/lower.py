"""Write partial activations so that only the elements that keep an activation go through it.

The channels of each stream are brought into one order in which those that a site activates, those that it squares and
the others lie together (`onnxshallow.analysis.streams`, `ordering`); channels that are zero for all who read them are
left out. Then each site is written by the roles of its channels (`roles`), and channels are multiplied by numbers so
that factors go (`rescale`); the model says by which, and what the order is (`onnxshallow.model`, `scales` and
`orders`). All of it is exact.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray

from onnxshallow.analysis import Analysis, NotLinearError, analyze
from onnxshallow.analysis.partial import Partial
from onnxshallow.analysis.streams import Stream, find_streams, joins_channels
from onnxshallow.analysis.zeros import unneeded_channels
from onnxshallow.model.editor import GraphEditor
from onnxshallow.model.orders import orders_of, with_orders
from onnxshallow.model.scales import scales_of, with_scales
from onnxshallow.rewriting.lowering.ordering import common_order
from onnxshallow.rewriting.lowering.reindex import joined_order, reindex
from onnxshallow.rewriting.lowering.rescale import rescale
from onnxshallow.rewriting.lowering.roles import MaskForm, roles, write_parts

__all__ = ["MaskForm", "lower"]

# Channels that a processor with vectors of 16 floats computes at once: 30 take longer than 32.
_BLOCK = 16
# From this opset on onnxruntime has a Max of half precision too.
_MAX_OF_ANY_TYPE = 12


def lower(
    analysis: Analysis, partials: Sequence[Partial], form: MaskForm, dead: Collection[str] = ()
) -> onnx.ModelProto:
    """The model with its partial activations in the written form.

    Args:
        analysis: of a model that holds the partial activations in the intermediate form
            (`onnxshallow.actions.partial`).
        partials: the activations. Their values count, not those in the graph.
        form: `split` lets channels that lie together go through nodes of their own; `prelu` writes a PRelu whose
            slope is one where nothing is activated; `max` a Max with the lowest number there, of a Relu without
            squares, and all else as `split` does, and leaves whole blocks of channels. Masks of single places are
            written as a PRelu where `split` is asked for, unless they square or clip.
        dead: tensors of further streams from which channels of zeros are left out.

    Raises:
        NotLinearError: the graph holds no activation that makes a partial's output.
    """
    if form == "max" and analysis.network.opset < _MAX_OF_ANY_TYPE:
        form = "split"
    shapes = analysis.network.input_shapes
    bare = analyze(_whole(analysis, partials), shapes)
    sites = {site.output: site for site in bare.sites}
    if missing := {partial.output for partial in partials} - set(sites):
        raise NotLinearError(f"no activation makes the tensors {sorted(missing)}")
    orders = _orders(bare, partials, form, dead)
    if orders:
        bare = analyze(reindex(bare, orders), shapes)
    known, before = scales_of(analysis.network.model), orders_of(analysis.network.model)
    known |= {name: values[orders[name]] for name, values in known.items() if name in orders}
    noted = before | {name: before[name][order] if name in before else order for name, order in orders.items()}
    editor = GraphEditor(bare.network.model)
    for partial in sorted(partials, key=lambda partial: sites[partial.output].node):
        write_parts(editor, bare, sites[partial.output], _taken(partial, orders.get(partial.output)), form)
    rescaled = rescale(analyze(editor.finish(), shapes))
    return with_orders(with_scales(rescaled.model, _of_tensors(bare, rescaled.scales, known)), noted)


def _of_tensors(
    analysis: Analysis, scales: Mapping[str, NDArray[np.float64]], known: Mapping[str, NDArray[np.float64]]
) -> dict[str, NDArray[np.float64]]:
    """What the channels of tensors were multiplied by, now and before; none where that is one."""
    found = {}
    for name in (name for node in analysis.network.nodes for name in node.outputs):
        parts = [values for each in (scales, known) if (values := each.get(name)) is not None]
        if parts:
            found[name] = np.prod(parts, axis=0)
    return found


def _whole(analysis: Analysis, partials: Sequence[Partial]) -> onnx.ModelProto:
    """The model with each partial activation as the activation that it came from."""
    editor = GraphEditor(analysis.network.model)
    for partial in partials:
        node = analysis.network.producer(partial.output)
        if node is None or not node.is_op("Where"):
            raise NotLinearError(f"no partial activation makes tensor {partial.output!r}")
        editor.rename_output(node.inputs[1], partial.output)
    return editor.finish()


def _orders(
    analysis: Analysis, partials: Sequence[Partial], form: MaskForm, dead: Collection[str]
) -> Mapping[str, NDArray[np.int64]]:
    """By tensor of the streams whose channels change, which elements of axis 1 are taken."""
    streams = find_streams(analysis)
    by_output = {partial.output: partial for partial in partials}
    orders: dict[str, NDArray[np.int64]] = {}
    changed = dict.fromkeys(streams[name] for name in (*by_output, *dead) if name in streams)
    for stream in changed:
        blocks = form == "max" and not set(dead) & set(stream.tensors)  # channels that were to go have to go
        _set(orders, analysis, stream, _order(analysis, stream, by_output, in_blocks=blocks, form=form))
    decided = set(changed)
    for node in analysis.network.nodes:
        if node.outputs[0] in streams and joins_channels(analysis.network, node):
            stream, order = streams[node.outputs[0]], joined_order(analysis, node, orders)
            if stream not in decided and len(order) == stream.channels:  # so that nothing has to be gathered
                decided.add(stream)
                _set(orders, analysis, stream, order)
    return orders


def _set(orders: dict[str, NDArray[np.int64]], analysis: Analysis, stream: Stream, order: NDArray[np.int64]) -> None:
    """Let all tensors of a stream have their channels in an order."""
    if not np.array_equal(order, np.arange(stream.channels)):
        for tensor in stream.tensors:
            size = (analysis.network.shape(tensor) or (0, 0))[1] or 0
            orders[tensor] = _spread(order, size // stream.channels)


def _order(
    analysis: Analysis, stream: Stream, partials: Mapping[str, Partial], *, in_blocks: bool, form: MaskForm
) -> NDArray[np.int64]:
    """The channels that a stream keeps, perhaps in whole blocks, in the order that serves the largest sites."""
    unneeded = unneeded_channels(analysis, stream, partials)
    unneeded[0] &= not np.all(unneeded)
    kept = np.flatnonzero(~(_in_blocks(unneeded) if in_blocks else unneeded))
    sites = [site for site in analysis.sites if site.output in partials and site.output in stream.tensors]
    sites.sort(key=lambda site: -(site.size or 0))
    groups = [
        roles(site, partials[site.output], form)[kept]
        for site in sites
        if partials[site.output].kept.shape == (stream.channels,)
    ]
    return kept[common_order(groups)] if groups else kept


def _in_blocks(unneeded: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which channels to leave out so that whole blocks are left, which a processor computes at once anyway."""
    left = np.count_nonzero(~unneeded)
    spare = min(-left % _BLOCK, np.count_nonzero(unneeded))
    fewer = unneeded.copy()
    fewer[np.flatnonzero(unneeded)[:spare]] = False
    return fewer


def _spread(order: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    """The elements that channels of `width` elements each have, in the channels' order."""
    spread: NDArray[np.int64] = (order[:, np.newaxis] * width + np.arange(width)).reshape(-1)
    return spread


def _taken(partial: Partial, order: NDArray[np.int64] | None) -> Partial:
    if order is None or len(partial.kept) == 1:  # one number may serve all channels
        return partial
    return partial.mapped(lambda values: values[order])
