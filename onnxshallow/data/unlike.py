"""Made-up samples of other sorts than those that are fitted to.

What was fitted to one sort is judged on the others: a change that does harm on one of them cannot be trusted on
samples that nobody has seen.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from onnxshallow.data.columns import ArrayColumn, Column, PixelColumn
from onnxshallow.data.dead_leaves import dead_leaves
from onnxshallow.data.other_images import shades, spectral, strokes
from onnxshallow.data.samples import Samples

__all__ = ["synthesize_unlike"]

_Images = Callable[[int, int, int, int, int], NDArray[np.uint8]]
_Values = Callable[[tuple[int, ...], np.random.Generator], NDArray[np.floating]]


def synthesize_unlike(samples: Samples, count: int, seed: int) -> dict[str, Samples]:
    """Makes up samples of several other sorts, for the same network.

    Images are noise as of photographs, shades with a few edges, strokes on a plain ground and coarse dead leaves,
    preprocessed as `samples` are. Signals are noise, waves, pulses and steps, and other values vary together, are
    mostly zero, have one sign, or differ much in size; all standardized. Integers are zeros and ones as before.

    Args:
        samples: made up by `synthesize`.
        count: samples of each sort.
        seed: the same seed gives the same samples.

    Returns:
        Samples of each sort, by what they are.
    """
    forms = {_form(column) for column in samples.columns.values()}
    names = next(names for form, names in _NAMES.items() if form in forms)
    rngs = {name: np.random.default_rng([seed, position]) for position, name in enumerate(samples.columns)}
    return {
        name: Samples(
            {key: _other(column, sort, count, rngs[key]) for key, column in samples.columns.items()},
            source=f"synthetic {name}",
            synthetic=True,
        )
        for sort, name in enumerate(names)
    }


def _form(column: Column) -> str:
    """Which of the sorts a column takes: `images`, `signals` or `values`."""
    if isinstance(column, PixelColumn):
        return "images"
    return "signals" if isinstance(column, ArrayColumn) and column.values.ndim == 3 else "values"


def _other(column: Column, sort: int, count: int, rng: np.random.Generator) -> Column:
    """So many samples of another sort, in the form that the column has."""
    if isinstance(column, PixelColumn):
        height, width, channels = column.pixels.shape[1:]
        return replace(column, pixels=_IMAGES[sort](count, channels, height, width, int(rng.integers(2**32))))
    assert isinstance(column, ArrayColumn)
    shape = (count, *column.values.shape[1:])
    if column.dtype.kind in "iub":
        return replace(column, values=rng.integers(0, 2, size=shape))
    makers = _SIGNALS if _form(column) == "signals" else _VALUES
    return replace(column, values=_standardized(makers[sort](shape, rng)))


def _standardized(values: NDArray[np.floating]) -> NDArray[np.float32]:
    return np.asarray((values - values.mean()) / max(float(values.std()), 1e-6), dtype=np.float32)


def _coarse_leaves(count: int, channels: int, height: int, width: int, seed: int) -> NDArray[np.uint8]:
    return dead_leaves(count, channels, height, width, seed, scale=4.0, contrast=0.5)


def _noise(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.floating]:
    return rng.normal(size=shape)


def _waves(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.floating]:
    """Three sines a sample, of up to a quarter as many periods as there are values, with phases of their own."""
    count, channels, length = shape
    periods = np.exp(rng.uniform(0, np.log(max(length / 4, 1.5)), size=(count, 1, 1, 3)))
    phases = rng.uniform(0, 2 * np.pi, size=(count, channels, 1, 3))
    time = np.arange(length)[:, None] / length
    return np.asarray(np.sin(2 * np.pi * periods * time + phases).sum(axis=-1))


def _pulses(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.floating]:
    """Nothing but a few single values, the same times in all channels, in a little noise."""
    count, _, length = shape
    here = rng.random((count, 1, length)) < 4 / max(length, 8)
    return np.asarray(here * rng.normal(size=shape) + 0.02 * rng.normal(size=shape))


def _steps(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.floating]:
    """Constant but for a few steps."""
    count, channels, length = shape
    steps = rng.normal(size=shape) * (rng.random((count, 1, length)) < 4 / max(length, 8))
    return np.asarray(np.cumsum(steps, axis=-1) + rng.normal(size=(count, channels, 1)))


def _together(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.floating]:
    """Sums of four patterns that all samples share, and a little noise."""
    count, *rest = shape
    patterns = rng.normal(size=(4, int(np.prod(rest))))
    return (rng.normal(size=(count, 4)) @ patterns).reshape(shape) + 0.1 * rng.normal(size=shape)


def _sparse(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.floating]:
    return np.asarray(rng.normal(size=shape) * (rng.random(shape) < 1 / 8))


def _one_sign(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.floating]:
    return np.asarray(np.abs(rng.normal(size=shape)))


def _sizes(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.floating]:
    """Samples that are up to about four times as large or small as others."""
    size = np.exp(rng.uniform(-np.log(2), np.log(2), size=(shape[0], *[1] * (len(shape) - 1))))
    return np.asarray(size * rng.normal(size=shape))


_IMAGES: tuple[_Images, ...] = (spectral, shades, strokes, _coarse_leaves)
_SIGNALS: tuple[_Values, ...] = (_noise, _waves, _pulses, _steps)
_VALUES: tuple[_Values, ...] = (_together, _sparse, _one_sign, _sizes)
# Where a network has inputs of several forms, the first of these is what the sorts are named after.
_NAMES = {
    "images": (
        "noise as of photographs",
        "shades with a few edges",
        "strokes on a plain ground",
        "coarse dead leaves",
    ),
    "signals": ("white noise", "waves", "pulses", "steps"),
    "values": ("values that vary together", "mostly zeros", "values of one sign", "samples of unequal size"),
}
