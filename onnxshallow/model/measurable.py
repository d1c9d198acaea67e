"""A model in a form in which changes can be measured, and the way back.

What runs and compares models wants samples along the first axis of every input and output, and an output that shows
small changes. Of models that lack that, a stand-in is made that has it:

    x (12296,), state (2, N, 128), rate ()    (1, 12296), (1, 2, 1, 128), (1,) and a Squeeze:  one sample a run
    y (5,), or made of the whole batch        Unsqueeze and (1, 5)
    y = ArgMax(scores), or Cast, TopK, ...    `scores` is an output as well
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from onnxshallow.model.network import Network, Node, is_default_domain
from onnxshallow.model.shapes import all_names, bodies, infer_shapes, without_large_values
from onnxshallow.model.spelling.changes import fresh, reads
from onnxshallow.model.tensors import TensorInfo

__all__ = ["Measurable", "measurable"]

# What an image may go through before it gets an axis for the batch.
_BEFORE_BATCH = ("Add", "Cast", "CastLike", "Clip", "Div", "Identity", "Mul", "Pad", "Resize", "Sub", "Transpose")
# What tells sizes, and nothing of values.
_SIZES = ("Shape", "Size")


@dataclass(frozen=True, eq=False)
class Measurable:
    """A stand-in for a model.

    Attributes:
        model: the stand-in; the original itself where that can be measured as it is.
        original: the model as it was.
        inputs: those of the stand-in that have an axis more, in front.
        outputs: likewise.
        remarks: what is measured otherwise than one might expect, for people.
    """

    model: onnx.ModelProto
    original: onnx.ModelProto
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def between(self) -> frozenset[str]:
        """What stands between nodes that only the stand-in has and those of the original."""
        squeezed = (node.output[0] for node in _squeezes(self.model.graph, self.inputs))
        given = (node.input[0] for node in _unsqueezes(self.model.graph, self.outputs))
        return frozenset((*squeezed, *given))

    def sizes(self, shapes: Mapping[str, Sequence[int]] | None) -> dict[str, tuple[int, ...]] | None:
        """Shapes that a user gave for inputs of the original, by name, as the stand-in has them."""
        if shapes is None:
            return None
        ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in self.original.graph.input}
        longer = [name for name in self.inputs if name in shapes and len(shapes[name]) == ranks[name]]
        return {name: (*((1,) if name in longer else ()), *shape) for name, shape in shapes.items()}

    def restored(self, made: onnx.ModelProto) -> onnx.ModelProto:
        """What was made of `model`, with the inputs and outputs of the original."""
        if self.model is self.original:
            return made
        result = onnx.ModelProto()
        result.CopyFrom(made)
        graph, first = result.graph, self.original.graph
        for name in self.inputs:
            _give_axis(result, name)
        for name in self.outputs:
            _take_axis(result, name)
        before = {value.name: value for value in first.input}
        given = [before.get(value.name, value) for value in made.graph.input]  # before IR 4 also weights, old and new
        for values, originals in ((graph.input, given), (graph.output, first.output)):
            del values[:]
            values.extend(originals)
        _drop_unread_axes(graph, _stored(self.model) - _stored(self.original))
        return result


def _stored(model: onnx.ModelProto) -> set[str]:
    return {tensor.name for tensor in model.graph.initializer}


def measurable(model: onnx.ModelProto, *, scores: bool = True) -> Measurable:
    """A stand-in for a model: see `onnxshallow.model.measurable`.

    Args:
        model: a checked model. It is not changed.
        scores: whether tensors before whole numbers become outputs where no output shows small changes.
    """
    network = Network(model)
    remarks = []
    result = onnx.ModelProto()
    result.CopyFrom(model)
    lone, longer = _without_batch(network), list[str]()
    joined = [] if lone else _of_the_whole_batch(network)
    if lone or joined:
        longer = _one_sample_a_run(result, network, lone)
        why = f"the first axis of input {lone[0]!r} is no batch" if lone else ""
        remarks.append(f"one run is one sample, as {why or f'output {joined[0]!r} is made of the whole batch'}")
    if scores and (found := _before_whole_numbers(network)):
        sizes = infer_shapes(result)
        result.graph.output.extend(_value(sizes[name]) for name in found)
        names = ", ".join(map(repr, found))
        remarks.append(
            f"the outputs are whole numbers, so what a change does is measured at {names}, from which they are made"
        )
    return Measurable(result if remarks else model, model, tuple(lone), tuple(longer), tuple(remarks))


def _value(info: TensorInfo) -> onnx.ValueInfoProto:
    kind = onnx.helper.np_dtype_to_tensor_dtype(info.dtype)
    shape = None if info.shape is None else [None, *info.shape[1:]]
    return onnx.helper.make_tensor_value_info(info.name, kind, shape)


def _before_whole_numbers(network: Network) -> list[str]:
    """The last floating-point tensors on the way to outputs of which none is floating-point itself."""
    if any(_is_floating(network, name) is not False for name in network.output_names):
        return []
    found: dict[str, None] = {}
    todo, seen = list(network.output_names), set[str]()
    while todo:
        node = network.producer(todo.pop())
        if node is None or node.name in seen or node.is_op(*_SIZES):
            continue
        seen.add(node.name)
        for name in node.reads:
            if network.is_constant(name) or network.producer(name) is None:
                continue
            if _is_floating(network, name):
                found[name] = None
            else:
                todo.append(name)
    return list(found)


def _is_floating(network: Network, tensor: str) -> bool | None:
    """Whether a tensor holds floating-point numbers, None where that is not known."""
    info = network.inferred.get(tensor)
    return None if info is None or info.dtype is None else info.dtype.kind == "f"


def _without_batch(network: Network) -> list[str]:
    """Inputs whose first axis is no batch; none where the rest of the inputs are in batches of several samples."""
    shapes = {info.name: info.shape for info in network.inputs if info.shape is not None}
    fixed = {shape[0] for shape in shapes.values() if len(shape) > 1}
    lone = [
        name
        for name, shape in shapes.items()
        if not shape
        or (len(shape) == 1 and isinstance(shape[0], int) and shape[0] != 1 and shape[0] not in fixed)
        or (shape[0] != 1 and len(shape) < 4 and _gets_batch(network, name))
        or _is_state(shape, fixed)
    ]
    rest = [shape for name, shape in shapes.items() if name not in lone]
    in_batches = any(isinstance(shape[0], int) and shape[0] != 1 for shape in rest)
    return [] if in_batches or len(shapes) < len(network.inputs) else lone


def _of_the_whole_batch(network: Network) -> list[str]:
    """Outputs as long for two samples as for one, of inputs whose batch is open: a Reshape or a mean joins these."""
    batched = {
        info.name: info.shape[1:] for info in network.inputs if info.shape and not isinstance(info.shape[0], int)
    }
    sizes = {name: [size for size in rest if isinstance(size, int)] for name, rest in batched.items()}
    if not batched or any(len(sizes[name]) < len(rest) for name, rest in batched.items()):
        return []
    light = without_large_values(network.model)
    for value in light.graph.output:  # what a file states may be for another batch
        value.type.tensor_type.ClearField("shape")
    pairs = [infer_shapes(light, {name: (n, *rest) for name, rest in sizes.items()}) for n in (1, 2)]
    found = []
    for name in network.output_names:
        one, two = (infos.get(name) for infos in pairs)
        same = one is not None and two is not None and one.is_complete and one.shape == two.shape
        if same and not batched.keys().isdisjoint(_values_behind(network, name)):
            found.append(name)
    return found


def _values_behind(network: Network, tensor: str) -> set[str]:
    """Every tensor whose values another is made of, itself included."""
    seen, todo = set[str](), [tensor]
    while todo:
        name = todo.pop()
        node = network.producer(name)
        if name not in seen and node is not None and not node.is_op(*_SIZES):
            todo.extend(node.reads)
        seen.add(name)
    return seen


def _is_state(shape: Sequence[int | str | None], firsts: Collection[int | str | None]) -> bool:
    """Whether an input is the state of a recurrent network, (layers, N, features), beside inputs in batches."""
    beside = any(other in (None, 1) or isinstance(other, str) for other in firsts)
    return beside and len(shape) == 3 and isinstance(shape[0], int) and shape[0] != 1 and not _is_several(shape[1])


def _is_several(size: int | str | None) -> bool:
    return isinstance(size, int) and size != 1


def _gets_batch(network: Network, tensor: str) -> bool:
    """Whether all that reads a tensor puts an axis for the batch before it, or behind casts and the like."""
    readers = network.consumers(tensor)
    return bool(readers) and all(
        _adds_first_axis(network, node) or (node.is_op(*_BEFORE_BATCH) and _gets_batch(network, node.outputs[0]))
        for node in readers
    )


def _adds_first_axis(network: Network, node: Node) -> bool:
    if node.is_op("Reshape"):
        infos = (network.inferred.get(name) for name in (node.inputs[0], node.outputs[0]))
        before, after = ((info.shape if info is not None else None) or () for info in infos)
        return 0 < len(before) < len(after) and before[0] != 1 and after[0] == 1
    if not node.is_op("Unsqueeze"):
        return False
    axes = network.constant(node.inputs[1]) if len(node.inputs) > 1 else node.attributes.get("axes")
    return axes is not None and 0 in np.ravel(axes)


def _one_sample_a_run(model: onnx.ModelProto, network: Network, lone: Sequence[str]) -> list[str]:
    """Put an axis of one before those inputs and before outputs that lack it; other inputs have batches of one.

    Returns:
        The outputs that got one.
    """
    graph, taken = model.graph, all_names(model.graph)
    axes = _axes(model, taken)
    sizes = infer_shapes(model)
    inner: dict[str, str] = {}
    before, behind = [], []
    for value in graph.input:
        shape = value.type.tensor_type.shape
        if value.name in lone:
            one = [onnx.TensorShapeProto.Dimension(dim_value=1)]
            dims = list(shape.dim)
            if len(dims) == 3 and not _gets_batch(network, value.name):  # (layers, N, features)
                dims[1:2] = one
            _set_dims(shape, [*one, *dims])
            inner[value.name] = fresh(f"{value.name}/one", taken)
            before.append(_axis_node("Squeeze", model, value.name, inner[value.name], axes))
        elif network.initializer(value.name) is None and shape.dim:
            _set_dims(shape, [onnx.TensorShapeProto.Dimension(dim_value=1), *shape.dim[1:]])
    for value in graph.output:
        info = sizes.get(value.name)
        known = None if info is None else info.shape
        shape = value.type.tensor_type.shape
        if known is not None and known[:1] == (1,):
            continue
        inner[value.name] = fresh(f"{value.name}/one", taken)
        behind.append(_axis_node("Unsqueeze", model, inner[value.name], value.name, axes))
        if value.type.tensor_type.HasField("shape"):
            _set_dims(shape, [onnx.TensorShapeProto.Dimension(dim_value=1), *shape.dim])
    nodes = list(graph.node)
    for node in nodes:
        _rename(node, inner)
    _set_nodes(graph, [*before, *nodes, *behind])
    return [node.output[0] for node in behind]


def _axes(model: onnx.ModelProto, taken: set[str]) -> str:
    """The stored axis 0 that Squeeze and Unsqueeze read since opset 13; nothing before."""
    if all(entry.version < 13 for entry in model.opset_import if is_default_domain(entry.domain)):
        return ""
    name = fresh("first_axis", taken)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(1, np.int64), name))
    return name


def _axis_node(op: str, model: onnx.ModelProto, source: str, output: str, axes: str) -> onnx.NodeProto:
    name = f"{op}/{source}"
    if axes:
        return onnx.helper.make_node(op, [source, axes], [output], name)
    return onnx.helper.make_node(op, [source], [output], name, axes=[0])


def _rename(node: onnx.NodeProto, names: Mapping[str, str]) -> None:
    """Let a node, and the bodies in it, call tensors otherwise."""
    node.input[:] = [names.get(name, name) for name in node.input]
    node.output[:] = [names.get(name, name) for name in node.output]
    for body in bodies(node):
        for inside in body.node:
            _rename(inside, names)
        for value in body.output:
            value.name = names.get(value.name, value.name)


def _squeezes(graph: onnx.GraphProto, inputs: Collection[str]) -> list[onnx.NodeProto]:
    return [node for node in graph.node if node.op_type == "Squeeze" and node.input[0] in inputs]


def _unsqueezes(graph: onnx.GraphProto, outputs: Collection[str]) -> list[onnx.NodeProto]:
    return [node for node in graph.node if node.op_type == "Unsqueeze" and node.output[0] in outputs]


def _give_axis(model: onnx.ModelProto, name: str) -> None:
    """Let an input have its own axes again: its Squeeze goes, and what read it before that reads an Unsqueeze."""
    graph, taken = model.graph, all_names(model.graph)
    own = _squeezes(graph, [name])
    nodes = [node for node in graph.node if node not in own]
    whole = fresh(f"{name}/batch", taken)
    for node in nodes:
        _rename(node, {name: whole, **{squeeze.output[0]: name for squeeze in own}})
    if any(whole in reads(node) for node in nodes):
        nodes.insert(0, _axis_node("Unsqueeze", model, name, whole, _axes(model, taken)))
    _set_nodes(graph, nodes)


def _take_axis(model: onnx.ModelProto, name: str) -> None:
    """Let an output have its own axes again: its Unsqueeze goes, or a Squeeze comes behind what makes it now."""
    graph, taken = model.graph, all_names(model.graph)
    own = _unsqueezes(graph, [name])
    nodes = [node for node in graph.node if node not in own]
    whole = fresh(f"{name}/batch", taken)
    for node in nodes:
        _rename(node, {own[0].input[0]: name} if own else {name: whole})
    if not own:
        nodes.append(_axis_node("Squeeze", model, whole, name, _axes(model, taken)))
    _set_nodes(graph, nodes)


def _drop_unread_axes(graph: onnx.GraphProto, added: Iterable[str]) -> None:
    read = set[str]().union(*(reads(node) for node in graph.node))
    for place in reversed(range(len(graph.initializer))):
        if graph.initializer[place].name in set(added) - read:
            del graph.initializer[place]


def _set_nodes(graph: onnx.GraphProto, nodes: Iterable[onnx.NodeProto]) -> None:
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)


def _set_dims(shape: onnx.TensorShapeProto, dims: Iterable[onnx.TensorShapeProto.Dimension]) -> None:
    copies = [onnx.TensorShapeProto.Dimension.FromString(dim.SerializeToString()) for dim in dims]
    del shape.dim[:]
    shape.dim.extend(copies)
