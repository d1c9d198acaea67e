"""A convolution as two or three in a row with few channels between them.

    taps of the first    first    second   third    after
    all                  k x k    1 x 1             Zhang et al. (arXiv 1505.06798); in groups ALDS (arXiv 2107.11442)
    rows                 k x 1    1 x k             Jaderberg et al. (arXiv 1405.3866)
    none                 1 x 1    k x k
    apart                1 x 1    k x k    1 x 1    Lebedev et al. (arXiv 1412.6553), with kernels left whole; the
                                                    second has a kernel for each channel alone

Where the first has groups, each block of input channels has channels of its own between the two. Written as a matrix
whose rows are what the second does (outputs, and its taps) and whose columns are what the first does (the input
channels of one group, and its taps), each group's weights become a product of rank r.

With three, the weights are a sum of r products of one output direction, one kernel and one input direction. The
closest such sum is no singular value decomposition. Where every input direction is a single channel it is one, of
what reads each channel (outputs, taps), and the r largest terms of all channels are taken (Guo et al., arXiv
1808.05517). That is where a fit begins.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from onnxshallow.convolution.affine import scale_output
from onnxshallow.convolution.kernel import Convolution

__all__ = ["Form", "Taps", "balanced", "form_of", "low_rank", "own_taps", "spectra", "split"]

_Real = TypeVar("_Real", bound=np.floating)

Taps = Literal["all", "rows", "none", "apart"]
"""Which taps the first of two convolutions has: all, those along the first axis, or one alone; the second has the
others. Or they are apart from what mixes channels: three convolutions, of which the one in the middle has them."""


@dataclass(frozen=True)
class Form:
    """How a convolution is split.

    Attributes:
        rank: channels between the two, of each group.
        groups: of the first.
        taps: of the first.
    """

    rank: int
    groups: int = 1
    taps: Taps = "all"

    @property
    def between(self) -> int:
        """Channels between the parts."""
        return self.rank * self.groups

    @property
    def parts(self) -> int:
        """How many convolutions it makes."""
        return 3 if self.taps == "apart" else 2


def split(convolution: Convolution, form: Form) -> tuple[Convolution, ...]:
    """The convolutions whose composite is the closest of that form, in the Frobenius norm of the weights.

    The closest matrix of a given rank is the truncated singular value decomposition (Eckart and Young, 1936), and
    groups share no weight. Of three convolutions it is the closest whose first picks single channels.

    Args:
        convolution: of one group.
        form: of the parts.

    Returns:
        The first, which has no bias, as what the second pads with is zero; and the second, and the third if any.

    Raises:
        ValueError: there are groups already, the form's groups do not divide the channels, or its rank is not between
            1 and the full rank.
    """
    blocks = _blocks(convolution, form.groups, form.taps)
    full = min(blocks.shape[1:]) * (len(blocks) if form.taps == "apart" else 1)
    if not 1 <= form.rank <= full:
        raise ValueError(f"A rank of {form.rank} is not between 1 and {full}.")
    if form.taps == "apart":
        return _apart(convolution, *_largest_terms(blocks, form.rank))
    second, first = low_rank(blocks, form.rank)
    return _parts(convolution, form, first, second)


def balanced(parts: Sequence[Convolution]) -> tuple[Convolution, ...]:
    """The parts of a split with the channels between at scales at which the weights of all parts are of one size.

    Weights that half precision does not hold can be held then, where their products can. Scales are powers of two, by
    which single precision loses nothing. Where a part leaves a channel out, the others' weights for it come to one.

    Args:
        parts: two, or three of which the second has a kernel for each channel.
    """
    first, *inner, last = parts
    columns = last.weight.swapaxes(0, 1)
    by_channel = (first.weight, *(part.weight for part in inner), columns)
    sizes = np.stack([np.abs(weight.reshape(first.out_channels, -1)).max(axis=1) for weight in by_channel])
    there = sizes > 0
    logarithms = np.log2(np.where(there, sizes, 1.0))
    free = -logarithms.sum(axis=0) / np.maximum(1, np.sum(~there, axis=0))  # so that the mean is that of ones
    logarithms = np.where(there, logarithms, free)
    wanted = logarithms.mean(axis=0)
    scales = np.exp2(np.rint(np.cumsum(wanted - logarithms, axis=0)[:-1]))
    ratios = [scales[0], *(after / before for before, after in pairwise(scales))]
    made = [scale_output(part, ratio) for part, ratio in zip((first, *inner), ratios, strict=True)]
    return (*made, replace(last, weight=last.weight / scales[-1].reshape(1, -1, *(1,) * last.rank)))


def _apart(
    convolution: Convolution, narrow: NDArray[np.float64], kernels: NDArray[np.float64], wide: NDArray[np.float64]
) -> tuple[Convolution, Convolution, Convolution]:
    """Three convolutions in place of one, of these weights.

    Args:
        convolution: of one group; its geometry is the second's, its bias the third's.
        narrow: (rank, in_channels), the first's.
        kernels: (rank, taps), the second's.
        wide: (out_channels, rank), the third's.
    """
    axes = set(range(convolution.rank))
    still = _moving(convolution, set())
    pointwise, rank = (1,) * convolution.rank, len(narrow)
    none = np.zeros(rank)
    return (
        replace(still, weight=narrow.reshape(rank, -1, *pointwise), bias=none),
        replace(
            _moving(convolution, axes),
            weight=kernels.reshape(rank, 1, *convolution.kernel_shape),
            bias=none,
            groups=rank,
        ),
        replace(still, weight=wide.reshape(-1, rank, *pointwise)),
    )


def _largest_terms(
    blocks: NDArray[np.float64], rank: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """The terms of largest singular values of all blocks (channels, outputs, taps): channels, kernels and outputs."""
    outputs, kernels = low_rank(blocks, min(blocks.shape[1:]))
    sizes = np.linalg.norm(outputs, axis=1) * np.linalg.norm(kernels, axis=2)
    channels, terms = np.unravel_index(np.argsort(-sizes, axis=None, kind="stable")[:rank], sizes.shape)
    picked = np.zeros((rank, len(blocks)))
    picked[np.arange(rank), channels] = 1.0
    return picked, kernels[channels, terms], outputs[channels, :, terms].T


def low_rank(matrices: NDArray[_Real], rank: int) -> tuple[NDArray[_Real], NDArray[_Real]]:
    """The truncated singular value decomposition, by the eigenvectors of a matrix times itself.

    That takes a fraction of the time of a decomposition in full, where one side is much the longer or few of the
    values are wanted; values below 1e-8 of the largest (1e-4 in single precision) are lost in rounding.

    Args:
        matrices: (count, rows, columns).
        rank: how many singular values to keep.

    Returns:
        (count, rows, rank) and (count, rank, columns), the root of each singular value in both.
    """
    if matrices.shape[1] > matrices.shape[2]:
        left, right = low_rank(matrices.swapaxes(1, 2), rank)
        return right.swapaxes(1, 2), left.swapaxes(1, 2)
    squares, directions = np.linalg.eigh(matrices @ matrices.swapaxes(1, 2))
    directions = directions[:, :, : -rank - 1 : -1]
    values = np.sqrt(np.maximum(squares[:, : -rank - 1 : -1], 0.0))
    roots = np.sqrt(np.maximum(values, np.finfo(matrices.dtype).tiny ** 0.5))[:, np.newaxis]
    return directions * roots, (directions / roots).swapaxes(1, 2) @ matrices


def spectra(convolution: Convolution, groups: int, taps: Taps) -> NDArray[np.float64]:
    """Squared singular values of each group, (groups, full rank), the largest first; of three parts, of all channels.

    What a rank leaves out is the squared error of `split`; all together are the squared norm of the weights.

    Raises:
        ValueError: as for `split`.
    """
    blocks = _blocks(convolution, groups, taps)
    if blocks.shape[1] > blocks.shape[2]:
        blocks = blocks.swapaxes(1, 2)
    values = np.linalg.eigvalsh(blocks @ blocks.swapaxes(1, 2))[:, ::-1]
    squares: NDArray[np.float64] = np.maximum(values, 0.0)
    return np.sort(squares, axis=None)[np.newaxis, ::-1] if taps == "apart" else squares


def own_taps(convolution: Convolution, taps: Taps) -> tuple[int, int]:
    """How many of a kernel's taps the first of two convolutions has, and how many the second."""
    own = int(np.prod([convolution.kernel_shape[axis] for axis in _own_axes(convolution.rank, taps)], dtype=np.int64))
    return own, int(np.prod(convolution.kernel_shape, dtype=np.int64)) // own


