"""A read-only view of a model's graph: who makes a tensor, who reads it, what is constant, how large it is.

Analysis, runtime and fitting read networks through this view; only `onnxshallow.model.editor` and the
actions change graphs.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import onnx

from onnxshallow.errors import ModelError
from onnxshallow.model.shapes import bodies, infer_shapes, observe_shapes, tensor_info
from onnxshallow.model.tensors import TensorInfo
from onnxshallow.model.weights import value_of

__all__ = ["Network", "Node", "bodies", "is_default_domain", "outer_references"]

# Results of these differ from run to run, so they are never constants.
_RANDOM = {"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial", "Bernoulli"}
# onnx's reference, which computes constants, has these wrong for some opsets or padding.
_NEVER_FOLDED = _RANDOM | {"AveragePool", "BatchNormalization", "GlobalMaxPool", "Hardmax", "LRN", "LogSoftmax",
                           "MaxPool", "Softmax"}  # fmt: skip
# A folded constant of more bytes than this is left to onnxruntime.
_MAX_CONSTANT = 512 << 20


def is_default_domain(domain: str) -> bool:
    """Whether `domain` is ONNX's own operator set."""
    return domain in ("", "ai.onnx")


def outer_references(graph: onnx.GraphProto) -> set[str]:
    """Names that the body of an If, Loop or Scan takes from the graphs around it."""
    inner = {value.name for value in graph.input} | {value.name for value in graph.initializer}
    inner |= {value.values.name for value in graph.sparse_initializer}
    outer: set[str] = set()
    for node in graph.node:
        outer |= {name for name in node.input if name and name not in inner}
        for body in bodies(node):
            outer |= outer_references(body) - inner
        inner |= set(node.output)
    return outer | {value.name for value in graph.output if value.name not in inner}


@dataclass(frozen=True, eq=False)
class Node:
    """One node of the main graph.

    Attributes:
        index: position in the graph's node list.
        op: operator type.
        domain: operator domain; "" is ONNX's own.
        name: the node's name, made unique: its own, else its first output's.
        inputs: names of the tensors read; "" stands for an omitted optional input.
        outputs: names of the tensors made.
        captures: tensors of this graph that the node's subgraphs read.
        bodies: the subgraphs of an If, Loop or Scan; none for other nodes.
        proto: the node as it stands in the file.
    """

    index: int
    op: str
    domain: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    captures: frozenset[str]
    bodies: tuple[onnx.GraphProto, ...] = field(repr=False)
    proto: onnx.NodeProto = field(repr=False)

    @cached_property
    def attributes(self) -> Mapping[str, Any]:
        """Attribute values by name; strings are decoded."""
        values = {a.name: onnx.helper.get_attribute_value(a) for a in self.proto.attribute if not a.ref_attr_name}
        return {name: value.decode() if isinstance(value, bytes) else value for name, value in values.items()}

    @cached_property
    def reads(self) -> tuple[str, ...]:
        """Every tensor that the node needs: inputs that are given, then captures."""
        return tuple(name for name in self.inputs if name) + tuple(sorted(self.captures))

    def is_op(self, *ops: str) -> bool:
        """Whether this is one of ONNX's own operators `ops`."""
        return is_default_domain(self.domain) and self.op in ops


