"""How far one output of the second model is from the first's, summed up batch by batch.

An infinity that both models give in the same place (the logit -inf of a class that is masked out) is no difference.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxshallow.errors import ModelError
from onnxshallow.options.forms import Kind
from onnxshallow.validation.metrics import unit_for_squares
from onnxshallow.validation.numbers import Number
from onnxshallow.validation.statistics import largest_ratio

__all__ = ["Loss", "OutputDifference", "OutputTally", "share_lost"]

# Rows are turned to float64 so many elements at a time, so that large outputs need no copies of their own size.
_CHUNK = 1 << 22


@dataclass(frozen=True)
class Loss:
    """What the second model lost.

    Attributes:
        value: as a fraction.
        what: of what, in words.
        worst: how large it may be on other samples of the kind; None where nothing says so.
    """

    value: float
    what: str
    worst: float | None = field(default=None, compare=False)


def share_lost(kept: float) -> float:
    """What is missing from a share, without the rounding that makes 1 - 0.85 more than a limit of 0.15."""
    return round(1.0 - kept, 12)


@dataclass(frozen=True)
class OutputDifference:
    """How far one output is from the first model's.

    Attributes:
        name: of the output.
        shape: of one sample; None for an axis that varies.
        relative_error: RMS of the difference over RMS of the first's; infinite where an output is not finite. None,
            like the next three, for integers, booleans and text.
        cosine: mean over samples of the cosine between both outputs, 1 where both are zero; NaN if not finite.
        psnr_db: 20 lg(range of the first's output / RMS of the difference); None where nothing differs, where the
            first's output is constant, or where the difference is not finite.
        max_error: the largest absolute difference.
        worst_sample: which sample differs most, counted from 0 as in `Changed`; None where none does or samples
            cannot be told apart.
        worst_error: its relative error, or its share of unequal elements.
        equal: share of equal elements; None for floating-point outputs.
        not_finite: samples at which the second model gives NaN, or infinities that the first does not give.
        kind: what the output means, see `onnxshallow.validation.kinds`; None where that was not asked.
        reason: why it is taken for that.
        agreement: share of samples with the same class or, where an output tells several, with all the same; of a
            mask the share of pixels. None for outputs that tell no classes.
        kl: mean KL(first || second) of class scores in nats, over all classes that it tells; None likewise.
        relative_error_bound: how large it may be on other samples of the kind: the end of its 95 % interval, infinite
            for one sample; None where samples cannot be told apart.
        cosine_bound: likewise, how small.
        agreement_bound: of a mask, likewise, how small.
    """

    name: str
    shape: tuple[int | None, ...]
    relative_error: Number = None
    cosine: Number = None
    psnr_db: Number = None
    max_error: Number = None
    worst_sample: int | None = None
    worst_error: Number = None
    equal: float | None = None
    not_finite: int = 0
    kind: Kind | None = None
    reason: str = ""
    agreement: float | None = None
    kl: Number = None
    relative_error_bound: Number = None
    cosine_bound: Number = None
    agreement_bound: Number = None

    @property
    def error(self) -> Loss:
        """How far it is off as numbers: the relative error of floats, the share of unequal elements of others."""
        if self.equal is not None:
            return Loss(share_lost(self.equal), f"share of unequal elements of {self.name!r}")
        return Loss(self.relative_error or 0.0, f"relative error of {self.name!r}", self.relative_error_bound)

    @property
    def loss(self) -> Loss:
        """What is lost, by what it means: of classes and masks agreement, of an embedding cosine, else precision."""
        if self.kind == "mask" and self.agreement is not None:
            what = f"agreement with the original at the pixels of {self.name!r}"
            return Loss(share_lost(self.agreement), what, _lost(self.agreement_bound))
        if self.kind == "classes" and self.agreement is not None:
            return Loss(share_lost(self.agreement), f"agreement with the original at {self.name!r}")
        if self.kind == "embedding" and self.cosine is not None:
            cosine = -math.inf if math.isnan(self.cosine) else self.cosine
            return Loss(share_lost(cosine), f"cosine of {self.name!r}", _lost(self.cosine_bound))
        return replace(self.error, what="output precision")


def _lost(bound: float | None) -> float | None:
    return None if bound is None else 1.0 - bound


class OutputTally:
    """Sums over the batches of one output.

    Args:
        name: of the output.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._shape: tuple[int | None, ...] | None = None
        self._samples = self._rows = self._elements = self._equal = self._not_finite = 0
        self._by_sample, self._floating = True, False
        self._difference = self._reference = self._cosines = self._max = 0.0
        self._low, self._high = math.inf, -math.inf
        self._unit: float | None = None  # of the sums, set by the first batch that is not zero
        self._worst, self._worst_error = -1, 0.0
        self._sum: NDArray[np.float64] = np.zeros(0)  # of the first's samples
        self._each: list[NDArray[np.float64]] = []  # of each sample: squared error, square, lost cosine

    def add(self, first: NDArray[Any], second: NDArray[Any], samples: int) -> None:
        """Add one batch.

        Args:
            first: the first model's output, (N, ...), any element type; one that is not batch-first counts as one
                sample.
            second: the second model's, of the same shape; whole numbers of another, such as the places that a
                network finds, all count as unequal.
            samples: N.

        Raises:
            ModelError: the shapes of floating-point outputs differ.
        """
        if first.shape != second.shape and not np.issubdtype(first.dtype, np.floating):
            self._worst, self._worst_error, self._by_sample = self._samples, 1.0, False
            self._note_shape(first.shape)
            self._samples += samples
            self._rows += 1
            self._elements += max(first.size, second.size)
            return
        if first.shape != second.shape:
            raise ModelError(
                f"The models cannot be compared: output {self._name!r} is {first.shape} in the first "
                f"and {second.shape} in the second."
            )
        batched = first.ndim > 0 and len(first) == samples
        self._by_sample = self._by_sample and batched
        self._note_shape(first.shape[1:] if batched else first.shape)
        self._floating = bool(np.issubdtype(first.dtype, np.floating))
        rows = samples if batched else 1
        for start, a, b in _chunks(first, second, rows):
            errors = self._add_floats(a, b) if self._floating else self._add_others(a, b)
            errors[np.isnan(errors)] = math.inf
            worst = int(errors.argmax())
            if errors[worst] > self._worst_error:
                self._worst, self._worst_error = self._samples + start + worst, float(errors[worst])
        self._samples += samples
        self._rows += rows
        self._elements += first.size

    def _note_shape(self, shape: tuple[int, ...]) -> None:
        known = self._shape or shape
        if self._shape is None or len(known) != len(shape):
            self._shape = shape
        else:
            self._shape = tuple(a if a == b else None for a, b in zip(known, shape, strict=True))

    def _add_others(self, first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.float64]:
        same = (first == second).sum(axis=1)
        self._equal += int(same.sum())
        shares: NDArray[np.float64] = 1.0 - same / first.shape[1]
        return shares

    def _add_floats(self, first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.float64]:
        """Add rows, and say the relative error of each."""
        a, b = first.astype(np.float64), second.astype(np.float64)
        finite = np.isfinite(a)
        self._low = min(self._low, float(a.min(initial=math.inf, where=finite)))
        self._high = max(self._high, float(a.max(initial=-math.inf, where=finite)))
        shared = ~finite & (a == b)
        a[shared] = b[shared] = 0.0
        self._not_finite += int((~np.isfinite(b)).any(axis=1).sum())
        if self._unit is None and a.any():
            self._unit = unit_for_squares(a, b)
        unit = self._unit or 1.0
        a, b = a * unit, b * unit
        if len(self._sum) != a.shape[1]:  # at first, and where samples are of several sizes, which have no mean
            self._sum = np.full(a.shape[1], np.nan if len(self._sum) else 0.0)
        self._sum += a.sum(axis=0)
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            error = b - a
            squares, reference, others, product = (
                np.einsum("ij,ij->i", x, y) for x, y in ((error, error), (a, a), (b, b), (a, b))
            )
            # sqrt(xx yy) as two roots, which do not overflow
            cosines = np.clip(product / (np.sqrt(reference) * np.sqrt(others)), -1.0, 1.0)
            ratios: NDArray[np.float64] = np.sqrt(squares / reference)
        same = squares == 0
        zero = ((reference == 0) | (others == 0)) & ~same
        cosines = np.where(same, 1.0, np.where(zero, 0.0, cosines))
        self._each.append(np.stack([squares, reference, 1.0 - cosines]))
        self._cosines += float(cosines.sum())
        self._difference += float(squares.sum())
        self._reference += float(reference.sum())
        largest = float(np.abs(error).max()) / unit
        self._max = math.inf if math.isnan(largest) else max(self._max, largest)
        return np.where(same, 0.0, ratios)

    def result(self) -> OutputDifference:
        """What the sums say."""
        worst = self._worst if self._worst >= 0 and self._by_sample else None
        found = OutputDifference(self._name, self._shape or (), worst_sample=worst)
        if not self._floating:
            equal = self._equal / self._elements if self._elements else 1.0
            return replace(found, equal=equal, worst_error=self._worst_error)
        error_bound, cosine_bound = self._bounds()
        return replace(
            found,
            relative_error_bound=error_bound,
            cosine_bound=cosine_bound,
            relative_error=_ratio(self._difference, self._reference),
            cosine=self._cosines / self._rows if self._elements else 1.0,
            psnr_db=self._psnr(),
            max_error=self._max,
            worst_error=self._worst_error,
            not_finite=self._not_finite,
        )

    def _bounds(self) -> tuple[float | None, float | None]:
        if not (self._by_sample and self._each):
            return None, None
        squares, reference, lost = np.concatenate(self._each, axis=1)
        return math.sqrt(largest_ratio(squares, reference)), 1.0 - largest_ratio(lost, np.ones_like(lost))

    def constant(self) -> OutputDifference:
        """The same of a second model that says the mean of the first's samples, whatever it is shown.

        Samples of several sizes have none, and others than floats are all taken for unequal.
        """
        if not self._floating:
            return OutputDifference(self._name, self._shape or (), equal=0.0)
        kept = 1.0
        if self._reference > 0:
            kept = float(np.clip(self._sum @ self._sum / self._rows / self._reference, 0, 1))
        return OutputDifference(
            self._name, self._shape or (), relative_error=math.sqrt(1 - kept), cosine=math.sqrt(kept)
        )

    def _psnr(self) -> float | None:
        peak = (self._high - self._low) * (self._unit or 1.0)
        mean_square = self._difference / max(self._elements, 1)
        if not (math.isfinite(mean_square) and mean_square > 0 and math.isfinite(peak) and peak > 0):
            return None
        return 20 * math.log10(peak) - 10 * math.log10(mean_square)


def _chunks(first: NDArray[Any], second: NDArray[Any], rows: int) -> Iterator[tuple[int, NDArray[Any], NDArray[Any]]]:
    """Some rows of both at a time, (R, elements), and where they start."""
    if first.size == 0:
        return
    step = max(1, _CHUNK * rows // first.size)
    for start in range(0, rows, step):
        a, b = (output.reshape(rows, -1)[start : start + step] for output in (first, second))
        yield start, a, b


def _ratio(difference: float, reference: float) -> float:
    if difference == 0:
        return 0.0
    return math.sqrt(difference / reference) if reference > 0 and math.isfinite(difference) else math.inf
