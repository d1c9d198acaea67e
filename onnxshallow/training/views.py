"""Which samples a step sees, and in which view: each changed in one way (`augmentation`), in no two epochs the same.

To keep what the teacher said to a few views, and to show these again and again, saves a fifth of a step and costs
more than it saves (docs/decisions/training.md).
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from onnxshallow.data.samples import Samples
from onnxshallow.training.augmentation import CHANCES, Augmentation

__all__ = ["ALONE", "Views", "joined", "order_of"]

ALONE = 8
"""In so many views images are not mixed with others yet: short courses learn less by mixing, long ones more."""


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
            order = order_of(len(self), int(epoch), self._seed)
            yield int(epoch), order[places[places // len(self) == epoch] % len(self)]

    def show(self, view: int, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Some samples in one view.

        Args:
            view: its number, that of the epoch.
            rows: (K,) which samples.
        """
        chances = self._of(view)[rows]
        batch = self._samples.batch(rows)
        if self._augmentation.kind != "mixup" or view < ALONE:
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


def order_of(count: int, epoch: int, seed: int) -> np.ndarray:
    """The order (N,) in which an epoch goes through so many samples."""
    return np.random.default_rng((seed, 2, epoch)).permutation(count)


def joined(batches: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Batches as one."""
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