class Network:
    """A model's main graph, indexed.

    Args:
        model: a valid model, its external data loaded. It is not changed, and must not be changed while
            the view is in use.
        input_shapes: sizes for inputs with symbolic axes, by input name.
        known: of the network that this one was made from, whose tensors keep their names. What they say is taken
            where inference leaves something open, as long as both agree on the rest.

    Raises:
        ModelError: the graph reads a tensor that nothing makes, or two nodes make the same one.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        input_shapes: Mapping[str, Sequence[int]] | None = None,
        known: Mapping[str, TensorInfo] | None = None,
    ) -> None:
        self.model = model
        self.input_shapes = dict(input_shapes or {})
        self._known = known
        graph = model.graph
        self._initializers = {tensor.name: tensor for tensor in graph.initializer}
        self._sparse = {tensor.values.name for tensor in graph.sparse_initializer}
        self._constants: dict[str, np.ndarray | None] = {}
        self.nodes = _index_nodes(graph)
        self._producers = {name: node for node in self.nodes for name in node.outputs if name}
        self._consumers: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.reads):
                self._consumers.setdefault(name, []).append(node)
        self.output_names = tuple(value.name for value in graph.output)
        self._check()

    def _check(self) -> None:
        known = set(self._initializers) | self._sparse | {value.name for value in self.model.graph.input}
        for node in self.nodes:
            for name in node.reads:
                if name not in known:
                    raise ModelError(
                        f"Node {node.name!r} ({node.op}) reads tensor {name!r}, which no earlier node, "
                        "initializer or input provides; the graph is damaged or not sorted; export it again."
                    )
            for name in node.outputs:
                if name and name in known:
                    raise ModelError(
                        f"Tensor {name!r} is made twice, the second time by node {node.name!r}; export it again."
                    )
                known.add(name)

    @property
    def opset(self) -> int:
        """Version of ONNX's own operator set."""
        return max((o.version for o in self.model.opset_import if is_default_domain(o.domain)), default=1)

    @cached_property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """The inputs that a caller has to give, in order; inputs with a default value are left out."""
        given = set(self._initializers) | self._sparse
        return tuple(tensor_info(value) for value in self.model.graph.input if value.name not in given)

    @property
    def has_fixed_sizes(self) -> bool:
        """Whether all axes of the inputs but the first have one size in every run."""
        return all(isinstance(size, int) for info in self.inputs for size in (info.shape or (None, None))[1:])

    @cached_property
    def has_own_names(self) -> bool:
        """Whether all nodes have the names that they state, or that of their first output; none has a number."""
        return all(node.name in (node.proto.name, *node.outputs[:1]) for node in self.nodes)

    @cached_property
    def _overridable(self) -> frozenset[str]:
        """Initializers that a caller may replace: since IR 4, those that are listed as inputs as well."""
        if self.model.ir_version < 4:
            return frozenset()
        return frozenset(value.name for value in self.model.graph.input) & set(self._initializers)

    def is_overridable(self, tensor: str) -> bool:
        """Whether `tensor` is a stored value that a caller may replace by another."""
        return tensor in self._overridable

    @cached_property
    def inferred(self) -> Mapping[str, TensorInfo]:
        """Element type and shape of the tensors, as far as they are known before the model runs.

        Shape inference comes first; then again with the integer arithmetic on constants done, by which exporters
        write shapes and pads. The batch axis of the inputs is set to 1.
        """
        infos = infer_shapes(self.model, self.input_shapes)
        if folded := self._integer_constants(infos):
            infos = infer_shapes(self.model, self.input_shapes, folded)
        return infos

    @cached_property
    def infos(self) -> Mapping[str, TensorInfo]:
        """Element type and shape of the tensors: those `inferred`, the rest read off a run on zeros if it can be."""
        outputs = [name for node in self.nodes for name in node.outputs if name]
        if self._known is not None:
            first = infer_shapes(self.model, self.input_shapes)
            if (completed := _completed(first, self._known, outputs)) is not None:
                return completed
        infos = self.inferred
        if not all(name in infos and infos[name].is_complete for name in outputs):
            infos = observe_shapes(self.model, infos, outputs)
        return infos

    def _integer_constants(self, infos: Mapping[str, TensorInfo]) -> dict[str, np.ndarray]:
        """Small integer tensors that nodes make from constants and that other nodes read."""
        folded = {}
        for name, node in self._producers.items():
            info = infos.get(name)
            integral = info is None or info.dtype is None or info.dtype.kind in "iub"
            if integral and node.op != "Constant" and self.is_constant(name):
                value = self._evaluate(name, infos)
                if value is not None and value.dtype.kind in "iub" and value.size <= 1024:
                    folded[name] = value
        return folded

    def initializer(self, tensor: str) -> onnx.TensorProto | None:
        """The stored initializer called `tensor`, as it stands in the file."""
        return self._initializers.get(tensor)

    def sparse_initializer(self, tensor: str) -> onnx.SparseTensorProto | None:
        """The stored sparse initializer called `tensor`."""
        return next((t for t in self.model.graph.sparse_initializer if t.values.name == tensor), None)

    def producer(self, tensor: str) -> Node | None:
        """The node that makes `tensor`; None for inputs and initializers."""
        return self._producers.get(tensor)

    def consumers(self, tensor: str) -> tuple[Node, ...]:
        """The nodes that read `tensor`, in graph order; each once."""
        return tuple(self._consumers.get(tensor, ()))

    def is_output(self, tensor: str) -> bool:
        """Whether `tensor` is an output of the model."""
        return tensor in self.output_names

    def is_private(self, tensor: str) -> bool:
        """Whether one node alone reads `tensor`, once and not from a subgraph, and it is no output of the model."""
        readers = self.consumers(tensor)
        return (
            len(readers) == 1
            and not self.is_output(tensor)
            and tensor not in readers[0].captures
            and readers[0].inputs.count(tensor) == 1
        )

    def shape(self, tensor: str) -> tuple[int | None, ...] | None:
        """Sizes of `tensor` for one sample's batch, unknown ones None; None where the rank is unknown."""
        info = self.infos.get(tensor)
        if info is None or info.shape is None:
            return None
        return tuple(size if isinstance(size, int) else None for size in info.shape)

    def full_shape(self, tensor: str) -> tuple[int, ...] | None:
        """Sizes of `tensor` for one sample's batch; None where one of them is not known."""
        shape = self.shape(tensor)
        if shape is None or any(size is None for size in shape):
            return None
        return tuple(int(size or 0) for size in shape)

    def per_sample(self, count: int) -> int:
        """What of a count over the batch that `shape` speaks of falls to one sample, where it can be divided."""
        return count // self.batch if count % self.batch == 0 else count

    @cached_property
    def batch(self) -> int:
        """Samples in the batch that shapes are inferred for: 1, unless the model fixes another number."""
        for info in self.inputs:
            sizes = self.shape(info.name)
            if sizes is not None and len(sizes) > 1 and sizes[0]:
                return sizes[0]
        return 1

    def dtype(self, tensor: str) -> np.dtype | None:
        """Element type of `tensor`, None where unknown."""
        info = self.infos.get(tensor)
        return None if info is None else info.dtype

    def is_constant(self, tensor: str) -> bool:
        """Whether `tensor` has the same value in every run."""
        return tensor in self._constant_names

    @cached_property
    def _constant_names(self) -> frozenset[str]:
        constant = set(self._initializers) - self._overridable
        for node in self.nodes:
            foldable = is_default_domain(node.domain) and node.op not in _NEVER_FOLDED
            if foldable and not node.bodies and constant.issuperset(node.reads):
                constant.update(name for name in node.outputs if name)
        return frozenset(constant)

    def constant(self, tensor: str) -> np.ndarray | None:
        """The value of a constant tensor: an initializer's, or one computed from constants alone.

        Returns:
            The value, not to be written to, or None where `tensor` is not constant.
        """
        return self._evaluate(tensor, self.infos) if self.is_constant(tensor) else None

    def has_value(self, tensor: str) -> bool:
        """Whether `constant` gives a value; one that the file stores is not decoded for that."""
        return self.is_constant(tensor) and (tensor in self._initializers or self.constant(tensor) is not None)

    def _evaluate(self, tensor: str, infos: Mapping[str, TensorInfo]) -> np.ndarray | None:
        """The value of a tensor that `is_constant`; computed once."""
        if tensor not in self._constants:
            self._constants[tensor] = self._compute(tensor, infos)
        return self._constants[tensor]

    def _compute(self, tensor: str, infos: Mapping[str, TensorInfo]) -> np.ndarray | None:
        if tensor in self._initializers:
            return value_of(self._initializers[tensor])
        node = self._producers[tensor]
        if node.op == "Constant" and node.proto.attribute[0].name == "value":
            return value_of(node.proto.attribute[0].t)
        info = infos.get(tensor)
        if info is not None and info.is_complete and info.bytes > _MAX_CONSTANT:
            return None
        feeds = {name: self._evaluate(name, infos) for name in node.reads}
        if any(value is None or value.dtype.kind in "OSU" for value in feeds.values()):  # text is no weight
            return None
        if (info is None or not info.is_complete) and not _is_small(node, feeds, self.model):
            return None
        return _run_node(node, feeds, self.model, tensor)

    @cached_property
    def alive(self) -> frozenset[int]:
        """Indices of the nodes on which an output depends; the others are never run."""
        return frozenset(self.ancestors(self.output_names))

    def ancestors(self, tensors: Sequence[str], stop: frozenset[str] = frozenset()) -> set[int]:
        """Indices of the nodes needed to make `tensors`, going no further back than the tensors in `stop`."""
        needed: set[int] = set()
        todo = [name for name in tensors if name not in stop]
        while todo:
            node = self._producers.get(todo.pop())
            if node is None or node.index in needed:
                continue
            needed.add(node.index)
            todo.extend(name for name in node.reads if name not in stop)
        return needed


