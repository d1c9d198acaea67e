"""Edit a model's graph with onnx-graphsurgeon and lose nothing that was not edited.

graphsurgeon's export drops metadata, doc strings, quantization annotations and more. So its graph serves as the
editor only: `GraphEditor.finish` compares the edited graph with the model it came from and writes back just the
nodes and initializers that changed. Everything else is copied from the original byte for byte.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx_graphsurgeon.exporters.onnx_exporter import OnnxExporter

from onnxshallow.model.network import bodies, outer_references
from onnxshallow.model.shapes import all_names

__all__ = ["GraphEditor"]


class GraphEditor:
    """A graph under edit. Nodes are named by a tensor that they make; tensor names never change.

    Args:
        model: the model, external data loaded. It is not changed.

    Attributes:
        graph: graphsurgeon's view of the main graph.
        moved: whether nodes came to stand behind others that had followed those that they replace.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = model
        self.graph = gs.import_onnx(model)
        self.moved = False
        self._tensors: dict[str, gs.Tensor] = self.graph.tensors()
        self._settled: dict[str, gs.Constant] = {}
        self._originals = {
            id(node): (node, proto, _signature(node))
            for node, proto in zip(self.graph.nodes, model.graph.node, strict=True)
        }
        self._captures = {id(node): _captured(proto) for node, proto, _ in self._originals.values()}
        self._names = all_names(model.graph)
        self._dead_before = frozenset(self._dead())

    def tensor(self, name: str) -> gs.Tensor:
        """The tensor called `name`, made if the graph does not have it yet."""
        if name not in self._tensors:
            self._tensors = self.graph.tensors()
        return self._tensors.setdefault(name, gs.Variable(name))

    def fresh(self, hint: str) -> str:
        """A tensor name that is not taken, made from `hint`."""
        name, count = hint, 1
        while name in self._names:
            count += 1
            name = f"{hint}_{count}"
        self._names.add(name)
        return name

    def fresh_node(self, hint: str) -> str:
        """A node name that is not taken, made from `hint`."""
        taken = {node.name for node in self.graph.nodes}
        return next(
            name for count in itertools.count(1) if (name := hint if count == 1 else f"{hint}_{count}") not in taken
        )

    def constant(self, hint: str, values: np.ndarray) -> gs.Constant:
        """A new initializer of `values`, named after `hint`."""
        return gs.Constant(self.fresh(hint), np.ascontiguousarray(values))

    def replace(self, outputs: Iterable[str], nodes: Sequence[gs.Node]) -> None:
        """Put `nodes` in the place of the last of the nodes that make the tensors `outputs`, and remove those.

        Raises:
            KeyError: no node makes one of `outputs`.
        """
        wanted = set(outputs)
        old = [node for node in self.graph.nodes if wanted & {tensor.name for tensor in node.outputs}]
        if missing := wanted - {tensor.name for node in old for tensor in node.outputs}:
            raise KeyError(f"no node makes {sorted(missing)}")
        gone = {id(node) for node in old}
        places = [index for index, node in enumerate(self.graph.nodes) if id(node) in gone]
        first, place = places[0], places[-1]
        between = [node for node in self.graph.nodes[first:place] if id(node) not in gone]
        self.moved |= any(node.inputs for node in between)  # what reads nothing, a Constant, may stand anywhere
        before = [*self.graph.nodes[:first], *between]
        after = self.graph.nodes[place + 1 :]
        made = [(node, list(node.outputs)) for node in nodes]
        for node in old:
            node.inputs.clear()
            node.outputs.clear()
        for node, node_outputs in made:  # the old owner of a tensor has just let go of it
            node.outputs = node_outputs
        self.graph.nodes = [*before, *nodes, *after]

    def rename_output(self, old: str, new: str) -> None:
        """Let the node that makes tensor `old` make tensor `new`, in place of the node that did."""
        (maker,) = (node for node in self.graph.nodes if old in {tensor.name for tensor in node.outputs})
        tensor = self.tensor(new)
        for node in list(tensor.inputs):
            node.inputs.clear()
            node.outputs.clear()
            self.graph.nodes.remove(node)
        maker.outputs = [tensor if output.name == old else output for output in maker.outputs]

    def settle(self) -> None:
        """Let new initializers that are read by now stand before those of later edits in the file."""
        constants = (t for node in self.graph.nodes for t in node.inputs if isinstance(t, gs.Constant))
        for tensor in constants:
            self._settled.setdefault(tensor.name, tensor)

    def finish(self) -> onnx.ModelProto:
        """A new model with the edits made; nodes that nothing reads any more because of them are left out."""
        dead = self._dead(self._dead_before)
        self.graph.nodes = [node for node in self.graph.nodes if id(node) not in dead]
        self.settle()
        return _merge(self._model, self.graph, self._originals, list(self._settled.values()))

    def _dead(self, kept: frozenset[int] = frozenset()) -> set[int]:
        """Identities of the nodes from which neither an output of the graph nor a node in `kept` is reached."""
        producers = {output.name: node for node in self.graph.nodes for output in node.outputs if output.name}
        todo = [producers.get(tensor.name) for tensor in self.graph.outputs]
        todo += [node for node in self.graph.nodes if id(node) in kept]
        alive: set[int] = set()
        while todo:
            node = todo.pop()
            if node is None or id(node) in alive:
                continue
            alive.add(id(node))
            todo.extend(producers.get(tensor.name) for tensor in node.inputs)
            todo.extend(producers.get(name) for name in self._captures.get(id(node), ()))
        return {id(node) for node in self.graph.nodes} - alive


