"""What outputs mean, and how those that tell classes are read.

    classes      one class a sample, or several: heads beside each other, positions of a sequence
    scores       how sure the network is of many things at once, such as the anchors of a detector
    boxes        places, such as the corners of boxes or their offsets
    embedding    a vector of which only the direction counts
    regression   any other numbers, such as ages, landmarks or images
    mask         a class for each pixel

How they are guessed: `onnxshallow.validation.guess`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxshallow.options.forms import Kind
from onnxshallow.validation.metrics import FloatArray

__all__ = ["OutputKind", "Place", "class_places", "pixel_scores"]


@dataclass(frozen=True)
class OutputKind:
    """What one output means.

    Attributes:
        name: of the output.
        kind: what it is.
        reason: why it is taken for that, in a few words.
        axis: along which its classes lie, for classes and masks.
        widths: the numbers of classes of heads that stand one after another along that axis; empty for one head.
        doubtful: whether nothing spoke for this kind.
    """

    name: str
    kind: Kind
    reason: str
    axis: int = 1
    widths: tuple[int, ...] = ()
    doubtful: bool = False


@dataclass(frozen=True, eq=False)
class Place:
    """One class of each sample, as two models see it: that of a head, or of one position of a sequence.

    Attributes:
        output: the output's name.
        first: (N, K) class scores of the first model.
        second: (N, K) class scores of the second.
    """

    output: str
    first: FloatArray
    second: FloatArray


def class_places(kind: OutputKind, first: NDArray[Any], second: NDArray[Any], samples: int) -> list[Place]:
    """The places at which an output tells a class.

    Args:
        kind: what the output means; `classes`, else it tells none.
        first: the first model's output.
        second: the second's, of the same shape.
        samples: N.

    Returns:
        A place for each head and position; nothing where the output does not hold class scores for each of the N
        samples after all, in which case it is numbers like others.
    """
    if kind.kind != "classes" or not _has_classes(first, kind.axis, samples):
        return []
    pairs = [np.moveaxis(output, kind.axis, -1) for output in (first, second)]
    classes = pairs[0].shape[-1]
    widths = kind.widths if sum(kind.widths) == classes else (classes,)
    if min(widths) < 2:
        return []
    a, b = (output.reshape(samples, -1, classes) for output in pairs)
    ends = np.cumsum(widths)
    return [
        Place(kind.name, a[:, position, end - width : end], b[:, position, end - width : end])
        for position in range(a.shape[1])
        for width, end in zip(widths, ends, strict=True)
    ]


def pixel_scores(
    kind: OutputKind, first: NDArray[Any], second: NDArray[Any], samples: int
) -> tuple[FloatArray, FloatArray] | None:
    """Two models' class scores of each pixel.

    One channel tells whether a pixel belongs to the mask: as a probability where all of both are between 0 and 1,
    else as a logit.

    Args:
        kind: what the output means.
        first: the first model's output, (N, K, H, W), or with its classes along another axis.
        second: the second's, of the same shape.
        samples: N.

    Returns:
        (N, H x W, K) of both, K at least 2; None where the output is no mask of floats after all.
    """
    if kind.kind == "mask" and first.ndim == kind.axis:  # (N, H, W) has no axis of channels
        first, second = first[..., None], second[..., None]
    if kind.kind != "mask" or not _has_classes(first, kind.axis, samples):
        return None
    channels = first.shape[kind.axis]
    a, b = (np.moveaxis(output, kind.axis, -1).reshape(samples, -1, channels) for output in (first, second))
    if a.shape[-1] > 1:
        return a, b
    if all(((values >= 0) & (values <= 1)).all() for values in (a, b)):
        return np.concatenate([1 - a, a], axis=-1), np.concatenate([1 - b, b], axis=-1)
    return np.concatenate([np.zeros_like(a), a], axis=-1), np.concatenate([np.zeros_like(b), b], axis=-1)


def _has_classes(output: NDArray[Any], axis: int, samples: int) -> bool:
    return (
        np.issubdtype(output.dtype, np.floating)
        and output.ndim > axis
        and output.shape[0] == samples > 0
        and output.size > 0
    )
