"""Activation sites: the ReLU-like nodes, their sizes, and why some of them cannot be removed.

Relu                      max(x, 0)
Clip(low, high)           min(max(x, low), high); with 0 and n also called ReLU6. A comparison for each bound
LeakyRelu, PRelu          x where x > 0, slope * x elsewhere
Max(x, floors)            max(x, 0) where the floor is zero, x where it is the lowest number
SiLU, GELU, HardSwish, ...    smooth ones (`onnxshallow.analysis.smooth`)

Zero lies within the bounds of a Clip that is a site: what keeps a divisor above some small number is none. A slope of
one does nothing, nor does the lowest floor, and what they do nothing to is not counted. Other spellings are written
as one of these before (`onnxshallow.model.spelling`).
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from onnxshallow.analysis.floors import floors_of
from onnxshallow.analysis.hidden import hidden_networks
from onnxshallow.analysis.smooth import Smooth, is_before_a_layer, keeps_zero, smooth_kind, ungated_kind
from onnxshallow.model.network import Network, Node, is_default_domain
from onnxshallow.model.spelling.clamps import clamp_of

__all__ = ["Site", "find_sites", "rectifier_bound"]

Kind = Literal["relu", "clip", "leaky_relu", "prelu", "max", Smooth]

_KINDS: dict[str, Kind] = {
    "Relu": "relu", "Clip": "clip", "LeakyRelu": "leaky_relu", "PRelu": "prelu", "Max": "max",
}  # fmt: skip
# Operators that read and make tensors whose axis 1 is the channel, and those that leave the axes where they are.
_OF_CHANNELS = (
    "AveragePool", "BatchNormalization", "Conv", "ConvTranspose", "DepthToSpace", "GlobalAveragePool",
    "GlobalMaxPool", "GroupNormalization", "InstanceNormalization", "LRN", "MaxPool", "SpaceToDepth",
)  # fmt: skip
_AXIS_KEEPERS = (
    "Abs", "Add", "Cast", "CastLike", "Clip", "Concat", "Div", "Dropout", "Elu", "Erf", "Exp", "HardSigmoid",
    "HardSwish", "Identity", "LeakyRelu", "Log", "LpNormalization", "Max", "Mean", "Min", "Mul", "Neg", "PRelu",
    "Pad", "Pow", "Reciprocal", "Relu", "Resize", "Selu", "Sigmoid", "Slice", "Softmax", "Softplus", "Split", "Sqrt",
    "Sub", "Sum", "Tanh", "Upsample", "Where",
)  # fmt: skip
# What may stand between a Reshape and the one that takes it back, as the halves of a GroupNormalization do.
_BETWEEN_RESHAPES = ("Add", "Cast", "InstanceNormalization", "LayerNormalization", "Mul")


@dataclass(frozen=True)
class Site:
    """One activation.

    Attributes:
        name: the node's name.
        kind: the function.
        node: the node's index in the main graph; -1 for one in the body of an If, Loop or Scan, or in a function.
        source: the tensor z that it reads.
        output: the tensor y that it makes.
        size: scalar activations per sample, None where the shape is not known.
        channels: size of axis 1 where it is the channel axis; 1 where there is none, and one scale serves the
            whole tensor.
        rank: number of axes after the channel axis.
        dtype: element type.
        refusal: why it cannot be removed; None where it can.
        comparisons: that each scalar takes under secure computation; none where no number of them would do.
        idle: further elements of a sample that are compared although they pass, as those of a Max do.
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
    comparisons: int = 1
    idle: int = 0

    @property
    def compared(self) -> int:
        """Comparisons that secure computation makes for one sample."""
        return ((self.size or 0) + self.idle) * self.comparisons

    @property
    def keeps_zero(self) -> bool:
        """Whether it makes zero of zero."""
        return keeps_zero(self.kind)


def find_sites(network: Network) -> tuple[Site, ...]:
    """All sites of a network, in graph order; those in subgraphs follow the node that holds them.

    Nodes on which no output depends are left out: they are never run.
    """
    found: list[Site] = []
    for node in network.nodes:
        if node.index not in network.alive:
            continue
        found.extend(_hidden_sites(network, node))
        kind = _kind(network, node)
        if kind is not None and not network.is_constant(node.outputs[0]):
            found.append(_site(network, node, kind))
    return tuple(found)


def _kind(network: Network, node: Node) -> Kind | None:
    smooth = smooth_kind(network, node)
    if smooth is not None or not is_default_domain(node.domain) or node.op not in _KINDS:
        return smooth
    if node.op == "PRelu":
        slope = network.constant(node.inputs[1])
        return None if slope is not None and np.all(slope == 1) else "prelu"
    if node.op == "LeakyRelu":
        return None if node.attributes.get("alpha", 0.01) == 1 else "leaky_relu"
    if node.op == "Max":
        return None if floors_of(network, node) is None else "max"
    clamp = clamp_of(network, node)
    if clamp is None:
        return "clip"
    if not clamp.low <= 0 <= clamp.high or clamp.low == clamp.high:
        return None
    if clamp.low == 0 and clamp.high == math.inf:
        return "relu"
    return "clip" if clamp.bounds and (clamp.low == 0 or _is_floating(network, node)) else None


def _is_floating(network: Network, node: Node) -> bool:
    """Whether a node computes activations; integers are sizes, places or pixels."""
    dtype = network.dtype(node.outputs[0])
    return dtype is None or dtype.kind not in "iub"


def rectifier_bound(network: Network, node: Node) -> float | None:
    """The upper bound of a node that computes min(max(x, 0), bound), infinity for a Relu; None for other nodes."""
    clamp = clamp_of(network, node)
    return clamp.high if clamp is not None and clamp.low == 0 and clamp.high > 0 else None


