"""Pooling over windows and over whole maps."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from onnxshallow.training.operators.call import Call, Operator, Refusal
from onnxshallow.training.operators.layers import padded, window

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["OPERATORS", "REFUSALS"]


def _beyond(
    sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> list[int]:
    """How far the last windows reach beyond padded maps of these sizes, where a part of a window counts too."""
    beyond = []
    for size, taps, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True):
        extent = dilation * (taps - 1) + 1
        beyond.append(max(0, math.ceil((size - extent) / stride) * stride + extent - size))
    return beyond


def _max_pool(call: Call, x: "Tensor") -> "Tensor":
    from torch.nn import functional

    kernel = [int(size) for size in call.get("kernel_shape")]
    strides, dilations, pads = window(call, x, kernel)
    rank = len(kernel)
    run = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)[rank - 1]
    x = padded(x, pads, -math.inf)
    if call.get("ceil_mode", 0):
        x = padded(x, [0] * rank + _beyond(x.shape[2:], kernel, strides, dilations), -math.inf)
    made: Tensor = run(x, kernel, strides, 0, dilations)
    return made


def _average_pool(call: Call, x: "Tensor") -> "Tensor":
    """The sum over each window by the number of elements that count in it."""
    import torch
    from torch.nn import functional

    kernel = [int(size) for size in call.get("kernel_shape")]
    strides, dilations, pads = window(call, x, kernel)
    rank = len(kernel)
    run = (functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d)[rank - 1]
    counted = torch.ones((1, 1, *x.shape[2:]), dtype=x.dtype, device=x.device)
    x, counted = padded(x, pads), padded(counted, pads, float(call.get("count_include_pad", 0)))
    if call.get("ceil_mode", 0):
        more = [0] * rank + _beyond(x.shape[2:], kernel, strides, dilations)
        x, counted = padded(x, more), padded(counted, more)
    made: Tensor = run(x, kernel, strides) / run(counted, kernel, strides)
    return made


def _dilated(call: Call) -> str | None:
    return "with dilations" if any(size != 1 for size in call.get("dilations", ())) else None


def _indices(call: Call) -> str | None:
    return "with indices" if len([name for name in call.node.outputs if name]) > 1 else None


OPERATORS: Mapping[str, Operator] = {
    "AveragePool": _average_pool,
    "GlobalAveragePool": lambda call, x: x.mean(dim=tuple(range(2, x.dim())), keepdim=True),
    "GlobalMaxPool": lambda call, x: x.amax(dim=tuple(range(2, x.dim())), keepdim=True),
    "MaxPool": _max_pool,
}
"""By type."""

REFUSALS: Mapping[str, Refusal] = {"AveragePool": _dilated, "MaxPool": _indices}
"""What is not known of them, by type."""
