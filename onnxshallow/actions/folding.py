"""What comes straight before an activation, and can take over a part of its work."""

import numpy as np
import onnx_graphsurgeon as gs

from onnxshallow.actions.emission import affine_nodes, layer_nodes
from onnxshallow.analysis import Analysis, Layer, NotLinearError, Site
from onnxshallow.convolution import scale_output
from onnxshallow.fitting.targets import find_target
from onnxshallow.model.editor import GraphEditor

__all__ = ["feeding_layer", "fold", "folding_layer", "scaled_sum", "site_that_makes"]


def site_that_makes(analysis: Analysis, tensor: str) -> Site:
    """The activation that makes `tensor`.

    Raises:
        NotLinearError: there is none.
    """
    producer = analysis.network.producer(tensor)
    site = analysis.site_of_node.get(producer.index) if producer is not None else None
    if site is None:
        raise NotLinearError(f"no activation makes tensor {tensor!r}")
    return site


def folding_layer(analysis: Analysis, site: Site) -> Layer | None:
    """The layer that makes what only `site` reads, if a scale and a shift of its channels can be folded into it."""
    layer = analysis.layers.by_output.get(site.source)
    if layer is None or site.channels <= 1 or not analysis.network.is_private(site.source):
        return None
    return layer if layer.is_light else None


def fold(
    editor: GraphEditor, analysis: Analysis, layer: Layer, scale: np.ndarray, shift: np.ndarray, output: str
) -> None:
    """Let a layer make scale * layer + shift, (C,) each, as the tensor `output`.

    What made `output` before, such as the activation after the layer, goes.
    """
    convolution = scale_output(analysis.layers.convolution(layer), scale, shift)
    old = {output, *(analysis.network.nodes[index].outputs[0] for index in layer.nodes)}
    dtype = analysis.layers.dtype(layer)
    editor.replace(old, layer_nodes(editor, convolution, layer.source, output, name=layer.name, dtype=dtype))


def feeding_layer(analysis: Analysis, site: Site) -> Layer | None:
    """The last layer that the residual sum before `site` reads, and that nothing else does, if it can be fitted."""
    total = analysis.network.producer(site.source)
    if total is None or not analysis.network.is_private(site.source):
        return None
    if not total.is_op("Add", "Sum") or len(total.inputs) != 2:
        return None
    layers = [analysis.layers.by_output.get(name) for name in total.inputs]
    shapes = {analysis.network.shape(name) for name in (*total.inputs, total.outputs[0])}
    fits = [layer for layer in layers if layer is not None and analysis.network.is_private(layer.output)]
    usable = [layer for layer in fits if layer.kind != "affine"]
    if not usable or len(shapes) > 1:
        return None
    last = max(usable, key=lambda layer: layer.main)
    target = find_target(analysis.network, analysis.network, analysis.layers, last)
    return last if target is not None and target.tensor == total.outputs[0] else None


def scaled_sum(editor: GraphEditor, analysis: Analysis, site: Site, fed_by: Layer, output: str) -> None:
    """Let the residual sum before `site` make `output`, its other side multiplied channel by channel, for now by one.

    Args:
        editor: the graph under edit.
        analysis: of the graph as it is now.
        site: the activation after the sum.
        fed_by: what `feeding_layer` gave.
        output: the tensor that the sum already makes, or the one that the site makes, which then goes.
    """
    total = analysis.network.producer(site.source)
    assert total is not None
    (other,) = (name for name in total.inputs if name != fed_by.output)
    side = analysis.layers.by_output.get(other)
    if site.dtype is None or site.channels <= 1 or (side is not None and analysis.network.is_private(other)):
        if output != site.source:
            editor.rename_output(site.source, output)
        return
    scaled = editor.fresh(f"{site.name}_shortcut")
    one, zero = np.ones(site.channels), np.zeros(site.channels)
    nodes = affine_nodes(
        editor, one, zero, other, scaled, name=f"{site.name}/shortcut", dtype=site.dtype, rank=site.rank
    )
    inputs = [editor.tensor(fed_by.output), *nodes[-1].outputs]
    nodes.append(gs.Node("Add", total.name, {}, inputs, [editor.tensor(output)]))
    editor.replace([site.source] if output == site.source else [site.source, output], nodes)
