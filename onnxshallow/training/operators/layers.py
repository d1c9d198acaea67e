"""Convolutions, matrix products and normalizations."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from onnxshallow.training.operators.call import Call, Operator, Refusal

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["OPERATORS", "REFUSALS", "padded", "window"]


def padded(x: "Tensor", pads: Sequence[int], value: float = 0.0) -> "Tensor":
    """Put something around a tensor (N, C, *spatial).

    Args:
        x: the tensor.
        pads: as ONNX has them: the beginnings of all spatial axes, then their ends; negative ones cut off.
        value: what is put there.
    """
    from torch.nn import functional

    rank = len(pads) // 2
    pairs = [size for axis in reversed(range(rank)) for size in (pads[axis], pads[axis + rank])]
    return functional.pad(x, pairs, value=value) if any(pads) else x


def _same_pads(
    sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int], upper: bool
) -> list[int]:
    """The pads that stand for `auto_pad` SAME_UPPER or SAME_LOWER: as many outputs as inputs by stride, rounded."""
    begins, ends = [], []
    for size, taps, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True):
        total = max(0, (-(-size // stride) - 1) * stride + dilation * (taps - 1) + 1 - size)
        begins.append(total // 2 if upper else total - total // 2)
        ends.append(total - begins[-1])
    return [*begins, *ends]


def window(call: Call, x: "Tensor", kernel: Sequence[int]) -> tuple[list[int], list[int], list[int]]:
    """Strides, dilations and pads of a window that moves over x (N, C, *spatial)."""
    rank = x.dim() - 2
    strides = [int(value) for value in call.get("strides", [1] * rank)]
    dilations = [int(value) for value in call.get("dilations", [1] * rank)]
    auto = call.get("auto_pad", "NOTSET")
    if auto.startswith("SAME"):
        return strides, dilations, _same_pads(x.shape[2:], kernel, strides, dilations, auto == "SAME_UPPER")
    pads = [0] * (2 * rank) if auto == "VALID" else [int(value) for value in call.get("pads", [0] * (2 * rank))]
    return strides, dilations, pads


def _conv(call: Call, x: "Tensor", weight: "Tensor", bias: "Tensor | None" = None) -> "Tensor":
    from torch.nn import functional

    strides, dilations, pads = window(call, x, weight.shape[2:])
    rank = x.dim() - 2
    run = (functional.conv1d, functional.conv2d, functional.conv3d)[rank - 1]
    even = pads[:rank] == pads[rank:] and min(pads) >= 0
    x = x if even else padded(x, pads)
    made: Tensor = run(x, weight, bias, strides, pads[:rank] if even else 0, dilations, int(call.get("group", 1)))
    return made


def _conv_transpose(call: Call, x: "Tensor", weight: "Tensor", bias: "Tensor | None" = None) -> "Tensor":
    """The whole of what a transposed convolution spreads, of which pads cut off the ends."""
    from torch.nn import functional

    rank = x.dim() - 2
    strides, dilations, pads = window(call, x, weight.shape[2:])
    extra = [int(value) for value in call.get("output_padding", [0] * rank)]
    run = (functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d)[rank - 1]
    whole: Tensor = run(x, weight, None, strides, 0, 0, int(call.get("group", 1)), dilations)
    sizes = [int(value) for value in call.get("output_shape", ())][-rank:]
    auto = call.get("auto_pad", "NOTSET")
    if auto.startswith("SAME") and not sizes:
        sizes = [size * stride for size, stride in zip(x.shape[2:], strides, strict=True)]
    if sizes:
        totals = [full + more - size for full, more, size in zip(whole.shape[2:], extra, sizes, strict=True)]
        begins = [total // 2 if auto == "SAME_UPPER" else total - total // 2 for total in totals]
        pads = [*begins, *(total - begin for total, begin in zip(totals, begins, strict=True))]
    ends = [more - end for more, end in zip(extra, pads[rank:], strict=True)]
    cut = padded(whole, [*(-begin for begin in pads[:rank]), *ends])
    return cut if bias is None else cut + _along(bias, cut)


def _along(values: "Tensor", x: "Tensor") -> "Tensor":
    """Values of channels (C,) in the shape that is broadcast against x (N, C, *spatial)."""
    return values.reshape(1, -1, *(1,) * (x.dim() - 2))


def _gemm(call: Call, a: "Tensor", b: "Tensor", c: "Tensor | None" = None) -> "Tensor":
    a = a.t() if call.get("transA", 0) else a
    b = b.t() if call.get("transB", 0) else b
    alpha, beta = float(call.get("alpha", 1.0)), float(call.get("beta", 1.0))
    made = a @ b if alpha == 1 else alpha * (a @ b)
    if c is None:
        return made
    return made + (c if beta == 1 else beta * c)


def _matmul(call: Call, a: "Tensor", b: "Tensor") -> "Tensor":
    return a @ b


def _batch_norm(
    call: Call, x: "Tensor", scale: "Tensor", bias: "Tensor", mean: "Tensor", variance: "Tensor"
) -> "Tensor":
    from torch.nn import functional

    return functional.batch_norm(x, mean, variance, scale, bias, False, 0.0, float(call.get("epsilon", 1e-5)))


def _instance_norm(call: Call, x: "Tensor", scale: "Tensor", bias: "Tensor") -> "Tensor":
    from torch.nn import functional

    return functional.instance_norm(x, weight=scale, bias=bias, eps=float(call.get("epsilon", 1e-5)))


def _response_norm(call: Call, x: "Tensor") -> "Tensor":
    from torch.nn import functional

    alpha, beta = float(call.get("alpha", 1e-4)), float(call.get("beta", 0.75))
    return functional.local_response_norm(x, int(call.get("size")), alpha, beta, float(call.get("bias", 1.0)))


def _refused_norm(call: Call) -> str | None:
    trains = call.get("training_mode", 0) or (call.opset < 7 and not call.get("is_test", 0))
    return "in training mode" if trains or len([name for name in call.node.outputs if name]) > 1 else None


OPERATORS: Mapping[str, Operator] = {
    "BatchNormalization": _batch_norm,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "InstanceNormalization": _instance_norm,
    "LRN": _response_norm,
    "MatMul": _matmul,
}
"""By type."""

REFUSALS: Mapping[str, Refusal] = {
    "BatchNormalization": _refused_norm,
    "LRN": lambda call: None if int(call.get("size")) % 2 else "over an even number of channels",
}
"""What is not known of them, by type."""
