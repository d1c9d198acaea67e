"""Clamps and leaky rectifiers that several elementwise nodes compute, written as Relu, Clip and LeakyRelu.

    (x + |x|) / 2        x - Min(x, 0)        Where(x < 0, 0, x) behind Casts        Relu(x)
    -Relu(-x)                                                                        Clip(x, , 0)
    Max(x, x - x)                                                                    Relu(x)
    0.55 x + 0.45 |x|                                                                LeakyRelu(x), alpha 0.1

They are found by trying the nodes on numbers (`onnxshallow.model.spelling.trials`).
"""

import math

import numpy as np
from numpy.typing import NDArray

from onnxshallow.model.network import Network
from onnxshallow.model.shapes import all_names
from onnxshallow.model.spelling.changes import Change
from onnxshallow.model.spelling.clamps import Clamp, Leaky, Read, written
from onnxshallow.model.spelling.trials import body_of, regions, tried

__all__ = ["rectifiers"]

_ENDS = ("Add", "Div", "Max", "Min", "Mul", "Neg", "Sub", "Where")
_HALF = np.array([1e-3, 0.125, 0.5, 0.75, 1.0, 2.5, 3.0, 5.875, 6.5, 19.0, 100.0, 1000.0])
_NUMBERS = np.concatenate([-_HALF[::-1], [0.0], _HALF])
# How far values may be from those of the plain node, relative to them: some roundings, by element type.
_CLOSE = {np.dtype(np.float16): 1e-2, np.dtype(np.float32): 1e-6, np.dtype(np.float64): 1e-12}


def rectifiers(network: Network) -> list[Change]:
    """Groups of nodes that compute a clamp or a leaky rectifier of one tensor, each as the plain node."""
    taken = all_names(network.model.graph)
    known: dict[bytes, Clamp | Leaky | None] = {}
    found, gone = list[Change](), set[int]()
    for end in network.nodes:  # what is part of a longer one is plain in the next round
        if not end.is_op(*_ENDS) or end.index in gone or end.index not in network.alive:
            continue
        for nodes, source in regions(network, end, gone):
            info = network.inferred.get(source)
            body = body_of(network, nodes, source) if info is not None and info.dtype in _CLOSE else None
            if body is None or info is None or info.dtype is None:
                break  # what is larger has the same constants
            key = body.SerializeToString(deterministic=True)
            if key not in known:
                numbers = _NUMBERS.astype(info.dtype)
                known[key] = _function(numbers, tried(network, body, numbers))
            function = known[key]
            plain = None if function is None else written(network, end, Read(source, function, info.dtype), taken)
            if plain is not None:
                places = [node.index for node in nodes]
                gone.update(places)
                found.append(Change.of(network.model.graph, places, *plain))
                break
    return found


def _function(numbers: NDArray[np.floating], made: NDArray[np.floating] | None) -> Clamp | Leaky | None:
    """The clamp, or the leaky rectifier of one slope, that makes `made` of `numbers`."""
    if made is None or not np.all(np.isfinite(made)):
        return None
    low, high = float(made[0]), float(made[-1])
    wide = float(numbers[-1])
    clamp = Clamp(-math.inf if low == -wide else low, math.inf if high == wide else high)
    around_zero = clamp.low <= 0 <= clamp.high  # else it is a Relu behind which something tiny is added
    if (
        clamp.bounds
        and around_zero
        and clamp.low < clamp.high
        and _same(made, np.clip(numbers, clamp.low, clamp.high))
    ):
        return clamp
    slope = np.array(low / -wide, made.dtype)
    return Leaky(slope) if slope != 1 and _same(made, np.where(numbers > 0, numbers, slope * numbers)) else None


def _same(made: NDArray[np.floating], expected: NDArray[np.floating]) -> bool:
    return bool(np.all(np.abs(made - expected) <= _CLOSE[made.dtype] * np.abs(expected)))
