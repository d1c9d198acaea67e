"""From what the user names (`--calib D`, `--validate D`) to samples."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from onnxshallow.data.archives import read_archive
from onnxshallow.data.arrays import samples_from_arrays
from onnxshallow.data.folders import samples_from_folder
from onnxshallow.data.objects import samples_from_object
from onnxshallow.data.preprocessing import Preprocessing
from onnxshallow.data.readers import samples_from_reader
from onnxshallow.data.samples import Samples
from onnxshallow.data.splits import subset
from onnxshallow.errors import DataError
from onnxshallow.model.tensors import TensorInfo
from onnxshallow.options.forms import names_code

__all__ = ["load_samples"]

logger = logging.getLogger(__name__)


def load_samples(
    source: object,
    inputs: Sequence[TensorInfo],
    preprocessing: Preprocessing,
    *,
    limit: int | None = None,
    seed: int = 0,
    max_bytes: int | None = None,
) -> Samples:
    """Loads samples for a network.

    Args:
        source: an `.npz` (float arrays that are already preprocessed, or uint8 images), a folder of images
            with one subfolder a class, or `file.py:function`, as text. Pickles are never read. Anything else is
            read by `samples_from_object`.
        inputs: the network's inputs; their first axis is the batch, whatever size it is declared with.
        preprocessing: for uint8 images and image files.
        limit: how many samples to keep: a random subset of files and arrays, in their order, and the first
            ones of a function. None keeps all.
        seed: chooses the subset.
        max_bytes: the most that a file or a function may give; None for 16 GiB. Image files are read batch by batch,
            whatever they hold.

    Raises:
        DataError: the source is missing or broken, or does not fit the inputs.
        UsageError: mean or std do not fit the channels.
    """
    if not isinstance(source, str):
        samples = samples_from_object(source, inputs, preprocessing, limit, max_bytes)
    elif names_code(source):
        samples = samples_from_reader(source, inputs, preprocessing, limit, max_bytes)
    else:
        path = Path(source)
        if os.path.isdir(path):
            samples = samples_from_folder(path, inputs, preprocessing)
        elif not os.path.exists(path):
            raise DataError(f"{source}: no such file or folder; check the path.")
        elif path.suffix.lower() == ".npz":
            samples = samples_from_arrays(read_archive(path, max_bytes), inputs, preprocessing, source)
        else:
            raise DataError(f"{source}: data must be an .npz file, a folder of images or file.py:function.")
    found = len(samples)
    if limit is not None and limit < found:
        samples = samples.take(subset(found, limit, seed))
    logger.info("%s: %d of %d samples", samples.source, len(samples), found)
    return samples
