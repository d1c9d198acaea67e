"""A model in its plain spelling, and what was made of that in the spelling of the original."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import onnx

from onnxshallow.model.network import Network
from onnxshallow.model.shapes import OWN_DOMAIN, every_node
from onnxshallow.model.spelling.casts import constant_casts
from onnxshallow.model.spelling.changes import Change, changed, in_order, reads, undone
from onnxshallow.model.spelling.clamps import clamps, merged_clamps
from onnxshallow.model.spelling.fills import fills
from onnxshallow.model.spelling.fused import fused_biases, fused_layers
from onnxshallow.model.spelling.idle import idle_nodes, unread_nodes
from onnxshallow.model.spelling.inlining import branches, calls
from onnxshallow.model.spelling.layouts import channels_first, sunk_transposes
from onnxshallow.model.spelling.rectifiers import rectifiers
from onnxshallow.model.spelling.shape_readers import shape_readers
from onnxshallow.model.spelling.shuffles import shuffles
from onnxshallow.model.spelling.sizes import known_sizes
from onnxshallow.model.spelling.smooth import smooth_activations, written_out
from onnxshallow.model.spelling.sparse import with_dense_weights
from onnxshallow.model.spelling.upsampling import apart_kernels

__all__ = ["Plain", "plainly_spelled"]

_Rule = Callable[[Network], list[Change]]
# What is rewritten one after the other, each until nothing more of its kind is found.
_RULES: tuple[_Rule, ...] = (
    branches,
    constant_casts,
    fills,
    known_sizes,
    branches,
    unread_nodes,
    idle_nodes,
    shape_readers,
    fused_layers,
    fused_biases,
    clamps,
    rectifiers,
    merged_clamps,
    shuffles,
    apart_kernels,
    channels_first,
    sunk_transposes,
    idle_nodes,
    unread_nodes,
)


@dataclass(frozen=True, eq=False)
class Plain:
    """A model that computes what another does, in its plain spelling.

    Attributes:
        model: the model; the original itself where that is spelled plainly.
        original: the model as it stands in the file.
        rounds: what was changed, one round after the other.
    """

    model: onnx.ModelProto
    original: onnx.ModelProto
    rounds: tuple[tuple[Change, ...], ...] = ()

    def restored(self, made: onnx.ModelProto) -> onnx.ModelProto:
        """What was made of `model`, with all that is left as it was in the spelling of the original."""
        if self.model is self.original:
            return made
        if made is self.model:
            return self.original
        graph, first = made.graph, self.original.graph
        stored = {t.name for t in (*graph.initializer, *first.initializer)}
        stored |= {t.values.name for t in (*graph.sparse_initializer, *first.sparse_initializer)}
        stored |= {t.name for changes in self.rounds for change in changes for t in change.initializers}
        known = stored | {value.name for value in (*graph.input, *graph.output)}
        nodes = list(graph.node)
        for changes in reversed(self.rounds):
            nodes = undone(nodes, changes, known)
        dead_before = _makers_of_nothing(first)
        result = onnx.ModelProto()
        result.CopyFrom(made)
        _imports(result, self.original)
        del result.graph.node[:]
        result.graph.node.extend(in_order(_as_before(nodes, first)))
        result = written_out(result)
        del result.functions[:]
        result.functions.extend(self.original.functions)
        dead = _makers_of_nothing(result.graph) - dead_before
        kept = [node for node in result.graph.node if not dead & set(node.output)]
        del result.graph.node[:]
        result.graph.node.extend(onnx.NodeProto.FromString(node.SerializeToString()) for node in kept)
        _store(result.graph, self)
        return result


def plainly_spelled(model: onnx.ModelProto) -> Plain:
    """A model in its plain spelling: see `onnxshallow.model.spelling`.

    Args:
        model: a checked model, external data loaded. It is not changed.

    Raises:
        ModelError: the graph is damaged.
    """
    now = with_dense_weights(model)
    rounds: list[tuple[Change, ...]] = []
    written_out, imports = calls(now)
    if written_out:
        now = changed(now, written_out)
        _imports(now, onnx.ModelProto(opset_import=imports))
        _drop_functions(now)
        rounds.append(tuple(written_out))
    network = Network(now)
    for rule in _RULES:
        while changes := rule(network):
            network = Network(_tidied(changed(network.model, changes), model))
            rounds.append(tuple(changes))
    changes, functions = smooth_activations(network)
    if changes:
        now = changed(network.model, changes)
        now.functions.extend(functions)
        now.opset_import.append(onnx.helper.make_opsetid(OWN_DOMAIN, 1))
        rounds.append(tuple(changes))
        return Plain(now, model, tuple(rounds))
    return Plain(network.model, model, tuple(rounds))


def _tidied(now: onnx.ModelProto, first: onnx.ModelProto) -> onnx.ModelProto:
    """A model without the constants that a round left unread, changed in place; `_store` has them back."""
    unread_before = {tensor.name for tensor in first.graph.initializer} - _read(first.graph)
    kept = _read(now.graph) | unread_before | {value.name for value in first.graph.input}
    for place in reversed(range(len(now.graph.initializer))):
        if now.graph.initializer[place].name not in kept:
            del now.graph.initializer[place]
    return now


def _read(graph: onnx.GraphProto) -> set[str]:
    """Every tensor that a node reads or that is an output."""
    return {value.name for value in graph.output}.union(*(reads(node) for node in graph.node))


def _as_before(nodes: Sequence[onnx.NodeProto], first: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The nodes in the order in which a graph has them; what it does not have stays behind what it stood behind."""
    before = {name: place for place, node in enumerate(first.node) for name in node.output if name}
    places, last = list[int](), -1
    for node in nodes:
        last = next((before[name] for name in node.output if name in before), last)
        places.append(last)
    return [nodes[index] for index in sorted(range(len(nodes)), key=places.__getitem__)]