def _site(network: Network, node: Node, kind: Kind) -> Site:
    source, output = node.inputs[0], node.outputs[0]
    sizes = network.shape(output) or network.shape(source)
    dtype = network.dtype(output) or network.dtype(source)
    known = sizes is not None and all(size is not None for size in sizes)
    size, idle = None, 0
    if sizes is not None and known:
        every = [int(size or 0) for size in sizes]
        size = network.per_sample(_elements(network, node, every))
        idle = network.per_sample(math.prod(every)) - size if kind == "max" else 0
    by_channel = sizes is not None and len(sizes) >= 2 and (len(sizes) == 2 or _has_channels(network, node))
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
        comparisons=_comparisons(network, node, kind),
        idle=idle,
    )


def _comparisons(network: Network, node: Node, kind: Kind) -> int:
    """One for each bound, of which a Clip that is computed may have two; smooth ones are priced by none."""
    clamp = clamp_of(network, node)
    if clamp is not None:
        return clamp.bounds
    return {"clip": 2, "hard_sigmoid": 2, "hard_swish": 2}.get(kind, 1 if kind in _KINDS.values() else 0)


def _elements(network: Network, node: Node, sizes: list[int]) -> int:
    """How many elements of an activation of these sizes are activated."""
    floors = floors_of(network, node)
    if floors is not None:
        return int(np.count_nonzero(np.broadcast_to(floors == 0, sizes)))
    slope = network.constant(node.inputs[1]) if node.op == "PRelu" else None
    if slope is None or not np.any(slope == 1):
        return math.prod(sizes)
    return int(np.count_nonzero(np.broadcast_to(slope != 1, sizes)))


def _refusal(
    network: Network, node: Node, kind: Kind, sizes: tuple[int | None, ...] | None, dtype: np.dtype | None
) -> str | None:
    if network.opset < 7:
        return f"opset {network.opset} is older than 7; convert the model with onnx.version_converter first"
    if kind == "clip" and clamp_of(network, node) is None:
        return "its bounds are no constants"
    if dtype is None or dtype not in (np.float16, np.float32, np.float64):
        return f"its element type is {dtype or 'not known'}, and only float16, float32 and float64 can be fitted"
    if sizes is None:
        return "its shape is not known, not even the number of axes"
    if len(sizes) < 2:
        return "it has no channel axis"
    if 0 in sizes:
        return "it has no elements"
    if any(size is None for size in sizes):
        return "its shape is not known; give the open axes with --input-shape"
    return None


def _has_channels(network: Network, site: Node) -> bool:
    """Whether axis 1 of what a site reads is a channel axis: such a tensor lies behind it, or before it."""
    makers = (each for name in site.inputs[:1] for each in [network.producer(name)] if each is not None)
    return _meets_channels(network, makers, _makers) or _meets_channels(network, _readers(network, site), _readers)


def _meets_channels(
    network: Network, first: Iterable[Node], following: Callable[[Network, Node], Iterable[Node]]
) -> bool:
    """Whether nodes that leave the axes where they are lead to one that has channels on axis 1."""
    seen: set[int] = set()
    todo = list(first)
    while todo:
        node = todo.pop()
        if node.index in seen:
            continue
        seen.add(node.index)
        if node.is_op(*_OF_CHANNELS, "Gemm"):
            return True
        along_channels = node.is_op("Gather") and node.attributes.get("axis", 0) == 1
        if node.is_op(*_AXIS_KEEPERS, "Reshape") or along_channels or smooth_kind(network, node) is not None:
            todo.extend(following(network, node))
    return False


def _makers(network: Network, node: Node) -> Iterator[Node]:
    """The nodes that make what a node reads; of a Reshape, those before the one that it takes back."""
    names: Sequence[str] = node.inputs
    if node.is_op("Reshape"):
        before = _before_reshapes(network, node)
        names = () if before is None else (before,)
    yield from (maker for name in names if (maker := network.producer(name)) is not None)


def _before_reshapes(network: Network, last: Node) -> str | None:
    """The tensor of the same shape that an earlier Reshape took apart, if `last` brings it together again."""
    shape, tensor = network.shape(last.outputs[0]), last.inputs[0]
    node = network.producer(tensor)
    while node is not None and node.is_op(*_BETWEEN_RESHAPES):
        tensor = next((name for name in node.inputs if not network.is_constant(name)), node.inputs[0])
        node = network.producer(tensor)
    if node is None or not node.is_op("Reshape") or shape is None:
        return None
    return node.inputs[0] if network.shape(node.inputs[0]) == shape else None


def _readers(network: Network, node: Node) -> Iterator[Node]:
    """The nodes that read what a node makes as data, which no Reshape is."""
    for name in node.outputs:
        readers = (each for each in network.consumers(name) if not each.is_op("Reshape"))
        yield from (each for each in readers if each.inputs[:1] == (name,) or each.is_op(*_AXIS_KEEPERS))


def _hidden_sites(network: Network, holder: Node) -> Iterator[Site]:
    """The sites inside a node: of the branches of an If all are counted, of a loop it is not known how often it runs.

    What stands last in a branch is a site like one before a layer, if a layer follows the node.
    """
    for hidden in hidden_networks(network, holder):
        sites = list(find_sites(hidden.network))
        if is_before_a_layer(network, holder):
            known = {site.node for site in sites}
            last = ((node, ungated_kind(hidden.network, node)) for node in hidden.network.nodes)
            sites += [_site(hidden.network, node, kind) for node, kind in last if kind and node.index not in known]
        for site in sites:
            yield replace(
                site,
                name=f"{holder.name}/{site.name}",
                node=-1,
                size=site.size if hidden.once else None,
                channels=1,
                rank=0,
                dtype=None,
                refusal=f"it is {hidden.where}",
            )
