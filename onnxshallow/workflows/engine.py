"""Networks run under secure computation by a real engine: what `bench --engine` measures."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from onnxshallow.analysis import Analysis, analyze
from onnxshallow.data.preprocessing import Preprocessing
from onnxshallow.data.samples import Samples
from onnxshallow.data.sources import load_samples
from onnxshallow.data.synthetic import synthesize
from onnxshallow.model.document import Document
from onnxshallow.model.session import Session
from onnxshallow.model.spelling.smooth import written_out
from onnxshallow.model.tensors import TensorInfo, with_sizes
from onnxshallow.options.config import Config
from onnxshallow.private.engine.environment import engine_python
from onnxshallow.private.engine.lowering import lower, with_batch
from onnxshallow.private.engine.program import Program
from onnxshallow.private.engine.run import EngineRun, Link, run_program
from onnxshallow.private.price import goes_tap_by_tap, price
from onnxshallow.private.protocols import Protocol, Weights
from onnxshallow.report.schema.engine import EngineReport
from onnxshallow.runtime.progress import Progress

__all__ = ["measure_engine", "samples_to_compare"]

# Samples that are compared with onnxruntime, and how many of them run at a time.
_SAMPLES, _BATCH = 16, 8


@dataclass(frozen=True, eq=False)
class _Case:
    """One model under one protocol.

    Attributes:
        model: the model.
        protocol: the protocol.
        weights: whether only their owner knows them.
        link: between the parties.
    """

    model: onnx.ModelProto
    protocol: Protocol
    weights: Weights
    link: Link

    def program(self, batch: int) -> Program:
        return lower(with_batch(self.model, batch), lambda m: goes_tap_by_tap(m, self.protocol, self.weights))

    def timed(self, samples: Samples) -> EngineRun:
        """One sample over the link; of CHEETAH the second run, since the first one sets up."""
        feeds = [samples.batch([0])] * (2 if self.protocol.name == "cheetah" else 1)
        return run_program(engine_python(), self.program(1), feeds, self.protocol.name, self.weights, self.link)[-1]

    def answers(self, samples: Samples) -> Iterator[tuple[list[np.ndarray], list[np.ndarray]]]:
        """What onnxruntime and the engine say of the samples, a batch at a time; over plain loopback."""
        batch = min(_BATCH, len(samples))
        feeds = [samples.batch(np.arange(at, at + batch)) for at in range(0, len(samples) - batch + 1, batch)]
        session = Session(self.model)
        runs = run_program(engine_python(), self.program(batch), feeds, self.protocol.name, self.weights)
        for feed, run in zip(feeds, runs, strict=True):
            yield session.run(feed), list(run.outputs)


def measure_engine(
    documents: Sequence[Document],
    inputs: Sequence[TensorInfo],
    protocols: Sequence[Protocol],
    weights: Weights,
    link: Link,
    config: Config,
    progress: Progress,
) -> list[EngineReport]:
    """Run every model under every protocol, one sample over the link, and more beside onnxruntime.

    Args:
        documents: the models.
        inputs: that they have.
        protocols: that the engine has.
        weights: whether only their owner knows them.
        link: between the parties.
        config: where samples come from; they are made up where it does not say.
        progress: shows how it goes.

    Raises:
        SetupError: there is no engine.
        EngineError: it failed.
        ModelError: a model does what cannot be run so.
        DataError: the samples cannot be used.
    """
    engine_python()
    samples = samples_to_compare(inputs, config)
    found = []
    with progress.stage("Running under SPU", len(documents) * len(protocols)) as step:
        for protocol in protocols:
            for index, document in enumerate(documents):
                case = _Case(written_out(document.plain.model), protocol, weights, link)
                found.append(_report(index, case, analyze(document.plain.model, config.input_shape), samples))
                step()
    return found


def samples_to_compare(inputs: Sequence[TensorInfo], config: Config) -> Samples:
    """The samples on which an engine is compared with onnxruntime; made up where the config does not say.

    Raises:
        DataError: they cannot be used.
    """
    preprocessing, count = Preprocessing.from_config(config), config.validate_samples or _SAMPLES
    inputs = with_sizes(inputs, config.input_shape)
    if config.validate_data is None:
        return synthesize(inputs, count, config.seed, preprocessing, config.data_limit)
    return load_samples(
        config.validate_data, inputs, preprocessing, limit=count, seed=config.seed, max_bytes=config.data_limit
    )


def _report(index: int, case: _Case, analysis: Analysis, samples: Samples) -> EngineReport:
    estimated = price(analysis, case.protocol, case.weights).total
    run = case.timed(samples)
    agreed = compared = 0
    error = size = 0.0
    for expected, made in case.answers(samples):
        compared += len(expected[0])
        agreed += int(np.sum(_first(expected) == _first(made)))
        for one, other in zip(expected, made, strict=True):
            error = max(error, float(np.max(np.abs(one - other), initial=0.0)))
            size = max(size, float(np.max(np.abs(one), initial=0.0)))
    return EngineReport(
        model=index,
        engine="spu",
        protocol=case.protocol.name,
        title=case.protocol.title,
        weights=case.weights,
        rtt=case.link.rtt,
        bandwidth=case.link.bandwidth,
        bytes=run.bytes,
        sent_bytes=list(run.sent),
        messages=run.messages,
        seconds=run.seconds,
        work_seconds=run.work,
        bytes_estimated=estimated.bytes,
        messages_estimated=estimated.messages,
        seconds_estimated=estimated.seconds(case.link.rtt, case.link.bandwidth),
        samples=compared,
        agreed=agreed,
        largest_error=error,
        largest_output=size,
        synthetic=samples.synthetic,
    )


def _first(outputs: Sequence[np.ndarray]) -> np.ndarray:
    """The place of the largest value of each sample's first output."""
    first = outputs[0]
    places: np.ndarray = np.argmax(first.reshape(len(first), -1), axis=1)
    return places