def _completed(
    infos: Mapping[str, TensorInfo], known: Mapping[str, TensorInfo], tensors: Sequence[str]
) -> dict[str, TensorInfo] | None:
    """`infos` with what is missing of `tensors` from `known`; None where these contradict each other or lack some."""
    completed = dict(infos)
    for name in tensors:
        one, other = infos.get(name), known.get(name)
        if one is not None and one.is_complete:
            if other is not None and other.is_complete and other.shape != one.shape:
                return None
        elif other is None or not other.is_complete:
            return None
        else:
            completed[name] = other
    return completed


def _index_nodes(graph: onnx.GraphProto) -> tuple[Node, ...]:
    taken: set[str] = set()
    written = {proto.name for proto in graph.node}  # what has no name must not be given that of a later node
    counts: Counter[str] = Counter()
    nodes = []
    for index, proto in enumerate(graph.node):
        name = stated = proto.name or next((output for output in proto.output if output), f"{proto.op_type}_{index}")
        while name in taken or (not proto.name and name in written):
            counts[stated] += 1
            name = f"{stated}#{counts[stated] + 1}"
        taken.add(name)
        inner = tuple(bodies(proto))
        captures = frozenset[str]().union(*(outer_references(body) for body in inner))
        read, made = tuple(proto.input), tuple(proto.output)
        nodes.append(Node(index, proto.op_type, proto.domain, name, read, made, captures, inner, proto))
    return tuple(nodes)