def _imports(model: onnx.ModelProto, other: onnx.ModelProto) -> None:
    """Let a model name the operator sets that `other` names too, in the order of that."""
    domains = {entry.domain for entry in other.opset_import}
    entries = [*other.opset_import, *(entry for entry in model.opset_import if entry.domain not in domains)]
    copies = [onnx.OperatorSetIdProto.FromString(entry.SerializeToString()) for entry in entries]
    del model.opset_import[:]
    model.opset_import.extend(copies)


def _drop_functions(model: onnx.ModelProto) -> None:
    """Leave out the functions where nothing calls one any more."""
    names = {(function.domain, function.name) for function in model.functions}
    if not any((node.domain, node.op_type) in names for node in every_node(model.graph)):
        del model.functions[:]


def _makers_of_nothing(graph: onnx.GraphProto) -> set[str]:
    """What is made by nodes on which no output depends."""
    needed = {value.name for value in graph.output}
    nothing: set[str] = set()
    for node in reversed(graph.node):
        if needed & set(node.output):
            needed |= reads(node)
        else:
            nothing |= set(node.output)
    return nothing - {""}


def _store(graph: onnx.GraphProto, plain: Plain) -> None:
    """Store again what the nodes read that were put back, and leave out what was only read by those that went."""
    first, spelled = plain.original.graph, plain.model.graph
    read = _read(graph)
    there = {tensor.name for tensor in graph.initializer}
    back = [t for t in first.initializer if t.name in read and t.name not in there]
    made = {name for node in graph.node for name in node.output}
    missing = read - there - made - {tensor.name for tensor in back}
    constants = (t for changes in plain.rounds for change in changes for t in change.initializers)
    graph.initializer.extend({t.name: t for t in constants if t.name in missing}.values())
    if back:
        graph.initializer.extend(back)
        _sort_as_before(graph, first)
        taken_off = {tensor.name for tensor in back} - {value.name for value in graph.input}
        graph.input.extend(value for value in first.input if value.name in taken_off)
    before = _read(first)
    _make_sparse(graph, first, spelled, read)
    added = {t.name for t in spelled.initializer} - {t.name for t in first.initializer}
    listed = {value.name for value in graph.input}
    for place in reversed(range(len(graph.initializer))):
        name = graph.initializer[place].name
        if name not in read and name not in listed and (name in before or name in added):
            del graph.initializer[place]
    known = {name for node in graph.node for name in node.output} | listed | read
    lost = {name for node in first.node for name in node.output} - known
    for place in reversed(range(len(graph.value_info))):
        if graph.value_info[place].name in lost:
            del graph.value_info[place]


def _sort_as_before(graph: onnx.GraphProto, first: onnx.GraphProto) -> None:
    """Store what is stored in `first` too in the order of that, and what is new at the end."""
    before = {tensor.name: place for place, tensor in enumerate(first.initializer)}
    order = sorted(graph.initializer, key=lambda tensor: before.get(tensor.name, len(before)))
    tensors = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in order]
    del graph.initializer[:]
    graph.initializer.extend(tensors)


def _make_sparse(
    graph: onnx.GraphProto, first: onnx.GraphProto, spelled: onnx.GraphProto, read: Collection[str]
) -> None:
    """Store by places again what the original stored so and is still read and unchanged."""
    wanted = {tensor.values.name for tensor in first.sparse_initializer} & set(read)
    dense = {tensor.name: tensor for tensor in spelled.initializer if tensor.name in wanted}
    for place in reversed(range(len(graph.initializer))):
        tensor = graph.initializer[place]
        if dense.get(tensor.name) == tensor:
            del graph.initializer[place]
        else:
            wanted.discard(tensor.name)
    graph.sparse_initializer.extend(t for t in first.sparse_initializer if t.values.name in wanted)
