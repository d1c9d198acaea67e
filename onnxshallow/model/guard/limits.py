"""What a model may ask for: refusals before anything is allocated, for files that nobody vouches for.

A file of a few hundred bytes can ask for terabytes or for endless work. Checked here, of a parsed model:

1. what is stored: sizes are possible and agree with the bytes that are there; no weight holds NaN;
2. what would be computed: no tensor, for one sample, is larger than a limit, as far as shape inference tells;
3. how often: functions call no other in circles and stay small when written out, loops end.

Models with sizes or loops whose end is computed are then run once within bounds (`onnxshallow.model.guard.trial`).
"""

import math
from collections.abc import Mapping
from pathlib import Path

import onnx
import onnx.inliner
import onnx.shape_inference

from onnxshallow.errors import ModelError
from onnxshallow.model.guard.stored import require_readable_names, require_sound_tensors
from onnxshallow.model.guard.trial import require_bounded_run
from onnxshallow.model.network import Network, is_default_domain
from onnxshallow.model.session import Session
from onnxshallow.model.shapes import bodies, every_node, infer_shapes, without_large_values
from onnxshallow.model.tensors import TensorInfo
from onnxshallow.text import first_line, printable

__all__ = ["MAX_TENSOR", "MAX_TRIPS", "require_types", "require_within_limits"]

MAX_TENSOR = 512 << 20
"""The most bytes that a tensor may take for one sample, unless the user allows more."""
MAX_TRIPS = 1 << 20
"""The most often that the body of a loop may run, those of loops around it multiplied."""
# All tensors that are computed from constants alone may together take this many times the limit for one: onnxruntime
# keeps them.
_CONSTANTS = 4
# Calls within calls, and nodes that they all come to.
_MAX_CALLS, _MAX_NODES = 50, 1 << 20
# The oldest operators that onnxruntime promises to run.
_OLDEST_OPSET = 7
# Nodes that may join text.
_MAX_JOINS = 16
# Attributes that say how far an operator reaches, and the most that onnxruntime can count.
_REACH, _MAX_REACH = frozenset({"dilations", "kernel_shape", "output_shape", "pads", "strides"}), 2**31 - 1


def require_within_limits(model: onnx.ModelProto, path: Path, max_tensor: int = MAX_TENSOR) -> None:
    """Refuse a model that asks for the absurd.

    Args:
        model: a parsed model, external data loaded. It is not changed.
        path: its file, for messages.
        max_tensor: the most bytes that a tensor may take for one sample.

    Raises:
        ModelError: what is asked for, by which tensor or node, and which option allows it.
    """
    require_readable_names(model, path)
    if not model.graph.output:
        raise ModelError(
            f"The graph of {path} has no outputs, so there is nothing that it computes; export it again."
        )
    require_sound_tensors(model, path, max_tensor)
    _require_small_functions(model, path)
    whole = onnx.inliner.inline_local_functions(model) if model.functions else model
    for node in every_node(whole.graph):
        _require_possible_reach(node, path)
    _require_short_text(whole.graph, path)
    try:
        network = Network(whole)
    except ModelError as error:
        message = str(error)
        raise ModelError(
            f"{path} is not a valid ONNX model: {printable(message[0].lower() + message[1:])}"
        ) from error
    _require_small(network, path, max_tensor)
    _Bodies(whole, path, max_tensor).check(whole.graph, network.inferred, 1)
    require_bounded_run(whole, network, path, max_tensor)


def require_types(model: onnx.ModelProto, path: Path) -> None:
    """Refuse a model whose element types, ranks or sizes do not go together, where onnxruntime refuses it too.

    Raises:
        ModelError: what does not go together.
    """
    if not all(is_default_domain(node.domain) and onnx.defs.has(node.op_type) for node in model.graph.node):
        return  # operators that onnx does not know
    try:
        onnx.shape_inference.infer_shapes(without_large_values(model), check_type=True, strict_mode=True)
        opset = max((entry.version for entry in model.opset_import if is_default_domain(entry.domain)), default=1)
        if opset >= _OLDEST_OPSET:
            return
        problem = f"it is of opset {opset}, which onnxruntime does not know well enough"
    except Exception as error:  # exporters leave stale shapes behind, so this is not the last word
        problem = first_line(error)
    try:
        Session(model, optimize=False)
    except ModelError as error:
        raise ModelError(f"{path} is not a valid ONNX model: {problem}. Export it again.") from error


