"""Operators that sum up axes, and Softmax, which divides by such a sum."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from onnxshallow.training.operators.call import Call, Operator

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["OPERATORS"]


def _reduced(reduce: "Callable[[Tensor, list[int], bool], Tensor]") -> Operator:
    def run(call: Call, x: "Tensor", axes: "Tensor | None" = None) -> "Tensor":
        chosen = call.axes(axes)
        if not chosen:
            if call.get("noop_with_empty_axes", 0):
                return x
            chosen = list(range(x.dim()))
        return reduce(x, chosen, bool(call.get("keepdims", 1)))

    return run


def _softmax(call: Call, x: "Tensor") -> "Tensor":
    return _over_classes(call, x, lambda values, axis: values.softmax(axis))


def _log_softmax(call: Call, x: "Tensor") -> "Tensor":
    return _over_classes(call, x, lambda values, axis: values.log_softmax(axis))


def _over_classes(call: Call, x: "Tensor", run: "Callable[[Tensor, int], Tensor]") -> "Tensor":
    """Up to opset 12 all axes from the named one on are taken as one."""
    axis = int(call.get("axis", -1 if call.opset >= 13 else 1))
    if call.opset >= 13:
        return run(x, axis)
    return run(x.flatten(axis), -1).reshape(x.shape)


OPERATORS: Mapping[str, Operator] = {
    "LogSoftmax": _log_softmax,
    "ReduceL1": _reduced(lambda x, axes, keep: x.abs().sum(axes, keep)),
    "ReduceL2": _reduced(lambda x, axes, keep: (x * x).sum(axes, keep).sqrt()),
    "ReduceMax": _reduced(lambda x, axes, keep: x.amax(axes, keep)),
    "ReduceMean": _reduced(lambda x, axes, keep: x.mean(axes, keep)),
    "ReduceMin": _reduced(lambda x, axes, keep: x.amin(axes, keep)),
    "ReduceSum": _reduced(lambda x, axes, keep: x.sum(axes, keep)),
    "ReduceSumSquare": _reduced(lambda x, axes, keep: (x * x).sum(axes, keep)),
    "Softmax": _softmax,
}
"""By type."""