def form_of(*parts: Convolution) -> Form | None:
    """The form of two or three convolutions in a row, of any weights; None where no split makes such.

    Args:
        parts: each reads the one before it.
    """
    first, *others = parts
    if any(part.rank != first.rank for part in others):
        return None
    axes = range(first.rank)
    if len(parts) == 3:
        kernels, last = others
        still = all(part.groups == 1 and all(_is_still(part, axis) for axis in axes) for part in (first, last))
        alone = kernels.groups == kernels.in_channels == kernels.out_channels
        return Form(first.out_channels, 1, "apart") if still and alone else None
    (second,) = others
    if second.groups != 1:
        return None
    for taps in ("all", "rows", "none"):
        own = set(_own_axes(first.rank, taps))
        if all(_is_still(second, a) if a in own else _is_still(first, a) for a in axes):
            return Form(first.out_channels // first.groups, first.groups, taps)
    return None


def _own_axes(rank: int, taps: Taps) -> Sequence[int]:
    """The axes along which the first of two has taps."""
    return range(rank) if taps == "all" else range(min(rank, 1)) if taps == "rows" else ()


def _is_still(convolution: Convolution, axis: int) -> bool:
    """Whether a convolution has one tap along an axis, and moves along it pixel by pixel."""
    pads = convolution.pads_begin[axis], convolution.pads_end[axis]
    return convolution.kernel_shape[axis] == 1 and convolution.strides[axis] == 1 and not any(pads)


def _blocks(convolution: Convolution, groups: int, taps: Taps) -> NDArray[np.float64]:
    """The weights as matrices (groups, outputs and taps of the second, channels and taps of the first).

    Of three parts (channels, outputs, taps).
    """
    if convolution.groups != 1:
        raise ValueError(f"A convolution of {convolution.groups} groups is not split.")
    if groups < 1 or convolution.in_channels % groups:
        raise ValueError(f"{convolution.in_channels} input channels cannot be split into {groups} groups.")
    if taps == "apart":
        return convolution.weight.reshape(convolution.out_channels, convolution.in_channels, -1).swapaxes(0, 1)
    weight = convolution.weight.reshape(convolution.out_channels, groups, -1, *convolution.kernel_shape)
    own = [3 + axis for axis in _own_axes(convolution.rank, taps)]
    other = [3 + axis for axis in range(convolution.rank) if 3 + axis not in own]
    ordered = weight.transpose(1, 0, *other, 2, *own)
    columns = int(np.prod([ordered.shape[2 + len(other)], *(weight.shape[axis] for axis in own)]))
    return ordered.reshape(groups, -1, columns)


def _parts(
    convolution: Convolution, form: Form, first: NDArray[np.float64], second: NDArray[np.float64]
) -> tuple[Convolution, Convolution]:
    """The two of these weights: (groups, rank, columns) and (groups, rows, rank) of the matrices."""
    own = set(_own_axes(convolution.rank, form.taps))
    kernel = convolution.kernel_shape
    inner = tuple(size if axis in own else 1 for axis, size in enumerate(kernel))
    outer = tuple(1 if axis in own else size for axis, size in enumerate(kernel))
    narrow = first.reshape(form.between, convolution.in_channels // form.groups, *inner)
    wide = second.transpose(1, 0, 2).reshape(convolution.out_channels, -1, form.between)
    wide = wide.swapaxes(1, 2).reshape(convolution.out_channels, form.between, *outer)
    bias = np.zeros(form.between)
    return (
        replace(_moving(convolution, own), weight=narrow, bias=bias, groups=form.groups),
        replace(_moving(convolution, set(range(convolution.rank)) - own), weight=wide),
    )


def _moving(convolution: Convolution, axes: set[int]) -> Convolution:
    """`convolution` with the geometry of its own along some axes, and none along the others."""

    def along(values: tuple[int, ...], still: int) -> tuple[int, ...]:
        return tuple(value if axis in axes else still for axis, value in enumerate(values))

    return replace(
        convolution,
        strides=along(convolution.strides, 1),
        dilations=along(convolution.dilations, 1),
        pads_begin=along(convolution.pads_begin, 0),
        pads_end=along(convolution.pads_end, 0),
    )
