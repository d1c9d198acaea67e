"""Samples that are given in Python: arrays, readers, loaders and generators."""

from collections.abc import Iterable, Mapping, Sequence

from onnxshallow.data.arrays import LABEL_NAMES, samples_from_arrays
from onnxshallow.data.batches import as_array, is_array
from onnxshallow.data.preprocessing import Preprocessing
from onnxshallow.data.readers import samples_from_batches
from onnxshallow.data.samples import Samples
from onnxshallow.errors import DataError
from onnxshallow.model.tensors import TensorInfo
from onnxshallow.options.forms import describe_data

__all__ = ["samples_from_object"]


def samples_from_object(
    given: object,
    inputs: Sequence[TensorInfo],
    preprocessing: Preprocessing,
    limit: int | None,
    max_bytes: int | None = None,
) -> Samples:
    """Makes samples of what a program has at hand.

    Args:
        given: a dict of arrays by input name, perhaps with labels under `labels` or `y`; for a network with one
            input an array, or a tuple of an array and labels; else what `samples_from_batches` reads. Torch's tensors
            count as arrays. uint8 arrays are images and are preprocessed, all others are fed as they are.
        inputs: the network's inputs.
        preprocessing: for uint8 images only.
        limit: how many samples to take of a reader or an iterable.
        max_bytes: the most that a reader or an iterable may give.

    Raises:
        DataError: it is nothing of these, or does not fit the inputs.
    """
    source = describe_data(given) or ""
    if isinstance(given, tuple) and len(given) == 2 and is_array(given[0]):
        pixels, labels = given
        given = {_only_input(inputs, source): pixels, LABEL_NAMES[0]: labels}
    elif is_array(given):
        given = {_only_input(inputs, source): given}
    if isinstance(given, Mapping):
        arrays = {str(name): as_array(value) for name, value in given.items()}
        return samples_from_arrays(arrays, inputs, preprocessing, source)
    if not isinstance(given, Iterable) and not hasattr(given, "get_next"):
        raise DataError(
            f"{source}: samples cannot be read from it; give a path, arrays, a CalibrationDataReader, or what can be "
            "iterated over, such as a DataLoader of that dataset."
        )
    return samples_from_batches(lambda: given, source, inputs, preprocessing, limit, max_bytes)


def _only_input(inputs: Sequence[TensorInfo], source: str) -> str:
    if len(inputs) != 1:
        names = ", ".join(repr(tensor.name) for tensor in inputs)
        raise DataError(
            f"{source}: the network has {len(inputs)} inputs; give a dict with an array for each of {names}."
        )
    return inputs[0].name