def _signature(node: gs.Node) -> tuple[object, ...]:
    return (node.op, tuple(t.name for t in node.inputs), tuple(t.name for t in node.outputs))


def _merge(
    model: onnx.ModelProto,
    graph: gs.Graph,
    originals: Mapping[int, tuple[gs.Node, onnx.NodeProto, tuple[object, ...]]],
    constants: Sequence[gs.Constant],
) -> onnx.ModelProto:
    """A copy of `model` with `graph`'s nodes and those of the initializers `constants` that they read."""
    merged = onnx.ModelProto()
    merged.CopyFrom(model)
    target = merged.graph
    del target.node[:]
    for node in graph.nodes:
        original = originals.get(id(node))
        if original is None:
            target.node.append(OnnxExporter.export_node(node))
            continue
        target.node.append(original[1])
        if original[2] != _signature(node):
            target.node[-1].input[:] = [tensor.name for tensor in node.inputs]
            target.node[-1].output[:] = [tensor.name for tensor in node.outputs]
    read = {tensor.name for node in graph.nodes for tensor in node.inputs}
    _merge_initializers(model, merged, [tensor for tensor in constants if tensor.name in read])
    _drop_stale(model, merged)
    return merged


def _merge_initializers(model: onnx.ModelProto, merged: onnx.ModelProto, constants: Iterable[gs.Constant]) -> None:
    target = merged.graph
    known = {tensor.name for tensor in model.graph.initializer}
    known |= {tensor.values.name for tensor in model.graph.sparse_initializer}
    for tensor in constants:
        if tensor.name not in known:
            target.initializer.append(OnnxExporter.export_tensor_proto(tensor))
            if model.ir_version < 4:
                target.input.append(
                    onnx.helper.make_tensor_value_info(
                        tensor.name, target.initializer[-1].data_type, list(tensor.shape)
                    )
                )


def _captured(node: onnx.NodeProto) -> set[str]:
    """Tensors of the main graph that the bodies in a node read."""
    return set[str]().union(*(outer_references(body) for body in bodies(node)))


def _reads(graph: onnx.GraphProto) -> set[str]:
    """The tensors that the nodes and the bodies in them read, and the outputs."""
    read = {value.name for value in graph.output}
    for node in graph.node:
        read.update(node.input, _captured(node))
    return read


def _drop_stale(model: onnx.ModelProto, merged: onnx.ModelProto) -> None:
    """Remove initializers that only removed nodes read, and what is said of tensors that are gone."""
    produced = {name for node in merged.graph.node for name in node.output}
    gone = {tensor.name for tensor in model.graph.initializer} & (_reads(model.graph) - _reads(merged.graph))
    if model.ir_version >= 4:  # since then an initializer that is listed as an input is part of the interface
        gone -= {value.name for value in model.graph.input}
    _keep(merged.graph.initializer, lambda tensor: tensor.name not in gone)
    _keep(merged.graph.input, lambda value: value.name not in gone)
    made_before = {name for node in model.graph.node for name in node.output}
    lost = (made_before - produced) | gone
    _keep(merged.graph.value_info, lambda value: value.name not in lost)
    _keep(merged.graph.quantization_annotation, lambda value: value.tensor_name not in lost)


def _keep(items: "Sequence[object]", wanted: Callable[..., bool]) -> None:
    kept = [item for item in items if wanted(item)]
    if len(kept) < len(items):
        copies = [type(item).FromString(item.SerializeToString()) for item in kept]  # type: ignore[attr-defined]
        del items[:]  # type: ignore[attr-defined]
        items.extend(copies)  # type: ignore[attr-defined]
