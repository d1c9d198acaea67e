"""Nodes that take the place of others, and the way back."""

import heapq
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from onnxshallow.model.network import Node, outer_references
from onnxshallow.model.shapes import bodies

__all__ = ["Change", "changed", "fresh", "in_order", "reads", "undone", "with_constants"]


@dataclass(frozen=True, eq=False)
class Change:
    """Nodes of a graph that are written in another way; what the graph computes stays the same.

    Attributes:
        places: indices of the old nodes in the graph, ascending.
        old: the nodes, copied.
        new: what takes their place, in an order in which they can run.
        initializers: what only the new nodes read.
    """

    places: tuple[int, ...]
    old: tuple[onnx.NodeProto, ...]
    new: tuple[onnx.NodeProto, ...]
    initializers: tuple[onnx.TensorProto, ...] = ()

    @classmethod
    def of(
        cls,
        graph: onnx.GraphProto,
        places: Iterable[int],
        new: Sequence[onnx.NodeProto],
        initializers: Sequence[onnx.TensorProto] = (),
    ) -> "Change":
        """The change that puts `new` in place of the nodes at `places` of a graph."""
        ordered = tuple(sorted(places))
        old = tuple(onnx.NodeProto.FromString(graph.node[i].SerializeToString()) for i in ordered)
        return cls(ordered, old, tuple(new), tuple(initializers))

    @property
    def inner(self) -> set[str]:
        """Tensors that the new nodes make and the old ones did not."""
        made = {name for node in self.new for name in node.output}
        return made - {name for node in self.old for name in node.output}


def with_constants(
    graph: onnx.GraphProto, node: Node, values: Mapping[int, NDArray[np.generic]], taken: set[str]
) -> Change:
    """The change that lets a node read constants, by their place among its inputs, instead of what it reads there.

    Args:
        graph: that the node is in.
        node: the node.
        values: the constants.
        taken: names that are no longer free; those of the constants are added.
    """
    new = onnx.NodeProto.FromString(node.proto.SerializeToString())
    stored = []
    for place, value in values.items():
        new.input[place] = fresh(f"{node.inputs[place]}_known", taken)
        stored.append(onnx.numpy_helper.from_array(value, new.input[place]))
    return Change.of(graph, [node.index], [new], stored)


def fresh(hint: str, taken: set[str]) -> str:
    """A name that is not among those `taken`, to which it is added."""
    name, count = hint, 1
    while name in taken:
        count += 1
        name = f"{hint}_{count}"
    taken.add(name)
    return name


def reads(node: onnx.NodeProto) -> set[str]:
    """Every tensor that a node needs, its bodies included."""
    given = {name for name in node.input if name}
    return given.union(*(outer_references(body) for body in bodies(node)))


def changed(model: onnx.ModelProto, changes: Sequence[Change]) -> onnx.ModelProto:
    """A copy of `model` with `changes` made, no two of which share a node."""
    gone = {place for change in changes for place in change.places}
    made = {change.places[-1]: change for change in changes}
    result = onnx.ModelProto()
    result.CopyFrom(model)
    del result.graph.node[:]
    for place, node in enumerate(model.graph.node):
        if place not in gone:
            result.graph.node.append(node)
        elif place in made:
            result.graph.node.extend(made[place].new)
            result.graph.initializer.extend(made[place].initializers)
    return result


def undone(
    nodes: Sequence[onnx.NodeProto], changes: Sequence[Change], known: Collection[str]
) -> list[onnx.NodeProto]:
    """Nodes with each change taken back whose new nodes are all there, as they were written.

    Args:
        nodes: of a graph that was edited after the changes were made.
        changes: what was changed at once.
        known: inputs, initializers and outputs of the graph.

    Returns:
        The nodes; those that were put back may stand behind nodes that read what they make.
    """
    slots = [[node] for node in nodes]
    makers = {name: place for place, node in enumerate(nodes) for name in node.output if name}
    readers: dict[str, set[int]] = {}
    for place, node in enumerate(nodes):
        for name in reads(node):
            readers.setdefault(name, set()).add(place)
    for change in changes:
        places = [makers.get(node.output[0], -1) for node in change.new]
        if -1 in places or any(slots[place] != [node] for place, node in zip(places, change.new, strict=True)):
            continue
        seen = any(name in known or readers.get(name, set()) - set(places) for name in change.inner)
        made = {name for node in change.old for name in node.output}
        needed = set[str]().union(*map(reads, change.old)) - made
        if seen or any(name not in makers and name not in known for name in needed):
            continue
        for place in places:
            slots[place] = []
        if not places:  # what no output depends on, and was left out
            slots.append([])
            makers.update(dict.fromkeys(made, len(slots) - 1))
        slots[max(places, default=-1)] = list(change.old)
    return [node for slot in slots for node in slot]


def in_order(nodes: Sequence[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """The nodes, each after those whose tensors it reads, and as they stand where that leaves a choice."""
    makers = {name: place for place, node in enumerate(nodes) for name in node.output if name}
    needs = [{makers[name] for name in reads(node) if name in makers} for node in nodes]
    readers: list[list[int]] = [[] for _ in nodes]
    for place, needed in enumerate(needs):
        for maker in needed:
            readers[maker].append(place)
    left = [len(needed) for needed in needs]
    ready = [place for place, count in enumerate(left) if not count]
    ordered = []
    while ready:
        place = heapq.heappop(ready)
        ordered.append(nodes[place])
        for reader in readers[place]:
            left[reader] -= 1
            if not left[reader]:
                heapq.heappush(ready, reader)
    return ordered
