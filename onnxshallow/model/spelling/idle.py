"""Nodes that do nothing, written as Identity: exporters and converters leave them between layers.

Cast to the same type                 and to a wider one and back
Transpose there and back              in as many steps as it takes
Reshape, Flatten, Squeeze, Unsqueeze  to the same shape, or back to a shape from before
Unsqueeze and Squeeze                 of the same axes
x + 0, x * 1, x ^ 1                   Concat, Sum, Max of one tensor
Slice, Gather, Pad, Tile, Resize      of all that there is, into the same shape
pooling over one element              LeakyRelu and PRelu of slope one, Clip without a bound
Neg of Neg

What no output depends on is left out, as it would stand in the way of its neighbours.
"""

from collections.abc import Callable, Mapping
from functools import cached_property

import numpy as np
import onnx

from onnxshallow.model.network import Network, Node
from onnxshallow.model.spelling.changes import Change
from onnxshallow.model.spelling.shape_readers import for_two_samples
from onnxshallow.model.tensors import TensorInfo

__all__ = ["idle_nodes", "unread_nodes"]

_SHAPING = ("Flatten", "Reshape", "Squeeze", "Unsqueeze")
# Constants that leave the other operand as it is, and the places at which they may stand.
_NEUTRAL = {"Add": (0, (0, 1)), "Sub": (0, (1,)), "Mul": (1, (0, 1)), "Div": (1, (1,)), "Pow": (1, (1,))}
# With which a scale of one puts each element where it was.
_PLAIN_COORDINATES = ("align_corners", "asymmetric", "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel")


def idle_nodes(network: Network) -> list[Change]:
    """Nodes, and rows of nodes, that return what they read; no node is in two of these."""
    found = []
    gone: set[int] = set()
    busy: set[int] = set()
    shapes = _Shapes(network)
    for node in network.nodes:
        if node.index not in network.alive or not node.inputs or network.is_constant(node.outputs[0]):
            continue
        row = _row_back(shapes, node)
        if row is None:
            continue
        source, between = row
        indices = {each.index for each in between}
        if indices & (gone | busy):
            continue  # in the next round, so that the last row takes it along
        busy |= indices
        places, tensor = {node.index}, node.inputs[0]
        for each in between:
            if not network.is_private(tensor):
                break
            places.add(each.index)
            tensor = each.inputs[0]
        gone |= places
        identity = onnx.helper.make_node("Identity", [source], [node.outputs[0]], node.proto.name)
        found.append(Change.of(network.model.graph, places, [identity]))
    return found


def unread_nodes(network: Network) -> list[Change]:
    """Nodes on which no output depends, each with nothing in its place."""
    return [
        Change.of(network.model.graph, [node.index], []) for node in network.nodes if node.index not in network.alive
    ]


class _Shapes:
    """Which tensors are of one shape, whatever the batch."""

    def __init__(self, network: Network) -> None:
        self.network = network

    @cached_property
    def _for_two(self) -> Mapping[str, TensorInfo]:
        return for_two_samples(self.network)

    def same(self, before: str, after: str) -> bool:
        """Whether two tensors have the same sizes for one sample, and for two: an axis of one may be the batch."""
        return _alike(self.network.inferred, before, after) and _alike(self._for_two, before, after)

    def rank(self, tensor: str) -> int | None:
        """The number of a tensor's axes."""
        info = self.network.inferred.get(tensor)
        return None if info is None or info.shape is None else len(info.shape)

    def dtype(self, tensor: str) -> np.dtype | None:
        """The element type of a tensor."""
        info = self.network.inferred.get(tensor)
        return None if info is None else info.dtype


def _alike(infos: Mapping[str, TensorInfo], before: str, after: str) -> bool:
    one, other = infos.get(before), infos.get(after)
    return one is not None and other is not None and one.is_complete and one.shape == other.shape


def _row_back(shapes: _Shapes, last: Node) -> tuple[str, list[Node]] | None:
    """The tensor that a node returns, and the nodes between, from the last on; None where it returns none."""
    source = _returned(shapes, last)
    if source is not None:
        return source, []
    for follow in (_transposed, _reshaped, _cast, _negated):
        found = follow(shapes, last)
        if found is not None:
            return found
    return None


