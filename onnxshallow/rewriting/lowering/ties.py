"""Which channels are stored at the same scale, by what makes and reads them.

A scale is a number that a channel may be multiplied by (`onnxshallow.rewriting.lowering.scales`).

    Relu, LeakyRelu, PRelu, Max(x, floors),
    poolings, sums, moves                             at the scale of what they read
    Mul(u, u)                                         at its square
    a layer                                           reads and makes any scale: its weights take it up
    Mul by a number a channel                         likewise; it can go where its output takes up the number
    all others, and the ends of the network           at scale one
"""

import numpy as np
from numpy.typing import NDArray

from onnxshallow.analysis import Analysis, Layer
from onnxshallow.analysis.affine_ops import is_passthrough
from onnxshallow.analysis.attributes import zero_padding
from onnxshallow.analysis.cost import is_square
from onnxshallow.analysis.floors import floors_of
from onnxshallow.analysis.streams import adds_channels, channel_axis, joins_channels, keeps_channels
from onnxshallow.model.network import Node
from onnxshallow.rewriting.lowering.scales import Scales

__all__ = ["Ties"]

Places = NDArray[np.int64]

_HOMOGENEOUS = (
    "Relu", "LeakyRelu", "PRelu", "Neg", "Abs", "MaxPool", "AveragePool", "LpPool", "GlobalAveragePool",
    "GlobalMaxPool", "GlobalLpPool",
)  # fmt: skip


class Ties:
    """The channels of a network's tensors, numbered, and the scales of all, tied as the network's nodes ask for.

    Args:
        analysis: of the network.

    Attributes:
        count: how many channels there are.
        scales: their scales.
    """

    def __init__(self, analysis: Analysis) -> None:
        self._analysis = analysis
        self._starts: dict[str, tuple[int, int]] = {}
        self._zero: set[int] = set()  # channels that hold zeros alone, and so are of any scale
        self.count = 0
        network = analysis.network
        made = [name for node in network.nodes for name in node.outputs if name and not network.is_constant(name)]
        ends = [*(info.name for info in network.inputs), *network.output_names]
        for name in dict.fromkeys([*ends, *made]):
            shape = network.shape(name)
            if shape is not None and len(shape) > 1 and shape[1]:
                self._starts[name] = self.count, shape[1]
                self.count += shape[1]
        self.scales = Scales(self.count)
        for name in ends:
            self.scales.fix(self.places(name))
        for node in network.nodes:
            if node.index in network.alive and not network.is_constant(node.outputs[0]):
                self._read(node)

    def places(self, tensor: str) -> Places:
        """The numbers of a tensor's channels (C,), or of its elements where it is flat; none where it is unknown."""
        start, count = self._starts.get(tensor, (0, 0))
        return np.arange(start, start + count)

    def is_free(self, layer: Layer) -> bool:
        """Whether a layer can be written so that it reads and makes any scale."""
        return layer.is_light and layer.source in self._starts and layer.output in self._starts

    def _read(self, node: Node) -> None:
        network, layer = self._analysis.network, self._analysis.layers.by_node.get(node.index)
        if layer is not None and (layer.main != node.index or self.is_free(layer)):
            return
        tensors = [name for name in (*node.reads, *node.outputs) if name and not network.is_constant(name)]
        if layer is not None:
            tensors = [layer.source, layer.output]
        pairs = None
        if layer is None and not node.captures and self._starts.keys() >= set(tensors):
            pairs = self._pairs(node)
        if pairs is None:
            for name in tensors:
                self.scales.fix(self.places(name))
            return
        for made, read in pairs:
            known = np.array([place not in self._zero for place in read.tolist()], bool)
            self.scales.tie(made[known], read[known], power=int(is_square(network, node)))

    def _pairs(self, node: Node) -> list[tuple[Places, Places]] | None:
        """The channels that a node makes, each with one that it reads; None where all are to be of scale one."""
        network = self._analysis.network
        read = [self.places(name) for name in node.inputs if name and not network.is_constant(name)]
        made = [self.places(name) for name in node.outputs if name]
        first, result = read[0], made[0]
        if is_square(network, node):
            return [(result, first)]
        if node.is_op("Split") and int(node.attributes.get("axis", 0)) in (1, 1 - self._axes(node)):
            return [(np.concatenate(made), first)] if sum(map(len, made)) == len(first) else None
        if len(made) > 1:
            return None
        if joins_channels(network, node):
            return [(result, np.concatenate(read))]
        if node.is_op("Gather") and len(read) == 1:
            return self._gathered(node, first, result)
        if adds_channels(network, node):
            return self._padded(node, first, result)
        if node.is_op("Add", "Sub", "Sum", "Mul"):
            fits = all(self._is_scalable(node, name) for name in node.inputs if network.is_constant(name))
            single = len(read) == 1 or not node.is_op("Mul")
            return [(result, each) for each in read] if fits and single and len({*map(len, read)}) == 1 else None
        same = node.is_op(*_HOMOGENEOUS) or floors_of(network, node) is not None
        if same or is_passthrough(network, node) or keeps_channels(network, node):
            whole, rest = divmod(len(result), len(first))
            return None if rest else [(result, np.repeat(first, whole))]
        return None

    def _axes(self, node: Node) -> int:
        return len(self._analysis.network.shape(node.inputs[0]) or ())

    def _gathered(self, node: Node, read: Places, made: Places) -> list[tuple[Places, Places]] | None:
        chosen = self._analysis.network.constant(node.inputs[1])
        if chosen is None or chosen.ndim != 1 or int(node.attributes.get("axis", 0)) not in (1, 1 - self._axes(node)):
            return None
        taken = read[chosen]
        self._zero.update(made[[place in self._zero for place in taken.tolist()]].tolist())
        return [(made, taken)]

    def _padded(self, node: Node, read: Places, made: Places) -> list[tuple[Places, Places]]:
        padding = zero_padding(self._analysis.network, node)
        before = 0 if padding is None else padding[0][1]
        copied = made[before : before + len(read)]
        self._zero.update(np.setdiff1d(made, copied).tolist())
        return [(copied, read)]

    def _is_scalable(self, node: Node, constant: str) -> bool:
        """Whether a constant can be multiplied channel by channel."""
        network = self._analysis.network
        value, made = network.constant(constant), network.shape(node.outputs[0]) or ()
        if value is None or value.dtype.kind != "f" or value.ndim > len(made):
            return False
        return channel_axis(value, len(made)) in (None, made[1])
