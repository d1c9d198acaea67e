"""What can go from a network without moving its outputs by more than rounding does.

folded      BatchNormalization, Pad and constant arithmetic, into the layer beside them
computed    nodes that make constants, where those are small
idle        nodes that return what they read, and those on which no output depends
settled     activations that let all pass whatever the input, and those that let nothing pass
channels    that are zero for all who read them, or one number that goes into their biases
flushed     weights so small that processors take long over them (denormal numbers), which become zero
unused      initializers that nothing reads
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from onnxshallow.actions.emission import write_layers
from onnxshallow.analysis import Analysis, Layer, analyze
from onnxshallow.analysis.affine_ops import is_passthrough
from onnxshallow.analysis.ranges import Ranges
from onnxshallow.analysis.streams import find_streams
from onnxshallow.analysis.zeros import unneeded_channels
from onnxshallow.model.network import Network, Node, outer_references
from onnxshallow.model.orders import orders_of
from onnxshallow.model.scales import scales_of
from onnxshallow.model.shapes import all_names, bodies
from onnxshallow.model.spelling.changes import Change, changed, fresh, in_order
from onnxshallow.model.spelling.clamps import clamp_of
from onnxshallow.model.spelling.idle import idle_nodes
from onnxshallow.model.weights import is_apart, value_of
from onnxshallow.rewriting.constant_channels import constants_in_biases
from onnxshallow.rewriting.lowering.reindex import reindex

__all__ = ["Removed", "lossless"]

# Constants of up to so many bytes are stored in place of the nodes that compute them.
_SMALL = 1 << 12
# What is made of stored integers by these is left to be: engines that compute in integers look for it.
_OF_INTEGERS = ("DequantizeLinear", "QuantizeLinear", "DynamicQuantizeLinear")
_SHORT = {onnx.TensorProto.FLOAT: np.finfo(np.float32).tiny, onnx.TensorProto.DOUBLE: np.finfo(np.float64).tiny}


@dataclass(frozen=True)
class Removed:
    """How much of each kind went; see the module.

    Attributes:
        folded: nodes.
        computed: nodes.
        idle: nodes.
        channels: of all tensors of one order together.
        flushed: weights.
        unused: initializers.
        settled: activations.
    """

    folded: int
    computed: int
    idle: int
    channels: int
    flushed: int
    unused: int
    settled: int = 0

    @property
    def in_words(self) -> str:
        """What went, in words."""
        counts = {
            "nodes folded into the layer beside them": self.folded,
            "nodes whose constants are stored": self.computed,
            "nodes that did nothing": self.idle,
            "activations that always or never let pass what they read": self.settled,
            "channels that nobody needed": self.channels,
            "denormal weights made zero": self.flushed,
            "weights that nothing read": self.unused,
        }
        said = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
        return f"what changes nothing went: {said}" if said else "there was nothing that could go without a change"

    def __bool__(self) -> bool:
        """Whether anything went."""
        return any((self.folded, self.computed, self.idle, self.channels, self.flushed, self.unused, self.settled))


def lossless(
    model: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]] | None = None, bound: Collection[str] = ()
) -> tuple[onnx.ModelProto, Removed]:
    """A model that computes the same by less, and what went.

    Args:
        model: as it stands in its file; it is not changed.
        shapes: sizes for inputs with open axes, by name.
        bound: tensors of which what reads them stays, even if that does nothing.
    """
    stored, computed = _with_constants(model)
    tidy = _without_idle(stored, bound)
    idle = len(model.graph.node) - computed - len(tidy.graph.node)
    analysis = analyze(tidy, shapes)
    settled = list[Change]()
    while more := _settled(analysis):  # where one goes, another may
        settled += more
        before, tidy = len(tidy.graph.node), _without_idle(changed(tidy, more), bound)
        idle += max(0, before - len(more) - len(tidy.graph.node))
        analysis = analyze(tidy, shapes)
    folded = {layer: analysis.layers.convolution(layer) for layer in analysis.layers if _is_foldable(analysis, layer)}
    folded |= constants_in_biases(analysis)
    made = write_layers(analysis.network, analysis.layers, folded)
    fewer = len(tidy.graph.node) - len(made.graph.node)
    analysis = analyze(made, shapes)
    orders, channels = _needed(analysis)
    result, flushed = _with_flushed_weights(reindex(analysis, orders) if orders else made)
    return result, Removed(fewer, computed, idle, channels, flushed, _drop_unused(result), len(settled))


def _with_flushed_weights(model: onnx.ModelProto) -> tuple[onnx.ModelProto, int]:
    """A copy of `model` whose denormal weights are zero, and how many there were.

    An output moves by at most the sum of |x| over what they multiply, times 1.2e-38.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    return result, sum(map(_flush, result.graph.initializer))


