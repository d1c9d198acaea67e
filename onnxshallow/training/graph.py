"""An ONNX graph that torch runs node by node, with gradients for its weights.

What torch is not told to compute here, and everything before it, is run by onnxruntime and has no gradient:

    inputs -> [onnxruntime: what leads to operators that are not known] -> [torch: the rest] -> outputs

Constants are computed once. All floats are float32, whatever the file holds; integers, such as shapes, stay on the
processor. Maps and kernels lie in memory with their channels last, which is faster (docs/decisions/training.md).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnxshallow.errors import ModelError
from onnxshallow.model.network import Network, Node
from onnxshallow.model.session import Session
from onnxshallow.model.weights import value_of
from onnxshallow.runtime.segment import build_segment
from onnxshallow.training.operators.call import Call, Operator
from onnxshallow.training.operators.table import lacking, operator_of
from onnxshallow.training.trainable import trainable

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["TorchGraph"]


@dataclass(frozen=True, eq=False)
class _Step:
    """One node that torch runs.

    Attributes:
        call: the node.
        run: its operator.
        done: tensors that nothing reads afterwards.
    """

    call: Call
    run: Operator
    done: tuple[str, ...]


class TorchGraph:
    """A network in torch.

    Args:
        network: the graph.
        tensors: what it is to compute, by name; only what these need is run.
        device: where torch computes.
        trained: whether its weights are to be trained.
        threads: of onnxruntime, for what torch does not run.

    Attributes:
        parameters: the weights that are trained, by the names of their initializers, in the file's order.
        lacks: operators that are not known here, in words; they and all before them are frozen.
        frozen: initializers of floats that are not trained for that.
    """

    def __init__(
        self,
        network: Network,
        tensors: Sequence[str],
        device: str = "cpu",
        *,
        trained: bool = False,
        threads: int = 0,
    ) -> None:
        self.network, self.tensors, self._device = network, tuple(tensors), device
        needed = network.ancestors(tensors)
        unknown = {index: lacking(network.nodes[index], network.opset) for index in sorted(needed)}
        reached = [index for index, lack in unknown.items() if lack and not self._constant(network.nodes[index])]
        self.lacks = tuple(dict.fromkeys(str(unknown[index]) for index in reached))
        before = network.ancestors([name for index in reached for name in network.nodes[index].outputs if name])
        here = sorted(needed - before)
        self._begin_with(before, here, threads)
        weights = trainable(network, here) if trained else ()
        self.parameters = {name: self._floats(name).requires_grad_() for name in weights}
        self.frozen = tuple(set(trainable(network, sorted(needed))) - set(weights)) if trained and before else ()
        varying = self._varying(here)
        self._steps = self._ordered([network.nodes[index] for index in here if index in varying])
        self._constants = self._known()

    def _constant(self, node: Node) -> bool:
        return all(self.network.is_constant(name) for name in node.outputs if name)

    def _begin_with(self, before: set[int], here: Sequence[int], threads: int) -> None:
        """Let onnxruntime run some nodes, and hand on what the others read."""
        self._front: Session | None = None
        if not before:
            return
        made = {name for index in before for name in self.network.nodes[index].outputs if name}
        read = {name for index in here for name in self.network.nodes[index].reads}
        self._handed = tuple(sorted((made & read) | (made & set(self.tensors))))
        model, self._reads = build_segment(self.network, before, self._handed)
        self._front = Session(model, threads=threads)

    def _varying(self, here: Sequence[int]) -> set[int]:
        """The nodes that are run each time: those that depend on an input or on a weight that is trained."""
        changing = set(self.parameters)
        found = set()
        for index in here:
            node = self.network.nodes[index]
            if not self._constant(node) or changing & set(node.reads):
                changing.update(name for name in node.outputs if name)
                found.add(index)
        return found

    def _ordered(self, nodes: Sequence[Node]) -> list[_Step]:
        """The steps, each with what is not needed after it."""
        last: dict[str, int] = {}
        for place, node in enumerate(nodes):
            last.update((name, place) for name in (*node.reads, *node.outputs) if name)
        done: dict[int, list[str]] = {}
        for name, place in last.items():
            if name not in self.tensors:
                done.setdefault(place, []).append(name)
        opset = self.network.opset
        return [
            _Step(Call(node, opset), operator_of(node), tuple(done.get(place, ())))
            for place, node in enumerate(nodes)
        ]

    def _known(self) -> "dict[str, Tensor]":
        """The constants that the steps read or that are asked for."""
        read = {name for step in self._steps for name in step.call.node.inputs if name} | set(self.tensors)
        made = {name for step in self._steps for name in step.call.node.outputs}
        known = [
            name
            for name in sorted(read - made - set(self.parameters))
            if self.network.is_constant(name) or self.network.initializer(name) is not None
        ]
        return {name: self._tensor(self._value(name)) for name in known}

    def _value(self, name: str) -> np.ndarray:
        initializer = self.network.initializer(name)
        value = self.network.constant(name) if initializer is None else value_of(initializer)
        if value is None:
            raise ModelError(f"The constant {name!r} cannot be computed, so the network cannot be trained.")
        return value

    def _tensor(self, value: np.ndarray) -> "Tensor":
        """An array in torch: floats as float32 on the device, others as they are on the processor."""
        import torch

        if value.dtype.kind in "iu":
            return torch.from_numpy(value.astype(np.int64))
        if value.dtype.kind == "b":
            return torch.from_numpy(np.array(value))
        made = torch.from_numpy(np.array(value, dtype=np.float32)).to(self._device)
        return made.to(memory_format=torch.channels_last) if made.dim() == 4 else made

    def _floats(self, name: str) -> "Tensor":
        return self._tensor(self._value(name))

    def __call__(
        self, feeds: Mapping[str, np.ndarray], passing: "Callable[[str, Tensor], Tensor] | None" = None
    ) -> "dict[str, Tensor]":
        """The tensors that it is to compute, by name, for one batch.

        Args:
            feeds: arrays by input name.
            passing: is told of each of these tensors when a node made it, and says what goes on in its place.

        Raises:
            ModelError: a node fails on them.
        """
        values: dict[str, Tensor] = {**self._constants, **self.parameters}
        for name, array in feeds.items():
            values[name] = self._tensor(array)
        if self._front is not None:
            made = self._front.run({name: feeds[name] for name in self._reads}, self._handed)
            values.update(zip(self._handed, map(self._tensor, made), strict=True))
        for step in self._steps:
            node = step.call.node
            inputs = [values[name] if name else None for name in node.inputs]
            try:
                result = step.run(step.call, *inputs)
            except (RuntimeError, IndexError, ValueError) as error:
                what = str(error).splitlines()[0]
                raise ModelError(f"Node {node.name!r} ({node.op}) fails in torch: {what}.") from error
            results: Sequence[Tensor] = result if isinstance(result, tuple | list) else [result]
            for tensor in results:
                if tensor.requires_grad and tensor.dim() == 4:
                    tensor.register_hook(_channels_last)
            values.update(zip(node.outputs, results, strict=False))
            if passing is not None:
                values.update((name, passing(name, values[name])) for name in node.outputs if name in self.tensors)
            for name in step.done:
                values.pop(name, None)
        return {name: values[name] for name in self.tensors}


def _channels_last(gradient: "Tensor") -> "Tensor":
    """A gradient in the layout of its map: means, slices and the like hand back another, which is slow."""
    import torch

    return gradient.contiguous(memory_format=torch.channels_last)
