"""Smooth activations of several nodes, each written as one call of a local function whose body is those nodes.

    Mul(x, Sigmoid(x))                        Silu(x)
    0.5 x (1 + Erf(x / sqrt 2))               Gelu(x)
    x Clip(x + 3, 0, 6) / 6                   HardSwish(x)
    1 / (1 + Exp(-x))                         Sigmoid(x)
    Where(x > 0, x, a (Exp(x) - 1))           Elu(x), with alpha = a
    Max(x, 0) + Log(1 + Exp(-Abs(x)))         Softplus(x)
    Log(Sigmoid(x))                           LogSigmoid(x)

They are found by trying the nodes on numbers (`onnxshallow.model.spelling.trials`), from which scales that a formula
leaves open are read off; those are attributes of the call. The body keeps the nodes of the
file, so that a call computes what stood there, bit for bit, and can be written out again (`written_out`).
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from onnxshallow.model.network import Network, Node
from onnxshallow.model.shapes import OWN_DOMAIN, all_names
from onnxshallow.model.spelling.changes import Change, fresh
from onnxshallow.model.spelling.trials import body_of, regions, tried

__all__ = ["FORMULAS", "called", "smooth_activations", "written_out"]

_Values = NDArray[np.float64]


def _sigmoid(x: _Values) -> _Values:
    made: _Values = 0.5 + 0.5 * np.tanh(0.5 * x)
    return made


def _gelu(x: _Values) -> _Values:
    made: _Values = 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))
    return made


FORMULAS: Mapping[str, Callable[..., _Values]] = {
    "Silu": lambda x, alpha=1.0: x * _sigmoid(alpha * x),
    "QuickGelu": lambda x: x * _sigmoid(1.702 * x),
    "Gelu": _gelu,
    "FastGelu": lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "HardSwish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "HardSigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1),
    "Mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "Elu": lambda x, alpha=1.0: np.where(x > 0, x, alpha * np.expm1(x)),
    "Selu": lambda x, alpha=1.6732632, gamma=1.0507010: gamma * np.where(x > 0, x, alpha * np.expm1(x)),
    "Softplus": lambda x: np.log1p(np.exp(x)),
    "LogSigmoid": lambda x: -np.log1p(np.exp(-x)),
    "Softsign": lambda x: x / (1 + np.abs(x)),
    "Sigmoid": _sigmoid,
    "Tanh": np.tanh,
}
"""What the functions compute, by name, of x and scales: SiLU (arXiv 1702.03118), GELU exact, by tanh and by a sigmoid
(1606.08415), the hard forms of MobileNetV3 (1905.02244), Mish (1908.08681), ELU (1511.07289), SELU (1706.02515)."""


def _of_silu(x: _Values, y: _Values) -> dict[str, float]:
    place = int(np.argmin(np.abs(x - 0.5)))  # where the sigmoid is far from its ends
    share = y[place] / x[place]
    return {"alpha": float(np.log(share / (1 - share)) / x[place])}


def _of_elu(x: _Values, y: _Values) -> dict[str, float]:
    return {"alpha": float(y[0] / np.expm1(x[0]))}


def _of_selu(x: _Values, y: _Values) -> dict[str, float]:
    gamma = y[-1] / x[-1]
    return {"alpha": float(y[0] / np.expm1(x[0]) / gamma), "gamma": float(gamma)}


_SCALES: Mapping[str, Callable[[_Values, _Values], dict[str, float]]] = {
    "Silu": _of_silu,
    "Elu": _of_elu,
    "Selu": _of_selu,
}
# The scales that are read off of what is computed for rising x, where the usual ones do not fit; in this order. Of
# others than these the function is a straight line or a ReLU.
_SCALED = (0.02, 50.0)
_NUMBERS = np.linspace(-7.9, 7.7, 105)
# How far computed values may be from a formula, by element type.
_CLOSE = {np.dtype(np.float16): 2e-2, np.dtype(np.float32): 1e-4, np.dtype(np.float64): 1e-5}
_ENDS = ("Add", "Div", "Log", "Mul", "Neg", "Reciprocal", "Sub", "Where")


def smooth_activations(network: Network) -> tuple[list[Change], list[onnx.FunctionProto]]:
    """Nodes that together compute a smooth activation, each group with a call in its place.

    Args:
        network: in which clamps are spelled plainly.

    Returns:
        The changes, no two of which share a node; and the functions that are called.
    """
    functions: dict[bytes, onnx.FunctionProto] = {}
    names: set[str] = set()
    known: dict[bytes, tuple[str, dict[str, float]] | None] = {}
    found, gone = [], set[int]()
    for end in reversed(network.nodes):  # what is part of a longer one ends before it
        if end.index in gone or not end.is_op(*_ENDS) or end.index not in network.alive:
            continue
        for nodes, source in regions(network, end, gone):
            body = body_of(network, nodes, source)
            if body is None:
                continue
            key = body.SerializeToString(deterministic=True)
            if key not in known:
                known[key] = _kind(network, body, source)
            if (kind := known[key]) is None:
                continue
            name, scales = kind
            if key not in functions:
                body.name = fresh(name, names)
                body.attribute.extend(scales)
                functions[key] = body
            call = onnx.helper.make_node(
                functions[key].name, [source], [end.outputs[0]], end.proto.name, domain=OWN_DOMAIN, **scales
            )
            gone |= {node.index for node in nodes}
            found.append(Change.of(network.model.graph, [node.index for node in nodes], [call]))
            break
    return found[::-1], list(functions.values())


def called(node: Node) -> str | None:
    """The name among `FORMULAS` of the function that a node calls; None for other nodes."""
    return node.op.split("_")[0] if node.domain == OWN_DOMAIN else None


def _kind(network: Network, body: onnx.FunctionProto, source: str) -> tuple[str, dict[str, float]] | None:
    """The formula that a function computes, the nearest of several, and its scales where they are not the usual ones.

    None where it is none of them.
    """
    info = network.inferred.get(source)
    if info is None or info.dtype not in _CLOSE:
        return None
    numbers = _NUMBERS.astype(info.dtype)
    made = tried(network, body, numbers)
    if made is None:
        return None
    x, y = numbers.astype(np.float64), made.astype(np.float64)
    errors = {name: float(np.max(np.abs(y - formula(x)))) for name, formula in FORMULAS.items()}
    nearest = min(errors, key=lambda name: errors[name] if math.isfinite(errors[name]) else math.inf)
    if errors[nearest] <= _CLOSE[info.dtype]:
        return nearest, {}
    for name, read in _SCALES.items():
        with np.errstate(all="ignore"):
            scales = read(x, y)
        if all(_SCALED[0] <= scale <= _SCALED[1] for scale in scales.values()) and np.all(
            np.abs(y - FORMULAS[name](x, **scales)) <= _CLOSE[info.dtype] * max(1.0, *scales.values())
        ):
            return name, scales
    return None


def written_out(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model with the calls that are left in it written out as the nodes that they stand for; itself without any."""
    functions = {function.name: function for function in model.functions if function.domain == OWN_DOMAIN}
    if not functions:
        return model
    result = onnx.ModelProto()
    result.CopyFrom(model)
    _keep(result.functions, [each for each in model.functions if each.domain != OWN_DOMAIN])
    _keep(result.opset_import, [entry for entry in model.opset_import if entry.domain != OWN_DOMAIN])
    taken, nodes = all_names(model.graph), list[onnx.NodeProto]()
    for node in model.graph.node:
        nodes += _inside(functions[node.op_type], node, taken) if node.domain == OWN_DOMAIN else [node]
    _keep(result.graph.node, nodes)
    return result


def _keep(field: Any, items: Sequence[Any]) -> None:
    """Let a repeated field of a message hold copies of `items`."""
    del field[:]
    field.extend(items)


def _inside(function: onnx.FunctionProto, call: onnx.NodeProto, taken: set[str]) -> Iterator[onnx.NodeProto]:
    """The nodes of a function in the place of its call."""
    names = {"x": call.input[0], "y": call.output[0], "": ""}
    for place, inner in enumerate(function.node):
        made = inner.output[0]
        names[made] = names.get(made) or fresh(f"{call.output[0]}/{inner.op_type}", taken)
        step = onnx.NodeProto.FromString(inner.SerializeToString())
        step.input[:], step.output[:] = [names[name] for name in inner.input], [names[made]]
        step.name = f"{call.name or call.output[0]}/{inner.op_type}_{place}"
        yield step
