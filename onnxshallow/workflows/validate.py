"""Model files side by side: `validate`, and what `bench` shares with it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Unpack

import numpy as np

from onnxshallow.analysis import Analysis, analyze
from onnxshallow.data.prepare import is_fixed, labelled_batches, load_report_samples, open_sizes
from onnxshallow.data.samples import Samples
from onnxshallow.errors import ModelError, UsageError
from onnxshallow.model.document import Document, ModelSource, as_document
from onnxshallow.model.network import Network
from onnxshallow.model.providers import running_on
from onnxshallow.model.session import Session, place
from onnxshallow.model.tensors import TensorInfo, common_info, with_sizes
from onnxshallow.options.arguments import read_arguments
from onnxshallow.options.config import Config
from onnxshallow.options.keywords import Options
from onnxshallow.report.build.run import file_report
from onnxshallow.report.build.validation import class_details, first_answer
from onnxshallow.report.build.verdict import verdict_report
from onnxshallow.report.schema.reports import ValidationReport
from onnxshallow.report.schema.sections import PartingReport
from onnxshallow.report.terminal.progress import as_progress
from onnxshallow.runtime.progress import Progress, counted
from onnxshallow.validation.compare import FIRST_GLANCE, Comparison, compare_models
from onnxshallow.validation.evidence import data_findings
from onnxshallow.validation.gates import Limits, check_gates, gate_findings
from onnxshallow.validation.growth import Stability, stability_findings
from onnxshallow.validation.guess import find_kinds, labelled_outputs
from onnxshallow.validation.judgement import judge
from onnxshallow.validation.parting import differences, first_beyond
from onnxshallow.validation.peaks import Pair, Reference
from onnxshallow.validation.user_metric import UserMetric, load_metric

__all__ = ["load_models", "validate"]

# Samples on which the tensors inside are compared.
_LOOKED_INTO = 32


def validate(
    original: ModelSource,
    optimized: ModelSource,
    data: object = None,
    *,
    metrics: Sequence[str | Callable[..., object]] = (),
    layers: float | None = None,
    config: Config | None = None,
    progress: Progress | bool | None = None,
    **options: Unpack[Options],
) -> ValidationReport:
    """Compare two models on data; the report's verdict says whether the second may take the place of the first.

    Args:
        original: path of the reference model, or the model.
        optimized: the model to check, with the same inputs and outputs.
        data: what to compare them on, see `optimize`; the option `validate` is the same.
        metrics: of the user's own: functions of a batch's outputs by name and its labels, see
            `onnxshallow.validation.user_metric`, or `file.py:function`, whose file is run.
        layers: also compare the tensors inside that both have, and name the first that is off by more than this.
        config: all options; else they are taken from `options` and from an `onnxshallow.toml` beside the original.
        progress: shows how it goes.
        **options: single options by name, such as the gates `max_drop`, `min_agreement` and `max_error`; where none
            is set, a default one counts, see `check_gates`.

    Raises:
        UsageError: no validation data are given, or a gate cannot be checked on this network.
        ModelError: a model cannot be used, or the two do not match.
        DataError: the data or a metric cannot be used.
    """
    config = read_arguments(original, config, options, validation=data)
    if config.validate_data is None:
        raise UsageError("Say what to compare the models on: --data DATA.")
    with running_on(config.providers):
        own = [load_metric(metric) for metric in metrics]
        return _validate(original, optimized, config, as_progress(progress), own, layers)


def _validate(
    original: ModelSource,
    optimized: ModelSource,
    config: Config,
    progress: Progress,
    own: Sequence[UserMetric],
    layers: float | None,
) -> ValidationReport:
    limits = Limits.from_config(config)
    (first, second), inputs = load_models([original, optimized], config, measured=True)
    samples, batch = load_report_samples(config, inputs)
    threads = config.threads or 0
    whole = is_fixed(inputs)
    placed = place(second.model, samples.batch(np.arange(min(batch, len(samples)))), threads)
    shapes = {**open_sizes(samples, inputs), **(first.sizes(config.input_shape) or {})}
    kinds = find_kinds(
        Network(first.plain.model, shapes),
        config.output_kind,
        lambda: labelled_outputs(first.model, samples, batch, whole=whole, threads=threads),
    )

    def glance(comparison: Comparison) -> None:
        check_gates(comparison, limits)  # so that a gate that cannot be checked is told now
        if len(samples) >= 4 * FIRST_GLANCE:
            progress.note(first_answer(comparison, len(samples)))

    with progress.stage("Validating", -(-len(samples) // batch)) as step:
        comparison = compare_models(
            Session(first.model, threads=threads),
            Session(second.model, threads=threads),
            counted(labelled_batches(samples, batch, whole=whole), step),
            kinds=kinds,
            metrics=own,
            glance=glance,
        ).located_in(samples)
    analyses = analyze(first.plain.model, shapes), analyze(second.plain.model, shapes)
    stability = _stability(*analyses, samples, batch, config, progress)
    parting = None if layers is None else _parting(first, second, shapes, samples, batch, layers, threads)
    gates = check_gates(comparison, limits)
    judgement = judge(
        [
            *stability_findings(stability),
            *gate_findings(comparison, gates),
            *data_findings(samples, comparison, limits),
        ]
    )
    facts = [*(gate.in_short() for gate in gates), *([] if stability is None else [stability.in_short])]
    return ValidationReport(
        original=file_report(first),
        optimized=file_report(second),
        original_accuracy=comparison.first,
        optimized_accuracy=comparison.second,
        fidelity=comparison.fidelity,
        verdict=verdict_report(judgement, comparison, facts, []),
        **class_details(comparison),
        gates=gates,
        stability=stability,
        metrics=[metric.result() for metric in own],
        parting=parting,
        providers=placed,
    )


def _parting(
    first: Document,
    second: Document,
    shapes: Mapping[str, Sequence[int]],
    samples: Samples,
    batch: int,
    tolerance: float,
    threads: int,
) -> PartingReport:
    """Where the two networks part on some of the samples."""
    networks = Network(first.model, shapes), Network(second.model, shapes)
    few = samples.take(np.arange(min(len(samples), max(_LOOKED_INTO, batch))))
    batches = [feeds for feeds, _ in labelled_batches(few, batch, whole=is_fixed(networks[0].inputs))]
    found = differences(*networks, batches, threads)
    return PartingReport(
        samples=sum(len(next(iter(feeds.values()))) for feeds in batches),
        tolerance=tolerance,
        tensors=found,
        first=first_beyond(found, tolerance),
    )


def _stability(
    original: Analysis, optimized: Analysis, samples: Samples, batch: int, config: Config, progress: Progress
) -> Stability | None:
    """How far activations grow; None where nothing is squared that the original does not square."""
    if optimized.cost.squares <= original.cost.squares:
        return None
    pair = Pair(Reference(original, config.threads or 0), optimized.network)
    pair.examine("samples", samples, batch, config.seed, progress=progress)
    return pair.result


def load_models(
    sources: Sequence[ModelSource], config: Config, *, measured: bool = False
) -> tuple[tuple[Document, ...], tuple[TensorInfo, ...]]:
    """Models that are to be compared, and their common inputs with the sizes that the user gave.

    An axis that one model fixes and another leaves open is fixed.

    Args:
        sources: two models or more, or their paths; each is compared with the first.
        config: `input_shape` and `max_tensor`.
        measured: take what can be measured in place of models that cannot be, see `onnxshallow.model.measurable`.

    Raises:
        ModelError: one cannot be used, or has other inputs or outputs than the first.
    """
    documents = tuple(as_document(source, config.tensor_limit, freeze=config.freeze_weights) for source in sources)
    documents = _measurable(documents) if measured else documents
    networks = [Network(document.model) for document in documents]
    inputs = networks[0].inputs
    for document, network in zip(documents[1:], networks[1:], strict=True):
        both = f"{documents[0].path} and {document.path} cannot be compared"
        for what, names in (
            ("inputs", [[info.name for info in each.inputs] for each in (networks[0], network)]),
            ("outputs", [list(each.output_names) for each in (networks[0], network)]),
        ):
            if names[0] != names[1]:
                raise ModelError(f"{both}: their {what} are {names[0]} and {names[1]}; export both alike.")
        try:
            inputs = tuple(common_info(*pair) for pair in zip(inputs, network.inputs, strict=True))
        except ValueError as error:
            raise ModelError(f"{both}: {error}; export both alike.") from error
    return documents, with_sizes(inputs, documents[0].sizes(config.input_shape))


def _measurable(documents: tuple[Document, ...]) -> tuple[Document, ...]:
    """What stands for the models, all of which have the outputs that any of them has."""
    made = tuple(document.measurable() for document in documents)
    outputs = {tuple(value.name for value in document.model.graph.output) for document in made}
    return made if len(outputs) == 1 else tuple(document.measurable(scores=False) for document in documents)
