"""A model under test: what it computes by which engine, and how other models are compared with it."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from onnxshallow.analysis import Analysis, analyze
from onnxshallow.analysis.smooth import smooth_kind
from onnxshallow.errors import ModelError
from onnxshallow.model.network import Network, outer_references
from tests.graphs import TOLERANCE, feeds, interface
from tests.properties.engines import ENGINES, Array

__all__ = [
    "Case",
    "Counts",
    "assert_close",
    "assert_usable",
    "assert_valid",
    "count_relus",
    "open_case",
    "with_outputs",
]

Counts = Counter[str]
"""What was seen and done, by name."""

# Outputs smaller than this are differences of numbers of about 1, whose rounding errors count.
_SMALLEST_RMS = 0.05
# The reference rounds every float16 result, onnxruntime computes most of them in float32, so they differ the more the
# deeper a network is.
_HALF_PRECISION = 4.0
# Samples in a batch of models that leave its size open.
_BATCH = 2


@dataclass(frozen=True, eq=False)
class Case:
    """A model with inputs and outputs.

    Attributes:
        model: the model.
        analysis: of it.
        input_shapes: sizes of open axes; None where only the batch is open.
        feeds: signed random inputs.
        engines: names of the engines that run the model rightly.
        outputs: what it makes of `feeds`.
    """

    model: onnx.ModelProto
    analysis: Analysis
    input_shapes: dict[str, list[int]] | None
    feeds: dict[str, Array]
    engines: tuple[str, ...]
    outputs: list[Array]

    @property
    def fixed_batch(self) -> int | None:
        """The batch size that the model fixes, if it does."""
        size = (self.analysis.network.inputs[0].shape or ("N",))[0]
        return size if isinstance(size, int) else None

    @property
    def batch(self) -> int:
        """Samples in `feeds`."""
        return self.fixed_batch or _BATCH

    def run(self, model: onnx.ModelProto, engine: str | None = None) -> list[Array]:
        """The outputs of a model of the same inputs, by one engine."""
        return ENGINES[engine or self.engines[0]](model, self.feeds)


def open_case(model: onnx.ModelProto, counts: Counts) -> Case:
    """Run a model, which must be valid, by all engines.

    Raises:
        AssertionError: no engine runs it, or it computes values that are not finite.
    """
    onnx.checker.check_model(model, full_check=True)
    values = feeds(model, batch=_BATCH)
    outputs = {}
    for engine, run in ENGINES.items():
        try:
            outputs[engine] = run(model, values)
        except ModelError as error:
            if "two nodes with same node name" not in str(error):
                raise AssertionError(f"{engine} does not run the model: {error}") from error
            counts["models that onnxruntime refuses for equal node names"] += 1
    first = next(iter(outputs))
    assert all(np.all(np.isfinite(output)) for output in outputs[first]), "the original is not finite"
    if len(outputs) > 1:
        try:
            for name, output, other in zip(_names(model), *outputs.values(), strict=True):
                assert_close(output, other, name)
        except AssertionError as error:
            counts["engines disagree"] += 1
            counts[f"engines disagree: {error}"] += 1
            outputs = {first: outputs[first]}
    shapes = {info.name: list(values[info.name].shape) for info in Network(model).inputs}
    is_open = any(isinstance(size, str) for info in Network(model).inputs for size in (info.shape or ())[1:])
    is_open_batch = any(isinstance((info.shape or ("N",))[0], str) for info in Network(model).inputs)
    if is_open and is_open_batch:
        shapes = {name: [1, *sizes[1:]] for name, sizes in shapes.items()}
    given = shapes if is_open else None
    return Case(model, analyze(model, given), given, values, tuple(outputs), outputs[first])


def _names(model: onnx.ModelProto) -> list[str]:
    return [value.name for value in model.graph.output]


def assert_close(actual: Array, expected: Array, what: str, *, factor: float = 1.0) -> None:
    """Fail unless two arrays are equal by the tolerance policy of `tests.graphs`, times a factor."""
    assert actual.shape == expected.shape, f"{what}: shape {actual.shape} instead of {expected.shape}"
    assert actual.dtype == expected.dtype, f"{what}: type {actual.dtype} instead of {expected.dtype}"
    wanted = expected.astype(np.float64)
    rms = float(np.sqrt(np.mean(wanted**2))) if wanted.size else 0.0
    error = float(np.max(np.abs(actual.astype(np.float64) - wanted), initial=0.0))
    factor *= _HALF_PRECISION if expected.dtype == np.float16 else 1.0
    limit = factor * TOLERANCE[expected.dtype] * max(rms, _SMALLEST_RMS)
    assert error <= limit, f"{what} differs by {error:.3g} at an RMS of {rms:.3g}"


def assert_valid(rewritten: onnx.ModelProto, original: onnx.ModelProto) -> None:
    """Fail unless a model passes the checker and has the interface of the original."""
    onnx.checker.check_model(rewritten, full_check=True)
    assert interface(rewritten) == interface(original), "the interface changed"
    Network(rewritten)


def assert_usable(case: Case, rewritten: onnx.ModelProto, what: str) -> None:
    """Fail unless a model is valid and makes finite outputs of the original's shapes, the same by every engine."""
    assert_valid(rewritten, case.model)
    runs = [case.run(rewritten, engine) for engine in case.engines]
    for name, wanted, *outputs in zip(_names(case.model), case.outputs, *runs, strict=True):
        for output in outputs:
            assert output.shape == wanted.shape, f"{what}: {name} has shape {output.shape} instead of {wanted.shape}"
            assert output.dtype == wanted.dtype, f"{what}: {name} has type {output.dtype} instead of {wanted.dtype}"
            assert np.all(np.isfinite(output)), f"{what}: {name} is not finite"
            assert_close(output, outputs[0], f"{what}: {name} by another engine")