def _settled(analysis: Analysis) -> list[Change]:
    """Activations that let all pass, each as an Identity, and those that make zeros of all, as a product with 0."""
    network, ranges, found = analysis.network, Ranges(analysis), list[Change]()
    taken = all_names(network.model.graph)
    for site in analysis.sites:
        read = ranges.of(site.source)
        node = network.nodes[site.node] if site.node >= 0 else None
        clamp = None if node is None else clamp_of(network, node)
        if node is None or site.dtype is None:
            continue
        leaky = site.kind in ("leaky_relu", "prelu") and read.low >= 0
        if leaky or (clamp is not None and clamp.low <= read.low and read.high <= clamp.high):
            new = onnx.helper.make_node("Identity", [site.source], [site.output], node.proto.name)
            found.append(Change.of(network.model.graph, [node.index], [new]))
        elif clamp is not None and clamp.low == 0 >= read.high and network.model.ir_version >= 4:
            zero = onnx.numpy_helper.from_array(np.zeros((), site.dtype), fresh(f"{site.output}_zero", taken))
            new = onnx.helper.make_node("Mul", [site.source, zero.name], [site.output], node.proto.name)
            found.append(Change.of(network.model.graph, [node.index], [new], [zero]))
    return found


def _is_foldable(analysis: Analysis, layer: Layer) -> bool:
    """Whether a layer is several nodes, and its weights are stored; those that are computed may be stored as less."""
    network = analysis.network
    main = network.nodes[layer.main]
    stored = layer.kind == "affine" or network.initializer(main.inputs[1]) is not None
    return len(layer.nodes) > 1 and layer.is_light and stored


def _with_constants(model: onnx.ModelProto) -> tuple[onnx.ModelProto, int]:
    """The model with small constants stored that nodes compute, and how many nodes went for it."""
    if model.ir_version < 4:  # every initializer would have to be listed as an input, too
        return model, 0
    network = Network(model)
    quantized = set[str]()
    for node in network.nodes:
        if node.op in _OF_INTEGERS or not quantized.isdisjoint(node.reads):
            quantized.update(node.outputs)
    nodes = [node for node in network.nodes if quantized.isdisjoint(node.outputs)]
    computed = {node.index for node in nodes if _is_computed(network, node)}
    read = {name for node in network.nodes if node.index not in computed for name in node.reads}
    values = {}
    for index in sorted(computed):
        for name in network.nodes[index].outputs:
            value = network.constant(name) if name in read and not network.is_output(name) else None
            if value is not None and value.dtype.kind in "biuf" and value.nbytes <= _SMALL:
                values[name] = value
    makers = {network.producer(name) for name in values}
    gone = {node.index for node in makers if node is not None and all(o in values for o in node.outputs if o)}
    result = onnx.ModelProto()
    result.CopyFrom(model)
    kept = [node for place, node in enumerate(model.graph.node) if place not in gone]
    del result.graph.node[:]
    result.graph.node.extend(kept)
    left = {name for node in kept for name in node.output}
    result.graph.initializer.extend(
        onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in values.items() if name not in left
    )
    return result, len(gone)


