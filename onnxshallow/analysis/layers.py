"""Linear layers: a Conv, Gemm, MatMul or BatchNormalization with the exact clean-ups that belong to it.

Exporters write one linear layer as several nodes. What is recognised, and becomes one `Convolution`:

    Pad(zeros) -> Identity | Dropout -> Conv | Gemm | MatMul -> BatchNormalization -> arithmetic on constants, Neg

The weights may come from initializers, Constant nodes, Identities or any arithmetic on constants. Nothing is
rewritten here: a layer says which nodes it stands for, and an action that changes the layer replaces just those.
"""

import math
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from onnxshallow.analysis.affine_ops import channel_affine, channel_constant, is_passthrough
from onnxshallow.analysis.attributes import pads_of, spatial_attribute, zero_padding
from onnxshallow.analysis.siblings import SHARED, siblings
from onnxshallow.convolution import Convolution
from onnxshallow.errors import ModelError
from onnxshallow.model.network import Network, Node

__all__ = ["Layer", "Layers"]

Kind = Literal["conv", "gemm", "affine"]

# The weights of layers with more elements than this are not written anew.
_MOST_WRITTEN = 1 << 26
# Convolutions of more bytes than this are computed each time they are asked for.
_MOST_KEPT = 64 << 20


@dataclass(frozen=True)
class Layer:
    """One linear layer.

    Attributes:
        name: name of its main node.
        kind: `conv`, `gemm` (spatial rank 0), or `affine` (a BatchNormalization or a multiplication by constants
            that no other layer precedes).
        source: the tensor that it reads.
        output: the tensor that it makes.
        before: indices of the nodes folded in before the main node, in order.
        main: index of the main node.
        after: indices of the nodes folded in after the main node, in order.
        weight_shape: shape of the main node's weights as (C_out, C_in / groups, *kernel).
    """

    name: str
    kind: Kind
    source: str
    output: str
    before: tuple[int, ...]
    main: int
    after: tuple[int, ...]
    weight_shape: tuple[int, ...]

    @property
    def nodes(self) -> tuple[int, ...]:
        """Indices of all nodes that the layer stands for."""
        return (*self.before, self.main, *self.after)

    @property
    def is_light(self) -> bool:
        """Whether its weights are few enough to be written anew."""
        return math.prod(self.weight_shape) <= _MOST_WRITTEN


