"""Made-up inputs, for when there is no data.

Good enough to fit what the network does to natural images, never good enough to claim an accuracy.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from onnxshallow.data.archives import MAX_BYTES
from onnxshallow.data.columns import ArrayColumn, Column, PixelColumn
from onnxshallow.data.dead_leaves import dead_leaves
from onnxshallow.data.images import ImageInput, describe_shape
from onnxshallow.data.preprocessing import Preprocessing
from onnxshallow.data.samples import Samples
from onnxshallow.errors import DataError
from onnxshallow.model.tensors import TensorInfo

__all__ = ["synthesize"]


def synthesize(
    inputs: Sequence[TensorInfo],
    count: int,
    seed: int,
    preprocessing: Preprocessing,
    max_bytes: int | None = None,
) -> Samples:
    """Makes up samples for a network.

    Inputs of rank 4 get dead-leaves images: preprocessed like stored ones where a mean or std is known, as
    raw pixels where the input is integer, and else standardized to zero mean and unit variance a channel.
    Inputs of rank 3, and images of one row or column, get signals with steps and 1/f noise, all others signed white
    noise, both standardized.
    Other integer and bool inputs get zeros and ones, which are valid as flags, as masks and as indices into
    nearly any table.

    Args:
        inputs: the network's inputs, batch first; all other axes must have a size.
        count: number of samples.
        seed: the same seed gives the same samples.
        preprocessing: for images; the images have the network's size from the start.
        max_bytes: the most that the samples of an input may take; None for `MAX_BYTES`.

    Raises:
        DataError: an axis other than the batch has no size, or the samples would take too much.
        UsageError: mean or std do not fit the channels.
    """
    columns = {}
    for position, tensor in enumerate(inputs):
        _require_room(tensor, count, MAX_BYTES if max_bytes is None else max_bytes)
        columns[tensor.name] = _column(tensor, count, seed + position, preprocessing)
    images = any(isinstance(column, PixelColumn) for column in columns.values())
    source = "synthetic dead-leaves images" if images else "synthetic signals"
    return Samples(columns, source=source, synthetic=True)


def _require_room(tensor: TensorInfo, count: int, most: int) -> None:
    """Images are made as bytes, all else as numbers of eight bytes at the most."""
    sizes = [size for size in (tensor.shape or ())[1:] if isinstance(size, int)]
    image = ImageInput.from_tensor(tensor)
    needed = count * math.prod(sizes) * (1 if image is not None and not image.is_line else 8)
    if needed > most:
        raise DataError(
            f"{count} synthetic samples for input {tensor.name!r} of shape {describe_shape(tensor)} would take "
            f"{needed / 2**30:,.1f} GiB, more than the limit of {most / 2**30:,.1f} GiB; make fewer with "
            "--calib-samples, or raise --max-data."
        )


def _column(tensor: TensorInfo, count: int, seed: int, preprocessing: Preprocessing) -> Column:
    sizes = [size for size in (tensor.shape or ())[1:] if isinstance(size, int)]
    if tensor.shape == ():
        raise DataError(
            f"Input {tensor.name!r} is a single number, the same for all samples of a batch; such models cannot be "
            "calibrated. Make the number a constant of the model."
        )
    if tensor.shape is None or len(sizes) < len(tensor.shape) - 1:
        rank = 4 if tensor.shape is None else len(tensor.shape)
        example = ",".join(("1", "3", *("224",) * 9)[:rank]) if rank > 2 else ",".join(("1", "16")[:rank])
        raise DataError(
            f"Synthetic data needs the size of every axis, but input {tensor.name!r} is "
            f"{describe_shape(tensor)}; give its sizes, like --input-shape {tensor.name}:{example}, "
            "or give real samples."
        )
    image = ImageInput.from_tensor(tensor)
    if image is not None and not image.is_line:
        return _images(image, sizes, count, seed, preprocessing)
    dtype = tensor.dtype if tensor.dtype is not None else np.dtype(np.float32)
    rng = np.random.default_rng(seed)
    if dtype.kind in "iub":
        return ArrayColumn(rng.integers(0, 2, size=(count, *sizes)), dtype)
    if len(sizes) == 2:
        return ArrayColumn(_signals(count, sizes[0], sizes[1], rng), dtype)
    if image is not None:
        channels = sizes[-1] if image.channels_last else sizes[0]
        signals = _signals(count, channels, math.prod(sizes) // channels, rng)
        return ArrayColumn((signals.swapaxes(1, 2) if image.channels_last else signals).reshape(count, *sizes), dtype)
    return ArrayColumn(rng.standard_normal((count, *sizes), dtype=np.float32), dtype)


def _images(
    image: ImageInput, sizes: Sequence[int], count: int, seed: int, preprocessing: Preprocessing
) -> PixelColumn:
    height, width, channels = sizes if image.channels_last else (*sizes[1:], sizes[0])
    preprocessing.check_channels(channels)
    if image.dtype.kind in "iub":
        preprocessing.check_whole_numbers("synthetic images", image.dtype)
    pixels = dead_leaves(count, channels, height, width, seed)
    preprocessing = preprocessing.without_resizing()
    if preprocessing.mean is None and preprocessing.std is None:
        axes = (0, 1, 2)
        mean, std = pixels.mean(axis=axes), np.maximum(pixels.std(axis=axes), 1.0)
        preprocessing = replace(
            preprocessing, mean=tuple(mean.tolist()), std=tuple(std.tolist()), scale=1.0, channels="rgb"
        )
    return PixelColumn(pixels, image, preprocessing)


def _signals(count: int, channels: int, length: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Steps at random places plus 1/f noise, (N, C, L), standardized."""
    steps = rng.normal(size=(count, channels, length)) * (rng.random((count, 1, length)) < 8 / max(length, 8))
    steps = np.cumsum(steps, axis=-1)
    frequency = np.maximum(np.fft.rfftfreq(length), 1 / length)
    spectrum = np.fft.rfft(rng.normal(size=(count, channels, length)), axis=-1) / np.sqrt(frequency)
    noise = np.fft.irfft(spectrum, n=length, axis=-1)
    signals = steps + rng.normal(size=(count, channels, 1)) + 0.5 * noise / np.maximum(noise.std(), 1e-6)
    signals -= signals.mean()
    signals /= np.maximum(signals.std(), 1e-6)
    return np.asarray(signals, dtype=np.float32)
