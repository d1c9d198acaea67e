"""Which samples a step sees, in which view, and what the teacher says to them.

A view of a sample is the sample changed in one way (`augmentation`). Short courses never show one twice. In long ones
each sample has a few, which come again and again, so that the teacher is asked once for each and not in every step;
this costs a third of a step (docs/decisions/training.md).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from onnxshallow.data.samples import Samples
from onnxshallow.training.augmentation import CHANCES, Augmentation

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["VIEWS", "Answers", "Views"]

VIEWS = 8
"""In how many views a long course shows each sample."""

# Answers are kept where they are at most so many numbers in all, a quarter of a GiB.
_MOST_KEPT = 2**26


class Views:
    """Samples in views.

    Args:
        samples: what is shown.
        augmentation: what is done to them.
        seed: of everything random.
    """

    def __init__(self, samples: Samples, augmentation: Augmentation, seed: int) -> None:
        self._samples, self._augmentation, self._seed = samples, augmentation, seed
        self._chances: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self._samples)

    def rows(self, step: int, batch: int) -> Iterator[tuple[int, np.ndarray]]:
        """The samples of a step, by the epoch that they are of, of which a batch may see two.

        Each epoch goes through all of them once, in an order of its own.

        Args:
            step: counted from 0.
            batch: samples a step.
        """
        places = np.arange(step * batch, (step + 1) * batch)
        for epoch in np.unique(places // len(self)):
            order = np.random.default_rng((self._seed, 2, epoch)).permutation(len(self))
            yield int(epoch), order[places[places // len(self) == epoch] % len(self)]

    def show(self, view: int, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Some samples in one view.

        Args:
            view: its number.
            rows: (K,) which samples.
        """
        chances = self._of(view)[rows]
        batch = self._samples.batch(rows)
        if self._augmentation.kind != "mixup":
            return self._augmentation(batch, chances)
        others = self._samples.batch((chances[:, -1] * len(self)).astype(np.intp))
        return self._augmentation(batch, chances, others)

    def _of(self, view: int) -> np.ndarray:
        """What decides about each sample in a view (N, `CHANCES` + 1); the last one says what is laid over it."""
        if view not in self._chances:
            if len(self._chances) > 1:
                self._chances.clear()
            generator = np.random.default_rng((self._seed, 1, view))
            self._chances[view] = generator.random((len(self), CHANCES + 1))
        return self._chances[view]


class Answers:
    """What the teacher says to each sample in each of a few views.

    A whole view is asked for at once, in the order of the samples, so that answers do not depend on when one asks.

    Args:
        views: the samples.
        ask: gives the teacher's tensors for a batch.
        batch: of how many samples.
    """

    def __init__(
        self, views: Views, ask: "Callable[[Mapping[str, np.ndarray]], Sequence[Tensor]]", batch: int
    ) -> None:
        self._views, self._ask, self._batch = views, ask, batch
        self._known: dict[int, list[Tensor]] = {}

    @staticmethod
    def can_be_kept(samples: int, batch: int, answers: "Sequence[Tensor]") -> bool:
        """Whether there is room for all of them, and each sample has its own.

        Args:
            samples: how many there are.
            batch: samples a step.
            answers: to one batch.
        """
        own = all(answer.dim() > 0 and len(answer) == batch for answer in answers)
        return own and sum(answer.numel() for answer in answers) / batch * samples * VIEWS <= _MOST_KEPT

    def to(self, view: int, rows: np.ndarray) -> "list[Tensor]":
        """The answers to some samples in a view.

        Args:
            view: its number, from 0 to below `VIEWS`.
            rows: (K,) which samples.
        """
        import torch

        if view not in self._known:
            count = len(self._views)
            parts = (np.arange(start, start + self._batch) % count for start in range(0, count, self._batch))
            told = [self._ask(self._views.show(view, part)) for part in parts]
            self._known[view] = [torch.cat(answers)[:count] for answers in zip(*told, strict=True)]
        return [answer[torch.from_numpy(rows).to(answer.device)] for answer in self._known[view]]