class Layers:
    """The linear layers of a network on which an output depends, in graph order.

    Args:
        network: the network; dynamic weights, quantized weights and unknown sizes where they matter make a node
            that is no layer (see `reasons`, and `quantized` for nodes with quantized weights).
        boundaries: tensors that no layer reaches across, for those who are to find them again after an edit.
    """

    def __init__(self, network: Network, boundaries: Collection[str] = ()) -> None:
        self.network = network
        self._boundaries = frozenset(boundaries)
        self.reasons: dict[int, str] = {}
        self.quantized: set[int] = set()
        self._convolutions: dict[str, Convolution] = {}
        self._absorbed: set[int] = set()
        self.shared = siblings(network)
        self.reasons.update(dict.fromkeys(self.shared, SHARED))
        found = []
        for node in network.nodes:
            if node.index in self._absorbed or node.index not in network.alive or node.index in self.shared:
                continue
            layer = self._recognise(node)
            if layer is not None:
                self._absorbed.update(layer.nodes)
                found.append(layer)
        self.all: tuple[Layer, ...] = tuple(found)
        self.by_output = {layer.output: layer for layer in found}
        self.by_node = {index: layer for layer in found for index in layer.nodes}

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.all)

    def __len__(self) -> int:
        return len(self.all)

    def convolution(self, layer: Layer) -> Convolution:
        """The layer as one convolution, in float64; computed once, unless it is very large.

        Raises:
            ModelError: its weights, bias and attributes contradict each other.
        """
        known = self._convolutions.get(layer.output)
        if known is not None:
            return known
        try:
            computed = self._compute(layer)
        except ValueError as error:
            raise ModelError(f"Node {layer.name!r} is damaged: {error}; export the model again") from error
        if computed.weight.nbytes <= _MOST_KEPT:
            self._convolutions[layer.output] = computed
        return computed

    def geometry(self, layer: Layer) -> Convolution:
        """How the layer moves over its input: one channel in and out, all taps one, a bias if it has one.

        Its weights are not read.

        Raises:
            ModelError: its bias and attributes contradict each other.
        """
        main = self.network.nodes[layer.main]
        taps = np.ones((1, 1, *layer.weight_shape[2:]))
        try:
            bias = [float(np.any(self._bias(layer) != 0))]
            if layer.kind == "conv":
                return self._placed(layer, main, taps, bias, 1)
            return Convolution.of(taps, bias)
        except ValueError as error:
            raise ModelError(f"Node {layer.name!r} is damaged: {error}; export the model again") from error

    def groups(self, layer: Layer) -> int:
        """Into how many blocks of channels the layer splits its input and output."""
        if layer.kind == "affine":
            return layer.weight_shape[0]
        return int(self.network.nodes[layer.main].attributes.get("group", 1)) if layer.kind == "conv" else 1

    def dtype(self, layer: Layer) -> np.dtype:
        """Element type of what the layer reads and makes, and of its weights."""
        main = self.network.nodes[layer.main]
        made = self.network.dtype(main.outputs[0])
        if layer.kind == "affine" and made is not None:  # a BatchNormalization's parameters may be of another type
            return made
        value = self.network.constant(main.inputs[1])
        if value is None:  # MatMul with the constant on the left is no layer, so this cannot be
            raise ValueError(f"layer {layer.name!r} has no constant weight")
        return value.dtype

    @cached_property
    def sources(self) -> dict[str, tuple[Layer, ...]]:
        """Layers by the tensor that they read."""
        readers: dict[str, tuple[Layer, ...]] = {}
        for layer in self.all:
            readers[layer.source] = (*readers.get(layer.source, ()), layer)
        return readers

    def made_by(self, layers: Iterable[Layer]) -> set[str]:
        """Every tensor that a node of `layers` makes."""
        return {name for layer in layers for index in layer.nodes for name in self.network.nodes[index].outputs}

    def _recognise(self, node: Node) -> Layer | None:
        if node.is_op("Conv"):
            return self._conv(node)
        if node.is_op("Gemm", "MatMul"):
            return self._gemm(node)
        if node.is_op("BatchNormalization", "Mul"):
            return self._affine(node)
        return None

    def _conv(self, node: Node) -> Layer | None:
        shape = self._weight_shape(node)
        if shape is None or len(shape) < 3 or not self._bias_is_constant(node, 2):
            return None
        try:
            pads_of(self.network, node, shape[2:])
        except ValueError as error:
            self.reasons[node.index] = str(error)
            return None
        return self._finish(node, "conv", self._before(node), shape)

    def _gemm(self, node: Node) -> Layer | None:
        shape = self._weight_shape(node)
        sizes = self.network.shape(node.inputs[0])
        if shape is None or len(shape) != 2 or sizes is None or len(sizes) != 2:
            return None
        if node.attributes.get("transA", 0) or not self._bias_is_constant(node, 2):
            return None
        out_first = bool(node.attributes.get("transB", 0))
        out_channels = shape[0] if out_first else shape[1]
        if node.is_op("Gemm") and len(node.inputs) > 2 and node.inputs[2]:
            bias = self.network.constant(node.inputs[2])
            if bias is None or channel_constant(bias, 0, out_channels) is None:
                return None
        weight_shape = shape if out_first else shape[::-1]
        return self._finish(node, "gemm", self._before(node), weight_shape)

    def _affine(self, node: Node) -> Layer | None:
        swapped = node.is_op("Mul") and self.network.is_constant(node.inputs[0])
        source = node.inputs[1 if swapped else 0]
        sizes = self.network.shape(source)
        channels = sizes[1] if sizes is not None and len(sizes) > 1 else None
        if sizes is None or channels is None:
            return None
        if channel_affine(self.network, node, source, len(sizes) - 2, channels) is None:
            return None
        return self._finish(node, "affine", (), (channels, 1, *(1 for _ in sizes[2:])), source)

    def _weight_shape(self, node: Node) -> tuple[int, ...] | None:
        if len(node.inputs) < 2:
            return None
        weight = stored = node.inputs[1]
        producer = self.network.producer(weight)
        while producer is not None and producer.is_op("Identity", "Cast", "Transpose", "Reshape"):
            stored = producer.inputs[0]
            producer = self.network.producer(stored)
        if producer is not None and producer.op == "DequantizeLinear":
            self.quantized.add(node.index)
            self.reasons[node.index] = "its weights are quantized; optimize the model before quantizing it"
            return None
        if self.network.is_overridable(stored):
            self.reasons[node.index] = (
                "its weights are listed as inputs, by which they may be overridden; --freeze-weights takes them off"
            )
            return None
        if not self.network.has_value(weight):
            given = any(stored == info.name for info in self.network.inputs)
            self.reasons[node.index] = (
                "its weights are an input of the model" if given else "its weights are computed while the model runs"
            )
            return None
        sizes = self.network.shape(weight)
        if sizes is None or not all(sizes):
            value = self.network.constant(weight)
            return None if value is None else value.shape
        return tuple(int(size or 0) for size in sizes)

    def _bias_is_constant(self, node: Node, position: int) -> bool:
        if len(node.inputs) <= position or not node.inputs[position]:
            return True
        if self.network.has_value(node.inputs[position]):
            return True
        self.reasons[node.index] = "its bias is no constant"
        return False

    def _before(self, node: Node) -> tuple[int, ...]:
        """Pass-throughs straight before a node, and zero Pads before a Conv, whose results nothing else reads."""
        found: list[int] = []
        tensor = node.inputs[0]
        while self._is_inner(tensor):
            producer = self.network.producer(tensor)
            if producer is None or producer.index in self._absorbed:
                break
            if not is_passthrough(self.network, producer) and not self._is_pad_for(producer, node):
                break
            found.insert(0, producer.index)
            tensor = producer.inputs[0]
        return tuple(found)

    def _is_inner(self, tensor: str) -> bool:
        """Whether a layer may reach across `tensor`."""
        return tensor not in self._boundaries and self.network.is_private(tensor)

    def _is_pad_for(self, pad: Node, conv: Node) -> bool:
        padding = zero_padding(self.network, pad) if conv.is_op("Conv") else None
        if padding is None:
            return False
        begin, end = padding
        plain = conv.attributes.get("auto_pad", "NOTSET") in ("NOTSET", "VALID", "")
        return plain and not any(begin[:2] + end[:2]) and min(begin + end) >= 0

    def _finish(
        self,
        node: Node,
        kind: Kind,
        before: tuple[int, ...],
        weight_shape: tuple[int, ...],
        source: str | None = None,
    ) -> Layer:
        after: list[int] = []
        tensor = node.outputs[0]
        rank = len(weight_shape) - 2
        while self._is_inner(tensor):
            (reader,) = self.network.consumers(tensor)
            if not is_passthrough(self.network, reader):
                if channel_affine(self.network, reader, tensor, rank, weight_shape[0]) is None:
                    break
            after.append(reader.index)
            tensor = reader.outputs[0]
        first = self.network.nodes[before[0]] if before else node
        return Layer(
            node.name, kind, source or first.inputs[0], tensor, before, node.index, tuple(after), weight_shape
        )

    def _compute(self, layer: Layer) -> Convolution:
        main = self.network.nodes[layer.main]
        scale = np.ones(layer.weight_shape[0])
        for factor, _ in self._folds(layer):
            scale = scale * factor
        bias = self._bias(layer)
        if layer.kind == "affine":
            return Convolution.of(scale.reshape(layer.weight_shape), bias, groups=len(scale))
        weight = _known(self.network, main.inputs[1])
        if layer.kind == "gemm":
            weight = weight if main.attributes.get("transB", 0) else weight.T
            scale = scale * float(main.attributes.get("alpha", 1.0))
        weight = np.multiply(weight, scale.reshape(-1, *(1,) * (weight.ndim - 1)), dtype=np.float64)
        if layer.kind == "gemm":
            return Convolution.of(weight, bias)
        return self._placed(layer, main, weight, bias, self.groups(layer))

    def _folds(self, layer: Layer) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Scale and shift, (C,) each, of the nodes that are folded into the layer, in order."""
        channels, rank = layer.weight_shape[0], len(layer.weight_shape) - 2
        indices = (layer.main, *layer.after) if layer.kind == "affine" else layer.after
        tensor = layer.source if layer.kind == "affine" else self.network.nodes[layer.main].outputs[0]
        for index in indices:
            node = self.network.nodes[index]
            fold = channel_affine(self.network, node, tensor, rank, channels)
            if fold is not None:
                yield fold
            tensor = node.outputs[0]

    def _bias(self, layer: Layer) -> np.ndarray:
        """The layer's bias, (C,), with all that is folded into it."""
        main = self.network.nodes[layer.main]
        bias = np.zeros(layer.weight_shape[0])
        if layer.kind != "affine" and len(main.inputs) > 2 and main.inputs[2]:
            value = np.asarray(_known(self.network, main.inputs[2]), dtype=np.float64)
            if layer.kind == "gemm":
                flat = channel_constant(value, 0, len(bias))
                value = bias if flat is None else flat * float(main.attributes.get("beta", 1.0))
            bias = value
        for factor, shift in self._folds(layer):
            bias = bias * factor + shift
        return bias

    def _placed(
        self, layer: Layer, node: Node, weight: np.ndarray, bias: np.ndarray | list[float], groups: int
    ) -> Convolution:
        """A convolution of these weights that moves as a Conv node and the Pads before it say."""
        rank = weight.ndim - 2
        begin, end = (list(pads) for pads in pads_of(self.network, node, weight.shape[2:]))
        for index in layer.before:
            padding = zero_padding(self.network, self.network.nodes[index])
            if padding is not None:
                begin = [a + b for a, b in zip(begin, padding[0][2:], strict=True)]
                end = [a + b for a, b in zip(end, padding[1][2:], strict=True)]
        return Convolution.of(
            weight,
            bias,
            strides=spatial_attribute(node, "strides", rank),
            dilations=spatial_attribute(node, "dilations", rank),
            pads_begin=begin,
            pads_end=end,
            groups=groups,
        )


def _known(network: Network, tensor: str) -> np.ndarray:
    value = network.constant(tensor)
    if value is None:
        raise ValueError(f"tensor {tensor!r} is no constant")
    return value
