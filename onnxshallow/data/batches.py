"""What users' code gives for one batch, as arrays by name: of numpy, of torch, or of anything that numpy can read."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from onnxshallow.data.arrays import LABEL_NAMES
from onnxshallow.errors import DataError
from onnxshallow.model.tensors import TensorInfo

__all__ = ["Batch", "as_array", "as_batch", "is_array"]

Batch = dict[str, NDArray[np.generic]]


def is_array(value: object) -> bool:
    """Whether numpy reads `value` as an array at once: arrays and tensors, but no lists."""
    return hasattr(value, "__array__")


def as_array(value: object) -> NDArray[np.generic]:
    """An array of numpy, which may share its memory with `value`; a tensor of torch may lie on any device."""
    for step in ("detach", "cpu"):
        if hasattr(value, step):
            value = getattr(value, step)()
    return np.asarray(value)


def as_batch(item: object, inputs: Sequence[TensorInfo], source: str) -> Batch:
    """A batch as arrays whose first axes agree.

    Args:
        item: a dict of arrays; or, for a network with one input, an array, alone or in a list, or a pair of an array
            and labels. One
            sample without a batch axis becomes a batch of one.
        inputs: the network's inputs.
        source: where the batch comes from, for messages.

    Raises:
        DataError: `item` is nothing of these, or its arrays have different numbers of samples.
    """
    # Copies, since readers may fill the same buffer for every batch.
    batch = {name: np.array(as_array(value)) for name, value in _by_name(item, inputs, source).items()}
    ranks = {tensor.name: len(tensor.shape) for tensor in inputs if tensor.shape is not None}
    labels = [batch[name] for name in LABEL_NAMES if name in batch and name not in ranks]
    if _is_one_sample(batch, ranks, labels):
        batch = {name: array[np.newaxis] for name, array in batch.items()}
    for name, array in batch.items():
        if array.ndim == 0:
            raise DataError(f"{source}: {name!r} is a single value; arrays need a batch axis first.")
    counts = {name: len(array) for name, array in batch.items()}
    if len(set(counts.values())) > 1:
        raise DataError(
            f"{source}: the arrays of one batch have different numbers of samples {counts}; make them equal."
        )
    return batch


def _by_name(item: object, inputs: Sequence[TensorInfo], source: str) -> Mapping[str, object]:
    if isinstance(item, Mapping) and item:
        return {str(name): value for name, value in item.items()}
    if len(inputs) == 1 and is_array(item):
        return {inputs[0].name: item}
    if len(inputs) == 1 and isinstance(item, tuple | list) and len(item) in (1, 2) and is_array(item[0]):
        return dict(zip((inputs[0].name, LABEL_NAMES[0]), item, strict=False))
    names = ", ".join(repr(tensor.name) for tensor in inputs)
    raise DataError(
        f"{source}: gave {type(item).__name__}; each batch must be a dict of input names to arrays, or for a network "
        f"with one input an array or a pair of an array and labels. The inputs are {names}."
    )


def _is_one_sample(batch: Batch, ranks: Mapping[str, int], labels: Sequence[NDArray[np.generic]]) -> bool:
    """Whether a batch axis is missing: a label says so, or else ranks do; a batch of grey pixels may lack an axis."""
    if labels:
        return labels[0].ndim == 0
    return bool(ranks) and all(
        name in batch and batch[name].dtype != np.uint8 and batch[name].ndim == rank - 1
        for name, rank in ranks.items()
    )
