"""Operators that compute each element by itself."""

import functools
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import onnx

from onnxshallow.training.operators.call import Call, Operator

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["OPERATORS", "torch_type"]


def _plain(function: "Callable[..., Tensor]") -> Operator:
    """An operator that goes by its inputs alone."""
    return lambda call, *inputs: function(*inputs)


def _alike(function: "Callable[[Tensor, Tensor], Tensor]") -> "Callable[[Tensor, Tensor], Tensor]":
    """A function of two tensors that computes in the short floats of the larger one.

    torch would else make a map float32 that is multiplied by a weight, and so all that follows it
    (docs/decisions/training.md).
    """

    def run(a: "Tensor", b: "Tensor") -> "Tensor":
        if a.dtype != b.dtype and a.is_floating_point() and b.is_floating_point() and a.dim() and b.dim():
            larger = a if a.numel() > b.numel() else b
            a, b = a.to(larger.dtype), b.to(larger.dtype)
        return function(a, b)

    return run


def _added(a: "Tensor", b: "Tensor") -> "Tensor":
    """A sum; of maps and a number for each of their channels in a way that is several times as fast."""
    if _is_by_channel(a, b):
        return _channel_sum().apply(a, b)
    return _channel_sum().apply(b, a) if _is_by_channel(b, a) else a + b


def _is_by_channel(maps: "Tensor", values: "Tensor") -> bool:
    """Whether `values` holds one number for each of several channels of maps (N, C, H, W)."""
    sizes = (1, *values.shape)[-4:]
    return maps.dim() == 4 and maps.is_floating_point() and sizes == (1, maps.shape[1], 1, 1) != (1, 1, 1, 1)


@functools.cache
def _channel_sum() -> Any:
    """Maps plus a number for each channel.

    torch adds the channels of each place by themselves, which are few; so the numbers are written out for the places
    of one sample, all of which are added at once. Gradients go the direct way.
    """
    import torch

    class ChannelSum(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, maps: "Tensor", values: "Tensor") -> "Tensor":
            ctx.shape = values.shape
            spread = values.reshape(1, -1, 1, 1).expand(1, *maps.shape[1:])
            return maps + spread.contiguous(memory_format=torch.channels_last)

        @staticmethod
        def backward(ctx: Any, gradient: "Tensor") -> "tuple[Tensor, Tensor]":
            return gradient, gradient.sum(dim=(0, 2, 3)).reshape(ctx.shape)

    return ChannelSum


def _folded(function: "Callable[[Tensor, Tensor], Tensor]") -> Operator:
    """An operator of any number of inputs, which are combined two by two."""
    return lambda call, *inputs: functools.reduce(function, inputs)


def _clip(call: Call, x: "Tensor", low: "Tensor | None" = None, high: "Tensor | None" = None) -> "Tensor":
    if call.opset < 11:
        return x.clamp(call.get("min", -math.inf), call.get("max", math.inf))
    x = x if low is None else x.maximum(low.to(x.dtype))
    return x if high is None else x.minimum(high.to(x.dtype))


def _prelu(call: Call, x: "Tensor", slope: "Tensor") -> "Tensor":
    return x.clamp(min=0) + slope.to(x.dtype) * x.clamp(max=0)


def _leaky(call: Call, x: "Tensor") -> "Tensor":
    from torch.nn import functional

    return functional.leaky_relu(x, float(call.get("alpha", 0.01)))


def _elu(call: Call, x: "Tensor") -> "Tensor":
    from torch.nn import functional

    return functional.elu(x, float(call.get("alpha", 1.0)))


def _selu(call: Call, x: "Tensor") -> "Tensor":
    alpha, gamma = float(call.get("alpha", 1.6732632423543772)), float(call.get("gamma", 1.0507009873554805))
    return gamma * (x.clamp(min=0) + alpha * (x.clamp(max=0).exp() - 1))


