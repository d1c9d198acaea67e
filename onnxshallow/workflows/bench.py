"""Models timed side by side: `bench`. Latency is measured here; private inference is estimated, and run if asked."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Unpack

import numpy as np

from onnxshallow.analysis import analyze
from onnxshallow.data.prepare import batch_size_of, is_fixed
from onnxshallow.data.preprocessing import Preprocessing
from onnxshallow.data.synthetic import synthesize
from onnxshallow.errors import ModelError, UsageError
from onnxshallow.model.document import MEMORY, Document, ModelSource
from onnxshallow.model.providers import current_providers, running_on
from onnxshallow.model.session import place, usable_cores
from onnxshallow.model.tensors import TensorInfo
from onnxshallow.model.weights import byte_size
from onnxshallow.options.arguments import read_arguments
from onnxshallow.options.config import Config
from onnxshallow.options.keywords import Options
from onnxshallow.private.engine.run import Link
from onnxshallow.private.estimate import estimate
from onnxshallow.private.protocols import Protocol, Weights
from onnxshallow.report.build.run import file_report
from onnxshallow.report.schema.reports import (
    BenchMeasurement,
    BenchModel,
    BenchReport,
    BenchSetting,
    FixedPointReport,
    PrivateReport,
)
from onnxshallow.report.terminal.progress import as_progress
from onnxshallow.runtime.footprint import FootprintError, peak_memory
from onnxshallow.runtime.progress import Progress
from onnxshallow.validation.fixed_point import fixed_point, fixed_point_findings
from onnxshallow.validation.latency import median_interval, speedup, time_in_parts
from onnxshallow.versions import versions
from onnxshallow.workflows.engine import measure_engine
from onnxshallow.workflows.validate import load_models

__all__ = ["BenchOptions", "bench"]

logger = logging.getLogger(__name__)

# Fixed point is simulated on so many samples, where the models leave that open.
_FIXED_POINT_SAMPLES = 32


@dataclass(frozen=True)
class BenchOptions:
    """What to measure.

    Attributes:
        batch_sizes: samples a run, where the models leave that open.
        threads: of onnxruntime; none for what the config says, or all cores. Every batch size is measured with each.
        runs: of each model at each setting; None for as many as the time allows.
        seconds: that a setting takes, about. None for as long as `runs` take, or, where these are not given, for 3 s
            and up to 12 s while an interval is wider than 2 %.
        memory: measure the peak memory too.
        protocols: of private inference, for which to estimate the cost.
        rtt: seconds of a round trip between the parties.
        bandwidth: bits a second between them, each way.
        weights: whether only their owner knows the weights.
        engine: protocols under which to run the models in a real engine.
    """

    batch_sizes: tuple[int, ...] = (1,)
    threads: tuple[int, ...] = ()
    runs: int | None = None
    seconds: float | None = None
    memory: bool = True
    protocols: tuple[Protocol, ...] = ()
    rtt: float = 1e-3
    bandwidth: float = 1e9
    weights: Weights = "secret"
    engine: tuple[Protocol, ...] = ()


def bench(
    *models: ModelSource,
    measure: BenchOptions | None = None,
    config: Config | None = None,
    progress: Progress | bool | None = None,
    **options: Unpack[Options],
) -> BenchReport:
    """Time models in turns, and compare each with the first.

    Args:
        *models: two or more, or their paths, with the same inputs and outputs.
        measure: what to measure; `BenchOptions()` where it is not given.
        config: all other options; else they are taken from `options` and from an `onnxshallow.toml` beside the first.
        progress: shows how it goes.
        **options: single options by name: `input_shape`, `max_tensor`, `threads`, `providers` and `seed` count.

    Raises:
        UsageError: there is only one model, or options are wrong.
        ModelError: a model cannot be used, or does not match the first.
        DataError: an input's size is open; says how to give it.
    """
    if len(models) < 2:
        raise UsageError("Name two models or more to compare.")
    config = read_arguments(models[0], config, options)
    with running_on(config.providers):
        return _bench(models, measure or BenchOptions(), config, as_progress(progress))


def _bench(models: Sequence[ModelSource], options: BenchOptions, config: Config, progress: Progress) -> BenchReport:
    documents, own = load_models(models, config)
    notes: list[str] = []
    lone = _without_batch(documents[0], own)
    inputs = load_models(models, config, measured=True)[1] if lone else own
    settings = _settings(inputs, config, options, notes, lone)
    feeds = _feeds(inputs, settings[0].batch_size, config, lone)
    placed = place(documents[-1].model, feeds, config.threads or 0)
    measurements: list[BenchMeasurement] = []
    with progress.stage("Timing", len(settings)) as step:
        for setting in settings:
            measurements += _measure(documents, inputs, config, options, setting, notes, lone)
            step()
    measured = []
    if options.engine:
        link = Link(options.rtt, options.bandwidth)
        measured = measure_engine(documents, own, options.engine, options.weights, link, config, progress)
    first, second = measurements[0], measurements[1]
    return BenchReport(
        original=file_report(documents[0]),
        optimized=file_report(documents[1]),
        original_ms=first.median_ms,
        optimized_ms=second.median_ms,
        speedup=second.speedup,
        speedup_interval=second.speedup_interval,
        batch_size=first.batch_size,
        runs=first.runs,
        threads=first.threads,
        versions=versions(),
        models=[BenchModel(path=str(d.path), sha256=d.sha256, size_bytes=_size(d)) for d in documents],
        settings=settings,
        measurements=measurements,
        private=_private(documents, config, options),
        engine=measured,
        fixed_point=_fixed_point(documents, inputs, config, options, notes, lone),
        notes=notes,
        seed=config.seed,
        providers=placed,
    )


def _without_batch(document: Document, inputs: Sequence[TensorInfo]) -> Sequence[str]:
    """The inputs of a model, where none has an axis for the batch, so that one run is one sample."""
    stand_in = document.measurable(scores=False).stand_in
    lone = () if stand_in is None else stand_in.inputs
    return lone if all(info.name in lone for info in inputs) else ()


def _settings(
    inputs: Sequence[TensorInfo], config: Config, options: BenchOptions, notes: list[str], lone: Sequence[str]
) -> list[BenchSetting]:
    """Every batch size with every number of threads; a batch that a model fixes is the only one."""
    sizes = tuple(dict.fromkeys(options.batch_sizes))
    if is_fixed(inputs):
        own = batch_size_of(inputs, config)
        if lone:
            notes.append(f"One run is one sample, as the first axis of input {lone[0]!r} is no batch.")
        elif sizes != (own,):
            notes.append(f"A model fixes its batch at {own}, so that is what all of them run on.")
        sizes = (own,)
    threads = dict.fromkeys(options.threads or (config.threads,))
    return [BenchSetting(batch_size=size, threads=n) for size in sizes for n in threads]


def _measure(
    documents: Sequence[Document],
    inputs: Sequence[TensorInfo],
    config: Config,
    options: BenchOptions,
    setting: BenchSetting,
    notes: list[str],
    lone: Sequence[str],
) -> list[BenchMeasurement]:
    """Every model at one setting."""
    batch, threads = setting.batch_size, setting.threads or usable_cores()
    feeds = _feeds(inputs, batch, config, lone)
    peaks = [_peak(document, feeds, threads, notes) if options.memory else None for document in documents]
    models = [document.model for document in documents]
    timings = time_in_parts(models, feeds, threads, options.runs, options.seconds, config.seed)
    found = []
    for index, (timing, peak) in enumerate(zip(timings, peaks, strict=True)):
        ratio, interval = speedup(timings[0].turns, timing.turns, config.seed) if index else (1.0, (1.0, 1.0))
        low, high = median_interval(timing.turns, config.seed)
        found.append(
            BenchMeasurement(
                model=index,
                batch_size=batch,
                threads=setting.threads,
                runs=timing.runs,
                median_ms=round(1000 * timing.median, 4),
                median_interval=(round(1000 * low, 4), round(1000 * high, 4)),
                samples_per_second=round(batch / timing.median, 1),
                speedup=ratio,
                speedup_interval=interval,
                peak_memory_bytes=peak,
            )
        )
    return found


def _feeds(inputs: Sequence[TensorInfo], batch: int, config: Config, lone: Sequence[str]) -> dict[str, np.ndarray]:
    """A batch of made-up samples; `lone` inputs get one by itself."""
    feeds = synthesize(inputs, batch, config.seed, Preprocessing.from_config(config)).batch(np.arange(batch))
    feeds.update({name: feeds[name][0] for name in lone})
    for info in inputs:
        if info.shape is not None and len(info.shape) == 1 and isinstance(info.shape[0], int):  # no batch, a vector
            feeds[info.name] = np.resize(feeds[info.name], info.shape[0])
    return feeds


def _peak(document: Document, feeds: Mapping[str, np.ndarray], threads: int, notes: list[str]) -> int | None:
    try:
        if document.path == MEMORY:
            raise FootprintError("it is measured of files only")
        providers = [provider.for_session() for provider in current_providers()]
        return peak_memory(document.path, feeds, threads, providers)
    except FootprintError as error:
        note = f"The peak memory of {document.path} is not known: {error}."
        if note not in notes:
            logger.warning(note)
            notes.append(note)
        return None


def _size(document: Document) -> int:
    """Bytes of a model's files, or of the model where it has none."""
    if document.path == MEMORY:
        return byte_size(document.model)
    try:
        return sum(path.stat().st_size for path in (document.path, *document.data_files))
    except OSError as error:
        raise ModelError(f"Cannot read {document.path} again: {error.strerror or error}.") from error


