"""Where two networks part: tensors of one name, in the order of the first network, on the same samples.

    relative error = RMS of the difference over RMS of the first's

What a network says that its channels were multiplied by (`onnxshallow.model.scales`) is taken back.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from onnxshallow.model.network import Network
from onnxshallow.model.orders import orders_of
from onnxshallow.model.scales import scales_of
from onnxshallow.model.session import Session
from onnxshallow.runtime.segment import build_segment
from onnxshallow.validation.numbers import Real

__all__ = ["TensorDifference", "differences", "first_beyond"]

# Of the tensors that are compared at once, in both networks together.
_MOST_BYTES = 256 << 20

_Batch = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class TensorDifference:
    """How far one tensor is off.

    Attributes:
        name: of the tensor.
        op: of the node that makes it in the first network.
        node: the name of that node.
        relative_error: over all samples; infinite where a value is not finite in one network alone.
    """

    name: str
    op: str
    node: str
    relative_error: Real


def differences(
    first: Network, second: Network, batches: Sequence[_Batch], threads: int = 0
) -> tuple[TensorDifference, ...]:
    """Compare all tensors of floats that both networks make, under one name and in one shape.

    Only so many are held at once as fit into some memory, so large networks are run several times.

    Args:
        first: the reference.
        second: what is compared with it.
        batches: inputs by name.
        threads: of onnxruntime.
    """
    found = []
    for names in _chunks(first, second, batches):
        squares = np.zeros((2, len(names)))
        runs = [_Run(network, names, threads) for network in (first, second)]
        for batch in batches:
            for place, (one, other) in enumerate(zip(*(run(batch) for run in runs), strict=True)):
                squares[:, place] += _squares(one, other)
        for name, (off, size) in zip(names, squares.T, strict=True):
            node = first.producer(name)
            assert node is not None
            error = math.sqrt(off / size) if size else math.inf if off else 0.0
            found.append(TensorDifference(name, node.op, node.name, error))
    return tuple(found)


def first_beyond(found: Sequence[TensorDifference], tolerance: float) -> TensorDifference | None:
    """The first tensor that is off by more than a tolerance."""
    return next((each for each in found if not each.relative_error <= tolerance), None)


def _chunks(first: Network, second: Network, batches: Sequence[_Batch]) -> Iterator[list[str]]:
    """The names of the tensors to compare, as many together as may be held."""
    count = max(len(next(iter(batch.values()))) for batch in batches)
    chunk: list[str] = []
    held = 0
    for name in _common(first, second):
        size = 2 * count * 4 * math.prod((first.full_shape(name) or (1,))[1:])
        if chunk and held + size > _MOST_BYTES:
            yield chunk
            chunk, held = [], 0
        chunk.append(name)
        held += size
    if chunk:
        yield chunk


def _common(first: Network, second: Network) -> Iterator[str]:
    for node in first.nodes:
        for name in node.outputs if node.index in first.alive else ():
            other = second.producer(name) if name else None
            if (
                other is None
                or other.index not in second.alive
                or first.is_constant(name)
                or second.is_constant(name)
            ):
                continue
            dtype, shape = first.dtype(name), first.shape(name)
            if dtype is not None and dtype.kind == "f" and shape is not None and shape == second.shape(name):
                yield name


class _Run:
    """Runs a network for some of its tensors."""

    def __init__(self, network: Network, names: Sequence[str], threads: int) -> None:
        model, self._reads = build_segment(network, network.ancestors(names), names)
        self._session, self._names = Session(model, threads=threads), names
        self._scales, self._orders = scales_of(network.model), orders_of(network.model)

    def __call__(self, batch: _Batch) -> list[np.ndarray]:
        made = self._session.run({name: batch[name] for name in self._reads}, self._names)
        return [self._natural(name, value) for name, value in zip(self._names, made, strict=True)]

    def _natural(self, name: str, value: np.ndarray) -> np.ndarray:
        """The value with its channels at the scale and in the order that the original has them in."""
        channels = value.shape[1] if value.ndim > 1 else 0
        scale, order = self._scales.get(name), self._orders.get(name)
        if scale is not None and len(scale) == channels:
            value = np.asarray(value / scale.reshape(-1, *(1,) * (value.ndim - 2)))
        if order is not None and len(order) == channels:
            value = value[:, np.argsort(order)]
        return value


def _squares(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Sums of squares of the difference, and of the first; what is not finite in both alike is no difference."""
    if one.shape != other.shape:
        return math.inf, 1.0
    one, other = one.astype(np.float64), other.astype(np.float64)
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    with np.errstate(invalid="ignore"):
        off = np.where(same, 0.0, one - other)
    size = np.where(np.isfinite(one), one, 0.0)
    off = np.where(np.isfinite(off), off, np.inf)
    return float(np.sum(np.square(off))), float(np.sum(np.square(size)))