def _gelu(call: Call, x: "Tensor") -> "Tensor":
    from torch.nn import functional

    return functional.gelu(x, approximate=call.get("approximate", "none"))


def _softplus(x: "Tensor") -> "Tensor":
    from torch.nn import functional

    return functional.softplus(x)


def _hard_sigmoid(call: Call, x: "Tensor") -> "Tensor":
    return (float(call.get("alpha", 0.2)) * x + float(call.get("beta", 0.5))).clamp(0, 1)


def _divide(a: "Tensor", b: "Tensor") -> "Tensor":
    return a / b if a.is_floating_point() else a.div(b, rounding_mode="trunc")


def _power(a: "Tensor", b: "Tensor") -> "Tensor":
    return a.pow(b).to(a.dtype)


def _mean(call: Call, *inputs: "Tensor") -> "Tensor":
    return functools.reduce(lambda a, b: a + b, inputs) / len(inputs)


def _cast(call: Call, x: "Tensor") -> "Tensor":
    return x.to(torch_type(call.get("to")))


def torch_type(element: int) -> Any:
    """The type that torch computes in for an element type of ONNX; shorter and longer floats become float32."""
    import torch

    dtype = onnx.helper.tensor_dtype_to_np_dtype(element)
    if dtype.kind == "f" or dtype.name == "bfloat16":
        return torch.float32
    return torch.bool if dtype.kind == "b" else torch.int64


def _dropout(call: Call, x: "Tensor", *rest: "Tensor | None") -> "Tensor":
    return x


OPERATORS: Mapping[str, Operator] = {
    "Abs": _plain(lambda x: x.abs()),
    "Add": _plain(_alike(_added)),
    "And": _plain(lambda a, b: a & b),
    "Cast": _cast,
    "Ceil": _plain(lambda x: x.ceil()),
    "Clip": _clip,
    "Div": _plain(_divide),
    "Dropout": _dropout,
    "Elu": _elu,
    "Equal": _plain(lambda a, b: a == b),
    "Erf": _plain(lambda x: x.erf()),
    "Exp": _plain(lambda x: x.exp()),
    "Floor": _plain(lambda x: x.floor()),
    "Gelu": _gelu,
    "Greater": _plain(lambda a, b: a > b),
    "GreaterOrEqual": _plain(lambda a, b: a >= b),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _plain(lambda x: x * (x / 6 + 0.5).clamp(0, 1)),
    "Identity": _plain(lambda x: x),
    "LeakyRelu": _leaky,
    "Less": _plain(lambda a, b: a < b),
    "LessOrEqual": _plain(lambda a, b: a <= b),
    "Log": _plain(lambda x: x.log()),
    "Max": _folded(lambda a, b: a.maximum(b)),
    "Mean": _mean,
    "Min": _folded(lambda a, b: a.minimum(b)),
    "Mish": _plain(lambda x: x * _softplus(x).tanh()),
    "Mul": _plain(_alike(lambda a, b: a * b)),
    "Neg": _plain(lambda x: -x),
    "Not": _plain(lambda x: ~x),
    "Or": _plain(lambda a, b: a | b),
    "PRelu": _prelu,
    "Pow": _plain(_power),
    "Reciprocal": _plain(lambda x: x.reciprocal()),
    "Relu": _plain(lambda x: x.relu()),
    "Round": _plain(lambda x: x.round()),
    "Selu": _selu,
    "Sigmoid": _plain(lambda x: x.sigmoid()),
    "Sign": _plain(lambda x: x.sign()),
    "Softplus": _plain(_softplus),
    "Softsign": _plain(lambda x: x / (1 + x.abs())),
    "Sqrt": _plain(lambda x: x.sqrt()),
    "Sub": _plain(_alike(lambda a, b: a - b)),
    "Sum": _folded(_alike(lambda a, b: a + b)),
    "Tanh": _plain(lambda x: x.tanh()),
    "Where": _plain(lambda condition, a, b: a.where(condition, b)),
}
"""By type."""