def with_outputs(model: onnx.ModelProto, names: Collection[str]) -> onnx.ModelProto:
    """A copy of a model whose outputs are inner tensors."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    del result.graph.output[:]
    result.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    return result


def count_relus(case: Case, model: onnx.ModelProto) -> int:
    """The ReLU count of a model per sample, by the shapes that its tensors have when it runs."""
    sites, network = ("Relu", "LeakyRelu", "PRelu"), Network(model)
    smooth = {node.outputs[0] for node in network.nodes if smooth_kind(network, node) is not None}
    nodes = [
        node
        for node in _running(model.graph)
        if node.op_type in sites or node.output[0] in smooth or _rectifies(model, node) or _has_floors(model, node)
    ]
    probe = with_outputs(model, [node.output[0] for node in nodes])
    outputs: Sequence[Array] = case.run(probe, "the reference") if nodes else ()
    return sum(_activated(model, node, output) // case.batch for node, output in zip(nodes, outputs, strict=True))


def _activated(model: onnx.ModelProto, node: onnx.NodeProto, output: Array) -> int:
    """Elements of what a site makes, but for those that pass: by a slope of one, or the lowest floor."""
    if _has_floors(model, node):
        return int(np.count_nonzero(np.broadcast_to(_constant(model, node.input[1]) == 0, output.shape)))
    if node.op_type != "PRelu" or (slope := _constant(model, node.input[1])) is None:
        return output.size
    return int(np.count_nonzero(np.broadcast_to(slope, output.shape) != 1))


def _running(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The nodes on which an output depends."""
    needed = {value.name for value in graph.output}
    found = []
    for node in reversed(graph.node):
        if needed & set(node.output):
            found.append(node)
            needed |= {*node.input, *outer_references(onnx.GraphProto(node=[node]))}
    return found


def _has_floors(model: onnx.ModelProto, node: onnx.NodeProto) -> bool:
    """Whether a node is a Max of a tensor and of floors that are zero here and the lowest number there."""
    floors = _constant(model, node.input[1]) if node.op_type == "Max" and len(node.input) == 2 else None
    if floors is None or floors.dtype.kind != "f":
        return False
    return bool(np.any(floors == 0) and np.all((floors == 0) | (floors <= np.finfo(floors.dtype).min)))


def _rectifies(model: onnx.ModelProto, node: onnx.NodeProto) -> bool:
    """Whether a node is a Clip whose bounds have zero between them, or has bounds that callers may override."""
    if node.op_type != "Clip":
        return False
    bounds = [-np.inf, np.inf]
    for attribute in node.attribute:
        bounds[attribute.name == "max"] = attribute.f
    for position, name in enumerate(node.input[1:]):
        if name:
            value = _bound(model, name)
            if value is None:
                return True
            bounds[position] = value
    return bounds[0] <= 0 <= bounds[1] and bounds[0] < bounds[1] and bool(np.any(np.isfinite(bounds)))


def _bound(model: onnx.ModelProto, name: str) -> float | None:
    """The value of a constant scalar; None for one that callers may override."""
    value = _constant(model, name)
    return None if value is None else float(value)


def _constant(model: onnx.ModelProto, name: str) -> Array | None:
    """The value of a weight; None for one that callers may override."""
    makers = {output: node for node in model.graph.node for output in node.output}
    while name in makers and makers[name].op_type == "Identity":
        name = makers[name].input[0]
    if name in makers:
        return onnx.numpy_helper.to_array(makers[name].attribute[0].t)
    if model.ir_version >= 4 and name in {value.name for value in model.graph.input}:
        return None
    return onnx.numpy_helper.to_array(next(t for t in model.graph.initializer if t.name == name))