def _transposed(shapes: _Shapes, last: Node) -> tuple[str, list[Node]] | None:
    """Transposes that put every axis back."""
    order = _order(shapes, last)
    between: list[Node] = []
    node = last
    while order is not None:
        if order == list(range(len(order))):
            return node.inputs[0], between
        maker = shapes.network.producer(node.inputs[0])
        before = None if maker is None else _order(shapes, maker)
        if maker is None or before is None or len(before) != len(order):
            return None
        order, node = [before[axis] for axis in order], maker
        between.append(maker)
    return None


def _order(shapes: _Shapes, node: Node) -> list[int] | None:
    if not node.is_op("Transpose"):
        return None
    order, rank = node.attributes.get("perm"), shapes.rank(node.inputs[0])
    return list(order) if order is not None else None if rank is None else list(range(rank))[::-1]


def _reshaped(shapes: _Shapes, last: Node) -> tuple[str, list[Node]] | None:
    """Changes of shape that end in one from before: elements stay in their order."""
    network, between = shapes.network, list[Node]()
    node: Node | None = last
    while node is not None and node.is_op(*_SHAPING):
        source = node.inputs[0]
        if shapes.same(source, last.outputs[0]) or _copies_all(shapes, node, last):
            return source, between
        if len(between) == 1 and _same_axes(shapes, node, last):
            return source, between
        node = network.producer(source)
        between += [] if node is None else [node]
    return None


def _copies_all(shapes: _Shapes, first: Node, last: Node) -> bool:
    """Whether a Reshape to sizes of which zero copies the first returns what it reads."""
    network = shapes.network
    target = network.constant(last.inputs[1]) if first is last and last.is_op("Reshape") and last.inputs[1:] else None
    if target is None or not target.size or target[0] != 0 or last.attributes.get("allowzero", 0):
        return False
    return _alike(network.inferred, last.inputs[0], last.outputs[0])


def _same_axes(shapes: _Shapes, first: Node, second: Node) -> bool:
    """Whether the second of two nodes squeezes what the first has unsqueezed, or the other way around."""
    if {first.op, second.op} != {"Squeeze", "Unsqueeze"}:
        return False
    rank = shapes.rank(first.outputs[0] if first.op == "Unsqueeze" else first.inputs[0])
    one, two = (_axes(shapes.network, node, rank) for node in (first, second))
    return one is not None and one == two


def _axes(network: Network, node: Node, rank: int | None) -> list[int] | None:
    """The axes of a Squeeze or Unsqueeze, ascending; None where they are not known."""
    given = node.attributes.get("axes")
    if given is None and len(node.inputs) > 1 and (value := network.constant(node.inputs[1])) is not None:
        given = np.ravel(value).tolist()
    if not given or (rank is None and min(given) < 0):
        return None
    return sorted(axis if axis >= 0 else axis + (rank or 0) for axis in given)


def _cast(shapes: _Shapes, last: Node) -> tuple[str, list[Node]] | None:
    """Casts to wider types and back, which lose nothing."""
    between: list[Node] = []
    wanted = shapes.dtype(last.outputs[0])
    node: Node | None = last
    while node is not None and node.is_op("Cast", "CastLike") and wanted is not None:
        dtype = shapes.dtype(node.inputs[0])
        if dtype == wanted:
            return node.inputs[0], between
        if dtype is None or dtype.kind not in "fiub" or not np.can_cast(wanted, dtype):
            return None
        if wanted.kind != dtype.kind and wanted.itemsize >= dtype.itemsize:  # int64 in float64, which is not exact
            return None
        node = shapes.network.producer(node.inputs[0])
        between += [] if node is None else [node]
    return None


def _negated(shapes: _Shapes, last: Node) -> tuple[str, list[Node]] | None:
    """Neg of Neg, and Not of Not."""
    before = shapes.network.producer(last.inputs[0]) if last.is_op("Neg", "Not") else None
    return (before.inputs[0], [before]) if before is not None and before.is_op(last.op) else None