def _require_small_functions(model: onnx.ModelProto, path: Path) -> None:
    """Functions must not call each other in circles, nor come to more than `_MAX_NODES` nodes."""
    functions = {(f.domain, f.name): f for f in model.functions}
    sizes: dict[tuple[str, str], int] = {}

    def size_of(graph: onnx.GraphProto | onnx.FunctionProto, calls: int) -> int:
        total = 0
        for node in every_node(graph):
            key = (node.domain, node.op_type)
            if key in functions and key not in sizes:
                if calls == _MAX_CALLS:
                    raise ModelError(
                        f"Function {node.op_type!r} of {path} calls itself, or is called more than {_MAX_CALLS} "
                        "levels deep; this is refused. Export the model without functions."
                    )
                sizes[key] = size_of(functions[key], calls + 1)
            total += sizes.get(key, 1)
            if total > _MAX_NODES:
                raise ModelError(
                    f"The functions of {path} come to more than {_MAX_NODES} nodes when they are written out; this "
                    "is refused. Export the model without functions."
                )
        return total

    size_of(model.graph, 0)


def _require_possible_reach(node: onnx.NodeProto, path: Path) -> None:
    for attribute in node.attribute:
        if attribute.name in _REACH and is_default_domain(node.domain):
            if any(abs(value) > _MAX_REACH for value in attribute.ints):
                raise ModelError(
                    f"Node {node.name or node.output[:1]!r} ({node.op_type!r}) of {path} has {attribute.name} "
                    f"{list(attribute.ints)!r}, and onnxruntime cannot count beyond {_MAX_REACH}; "
                    "export the model again."
                )


def _require_short_text(graph: onnx.GraphProto, path: Path) -> None:
    """No shape tells how long text is, and every StringConcat can double it."""
    joins = sum(node.op_type == "StringConcat" for node in every_node(graph))
    repeated = any(i.op_type == "StringConcat" for n in graph.node for b in bodies(n) for i in every_node(b))
    if joins > _MAX_JOINS or repeated:
        raise ModelError(
            f"{path} joins text {f'{joins} times' if not repeated else 'inside a branch or loop'}; the limit is "
            f"{_MAX_JOINS} StringConcat nodes outside of these. Remove what handles text from the model."
        )


def _require_small(network: Network, path: Path, max_tensor: int) -> None:
    """Inputs, and what nodes of the main graph compute."""
    asked = [info.name for info in network.inputs]
    made = [name for node in network.nodes for name in node.outputs if name]
    constants = 0
    for name in (*asked, *made):
        info = network.inferred.get(name)
        if info is None:
            continue
        _require_small_tensor(info, path, max_tensor, "Input" if name in asked else "Tensor")
        if network.is_constant(name):
            constants += info.bytes
    if constants > _CONSTANTS * max_tensor:
        raise ModelError(
            f"{path} computes {_size(constants)} from constants alone; the limit for all of them is "
            f"{_size(_CONSTANTS * max_tensor)}. If you trust the file, raise --max-tensor (now {_size(max_tensor)})."
        )


def _require_small_tensor(info: TensorInfo, path: Path, max_tensor: int, what: str) -> None:
    if info.bytes > max_tensor:
        first = info.shape[0] if info.shape and len(info.shape) > 1 else None  # a vector has no batch
        each = f"for a batch of {first}" if isinstance(first, int) and first > 1 else "a sample"
        shape = "x".join("?" if not isinstance(size, int) else str(size) for size in info.shape or ())
        raise ModelError(
            f"{what} {info.name!r} of {path} has shape {shape} and takes {_size(info.bytes)} {each}; the limit "
            f"is {_size(max_tensor)}. If you trust the file, raise --max-tensor."
        )


def _size(count: int) -> str:
    """Bytes, for people."""
    for power, unit in ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB")):
        if count >= power:
            return f"{count / power:,.4g} {unit}" if count < 2**60 else f"more than {2**20} TiB"
    return f"{count} bytes"


