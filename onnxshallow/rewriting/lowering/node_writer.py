"""Write nodes on tensors (N, C, *spatial) one after the other."""

from collections.abc import Sequence

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxshallow.model.editor import GraphEditor

__all__ = ["NodeWriter"]


class NodeWriter:
    """Makes the nodes that take the place of one node.

    Args:
        editor: the graph under edit; the nodes are not inserted.
        name: the stem of all new names.
        dtype: element type of the tensors.
        rank: number of spatial axes.
        opset: version of ONNX's own operators.

    Attributes:
        dtype: element type of the tensors.
        nodes: what was written so far, in order.
    """

    def __init__(self, editor: GraphEditor, name: str, dtype: np.dtype, rank: int, opset: int) -> None:
        self._editor = editor
        self._name = name
        self.dtype = dtype
        self._opset = opset
        self.rank = rank
        self.nodes: list[gs.Node] = []

    def write(self, op: str, what: str, inputs: Sequence[gs.Tensor], **attributes: object) -> gs.Tensor:
        """What a new node makes of `inputs`."""
        made = self._made(what)
        name = f"{self._name}/{made.name.removeprefix(f'{self._name}_')}"
        self.nodes.append(gs.Node(op, self._editor.fresh_node(name), attributes, list(inputs), [made]))
        return made

    def move(self, what: str, node: gs.Node, inputs: Sequence[gs.Tensor]) -> gs.Tensor:
        """What `node`, moved here with all else that it is, makes of `inputs`."""
        node.inputs, node.outputs = list(inputs), [self._made(what)]
        self.nodes.append(node)
        return node.outputs[0]

    def replace(self, node: gs.Node, made: gs.Tensor) -> None:
        """Put what was written in the place of `node`, so that the last of it makes `made`."""
        place = next(index for index, other in enumerate(self._editor.graph.nodes) if other is node)
        if not any(other is node for other in self.nodes):
            node.inputs.clear()
            node.outputs.clear()
        self.nodes[-1].outputs = [made]
        self._editor.graph.nodes[place : place + 1] = self.nodes

    def numbers(self, what: str, values: NDArray[np.float64]) -> gs.Tensor:
        """A constant (C,) or (C, *spatial) as one (C, *spatial), which is broadcast against the tensors."""
        shape = (*values.shape, *(1,) * (self.rank + 1 - values.ndim))
        return self._editor.constant(f"{self._name}.{what}", values.reshape(shape).astype(self.dtype))

    def integers(self, what: str, values: Sequence[int] | NDArray[np.int64]) -> gs.Tensor:
        """A constant of whole numbers."""
        return self._editor.constant(f"{self._name}.{what}", np.asarray(values, dtype=np.int64))

    def affine(self, what: str, x: gs.Tensor, scale: NDArray[np.float64], shift: NDArray[np.float64]) -> gs.Tensor:
        """What x becomes times `scale` plus `shift`, (C,) or (C, *spatial) each; no node for what does nothing."""
        if np.any(scale != 1):
            x = self.write("Mul", f"{what}_scaled", [x, self.numbers(f"{what}_scale", scale)])
        if np.any(shift):
            x = self.write("Add", f"{what}_shifted", [x, self.numbers(f"{what}_shift", shift)])
        return x

    def split(self, x: gs.Tensor, groups: Sequence[NDArray[np.int64]]) -> list[gs.Tensor]:
        """The channels of each group: by one Split where each group's lie together, else gathered."""
        if len(groups) == 1:
            return [x]
        if not _are_runs(groups):
            return [self.write("Gather", "part", [x, self.integers("channels", group)], axis=1) for group in groups]
        sizes = [len(group) for group in groups]
        if self._opset < 13:
            self.write("Split", "part", [x], axis=1, split=sizes)
        else:
            self.write("Split", "part", [x, self.integers("sizes", sizes)], axis=1)
        node = self.nodes[-1]
        node.outputs = [*node.outputs, *(self._made("part") for _ in groups[1:])]
        return list(node.outputs)

    def join(self, parts: Sequence[gs.Tensor], groups: Sequence[NDArray[np.int64]]) -> gs.Tensor:
        """All channels in their order, from those of each group."""
        if len(parts) == 1:
            return parts[0]
        joined = self.write("Concat", "joined", parts, axis=1)
        if _are_runs(groups):
            return joined
        places = np.argsort(np.concatenate(groups))
        return self.write("Gather", "ordered", [joined, self.integers("places", places)], axis=1)

    def _made(self, what: str) -> gs.Variable:
        return gs.Variable(self._editor.fresh(f"{self._name}_{what}"), self.dtype)


def _are_runs(groups: Sequence[NDArray[np.int64]]) -> bool:
    """Whether the groups, one after the other, hold the channels in their order."""
    return bool(np.all(np.diff(np.concatenate(groups)) == 1))
