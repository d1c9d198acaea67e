"""ONNX's reference implementation and onnxruntime without optimizations, and what is wrong with them.

The reference (onnx 1.23) has mistakes that would make it useless here; the operators concerned are written anew:

- its BatchNormalization of opsets 7 to 13 takes the statistics of the batch, as in training;
- its poolings are wrong, or fail, for padding that is asymmetric or automatic, and for one or three axes;
- its GlobalMaxPool returns other shapes for one or three axes;
- its Pad fails where it crops;
- its Upsample lacks opset 7 and 8, its Resize opset 10.

onnxruntime refuses models with two nodes of one name; these are run by the reference alone.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from tests.graphs import run_plain

__all__ = ["ENGINES", "Array", "run_corrected_reference"]

Array = NDArray[np.generic]


class BatchNormalization(OpRun):
    """In inference mode, of any opset."""

    op_domain = ""

    def _run(
        self, x: Array, scale: Array, bias: Array, mean: Array, variance: Array, epsilon: float = 1e-5, **_: object
    ) -> tuple[Array]:
        per_channel = (1, -1, *(1,) * (x.ndim - 2))
        scale, bias, mean, variance = (
            part.astype(np.float64).reshape(per_channel) for part in (scale, bias, mean, variance)
        )
        y = scale * (x - mean) / np.sqrt(variance + epsilon) + bias
        return (y.astype(x.dtype),)


class _Pool(OpRun):
    """Windows over an input padded with NaN, which the reduction leaves out."""

    op_domain = ""
    reduce = staticmethod(np.nanmax)

    def _run(
        self,
        x: Array,
        kernel_shape: Sequence[int] = (),
        strides: Sequence[int] | None = None,
        pads: Sequence[int] | None = None,
        auto_pad: str | None = None,
        count_include_pad: int | None = None,
        **_: object,
    ) -> tuple[Array]:
        rank = len(kernel_shape)
        strides = strides or [1] * rank
        begin, end = (pads[:rank], pads[rank:]) if pads else ([0] * rank, [0] * rank)
        if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            geometry = zip(x.shape[2:], kernel_shape, strides, strict=True)
            totals = [max(0, (-(-size // stride) - 1) * stride + kernel - size) for size, kernel, stride in geometry]
            halves = [total // 2 for total in totals], [total - total // 2 for total in totals]
            begin, end = halves if auto_pad == "SAME_UPPER" else halves[::-1]
        widths = [(0, 0), (0, 0), *zip(begin, end, strict=True)]
        outside = 0.0 if count_include_pad else np.nan
        padded = np.pad(x.astype(np.float64), widths, constant_values=outside)
        windows = np.lib.stride_tricks.sliding_window_view(padded, kernel_shape, axis=tuple(range(2, 2 + rank)))
        seen = windows[(slice(None), slice(None), *(slice(None, None, stride) for stride in strides))]
        return (self.reduce(seen, axis=tuple(range(-rank, 0))).astype(x.dtype),)


class MaxPool(_Pool):
    """Of any opset; without indices and dilations."""


class AveragePool(_Pool):
    """Of any opset; without dilations."""

    reduce = staticmethod(np.nanmean)


class GlobalMaxPool(OpRun):
    """Of any opset."""

    op_domain = ""

    def _run(self, x: Array) -> tuple[Array]:
        return (x.max(axis=tuple(range(2, x.ndim)), keepdims=True),)


class Pad(OpRun):
    """Of any opset, also with negative pads."""

    op_domain = ""

    def _run(
        self,
        x: Array,
        given: Array | None = None,
        fill: Array | None = None,
        axes: Array | None = None,
        mode: str = "constant",
        pads: Sequence[int] | None = None,
        value: float = 0.0,
    ) -> tuple[Array]:
        amounts = np.asarray(given if pads is None else pads).reshape(2, -1)
        widths = np.zeros((x.ndim, 2), dtype=int)
        widths[range(x.ndim) if axes is None else axes] = amounts.T
        fills = {"constant_values": value if fill is None else fill} if mode == "constant" else {}
        padded = np.pad(x, np.maximum(widths, 0), mode=mode, **fills)
        kept = [slice(max(-a, 0), size - max(-z, 0)) for (a, z), size in zip(widths, padded.shape, strict=True)]
        return (padded[tuple(kept)],)


class Upsample(OpRun):
    """Of opset 7 to 9, to the nearest neighbour, by whole factors."""

    op_domain = ""

    def _run(
        self, x: Array, given: Array | None = None, scales: Sequence[float] | None = None, **_: object
    ) -> tuple[Array]:
        return (_repeat(x, given if scales is None else scales),)


class Resize(OpRun):
    """Of opset 10 and later, to the nearest neighbour, by whole factors."""

    op_domain = ""

    def _run(self, x: Array, *given: Array | None, **_: object) -> tuple[Array]:
        return (_repeat(x, given[-1]),)


def _repeat(x: Array, factors: Array | Sequence[float] | None) -> Array:
    for axis, factor in enumerate(factors if factors is not None else ()):
        x = np.repeat(x, int(factor), axis=axis)
    return x


_CORRECTED = [BatchNormalization, MaxPool, AveragePool, GlobalMaxPool, Pad, Upsample, Resize]


def run_corrected_reference(model: onnx.ModelProto, values: Mapping[str, Array]) -> list[Array]:
    """The outputs by ONNX's reference implementation."""
    return list(ReferenceEvaluator(model, new_ops=_CORRECTED).run(None, dict(values)))


ENGINES = {"onnxruntime": run_plain, "the reference": run_corrected_reference}
"""What runs a model, by name."""
