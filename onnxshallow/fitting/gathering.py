"""The rows of a regression: what a layer reads in the rewritten network beside what the original makes there.

Plans that compete are fitted to the same tensors of the same samples at the same places, and what the original
makes there is some thousand rows a tensor, however large the tensor is. So these may be kept (`KnownRows`), and the
original is run again only for what no earlier fit asked for.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from onnxshallow.analysis.partial import Partial
from onnxshallow.convolution import Convolution, output_size
from onnxshallow.fitting.patches import gather_outputs, gather_patches, sample_positions
from onnxshallow.fitting.regression import Rows
from onnxshallow.fitting.targets import Target
from onnxshallow.fitting.threads import in_order
from onnxshallow.runtime.cursor import Cursor
from onnxshallow.runtime.store import ActivationStore

__all__ = ["KnownRows", "Places", "gather_rows"]

_Array = NDArray[np.float32]


class KnownRows:
    """Rows of the original's tensors by what they are of, for one sequence of batches.

    Args:
        store: where they are kept.
    """

    def __init__(self, store: ActivationStore) -> None:
        self._store = store
        self._rows: dict[Hashable, _Array] = {}

    def get(self, key: Hashable, gather: Callable[[], _Array]) -> _Array:
        """The rows called `key`, which `gather` makes where they are not known yet; they must not be written to."""
        if key not in self._rows:
            self._rows[key] = self._store.hold(gather())
        return self._rows[key]


@dataclass(frozen=True, eq=False)
class Places:
    """Where the rows of a regression are taken.

    Attributes:
        samples: the number of them in each batch.
        sizes: the spatial sizes of the layer's output for each batch.
        positions: for each batch the output positions, as `sample_positions` draws them.
    """

    samples: Sequence[int]
    sizes: Sequence[tuple[int, ...]]
    positions: Sequence[np.ndarray | None]

    @classmethod
    def all(cls, convolution: Convolution, inputs: Sequence[np.ndarray]) -> "Places":
        """Every output position of a layer whose inputs are these, (N, C, *spatial) each."""
        sizes = [output_size(convolution, x.shape[2:]) for x in inputs]
        return cls([len(x) for x in inputs], sizes, [None] * len(inputs))

    def drawn(self, rows: int, seed: tuple[int, str]) -> "Places":
        """About so many rows of these at random, the same for the same seed, or all where there are no more."""
        share = min(1.0, rows / max(self.count, 1))
        generator = np.random.default_rng((seed[0], crc32(seed[1].encode())))
        drawn = [sample_positions(size, share, generator) if size else None for size in self.sizes]
        return Places(self.samples, self.sizes, drawn)

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """Rows of each batch."""
        each = [
            int(np.prod(size)) if chosen is None else len(chosen)
            for size, chosen in zip(self.sizes, self.positions, strict=True)
        ]
        return tuple(count * samples for count, samples in zip(each, self.samples, strict=True))

    @property
    def count(self) -> int:
        """Rows of all batches."""
        return sum(self.counts)


def gather_rows(
    original: Cursor,
    rewritten: Cursor,
    source: str,
    target: Target,
    convolution: Convolution,
    places: Places,
    known: KnownRows | None = None,
) -> Rows:
    """The rows of one layer's regression.

    Args:
        original: cursor of the original; it is advanced where its rows are not known.
        rewritten: cursor of the rewritten network, which knows what the layer reads, and what the target subtracts.
        source: the tensor that the layer reads.
        target: of the layer.
        convolution: the layer's kernel, strides, dilations, pads and groups.
        places: where rows are taken, of the leading batches.
        known: rows of the original from other fits on the same batches, or None.
    """
    groups, outputs = convolution.groups, convolution.out_channels // convolution.groups
    ends = np.cumsum(places.counts)

    def filled(columns: int, fill: Callable[[int, _Array], object]) -> _Array:
        made = np.empty((groups, places.count, columns), dtype=np.float32)

        def fill_part(index: int) -> None:
            fill(index, made[:, ends[index] - places.counts[index] : ends[index]])
            rewritten.store.rest()

        for _ in in_order(fill_part, range(len(ends))):
            pass
        return made

    def of(values: Sequence[np.ndarray]) -> _Array:
        return filled(outputs, lambda k, into: gather_outputs(values[k], groups, places.positions[k], into))

    def of_original(tensor: str) -> _Array:
        def gathered() -> _Array:
            original.advance([tensor])
            return of(original[tensor])

        key = (tensor, target.tensor, groups, places.counts)
        return gathered() if known is None else known.get(key, gathered)

    wanted, partial = of_original(target.tensor), target.partial
    if target.dead is not None:
        wanted = np.where(target.dead.reshape(groups, 1, -1), np.float32(0), wanted)
    if partial is not None and partial.passed.any():
        wanted = np.where(of(_passed(partial, convolution, places)) > 0, of_original(partial.output), wanted)
    inputs = rewritten[source]
    unknowns = int(np.prod(convolution.weight.shape[1:]))
    patches = filled(unknowns, lambda k, into: gather_patches(inputs[k], convolution, places.positions[k], into))
    return Rows(patches, wanted, None if target.minus is None else of(rewritten[target.minus]))


def _passed(partial: Partial, convolution: Convolution, places: Places) -> list[np.ndarray]:
    """For each batch which elements (N, C, *spatial) pass the activation by."""
    passed = partial.passed.reshape(partial.passed.shape + (1,) * (convolution.rank + 1 - partial.passed.ndim))
    shapes = zip(places.samples, places.sizes, strict=True)
    return [np.broadcast_to(passed, (samples, len(passed), *sizes)) for samples, sizes in shapes]
