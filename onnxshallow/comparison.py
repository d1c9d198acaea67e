"""Two model files side by side: `validate` and `bench`."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from onnxshallow.config import Config
from onnxshallow.data.prepare import is_fixed, labelled_batches, load_report_samples
from onnxshallow.data.synthetic import synthesize
from onnxshallow.errors import ModelError, UsageError
from onnxshallow.model.document import Document, load_document
from onnxshallow.model.network import Network
from onnxshallow.model.session import Session
from onnxshallow.model.tensors import TensorInfo, shared_inputs, with_sizes
from onnxshallow.progress import Progress, counted
from onnxshallow.report.build import accuracy_report, class_details, fidelity_report
from onnxshallow.report.build_validation import first_answer, gate_report, gates_verdict
from onnxshallow.report.schema import BenchReport, FileReport, MetricReport, ValidationReport
from onnxshallow.validation.compare import FIRST_GLANCE, Comparison, compare_models
from onnxshallow.validation.gates import Limits, check_gates
from onnxshallow.validation.latency import speedup, time_models
from onnxshallow.validation.user_metric import load_metric
from onnxshallow.versions import versions

__all__ = ["bench_files", "validate_files"]


def validate_files(
    original: Path, optimized: Path, config: Config, progress: Progress, metrics: Sequence[str] = ()
) -> ValidationReport:
    """Compare two models on validation data.

    Args:
        original: path of the reference model.
        optimized: path of the model to check, with the same inputs and outputs.
        config: `validate_data`, preprocessing, and the gates `max_drop`, `min_agreement` and `max_error`; where none
            is set, a default one counts, see `check_gates`.
        progress: shows how it goes.
        metrics: of the user's own, `file.py:function`; the files are run.

    Raises:
        UsageError: no validation data are given, or a gate cannot be checked on this network.
        ModelError: a model cannot be used, or the two do not match.
        DataError: the data or a metric cannot be used.
    """
    if config.validate_data is None:
        raise UsageError("Say what to compare the models on: --data DATA.")
    own = [load_metric(source) for source in metrics]
    limits = Limits(config.max_drop, config.min_agreement, config.max_error)
    first, second, inputs = _load_pair(original, optimized, config)
    inputs = shared_inputs(inputs, with_sizes(Network(second.model).inputs, config.input_shape))
    samples, batch = load_report_samples(config, inputs)
    threads = config.threads or 0

    def glance(comparison: Comparison) -> None:
        check_gates(comparison, limits)  # so that a gate that cannot be checked is told now
        if len(samples) >= 4 * FIRST_GLANCE:
            progress.note(first_answer(comparison, len(samples)))

    with progress.stage("Validating", -(-len(samples) // batch)) as step:
        comparison = compare_models(
            Session(first.model, threads=threads),
            Session(second.model, threads=threads),
            counted(labelled_batches(samples, batch, whole=is_fixed(inputs)), step),
            metrics=own,
            glance=glance,
        )
    gates = check_gates(comparison, limits)
    return ValidationReport(
        original=_file(first),
        optimized=_file(second),
        original_accuracy=accuracy_report(comparison.first),
        optimized_accuracy=accuracy_report(comparison.second),
        fidelity=fidelity_report(comparison, samples),
        verdict=gates_verdict(comparison, gates, limits),
        **class_details(comparison, samples),
        gates=[gate_report(gate, limits) for gate in gates],
        metrics=[MetricReport(**vars(metric.result())) for metric in own],
    )


def bench_files(original: Path, optimized: Path, config: Config, batch_size: int, runs: int) -> BenchReport:
    """Time two models in turns.

    Args:
        original: path of the model to compare with.
        optimized: path of the other.
        config: `input_shape`, `threads` and `seed`.
        batch_size: samples a run, where the model leaves that open.
        runs: runs of each.

    Raises:
        ModelError: a model cannot be used, or the two do not match.
        DataError: an input's size is open; says how to give it.
    """
    first, second, inputs = _load_pair(original, optimized, config)
    if is_fixed(inputs):
        batch_size = next(int(i.shape[0] or 1) for i in inputs if i.shape and isinstance(i.shape[0], int))
    feeds = synthesize(inputs, batch_size, config.seed, config.preprocessing()).batch(np.arange(batch_size))
    sessions = {
        name: Session(document.model, threads=config.threads or 0)
        for name, document in (("original", first), ("optimized", second))
    }
    times = time_models(sessions, feeds, runs)
    ratio, interval = speedup(times["original"], times["optimized"], config.seed)
    return BenchReport(
        original=_file(first),
        optimized=_file(second),
        original_ms=round(1000 * float(np.median(times["original"])), 4),
        optimized_ms=round(1000 * float(np.median(times["optimized"])), 4),
        speedup=ratio,
        speedup_interval=interval,
        batch_size=batch_size,
        runs=len(times["original"]),
        threads=config.threads,
        versions=versions(),
    )


def _load_pair(original: Path, optimized: Path, config: Config) -> tuple[Document, Document, tuple[TensorInfo, ...]]:
    """Both models, and the inputs of the first with the sizes that the user gave.

    Raises:
        ModelError: one cannot be used, or they have different inputs or outputs.
    """
    first, second = (load_document(path, config.tensor_limit) for path in (original, optimized))
    networks = [Network(document.model) for document in (first, second)]
    for what, names in (
        ("inputs", [[info.name for info in network.inputs] for network in networks]),
        ("outputs", [list(network.output_names) for network in networks]),
    ):
        if names[0] != names[1]:
            raise ModelError(
                f"{original} and {optimized} cannot be compared: their {what} are {names[0]} and {names[1]}."
            )
    return first, second, with_sizes(networks[0].inputs, config.input_shape)


def _file(document: Document) -> FileReport:
    return FileReport(path=str(document.path), sha256=document.sha256)
