"""The samples of a run, split so that fitting, choosing and reporting never share one."""

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxshallow.data.images import ImageInput
from onnxshallow.data.preprocessing import Preprocessing
from onnxshallow.data.samples import Samples
from onnxshallow.data.sources import load_samples
from onnxshallow.data.splits import split, subset
from onnxshallow.data.synthetic import synthesize
from onnxshallow.data.unlike import synthesize_unlike
from onnxshallow.errors import DataError
from onnxshallow.model.tensors import TensorInfo, with_sizes
from onnxshallow.options.config import Config

__all__ = [
    "Prepared",
    "batch_size_of",
    "is_fixed",
    "labelled_batches",
    "load_report_samples",
    "open_sizes",
    "prepare",
]

logger = logging.getLogger(__name__)

_WITH_VALIDATION = (0.75, 0.25)
_WITHOUT_VALIDATION = (0.6, 0.2, 0.2)
# For so many synthetic samples, one of each other sort; and as many at the least, where there are as many in all.
_UNLIKE, _FEWEST_UNLIKE = 16, 16


@dataclass(frozen=True, eq=False)
class Prepared:
    """Samples by what they are for.

    Attributes:
        fit: layers are fitted on these; no labels.
        selection: candidates and plans are compared on these; no labels.
        report: the result is reported on these, with labels where there are some.
        pool: everything that the calibration source holds but the samples of the report; labels only where they are
            to be learned from.
        batch: samples a batch; the model's own number where it fixes one.
        others: made-up samples of other sorts than those that are fitted to, by what they are, on which the result is
            reported as well; none where the report is on real samples.
    """

    fit: Samples
    selection: Samples
    report: Samples
    pool: Samples
    batch: int
    others: Mapping[str, Samples] = field(default_factory=dict)

    @property
    def synthetic(self) -> bool:
        """Whether the samples that are fitted on are made up."""
        return self.fit.synthetic

    @property
    def calibrated(self) -> int:
        """How many samples layers are fitted to and plans chosen by."""
        return len(self.fit) + len(self.selection)

    @property
    def validated(self) -> bool:
        """Whether the result is reported on real samples; else nothing can be said of accuracy."""
        return not self.report.synthetic

    def fingerprint(self) -> str:
        """Digest of what fitting and choosing depend on."""
        return f"{self.fit.fingerprint()}-{self.selection.fingerprint()}-{self.batch}"


def prepare(config: Config, inputs: Sequence[TensorInfo]) -> Prepared:
    """Load calibration and validation samples and split them.

    Without validation data a fifth of the calibration samples is kept apart for the report. With no data at all
    synthetic samples are made, and the report is on samples of several other sorts as well.

    Args:
        config: sources, preprocessing, numbers of samples, seed.
        inputs: the network's inputs.

    Raises:
        DataError: data that cannot be read, do not fit the network, or are too few.
    """
    inputs = with_sizes(inputs, config.input_shape)
    preprocessing = Preprocessing.from_config(config)
    _require_batch_axes(inputs, _firsts(inputs))
    batch = batch_size_of(inputs, config)
    if config.calib is None:
        unknown = "" if config.validate_data is not None else " The result is NOT validated."
        logger.warning("No calibration data: using synthetic images.%s Give real inputs with --calib.", unknown)
        calibration = synthesize(inputs, config.calib_samples, config.seed, preprocessing, config.data_limit)
    else:
        calibration = load_samples(
            config.calib,
            inputs,
            preprocessing,
            limit=None if config.labels else config.calib_samples,
            seed=config.seed,
            max_bytes=config.data_limit,
        )
    _say_what_is_not_used(preprocessing, inputs, calibration)
    others: Mapping[str, Samples] = {}
    pool = calibration.whole
    if config.labels:
        pool = calibration
        calibration = pool.take(subset(len(pool), config.calib_samples, config.seed))
    if config.validate_data is None:
        parts = split(len(calibration), _WITHOUT_VALIDATION, config.seed)
        report = calibration.take(parts[2])
        reported = [report.position(index) for index in range(len(report))]
        pool = pool.take(np.setdiff1d(np.arange(len(pool)), reported))
        if report.synthetic:
            others = synthesize_unlike(report, _number_of_others(len(calibration), inputs, batch), config.seed)
    else:
        parts = split(len(calibration), _WITH_VALIDATION, config.seed)
        report, _ = load_report_samples(config, inputs)
    calibration = calibration.without_labels()
    prepared = Prepared(calibration.take(parts[0]), calibration.take(parts[1]), report, pool, batch, others)
    _check_enough(inputs, batch, prepared.fit, prepared.selection, report)
    return prepared


def _say_what_is_not_used(preprocessing: Preprocessing, inputs: Sequence[TensorInfo], samples: Samples) -> None:
    """Options for pixels change nothing where no input takes images."""
    named = preprocessing.normalizing_options
    if named and all(ImageInput.from_tensor(info) is None for info in inputs):
        logger.warning("%s: %s not used, as no input takes images", samples.source, " and ".join(named))


