"""What keeps activations in bounds while a network with squares learns.

    penalty = sum over tensors and samples of max(0, ln(largest |y| / limit))^2

The limit is a little more than what the original makes of the tensor, on ordinary samples or on the same one; so
it punishes what `onnxshallow.validation.growth` calls growth, long before that is refused. A part of each batch is
changed as the world may change it, and a part are the most extreme samples that are known, disturbed, since growth
begins where nobody looked.
"""

import functools
import operator
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from onnxshallow.analysis import Analysis
from onnxshallow.data.changes import Changer
from onnxshallow.model.network import Network
from onnxshallow.training.views import joined
from onnxshallow.validation.peaks import Peaks

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Guard", "Watch", "watched_tensors"]

# What activations may reach unpunished, by what the original makes of them.
_FREE = 1.25
# A sample that reaches so much more is stopped; squared once more it is still finite.
_BEYOND = 1e6
# A tensor that never gets beyond this share of the largest of all counts as if it did, as in `validation.growth`.
_SMALL = 1e-3
# Of a batch one sample in so many is changed, in so many ways; as many are extreme ones, disturbed by up to so much.
_ONE_IN, _WAYS, _STRENGTH = 6, 4, 0.3


def watched_tensors(original: Analysis, optimized: Network) -> tuple[str, ...]:
    """The outputs of the original's sites that the optimized network has too."""
    names = [site.output for site in original.sites if site.node >= 0]
    return tuple(name for name in names if optimized.producer(name) is not None)


class Watch:
    """Knows what activations may reach, and changes samples.

    Args:
        original: the original's graph.
        tensors: whose activations are watched.
        batches: ordinary samples.
        extremes: samples that are extreme in some way.
        seed: of what is drawn at random.
        threads: of onnxruntime.
        scales: by tensor of the student what its channels are multiplied by, (C,).
    """

    def __init__(
        self,
        original: Network,
        tensors: Sequence[str],
        batches: Sequence[Mapping[str, np.ndarray]],
        extremes: Sequence[Mapping[str, np.ndarray]],
        seed: int,
        threads: int,
        scales: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        self._scales = scales or {}
        run = Peaks(original, tensors, threads)
        peaks = np.max([run(batch).max(axis=0) for batch in batches], axis=0)
        self.tensors = tuple(tensors)
        self._usual = np.maximum(peaks, max(_SMALL * peaks.max(initial=0.0), 1e-12))
        self._changer = Changer.of(original.inputs, batches, seed)
        self._extremes = joined(extremes) if extremes else {}

    def _each(self, count: int) -> int:
        """Of how many samples how many are changed, and how many disturbed."""
        return max(1, count // _ONE_IN)

    def replaced(self, count: int) -> int:
        """Of how many samples how many of the last are replaced by extreme ones."""
        return self._each(count) if self._extremes else 0

    def changed(self, batch: Mapping[str, np.ndarray], generator: np.random.Generator) -> dict[str, np.ndarray]:
        """A batch whose last samples are changed, and, where extreme ones are known, replaced by these, disturbed.

        Args:
            batch: arrays (N, ...) by input name.
            generator: of what is drawn at random.
        """
        count = len(next(iter(batch.values())))
        each = self._each(count)
        ends = (max(0, count - 2 * each), count - each)
        parts = ({name: np.split(values, ends)[place] for name, values in batch.items()} for place in range(3))
        kept, first, second = parts
        ways = generator.permutation(self._changer.changes)[:_WAYS]
        pieces = np.array_split(np.arange(ends[1] - ends[0]), len(ways))
        first = joined(
            [
                self._changer.changed({name: values[piece] for name, values in first.items()}, str(way))
                for piece, way in zip(pieces, ways, strict=True)
                if len(piece) or not ends[1]
            ]
        )
        if self._extremes:
            rows = generator.integers(len(next(iter(self._extremes.values()))), size=each)
            second = {name: values[rows] for name, values in self._extremes.items()}
        second = self._changer.disturbed(second, _STRENGTH * generator.random(), generator)
        return {name: np.concatenate([part[name] for part in (kept, first, second)]) for name in batch}

    def guard(self, taught: "Mapping[str, Tensor]") -> "Guard":
        """What keeps a batch's activations in bounds.

        Args:
            taught: what the original makes of the batch, by name.
        """
        limits = {
            name: _FREE * _peaks(_rows(taught[name].detach())).clamp(min=float(usual))
            for name, usual in zip(self.tensors, self._usual, strict=True)
        }
        return Guard(limits, self._scales)


class Guard:
    """Stands by while a student runs: adds up what activations out of bounds cost, and stops what is beyond all.

    Within bounds, as nearly all is, nothing but peaks is computed, without a gradient. A sample that is stopped
    is zero from there on: beside a number that is not finite, all gradients would be none.

    Args:
        limits: by tensor what each sample may reach, (N,).
        scales: by tensor what the student's channels are multiplied by, (C,).

    Attributes:
        penalty: how far activations are out of bounds so far; None where they are within.
    """

    def __init__(self, limits: "Mapping[str, Tensor]", scales: Mapping[str, np.ndarray]) -> None:
        self._limits, self._scales = limits, scales
        self.penalty: Tensor | None = None
        self._stopped: list[Tensor] = []

    def __call__(self, name: str, values: "Tensor") -> "Tensor":
        """What goes on in the place of what the student made.

        Args:
            name: of the tensor.
            values: of it, (N, ...).
        """
        if name not in self._limits:
            return values
        limit, rows = self._limits[name], _rows(values)
        excess = self._own(name, rows.detach()) / limit
        outside = (excess > 1) & excess.isfinite()
        if bool(outside.any()):
            part = (self._own(name, rows[outside]) / limit[outside]).log().square().sum()
            self.penalty = part if self.penalty is None else self.penalty + part
        beyond = ~(excess < _BEYOND)  # NaN as well
        if bool(beyond.any()):
            self._stopped.append(beyond)
            values = values.masked_fill(beyond.reshape(-1, *(1,) * (values.dim() - 1)), 0)
        return values

    def stopped(self, count: int) -> "Tensor | None":
        """Which of so many samples were stopped, (N,); None where none was, as far as tensors tell samples apart."""
        found = [each for each in self._stopped if len(each) == count]
        return functools.reduce(operator.or_, found) if found else None

    def _own(self, name: str, rows: "Tensor") -> "Tensor":
        """The largest absolute values (N,) of what the student makes, at the original's scale."""
        scale = self._scales.get(name)
        return _peaks(rows if scale is None else rows / rows.new_tensor(scale))


def _rows(values: "Tensor") -> "Tensor":
    """Values with their channels last (N, ..., C), as maps lie in memory."""
    return values.movedim(1, -1) if values.dim() > 1 else values


def _peaks(rows: "Tensor") -> "Tensor":
    """The largest absolute value of each sample (N,)."""
    return rows.reshape(len(rows), -1).abs().amax(dim=1).float()