def _is_computed(network: Network, node: Node) -> bool:
    """Whether a node makes constants, of constants or of nothing."""
    return (bool(node.reads) or node.is_op("Constant")) and all(
        network.is_constant(name) for name in node.outputs if name
    )


def _without_idle(model: onnx.ModelProto, bound: Collection[str]) -> onnx.ModelProto:
    """The model without nodes that return what they read, or that nothing needs."""
    before = -1
    while before != len(model.graph.node):  # what stood on both sides of one may undo each other
        before = len(model.graph.node)
        model = _without_those_alone(model, bound)
    return model


def _without_those_alone(model: onnx.ModelProto, bound: Collection[str]) -> onnx.ModelProto:
    """The model without such nodes, each looked at by itself."""
    network, read = Network(model), set(bound)
    while changes := [each for each in idle_nodes(network) if not any(read & set(old.input) for old in each.old)]:
        network = Network(changed(network.model, changes))
    graph = network.model.graph
    inner = {name for node in graph.node for body in bodies(node) for name in outer_references(body)}
    names: dict[str, str] = {}
    kept = []
    for node in network.nodes:
        output = node.outputs[0] if node.outputs else ""
        named = network.is_output(output) or output in inner
        if node.index not in network.alive:
            continue
        if is_passthrough(network, node) and not named:
            names[output] = names.get(node.inputs[0], node.inputs[0])
            continue
        kept.append(node.proto)
    result = onnx.ModelProto()
    result.CopyFrom(network.model)
    del result.graph.node[:]
    result.graph.node.extend(in_order(kept))
    for proto in result.graph.node:
        proto.input[:] = [names.get(name, name) for name in proto.input]
    for place in reversed(range(len(result.graph.value_info))):
        if result.graph.value_info[place].name in names:
            del result.graph.value_info[place]
    return result


def _needed(analysis: Analysis) -> tuple[dict[str, NDArray[np.int64]], int]:
    """By tensor which channels stay, for streams of which some can go, and how many go."""
    orders: dict[str, NDArray[np.int64]] = {}
    gone, noted = 0, scales_of(analysis.network.model).keys() | orders_of(analysis.network.model).keys()
    for stream in dict.fromkeys(find_streams(analysis).values()):
        if not noted.isdisjoint(stream.tensors):  # whose channels are told by their number
            continue
        unneeded = unneeded_channels(analysis, stream, {})
        unneeded[0] &= not np.all(unneeded)
        if not unneeded.any():
            continue
        gone += int(unneeded.sum())
        for tensor in stream.tensors:
            width = ((analysis.network.shape(tensor) or (0, 0))[1] or 0) // stream.channels
            orders[tensor] = np.flatnonzero(np.repeat(~unneeded, width))
    return orders, gone


def _flush(tensor: onnx.TensorProto) -> int:
    """Make zeros of a tensor's denormal numbers; how many there were.

    Where there are no others they mean something, as the epsilon in `Log(x + 1e-45)` does, and stay.
    """
    if tensor.data_type not in _SHORT or is_apart(tensor):
        return 0
    values = value_of(tensor)
    small = (values != 0) & (np.abs(values) < _SHORT[tensor.data_type])
    if small.sum() == np.count_nonzero(values):
        return 0
    if small.any():
        flushed = onnx.numpy_helper.from_array(np.where(small, 0, values).astype(values.dtype), tensor.name)
        tensor.ClearField("float_data")
        tensor.ClearField("double_data")
        tensor.raw_data = flushed.raw_data
    return int(small.sum())


def _drop_unused(model: onnx.ModelProto) -> int:
    """Take out the initializers that nothing reads; how many there were."""
    graph = model.graph
    read = {value.name for value in (*graph.output, *graph.input)}
    for node in graph.node:
        read.update(node.input, *(outer_references(body) for body in bodies(node)))
    unused = [place for place, tensor in enumerate(graph.initializer) if tensor.name not in read]
    for place in reversed(unused):
        del graph.initializer[place]
    return len(unused)