def _is_small(node: Node, feeds: Mapping[str, np.ndarray | None], model: onnx.ModelProto) -> bool:
    """Whether no output of `node` on `feeds` takes more than `_MAX_CONSTANT`, as far as shape inference tells."""
    graph = onnx.GraphProto(name="constant", node=[node.proto])
    graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in feeds.items())
    single = onnx.ModelProto(ir_version=model.ir_version, graph=graph, opset_import=model.opset_import)
    infos = infer_shapes(single)
    return all(infos[name].bytes <= _MAX_CONSTANT for name in node.outputs if name in infos)


def _run_node(
    node: Node, feeds: Mapping[str, np.ndarray | None], model: onnx.ModelProto, tensor: str
) -> np.ndarray | None:
    """The value of `tensor`, an output of `node`, by ONNX's reference implementation; None where it has none."""
    from onnx.reference import ReferenceEvaluator

    inputs = [onnx.helper.make_empty_tensor_value_info(name) for name in feeds]
    graph = onnx.helper.make_graph(
        [node.proto], "constant", inputs, [onnx.helper.make_empty_tensor_value_info(tensor)]
    )
    single = onnx.helper.make_model(graph, opset_imports=list(model.opset_import), ir_version=model.ir_version)
    try:
        (value,) = ReferenceEvaluator(single).run(None, dict(feeds))
    except Exception:  # the reference has gaps, and a node may be invalid; either way it is no known constant
        return None
    return np.asarray(value)