def _private(documents: Sequence[Document], config: Config, options: BenchOptions) -> list[PrivateReport]:
    """An estimate for every protocol and model."""
    if not options.protocols:
        return []
    counted = [document.measurable(scores=False) for document in documents]
    analyses = [analyze(each.plain.model, each.sizes(config.input_shape)) for each in counted]
    found = []
    for protocol in options.protocols:
        link = options.rtt, options.bandwidth
        estimates = [estimate(analysis, protocol, *link, options.weights) for analysis in analyses]
        for model, made in enumerate(estimates):
            ratio = estimates[0].seconds / made.seconds if made.seconds else None
            found.append(PrivateReport(**vars(made), model=model, seconds_ratio=ratio))
    return found


def _fixed_point(
    documents: Sequence[Document],
    inputs: Sequence[TensorInfo],
    config: Config,
    options: BenchOptions,
    notes: list[str],
    lone: Sequence[str],
) -> list[FixedPointReport]:
    """What fixed point makes of every model, where a protocol of private inference is named."""
    if not options.protocols:
        return []
    batch = batch_size_of(inputs, config) if is_fixed(inputs) else _FIXED_POINT_SAMPLES
    feeds = _feeds(inputs, batch, config, lone)
    found = []
    for index, document in enumerate(documents):
        try:
            analysis = analyze(document.plain.model, config.input_shape)
            made = fixed_point(analysis, [feeds], threads=config.threads or 0)
        except ModelError as error:
            notes.append(f"What fixed point makes of {document.path} is not known: {error}")
            continue
        findings = fixed_point_findings(made)
        text = findings[0].text if findings else None
        found.append(FixedPointReport(**vars(made), model=index, finding=text))
    return found
