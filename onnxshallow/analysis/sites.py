"""Activation sites: the ReLU-like nodes, their sizes, and why some of them cannot be removed.

Relu                      max(x, 0)
Clip(0, n)                min(max(x, 0), n), also called ReLU6 (two comparisons under secure computation)
LeakyRelu, PRelu          x where x > 0, slope * x elsewhere

A PRelu does nothing to elements whose slope is one; they are not counted.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx

from onnxshallow.model.network import Network, Node, bodies, is_default_domain

__all__ = ["Site", "find_sites", "rectifier_bound"]

Kind = Literal["relu", "clip", "leaky_relu", "prelu"]

_KINDS: dict[str, Kind] = {"Relu": "relu", "Clip": "clip", "LeakyRelu": "leaky_relu", "PRelu": "prelu"}
# Makers of tensors whose axis 1 is the channel, and operators that leave the axes where they are.
_CHANNEL_MAKERS = ("Conv", "ConvTranspose", "Gemm", "BatchNormalization", "InstanceNormalization")
_AXIS_KEEPERS = ("Add", "Sub", "Mul", "Div", "Sum", "Identity", "Dropout", "Concat", "MaxPool", "AveragePool", "Pad",
                 "Relu", "Clip", "LeakyRelu", "PRelu", "Resize", "Upsample", "Split", "Slice",
                 "Where")  # fmt: skip


@dataclass(frozen=True)
class Site:
    """One ReLU-like node.

    Attributes:
        name: the node's name.
        kind: the function.
        node: the node's index in the main graph; -1 for a node in the body of an If, Loop or Scan.
        source: the tensor z that it reads.
        output: the tensor y that it makes.
        size: scalar activations per sample, None where the shape is not known.
        channels: size of axis 1 where it is the channel axis; 1 where there is none, and one scale serves the
            whole tensor.
        rank: number of axes after the channel axis.
        dtype: element type.
        refusal: why it cannot be removed; None where it can.
    """

    name: str
    kind: Kind
    node: int
    source: str
    output: str
    size: int | None
    channels: int
    rank: int
    dtype: np.dtype | None
    refusal: str | None

    @property
    def comparisons(self) -> int:
        """Comparisons per scalar under secure computation."""
        return 2 if self.kind == "clip" else 1


def find_sites(network: Network) -> tuple[Site, ...]:
    """All sites of a network, in graph order; those in subgraphs follow the node that holds them.

    Nodes on which no output depends are left out: they are never run.
    """
    found: list[Site] = []
    for node in network.nodes:
        if node.index not in network.alive:
            continue
        found.extend(_sites_in_bodies(node, node.proto))
        kind = _kind(network, node)
        if kind is not None and not network.is_constant(node.outputs[0]):
            found.append(_site(network, node, kind))
    return tuple(found)


def _kind(network: Network, node: Node) -> Kind | None:
    if not is_default_domain(node.domain) or node.op not in _KINDS:
        return None
    if node.op == "PRelu":
        slope = network.constant(node.inputs[1])
        return None if slope is not None and np.all(slope == 1) else "prelu"
    if node.op != "Clip":
        return _KINDS[node.op]
    low, high = _bounds(network, node)
    if low is None or high is None:
        return "clip"
    return None if low != 0 or high <= 0 else "clip" if np.isfinite(high) else "relu"


def rectifier_bound(network: Network, node: Node) -> float | None:
    """The upper bound of a node that computes min(max(x, 0), bound), infinity for a Relu; None for other nodes."""
    if node.is_op("Relu"):
        return float("inf")
    if not node.is_op("Clip"):
        return None
    low, high = _bounds(network, node)
    return high if low == 0 and high is not None and high > 0 else None


def _bounds(network: Network, node: Node) -> tuple[float | None, float | None]:
    """Lower and upper bound of a Clip; None for one that is no constant, infinities where there is none."""
    if network.opset < 11:
        low, high = float(node.attributes.get("min", -np.inf)), float(node.attributes.get("max", np.inf))
        huge = float(np.finfo(np.float32).max)
        return (-np.inf if low <= -huge else low), (np.inf if high >= huge else high)
    bounds: list[float | None] = []
    for position, default in ((1, -np.inf), (2, np.inf)):
        if len(node.inputs) <= position or not node.inputs[position]:
            bounds.append(default)
            continue
        value = network.constant(node.inputs[position])
        bounds.append(None if value is None or value.size != 1 else float(np.ravel(value)[0]))
    return bounds[0], bounds[1]


def _site(network: Network, node: Node, kind: Kind) -> Site:
    source, output = node.inputs[0], node.outputs[0]
    sizes = network.shape(output) or network.shape(source)
    dtype = network.dtype(output) or network.dtype(source)
    known = sizes is not None and all(size is not None for size in sizes)
    size = None
    if sizes is not None and known:
        size = network.per_sample(_elements(network, node, [int(size or 0) for size in sizes]))
    by_channel = sizes is not None and len(sizes) >= 2 and (len(sizes) == 2 or _has_channels(network, source))
    channels = int(sizes[1] or 0) if sizes is not None and by_channel else 1
    return Site(
        name=node.name,
        kind=kind,
        node=node.index,
        source=source,
        output=output,
        size=size,
        channels=channels,
        rank=max(len(sizes) - 2, 0) if sizes is not None else 0,
        dtype=dtype,
        refusal=_refusal(network, node, kind, sizes, dtype),
    )


def _elements(network: Network, node: Node, sizes: list[int]) -> int:
    """How many elements of an activation of these sizes are activated."""
    slope = network.constant(node.inputs[1]) if node.op == "PRelu" else None
    if slope is None or not np.any(slope == 1):
        return math.prod(sizes)
    return int(np.count_nonzero(np.broadcast_to(slope != 1, sizes)))


def _refusal(
    network: Network, node: Node, kind: Kind, sizes: tuple[int | None, ...] | None, dtype: np.dtype | None
) -> str | None:
    if network.opset < 7:
        return f"opset {network.opset} is older than 7; convert the model with onnx.version_converter first"
    if kind == "clip" and None in _bounds(network, node):
        return "its bounds are no constants"
    if dtype is None or dtype not in (np.float16, np.float32, np.float64):
        return f"its element type is {dtype or 'not known'}, and only float16, float32 and float64 can be fitted"
    if sizes is None:
        return "its shape is not known, not even the number of axes"
    if len(sizes) < 2:
        return "it has no channel axis"
    if any(size is None for size in sizes):
        return "its shape is not known; give the open axes with --input-shape"
    return None


def _has_channels(network: Network, tensor: str) -> bool:
    """Whether axis 1 of `tensor` is a channel axis: it comes from a convolution or a normalization."""
    seen: set[str] = set()
    todo = [tensor]
    while todo:
        name = todo.pop()
        node = network.producer(name)
        if name in seen or node is None or not is_default_domain(node.domain):
            continue
        seen.add(name)
        if node.op in _CHANNEL_MAKERS:
            return True
        if node.op in _AXIS_KEEPERS or (node.op == "Gather" and node.attributes.get("axis", 0) == 1):
            todo.extend(node.inputs)
    return False


def _sites_in_bodies(holder: Node, node: onnx.NodeProto) -> Iterator[Site]:
    """The sites in the bodies of `node`, which is `holder` itself or lies in one of its bodies."""
    for body in bodies(node):
        for inner in body.node:
            yield from _sites_in_bodies(holder, inner)
            if is_default_domain(inner.domain) and inner.op_type in ("Relu", "LeakyRelu", "PRelu"):
                yield Site(
                    name=f"{holder.name}/{inner.name or inner.output[0]}",
                    kind=_KINDS[inner.op_type],
                    node=-1,
                    source=inner.input[0],
                    output=inner.output[0],
                    size=None,
                    channels=1,
                    rank=0,
                    dtype=None,
                    refusal=f"it is inside the body of {holder.op} node {holder.name!r}, which runs conditionally",
                )
