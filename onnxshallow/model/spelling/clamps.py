"""Clamps and leaky rectifiers in all their spellings, written as Relu, Clip, LeakyRelu and PRelu.

    Max(x, 0)    Where(x > 0, x, 0)    ThresholdedRelu(x), alpha 0    Mul(x, Cast(x > 0))      Relu(x)
    Min(Max(x, low), high)    Min(Relu(x), high)    Clip(x, low) and Clip(., , high)           Clip(x, low, high)
    Max(a x, x)    Where(x > 0, x, a x)                                                        LeakyRelu or PRelu

Constants may be computed, of any shape that does not make the result larger, and stand on either side.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from onnxshallow.model.network import Network, Node
from onnxshallow.model.shapes import all_names
from onnxshallow.model.spelling.changes import Change, fresh

__all__ = ["Clamp", "Leaky", "Read", "clamp_of", "clamps", "fits", "merged_clamps", "written"]

_ABOVE, _BELOW = ("Greater", "GreaterOrEqual"), ("Less", "LessOrEqual")


@dataclass(frozen=True)
class Clamp:
    """min(max(x, low), high), infinite where there is no bound."""

    low: float
    high: float

    @property
    def bounds(self) -> int:
        """How many bounds there are, each of which takes a comparison."""
        return math.isfinite(self.low) + math.isfinite(self.high)

    def then(self, other: "Clamp") -> "Clamp":
        """This one, and `other` behind it."""
        low, high = (min(max(bound, other.low), other.high) for bound in (self.low, self.high))
        return Clamp(low, high)


@dataclass(frozen=True, eq=False)
class Leaky:
    """x above zero, slope * x below; the slope is of a shape that is broadcast against x."""

    slope: NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class Read:
    """What nodes were found to compute of `source`; `helpers` are nodes before that nothing else may need."""

    source: str
    function: Clamp | Leaky
    dtype: np.dtype
    helpers: tuple[Node, ...] = ()


def clamp_of(network: Network, node: Node) -> Clamp | None:
    """The clamp that a Relu or Clip is; None for other nodes, and where a bound is no constant."""
    if node.is_op("Relu"):
        return Clamp(0.0, math.inf)
    if not node.is_op("Clip"):
        return None
    if network.opset < 11:
        low, high = float(node.attributes.get("min", -math.inf)), float(node.attributes.get("max", math.inf))
        return _within(low, high, np.dtype(np.float32))
    bounds, dtype = list[float](), np.dtype(np.float32)
    for position, default in ((1, -math.inf), (2, math.inf)):
        if len(node.inputs) <= position or not node.inputs[position]:
            bounds.append(default)
            continue
        value = network.constant(node.inputs[position])
        if value is None or value.size != 1:
            return None
        bounds.append(float(np.ravel(value)[0]))
        dtype = value.dtype
    return _within(bounds[0], bounds[1], dtype)


def _within(low: float, high: float, dtype: np.dtype) -> Clamp:
    """The clamp of two bounds, of which the outermost numbers of an element type bound nothing."""
    huge = float(np.finfo(dtype).max) if dtype.kind == "f" else math.inf
    return Clamp(-math.inf if low <= -huge else low, math.inf if high >= huge else high)


def clamps(network: Network) -> list[Change]:
    """Nodes that compute a clamp or a leaky rectifier in another spelling, each with the plain node in its place."""
    taken = all_names(network.model.graph)
    found = []
    gone: set[int] = set()
    for node in network.nodes:
        read = _read(network, node) if len(node.outputs) == 1 and not network.is_constant(node.outputs[0]) else None
        if read is None:
            continue
        made = written(network, node, read, taken)
        if made is None:
            continue
        helpers = _unneeded(network, node, read.helpers) - gone
        gone |= helpers
        found.append(Change.of(network.model.graph, {node.index, *helpers}, *made))
    return found


def merged_clamps(network: Network) -> list[Change]:
    """Pairs of clamps of which nothing else reads the tensor between, as one; no node is in two pairs."""
    taken = all_names(network.model.graph)
    found = []
    gone: set[int] = set()
    for node in network.nodes:
        second = clamp_of(network, node)
        before = network.producer(node.inputs[0]) if second is not None else None
        if second is None or before is None or before.index in gone or not network.is_private(node.inputs[0]):
            continue
        first = clamp_of(network, before)
        dtype = _dtype(network, node.outputs[0])
        if first is None or dtype is None or (node.op == before.op == "Relu"):
            continue
        read = Read(before.inputs[0], first.then(second), dtype)
        made = written(network, node, read, taken) if first.low < first.high else None
        if made is not None:
            gone |= {before.index, node.index}
            found.append(Change.of(network.model.graph, (before.index, node.index), *made))
    return found


def _read(network: Network, node: Node) -> Read | None:
    """What a node that is not plain already computes, if that is a clamp or a leaky rectifier."""
    if node.is_op("ThresholdedRelu"):
        dtype = _dtype(network, node.inputs[0])
        if node.attributes.get("alpha", 1.0) != 0 or dtype is None:
            return None
        return Read(node.inputs[0], Clamp(0.0, math.inf), dtype)
    if node.is_op("Max", "Min"):
        return _bounded(network, node) or _greatest(network, node)
    if node.is_op("Where"):
        return _chosen(network, node)
    return _gated(network, node) if node.is_op("Mul") else None


def _bounded(network: Network, node: Node) -> Read | None:
    """Max or Min of one tensor and constants that are each one number."""
    computed = [name for name in node.inputs if not network.is_constant(name)]
    values = [network.constant(name) for name in node.inputs if network.is_constant(name)]
    if len(computed) != 1 or not values:
        return None
    numbers: list[float] = []
    for value in values:
        if value is None or value.dtype.kind != "f" or not value.size or np.any(value != value.flat[0]):
            return None
        if not fits(network, value, computed[0]):
            return None
        numbers.append(float(value.flat[0]))
    most = Clamp(max(numbers), math.inf) if node.op == "Max" else Clamp(-math.inf, min(numbers))
    return Read(computed[0], most, values[0].dtype) if values[0] is not None else None


def _greatest(network: Network, node: Node) -> Read | None:
    """Max(a x, x) with a at most 1, and Min(a x, x) with a at least 1."""
    if len(node.inputs) != 2:
        return None
    for scaled, source in (node.inputs, node.inputs[::-1]):
        slope, helper = _scaled(network, scaled, source)
        if slope is None or helper is None:
            continue
        if np.all(slope <= 1 if node.op == "Max" else slope >= 1):
            return Read(source, Leaky(slope), slope.dtype, (helper,))
    return None


def _chosen(network: Network, node: Node) -> Read | None:
    """Where(x > 0, x, 0) and Where(x > 0, x, a x), also with the comparison the other way around."""
    for source in node.inputs[1:]:
        sign, helpers = _sign(network, node.inputs[0], source)
        if not sign or source != node.inputs[1 if sign > 0 else 2]:
            continue
        other = node.inputs[2 if sign > 0 else 1]
        value = network.constant(other)
        if value is not None and value.dtype.kind == "f" and value.size and not np.any(value):
            if fits(network, value, source):
                return Read(source, Clamp(0.0, math.inf), value.dtype, helpers)
            continue
        slope, helper = _scaled(network, other, source)
        if slope is not None and helper is not None:
            return Read(source, Leaky(slope), slope.dtype, (*helpers, helper))
    return None


def _gated(network: Network, node: Node) -> Read | None:
    """Mul(x, Cast(x > 0))."""
    for source, gate in (node.inputs, node.inputs[::-1]):
        cast = network.producer(gate)
        if cast is None or not cast.is_op("Cast", "CastLike"):
            continue
        sign, helpers = _sign(network, cast.inputs[0], source)
        dtype = _dtype(network, source)
        if sign > 0 and dtype is not None:
            return Read(source, Clamp(0.0, math.inf), dtype, (*helpers, cast))
    return None


def _scaled(network: Network, tensor: str, source: str) -> tuple[NDArray[np.floating] | None, Node | None]:
    """The constant that `tensor` is `source` multiplied by, and the node that does so."""
    node = network.producer(tensor)
    if node is None or not node.is_op("Mul") or source not in node.inputs:
        return None, None
    value = network.constant(node.inputs[1 - node.inputs.index(source)])
    if value is None or value.dtype.kind != "f" or not value.size:
        return None, None
    if not fits(network, value, source):
        return None, None
    return value, node


def _sign(network: Network, tensor: str, source: str) -> tuple[int, tuple[Node, ...]]:
    """1 where `tensor` says that `source` is above zero, -1 where it says below, else 0; and the nodes that do."""
    node = network.producer(tensor)
    if node is not None and node.is_op("Not"):
        sign, helpers = _sign(network, node.inputs[0], source)
        return -sign, (*helpers, node)
    if node is None or not node.is_op(*_ABOVE, *_BELOW) or source not in node.inputs:
        return 0, ()
    side = node.inputs.index(source)
    value = network.constant(node.inputs[1 - side])
    if value is None or np.any(value) or not value.size or not fits(network, value, source):
        return 0, ()
    return (1 if node.is_op(*_ABOVE) == (side == 0) else -1), (node,)


def _dtype(network: Network, tensor: str) -> np.dtype | None:
    info = network.inferred.get(tensor)
    return None if info is None else info.dtype


def fits(network: Network, value: np.ndarray, source: str) -> bool:
    """Whether `value` is broadcast against `source`, and the result is as large as that."""
    if value.ndim == 0:
        return True
    shape = network.inferred[source].shape if source in network.inferred else None
    if shape is None or len(shape) < value.ndim:
        return False
    own = shape[len(shape) - value.ndim :]
    return all(size in (1, other) for size, other in zip(value.shape, own, strict=True))


def _unneeded(network: Network, node: Node, helpers: tuple[Node, ...]) -> set[int]:
    """Indices of the helpers that nothing but `node` and other unneeded helpers reads."""
    unneeded = {node.index}
    for helper in sorted(helpers, key=lambda each: each.index, reverse=True):
        output = helper.outputs[0]
        if not network.is_output(output) and {each.index for each in network.consumers(output)} <= unneeded:
            unneeded.add(helper.index)
    return unneeded - {node.index}


def written(
    network: Network, node: Node, read: Read, taken: set[str]
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]] | None:
    """The plain node, and the constants that it reads; None where this opset has none of the element type."""
    if read.dtype.kind != "f" or network.opset < 7:
        return None
    make, name, output = onnx.helper.make_node, node.proto.name, list(node.outputs)
    if isinstance(read.function, Clamp):
        clamp = read.function
        if clamp == Clamp(0.0, math.inf):
            return [make("Relu", [read.source], output, name)], []
        if network.opset < 11:
            bounds = {k: v for k, v in (("min", clamp.low), ("max", clamp.high)) if math.isfinite(v)}
            return ([make("Clip", [read.source], output, name, **bounds)], []) if read.dtype == np.float32 else None
        if network.opset < 12 and read.dtype != np.float32:
            return None
        tensors = list(_bounds(clamp, read.dtype, output[0], taken))
        inputs = [read.source, *(tensor.name if tensor is not None else "" for tensor in tensors)]
        while not inputs[-1]:
            inputs.pop()
        return [make("Clip", inputs, output, name)], [tensor for tensor in tensors if tensor is not None]
    slope = read.function.slope
    if read.dtype == np.float64:
        return None  # onnxruntime has neither of the two in double precision
    if slope.size == 1:
        return [make("LeakyRelu", [read.source], output, name, alpha=float(slope.flat[0]))], []
    if network.opset < 9:
        return None
    tensor = onnx.numpy_helper.from_array(slope, fresh(f"{output[0]}_slope", taken))
    return [make("PRelu", [read.source, tensor.name], output, name)], [tensor]


def _bounds(clamp: Clamp, dtype: np.dtype, output: str, taken: set[str]) -> Iterator[onnx.TensorProto | None]:
    for what, bound in (("min", clamp.low), ("max", clamp.high)):
        if math.isfinite(bound):
            yield onnx.numpy_helper.from_array(np.array(bound, dtype), fresh(f"{output}_{what}", taken))
        else:
            yield None
