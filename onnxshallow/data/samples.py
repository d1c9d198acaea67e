"""A collection of inputs for the network, the one form in which all stages see data."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onnxshallow.data.columns import Column, FileColumn, Indices
from onnxshallow.errors import DataError

__all__ = ["Samples"]


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples for all inputs of a network: immutable, indexable, preprocessed when a batch is asked for.

    Attributes:
        columns: what each input is read from, all of one length.
        source: where the samples come from, for messages.
        labels: (N,) int64 class indices of this view's samples, (N, Q) where each has Q of them, or None.
        synthetic: True where the samples are made up, so that no accuracy can be claimed from them.
        selection: (N,) positions in the columns that this view shows, in order; None for all.
        class_names: the folders that were taken for classes, in the order of the labels; None where none were.

    Raises:
        DataError: no samples, or columns or labels of unequal lengths.
    """

    columns: Mapping[str, Column]
    source: str
    labels: NDArray[np.int64] | None = None
    synthetic: bool = False
    selection: Indices | None = None
    class_names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        counts = {name: len(column) for name, column in self.columns.items()}
        if len(set(counts.values())) > 1:
            listed = ", ".join(f"{name!r} has {count}" for name, count in counts.items())
            raise DataError(
                f"{self.source}: the inputs have different numbers of samples ({listed}); give as many of each."
            )
        if len(self) == 0:
            raise DataError(f"{self.source}: holds no samples; give some.")
        if self.labels is not None and len(self.labels) != len(self):
            raise DataError(f"{self.source}: {len(self.labels)} labels for {len(self)} samples; give one for each.")

    def __len__(self) -> int:
        if self.selection is not None:
            return len(self.selection)
        return len(next(iter(self.columns.values()), ()))

    def batch(self, indices: ArrayLike) -> dict[str, NDArray[np.generic]]:
        """The samples at some positions, preprocessed.

        Args:
            indices: (K,) integers from 0 to len - 1.

        Returns:
            For each input name an array of K samples, batch first, in the input's element type.

        Raises:
            DataError: a sample cannot be read.
        """
        selected = self._select(indices)
        return {name: column.read(selected) for name, column in self.columns.items()}

    def take(self, indices: ArrayLike) -> "Samples":
        """A view of some samples, labels included, in the given order.

        Raises:
            DataError: `indices` is empty.
        """
        labels = None if self.labels is None else self.labels[np.asarray(indices, dtype=np.intp)]
        return replace(self, selection=self._select(indices), labels=labels)

    def position(self, index: int) -> int:
        """Where the sample `index` of this view stands in the source, counted from 0."""
        return index if self.selection is None else int(self.selection[index])

    def name(self, index: int) -> str | None:
        """The file of the sample `index`, relative to the source's folder; None where it has none of its own."""
        column = next(iter(self.columns.values()))
        if not isinstance(column, FileColumn):
            return None
        path = column.files[self.position(index)]
        return path.relative_to(self.source).as_posix() if path.is_relative_to(self.source) else str(path)

    def without_labels(self) -> "Samples":
        """The same samples without their labels, for the stages that must not see them."""
        return replace(self, labels=None)

    @property
    def whole(self) -> "Samples":
        """All samples of the columns, without labels."""
        return replace(self, selection=None, labels=None)

    def fingerprint(self) -> str:
        """SHA-256 (hex) of the content and its preprocessing, but not of labels or file names."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256()
        everything = self._select(np.arange(len(self)))
        for name in sorted(self.columns):
            digest.update(f"{name} {len(self)} ".encode())
            self.columns[name].hash_into(digest, everything)
        return digest.hexdigest()

    def _select(self, indices: ArrayLike) -> Indices:
        positions = np.asarray(indices, dtype=np.intp)
        return positions if self.selection is None else self.selection[positions]