class _Bodies:
    """The checks of what is inside If, Loop and Scan."""

    def __init__(self, model: onnx.ModelProto, path: Path, max_tensor: int) -> None:
        self.model = model
        self.path = path
        self.max_tensor = max_tensor

    def check(
        self,
        graph: onnx.GraphProto,
        infos: Mapping[str, TensorInfo],
        trips: int,
        outer: Mapping[str, onnx.TensorProto] | None = None,
    ) -> None:
        """Check the bodies in a graph, and those in them.

        Args:
            graph: the graph.
            infos: what is known of its tensors.
            trips: how often it runs.
            outer: constants of the graphs around it.
        """
        values = {**(outer or {}), **_stored(graph)}
        for node in graph.node:
            for body in bodies(node):
                inner = trips * self._trips(node, body, values, infos)
                if inner > MAX_TRIPS:
                    raise ModelError(
                        f"The loop at node {node.name or next(iter(node.output), '')!r} of {self.path} runs "
                        f"{'without end' if inner >= _ENDLESS else f'{inner} times'}; the limit is {MAX_TRIPS}. "
                        "This is refused; export the model without it."
                    )
                known = self._infer(body, infos, values)
                for name in [name for inside in body.node for name in inside.output if name]:
                    if name in known:
                        _require_small_tensor(known[name], self.path, self.max_tensor, "Tensor")
                self.check(body, known, inner, values)

    def _trips(
        self,
        node: onnx.NodeProto,
        body: onnx.GraphProto,
        values: Mapping[str, onnx.TensorProto],
        infos: Mapping[str, TensorInfo],
    ) -> int:
        """How often a body runs, as far as constants tell; 1 where they do not."""
        if node.op_type == "Loop" and is_default_domain(node.domain) and len(node.input) >= 2:
            if not _goes_on(node, body, values):
                return 1
            count = _number(values[node.input[0]]) if node.input[0] in values else None
            return _ENDLESS if not node.input[0] else 1 if count is None else max(count, 1)
        if node.op_type == "Scan" and is_default_domain(node.domain):
            info = infos.get(node.input[-1]) if node.input else None
            axis = info.shape[0] if info is not None and info.shape else None
            return axis if isinstance(axis, int) else 1
        return 1

    def _infer(
        self, body: onnx.GraphProto, infos: Mapping[str, TensorInfo], values: Mapping[str, onnx.TensorProto]
    ) -> Mapping[str, TensorInfo]:
        """What is known of a body's tensors, and of those around it."""
        alone = onnx.ModelProto(ir_version=self.model.ir_version)
        alone.opset_import.extend(self.model.opset_import)
        alone.graph.name = "body"
        alone.graph.node.extend(body.node)
        alone.graph.output.extend(body.output)
        alone.graph.initializer.extend(body.initializer)
        made = {name for node in body.node for name in node.output} | {t.name for t in body.initializer}
        given = {value.name for value in body.input}
        alone.graph.input.extend(body.input)
        for name in sorted({name for node in every_node(body) for name in node.input} - made - given):
            info = infos.get(name)
            if name in values:
                alone.graph.initializer.append(values[name])
                alone.graph.initializer[-1].name = name
            elif info is not None and info.dtype is not None:
                kind = onnx.helper.np_dtype_to_tensor_dtype(info.dtype)
                alone.graph.input.append(onnx.helper.make_tensor_value_info(name, kind, info.shape))
        return {**infos, **infer_shapes(alone)}


_ENDLESS = 1 << 62


def _stored(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    """Small constants: initializers and what Constant nodes hold."""
    found = {t.name: t for t in graph.initializer if math.prod(t.dims) <= 1024 and not t.external_data}
    for node in graph.node:
        if node.op_type == "Constant" and len(node.attribute) == 1 and node.attribute[0].name == "value":
            if math.prod(node.attribute[0].t.dims) <= 1024 and node.output:
                found[node.output[0]] = node.attribute[0].t
    return found


def _number(tensor: onnx.TensorProto) -> int | None:
    value = onnx.numpy_helper.to_array(tensor)
    return int(value.reshape(-1)[0]) if value.size == 1 and value.dtype.kind in "iub" else None


def _goes_on(node: onnx.NodeProto, body: onnx.GraphProto, values: Mapping[str, onnx.TensorProto]) -> bool:
    """Whether the condition of a Loop is true for ever, as far as constants tell."""
    first = node.input[1]
    if first and (first not in values or not _number(values[first])):
        return False
    if len(body.input) < 2 or not body.output:
        return False
    makers = {name: inside for inside in body.node for name in inside.output}
    known = {**values, **_stored(body)}
    name = body.output[0].name
    while name in makers and makers[name].op_type == "Identity" and makers[name].input:
        name = makers[name].input[0]
    return name == body.input[1].name or (name in known and bool(_number(known[name])))
