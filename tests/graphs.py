"""Tiny models from ONNX text, and the one tolerance by which two models count as equal."""

import zlib
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnx.parser
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from onnxshallow.actions.emission import write_layers
from onnxshallow.analysis import Layers
from onnxshallow.model.network import Network
from onnxshallow.model.session import Session

# The tolerance policy. An exact rewrite changes the order of additions, so it moves float32 outputs by about 1e-6
# of their size. Two models are the same if no element of any output differs by more than this share of that
# output's RMS. It is relative to the RMS and not to each element, since elements near zero are differences of
# large numbers, and it is ten times smaller than any error that we ever made by a wrong sign, tap or border.
TOLERANCE = {np.dtype(np.float32): 1e-4, np.dtype(np.float64): 1e-8, np.dtype(np.float16): 2e-2}


def parse(
    graph: str,
    *,
    opset: int = 17,
    ir: int = 8,
    domains: Sequence[str] = (),
    functions: str = "",
    as_inputs: bool = False,
    **weights: np.ndarray | Sequence[int],
) -> onnx.ModelProto:
    """A model from the text of its graph.

    Args:
        graph: `(float[N,3,8,8] x) => (float[N,4,8,8] y) { y = Conv(x, w) }`, optionally after a name.
        opset: version of ONNX's own operators.
        ir: IR version.
        domains: further operator domains, version 1 each.
        functions: text of local functions.
        as_inputs: list the weights as graph inputs too, which IR 3 asks for and IR 4 reads as "may be overridden".
        **weights: initializers by name: an array, or a shape to be filled with signed random float32.
    """
    imports = ", ".join(f'"{domain}": {version}' for domain, version in [("", opset), *((d, 1) for d in domains)])
    name = "" if graph.split("(", 1)[0].strip() else "net "
    model = onnx.parser.parse_model(f"<ir_version: {ir}, opset_import: [{imports}]>\n{name}{graph}\n{functions}")
    for key, value in weights.items():
        array = value if isinstance(value, np.ndarray) else signed(key, value)
        model.graph.initializer.append(numpy_helper.from_array(array, key))
        if as_inputs:
            info = onnx.helper.make_tensor_value_info(key, model.graph.initializer[-1].data_type, array.shape)
            model.graph.input.append(info)
    return model


def signed(name: str, shape: Sequence[int]) -> np.ndarray:
    """Normal float32 numbers that depend on `name` and `shape` alone."""
    return np.random.default_rng(zlib.crc32(name.encode())).normal(size=tuple(shape)).astype(np.float32)


def positive(name: str, shape: Sequence[int]) -> np.ndarray:
    """Like `signed`, between 0.5 and 1.5: variances."""
    return np.random.default_rng(zlib.crc32(name.encode())).uniform(0.5, 1.5, size=tuple(shape)).astype(np.float32)


def feeds(model: onnx.ModelProto, *, batch: int = 2, sizes: Mapping[str, int] | None = None) -> dict[str, np.ndarray]:
    """Signed random values for the inputs that have no default.

    Args:
        model: the model.
        batch: size of an open first axis.
        sizes: sizes of other open axes by their symbols; 8 where left out.
    """
    found = {}
    for info in Network(model).inputs:
        assert info.shape is not None
        assert info.dtype is not None
        open_sizes = [batch if axis == 0 else (sizes or {}).get(str(size), 8) for axis, size in enumerate(info.shape)]
        shape = [size if isinstance(size, int) else other for size, other in zip(info.shape, open_sizes, strict=True)]
        found[info.name] = signed(info.name, shape).astype(info.dtype)
    return found


def assert_close(actual: np.ndarray, expected: np.ndarray, what: str = "output") -> None:
    """Fail unless `actual` equals `expected` by the tolerance policy."""
    assert actual.shape == expected.shape, f"{what}: shape {actual.shape} instead of {expected.shape}"
    assert actual.dtype == expected.dtype, f"{what}: type {actual.dtype} instead of {expected.dtype}"
    actual, expected, dtype = actual.astype(np.float64), expected.astype(np.float64), expected.dtype
    rms = float(np.sqrt(np.mean(expected**2)))
    error = float(np.max(np.abs(actual - expected), initial=0.0))
    assert error <= TOLERANCE[dtype] * rms, f"{what} differs by {error:.3g} at an RMS of {rms:.3g}"


def run_reference(model: onnx.ModelProto, values: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """The outputs by ONNX's reference implementation."""
    return list(ReferenceEvaluator(model).run(None, dict(values)))


def run_plain(model: onnx.ModelProto, values: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """The outputs by onnxruntime with ORT_DISABLE_ALL."""
    return Session(model, optimize=False).run(values)


ENGINES = {"onnxruntime": run_plain, "the reference": run_reference}


def assert_same_function(
    rewritten: onnx.ModelProto,
    original: onnx.ModelProto,
    *,
    batch: int = 2,
    sizes: Mapping[str, int] | None = None,
    original_by: Sequence[str] = tuple(ENGINES),
    rewritten_by: Sequence[str] = tuple(ENGINES),
) -> None:
    """Fail unless both models have one interface and compute the same on signed random input.

    Args:
        rewritten: the new model; must pass onnx's checker.
        original: the old one.
        batch: size of an open batch axis.
        sizes: sizes of other open axes.
        original_by: engines that run the original, so that they check each other; leave one out that lacks an
            operator or has it wrong.
        rewritten_by: engines that run the rewritten model.
    """
    assert interface(rewritten) == interface(original)
    onnx.checker.check_model(rewritten, full_check=True)
    values = feeds(original, batch=batch, sizes=sizes)
    runs = {f"original by {engine}": ENGINES[engine](original, values) for engine in original_by}
    truth = next(iter(runs.values()))
    runs |= {f"rewritten by {engine}": ENGINES[engine](rewritten, values) for engine in rewritten_by}
    for run, outputs in runs.items():
        for info, actual, expected in zip(original.graph.output, outputs, truth, strict=True):
            assert_close(actual, expected, f"{info.name} of {run}")


def interface(model: onnx.ModelProto) -> tuple[object, ...]:
    """What callers of a model rely on: inputs, outputs, operator sets and IR version."""
    weights = {tensor.name for tensor in model.graph.initializer} if model.ir_version < 4 else set()
    inputs = [value.SerializeToString() for value in model.graph.input if value.name not in weights]
    outputs = [value.SerializeToString() for value in model.graph.output]
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    return inputs, outputs, opsets, model.ir_version


def plain(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` with every layer written anew as the one plain node that it stands for."""
    network = Network(model)
    layers = Layers(network)
    return write_layers(network, layers, {layer: layers.convolution(layer) for layer in layers})


def ops(model: onnx.ModelProto) -> list[str]:
    """Operator types in graph order."""
    return [node.op_type for node in model.graph.node]


def frozen(message: onnx.ModelProto | onnx.NodeProto | onnx.TensorProto) -> bytes:
    """The bytes that decide whether two messages are the same."""
    return bytes(message.SerializeToString(deterministic=True))
