"""Fitting named arrays, from an `.npz` or from a user's reader, to the inputs of a network."""

import logging
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from onnxshallow.data.columns import ArrayColumn, Column, PixelColumn
from onnxshallow.data.images import ImageInput, describe_shape
from onnxshallow.data.preprocessing import Preprocessing
from onnxshallow.data.samples import Samples
from onnxshallow.errors import DataError
from onnxshallow.model.tensors import TensorInfo

__all__ = ["LABEL_NAMES", "samples_from_arrays"]

logger = logging.getLogger(__name__)

LABEL_NAMES = ("labels", "y")
"""The names under which class labels are looked for."""

Arrays = Mapping[str, NDArray[np.generic]]


def samples_from_arrays(
    arrays: Arrays, inputs: Sequence[TensorInfo], preprocessing: Preprocessing, source: str
) -> Samples:
    """Makes samples of named arrays.

    An input takes the array of its name. A network with one input also takes the only array that is not
    labels, or the only uint8 one; a network with several takes the only uint8 array for the input that is
    left. uint8 arrays for an input of rank 4 are images and are preprocessed; all others are fed as they are.

    Args:
        arrays: by name, batch first.
        inputs: the network's inputs.
        preprocessing: for uint8 images only.
        source: where the arrays come from, for messages.

    Raises:
        DataError: arrays are missing, ambiguous, of unequal lengths, empty, or do not fit the inputs' types
            and shapes.
    """
    chosen = _match(arrays, inputs, source)
    columns = {}
    for tensor in inputs:
        array, where = arrays[chosen[tensor.name]], f"{source}: array {chosen[tensor.name]!r}"
        if array.ndim == 0:
            raise DataError(f"{where} is a single number; arrays need a batch axis first.")
        if len(array) == 0:
            raise DataError(f"{where} holds no samples; give some.")
        columns[tensor.name] = _column(array, tensor, preprocessing, where)
    unused = [name for name in LABEL_NAMES if name in arrays and name not in chosen.values()]
    labels = _labels(arrays[unused[0]], f"{source}: array {unused[0]!r}") if unused else None
    ignored = [name for name in arrays if name not in chosen.values() and name not in unused[:1]]
    if ignored:
        listed = ", ".join(map(repr, ignored))
        logger.warning("%s: %s not used; labels are looked for under 'labels', else 'y'", source, listed)
    return Samples(columns, source=source, labels=labels)


def _match(arrays: Arrays, inputs: Sequence[TensorInfo], source: str) -> dict[str, str]:
    """Which array feeds which input: input name to array name."""
    chosen = {tensor.name: tensor.name for tensor in inputs if tensor.name in arrays}
    missing = [tensor for tensor in inputs if tensor.name not in chosen]
    if not missing:
        return chosen
    free = [name for name in arrays if name not in chosen and name not in LABEL_NAMES]
    pixels = [name for name in free if arrays[name].dtype == np.uint8]
    candidates = free if len(inputs) == 1 and len(free) == 1 else pixels
    if len(missing) == 1 and len(candidates) == 1:
        return chosen | {missing[0].name: candidates[0]}
    wanted = ", ".join(repr(tensor.name) for tensor in missing)
    found = ", ".join(map(repr, arrays)) or "none"
    raise DataError(
        f"{source}: no array could be found for input {wanted}; it holds {found}. "
        "Name each array after the input that it is for."
    )


def _column(array: NDArray[np.generic], tensor: TensorInfo, preprocessing: Preprocessing, where: str) -> Column:
    image = ImageInput.from_tensor(tensor)
    if array.dtype == np.uint8 and image is not None:
        preprocessing.check_values(where, image.dtype)
        return PixelColumn.from_array(array.view(np.uint8), image, preprocessing, where)
    dtype = tensor.dtype if tensor.dtype is not None else array.dtype
    _check_type(array, dtype, tensor, where)
    _check_shape(array, tensor, where)
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise DataError(f"{where} holds NaN or infinite values; leave those samples out.")
        if preprocessing != Preprocessing():
            logger.warning("%s is float, so it counts as already preprocessed; the image options are ignored", where)
    return ArrayColumn(array, dtype)


def _check_type(array: NDArray[np.generic], dtype: np.dtype, tensor: TensorInfo, where: str) -> None:
    # bfloat16 has kind "V"; every input that is neither integer nor bool takes floats.
    wanted = {"i": "iu", "u": "iu", "b": "b"}.get(dtype.kind, "f")
    if array.dtype.kind not in wanted:
        raise DataError(
            f"{where} is {array.dtype}, but input {tensor.name!r} takes {dtype}; "
            + ("give floats that are already preprocessed, or uint8 images." if wanted == "f" else "convert it.")
        )


def _check_shape(array: NDArray[np.generic], tensor: TensorInfo, where: str) -> None:
    if tensor.shape is None:
        return
    fits = array.ndim == len(tensor.shape) and all(
        found == size for found, size in zip(array.shape[1:], tensor.shape[1:], strict=True) if isinstance(size, int)
    )
    if not fits:
        raise DataError(
            f"{where} has shape {array.shape}, but input {tensor.name!r} wants {describe_shape(tensor)}; "
            "bring it to that."
        )


def _labels(array: NDArray[np.generic], where: str) -> NDArray[np.int64]:
    if array.dtype.kind not in "iu":
        raise DataError(f"{where} is {array.dtype}; labels must be integer class indices.")
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim not in (1, 2):
        raise DataError(
            f"{where} has shape {array.shape}; labels must be one class index a sample, or a row of them for a "
            "network that tells several classes."
        )
    return array.astype(np.int64)