def _number_of_others(count: int, inputs: Sequence[TensorInfo], batch: int) -> int:
    """How many samples of each other sort go with `count` synthetic ones; whole batches where these are fixed."""
    each = min(count, max(_FEWEST_UNLIKE, math.ceil(count / _UNLIKE)))
    return math.ceil(each / batch) * batch if is_fixed(inputs) else each


def _check_enough(inputs: Sequence[TensorInfo], batch: int, *parts: Samples) -> None:
    smallest = min(map(len, parts))
    if is_fixed(inputs) and smallest < batch:
        raise DataError(
            f"The model runs on batches of exactly {batch}, but a split has {smallest} samples; give more."
        )


def load_report_samples(config: Config, inputs: Sequence[TensorInfo]) -> tuple[Samples, int]:
    """The samples of `--validate`, and how many of them make a batch.

    Raises:
        DataError: they cannot be read, do not fit the network, or are too few for its batch.
    """
    _require_batch_axes(inputs, _firsts(inputs))
    samples = load_samples(
        "" if config.validate_data is None else config.validate_data,
        inputs,
        Preprocessing.from_config(config),
        limit=config.validate_samples,
        seed=config.seed,
        max_bytes=config.data_limit,
    )
    batch = batch_size_of(inputs, config)
    _check_enough(inputs, batch, samples)
    return samples, batch


def open_sizes(samples: Samples, inputs: Sequence[TensorInfo]) -> dict[str, tuple[int, ...]]:
    """The shapes that samples have, for inputs with open axes besides the batch, by name; for a batch of one."""
    first = samples.batch([0])
    found = {}
    for info in inputs:
        if info.shape is None or not all(isinstance(size, int) for size in info.shape[1:]):
            found[info.name] = first[info.name].shape
    return found


def is_fixed(inputs: Sequence[TensorInfo]) -> bool:
    """Whether a network runs on batches of one size only."""
    return any(isinstance(size, int) for size in _firsts(inputs).values())


def _firsts(inputs: Sequence[TensorInfo]) -> dict[str, int | str | None]:
    """The sizes of the first axes by the inputs' names.

    A vector of fixed length is no batch, unless it is of one number, and no other input fixes more.
    """
    whole = {i.name: i.shape[0] for i in inputs if i.shape and len(i.shape) > 1}
    if any(isinstance(size, int) and size != 1 for size in whole.values()):
        return whole
    return whole | {i.name: 1 for i in inputs if i.shape == (1,)}


def _require_batch_axes(inputs: Sequence[TensorInfo], firsts: Mapping[str, int | str | None]) -> None:
    """Make sure that the first axis of every input can be the batch.

    Raises:
        DataError: one has no batch axis, or has it elsewhere.
    """
    symbols = {size for size in firsts.values() if isinstance(size, str)}
    fixed = {size for size in firsts.values() if isinstance(size, int)}
    for info in inputs:
        shape = info.shape or ()
        if len(shape) == 1 and isinstance(shape[0], int) and shape[0] != 1 and shape[0] not in fixed:
            raise DataError(
                f"Input {info.name!r} is a vector of {shape[0]} and has no batch axis, so a run is one sample; "
                f"export the model with a batch as the first axis, such as (N, {shape[0]})."
            )
        if isinstance(firsts.get(info.name), int) and symbols & set(shape[1:]):
            raise DataError(
                f"The first axis of input {info.name!r}, of shape {shape}, is not the batch, as for the state "
                "of a recurrent network; export the model with the batch as the first axis of every input."
            )


def batch_size_of(inputs: Sequence[TensorInfo], config: Config) -> int:
    """Samples a batch: as many as the inputs fix, else what the options say.

    Raises:
        DataError: the inputs fix different numbers.
    """
    firsts = _firsts(inputs)
    fixed = {name: size for name, size in firsts.items() if isinstance(size, int)}
    if len(set(fixed.values())) > 1:
        stated = ", ".join(f"{name!r} to {size}" for name, size in fixed.items())
        raise DataError(
            f"The model's inputs fix their first axes to different sizes ({stated}), so what one sample is cannot be "
            "told; export the model with the batch as the first axis of every input."
        )
    return next(iter(fixed.values())) if fixed else config.batch_size


def labelled_batches(
    samples: Samples, batch: int, *, whole: bool = False
) -> Iterator[tuple[Mapping[str, Any], NDArray[np.int64] | None]]:
    """Inputs and labels, batch by batch.

    Args:
        samples: the samples.
        batch: samples a batch.
        whole: leave out a last batch that is not full, for a model that fixes its batch size.
    """
    for start in range(0, len(samples), batch):
        indices = np.arange(start, min(start + batch, len(samples)))
        if whole and len(indices) < batch:
            return
        yield samples.batch(indices), None if samples.labels is None else samples.labels[indices]