def _returned(shapes: _Shapes, node: Node) -> str | None:
    """The tensor that a node returns by itself; None where it returns none, or its shape matters."""
    if node.is_op(*_NEUTRAL) and len(node.inputs) == 2:
        return _operand(shapes, node)
    rule = _RULES.get(node.op)
    if rule is None or not node.is_op(node.op) or any(node.outputs[1:]) or not rule(shapes.network, node):
        return None
    return node.inputs[0] if node.op in _WITHOUT_SHAPE or shapes.same(node.inputs[0], node.outputs[0]) else None


def _operand(shapes: _Shapes, node: Node) -> str | None:
    """The operand to which arithmetic with a constant does nothing."""
    neutral, places = _NEUTRAL[node.op]
    for place in places:
        other = node.inputs[1 - place]
        if not _is_all(shapes.network, node.inputs[place], neutral) or shapes.network.is_constant(other):
            continue
        if shapes.dtype(other) == shapes.dtype(node.outputs[0]) and shapes.same(other, node.outputs[0]):
            return other
    return None


def _is_all(network: Network, tensor: str, number: float) -> bool:
    """Whether all that a tensor holds is one number."""
    value = network.constant(tensor)
    return value is not None and value.size > 0 and value.dtype.kind in "fiu" and bool(np.all(value == number))


def _is_alone(network: Network, node: Node) -> bool:
    return len(set(node.inputs)) == 1 and (len(node.inputs) == 1 or node.op in ("Max", "Min"))


def _is_all_pixels(network: Network, node: Node) -> bool:
    """Whether a Resize or Upsample scales by one, and puts each element where it was."""
    values = node.attributes
    if values.get("coordinate_transformation_mode", "half_pixel") not in _PLAIN_COORDINATES:
        return False
    if values.get("keep_aspect_ratio_policy", "stretch") != "stretch" or values.get("antialias", 0):
        return False
    if node.op == "Upsample" or network.opset < 11:
        scales = values.get("scales", node.inputs[1] if len(node.inputs) > 1 else "")
    else:
        scales = node.inputs[2] if len(node.inputs) > 2 else ""
        if not scales:
            return len(node.inputs) > 3  # the sizes are given, and the same
    return _is_all(network, scales, 1) if isinstance(scales, str) else all(s == 1 for s in scales)


def _takes_in_order(network: Network, node: Node) -> bool:
    places = network.constant(node.inputs[1])
    return places is not None and places.ndim == 1 and np.array_equal(places, np.arange(places.size))


def _goes_by_one(network: Network, node: Node) -> bool:
    return len(node.inputs) < 5 or _is_all(network, node.inputs[4], 1)


def _pads_nothing(network: Network, node: Node) -> bool:
    stated = node.attributes.get("pads")
    if stated is not None:
        return not any(stated)
    return len(node.inputs) > 1 and _is_all(network, node.inputs[1], 0)


def _is_one_wide(network: Network, node: Node) -> bool:
    return all(size == 1 for key in ("kernel_shape", "strides") for size in node.attributes.get(key, ()))


def _has_no_bound(network: Network, node: Node) -> bool:
    return not any(node.inputs[1:]) and not {"min", "max"} & set(node.attributes)


def _always(network: Network, node: Node) -> bool:
    return True


_RULES: Mapping[str, Callable[[Network, Node], bool]] = {
    **dict.fromkeys(("Concat", "Max", "Mean", "Min", "Sum"), _is_alone),
    **dict.fromkeys(("Resize", "Upsample"), _is_all_pixels),
    **dict.fromkeys(("AveragePool", "MaxPool"), _is_one_wide),
    **dict.fromkeys(("ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum"), _always),
    **dict.fromkeys(("DepthToSpace", "Expand", "SpaceToDepth", "Split", "Tile"), _always),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool"), _always),
    "Clip": _has_no_bound,
    "Gather": _takes_in_order,
    "LeakyRelu": lambda network, node: bool(node.attributes.get("alpha", 0.01) == 1),
    "PRelu": lambda network, node: _is_all(network, node.inputs[1], 1),
    "Pad": _pads_nothing,
    "Slice": _goes_by_one,
}
# These make the shape that they read in any case.
_WITHOUT_SHAPE = ("Clip", "Concat", "LeakyRelu", "Max", "Mean", "Min", "PRelu", "Pad", "Sum")
