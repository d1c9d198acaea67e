"""Samples from the user's own Python: a calibration reader or an iterable of batches, or a function that returns one.

Such a source runs code, so it is accepted from the command line and the API only, never from a config file.
"""

import importlib.util
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np

from onnxshallow.data import archives
from onnxshallow.data.arrays import samples_from_arrays
from onnxshallow.data.batches import Batch, as_batch
from onnxshallow.data.preprocessing import Preprocessing
from onnxshallow.data.samples import Samples
from onnxshallow.errors import DataError
from onnxshallow.model.tensors import TensorInfo
from onnxshallow.options.forms import CODE

__all__ = ["samples_from_batches", "samples_from_reader", "user_function"]


def user_function(source: str) -> Callable[..., object]:
    """The function that `file.py:function` names.

    Raises:
        DataError: the file or the function is missing, or the file raises.
    """
    try:
        return _load_function(source)
    except DataError:
        raise
    except (Exception, SystemExit) as error:
        raise DataError(f"{source}: raised {type(error).__name__}: {error}") from error


def samples_from_reader(
    source: str,
    inputs: Sequence[TensorInfo],
    preprocessing: Preprocessing,
    limit: int | None,
    max_bytes: int | None = None,
) -> Samples:
    """Calls `file.py:function` and keeps the first `limit` samples that it gives, in memory.

    The function takes no arguments and returns what `samples_from_batches` takes.

    Raises:
        DataError: the file or function is missing, the user's code raised, or gave something else than
            batches.
    """
    return samples_from_batches(lambda: _load_function(source)(), source, inputs, preprocessing, limit, max_bytes)


def samples_from_batches(
    make: Callable[[], object],
    source: str,
    inputs: Sequence[TensorInfo],
    preprocessing: Preprocessing,
    limit: int | None,
    max_bytes: int | None = None,
) -> Samples:
    """Keeps the first `limit` samples of a reader or an iterable, in memory; no more of it is consumed.

    Args:
        make: returns an onnxruntime `CalibrationDataReader` or an iterable. Each item is a dict of input names to
            arrays, which may have labels under `labels` or `y`; or, for a network with one input, an array or a pair
            of an array and labels. Arrays have a batch axis of any size; without one an item is one sample. Tensors
            of torch count as arrays.
        source: where the samples come from, for messages.
        inputs: the network's inputs.
        preprocessing: for uint8 images only.
        limit: how many samples to keep; None for all.
        max_bytes: the most that the samples may take; None for `MAX_BYTES`.

    Raises:
        DataError: the user's code raised, or gave something else than batches.
    """
    most = archives.MAX_BYTES if max_bytes is None else max_bytes
    batches: list[Batch] = []
    count = size = 0
    for batch in _batches(make, source, inputs):
        if batches and batch.keys() != batches[0].keys():
            raise DataError(
                f"{source}: the first batch has {sorted(batches[0])}, batch {len(batches)} has {sorted(batch)}; "
                "give the same arrays in each."
            )
        batches.append(batch)
        count += len(next(iter(batch.values())))
        size += sum(array.nbytes for array in batch.values())
        if size > most:
            raise DataError(
                f"{source}: gives more than the limit of {most / 2**30:.1f} GiB; give fewer samples, or raise "
                "--max-data."
            )
        if limit is not None and count >= limit:
            break
    if not batches:
        raise DataError(
            f"{source}: gave no batches; a generator that was read before gives nothing more, so make a new one."
        )
    try:
        arrays = {name: np.concatenate([batch[name] for batch in batches])[:limit] for name in batches[0]}
    except ValueError as error:
        raise DataError(
            f"{source}: the batches do not fit together ({error}); give all in one shape and type."
        ) from error
    return samples_from_arrays(arrays, inputs, preprocessing, source)


def _batches(make: Callable[[], object], source: str, inputs: Sequence[TensorInfo]) -> Iterator[Batch]:
    """The user's batches, checked; whatever the user's code raises becomes a DataError."""
    items = _items(make, source)
    while True:
        try:
            item = next(items, None)
            batch = None if item is None else as_batch(item, inputs, source)
        except DataError:
            raise
        except (Exception, SystemExit) as error:
            raise DataError(f"{source}: raised {type(error).__name__}: {error}; correct that code.") from error
        if batch is None:
            return
        yield batch


def _items(make: Callable[[], object], source: str) -> Iterator[object]:
    """What the user's code gives, one by one; it runs in here, and only in here."""
    given = make()
    if hasattr(given, "get_next"):
        while (item := given.get_next()) is not None:
            yield item
    elif isinstance(given, Iterable) and not isinstance(given, Mapping | str):
        yield from given
    else:
        raise DataError(
            f"{source}: returned {type(given).__name__}; it must return a CalibrationDataReader or an iterable of "
            "dicts or arrays."
        )


def _load_function(source: str) -> Callable[[], object]:
    match = CODE.fullmatch(source)
    assert match is not None, "callers ask names_code first"
    path, name = Path(match["file"]), match["function"]
    if not os.path.isfile(path):
        raise DataError(f"{source}: there is no file {path}; check the path.")
    # Registered under a name of its own, as dataclasses and pickling in the user's file need.
    spec = importlib.util.spec_from_file_location(f"onnxshallow_user_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise DataError(f"{source}: {path} cannot be imported; give a file of Python.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    function = getattr(module, name, None)
    if not callable(function):
        raise DataError(f"{source}: {path} has no function {name!r}; check the name after the colon.")
    return cast(Callable[[], object], function)
