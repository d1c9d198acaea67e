"""What a run begins with: the model, its samples in batches, and what the original does with them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from onnxshallow.actions.base import Statistics
from onnxshallow.analysis import Analysis, analyze
from onnxshallow.analysis.narrowing import find_narrowable
from onnxshallow.data.prepare import Prepared, is_fixed, labelled_batches, open_sizes, prepare
from onnxshallow.errors import ModelError
from onnxshallow.fitting.calibration import Calibration
from onnxshallow.fitting.correction import FitOptions
from onnxshallow.model.document import Document
from onnxshallow.options.config import Config
from onnxshallow.rewriting.channel_orders import with_orders
from onnxshallow.rewriting.site_statistics import collect_statistics
from onnxshallow.runtime.progress import Progress
from onnxshallow.runtime.store import ActivationStore
from onnxshallow.runtime.whole import run_batches
from onnxshallow.search.memory import divide_memory
from onnxshallow.search.plan import Plan
from onnxshallow.search.planner import read_budget
from onnxshallow.search.reduction import fewer_samples
from onnxshallow.search.solver import Budget
from onnxshallow.validation.guess import LabelledOutputs, find_kinds, labelled_outputs
from onnxshallow.validation.kinds import OutputKind
from onnxshallow.validation.seen import Seen

__all__ = ["Inputs", "Observation", "load_inputs", "observe"]


# What measuring all candidates may cost, and the fewest and the most samples that are fitted on to compare.
_SWEEP_MACS, _FEWEST_FIT_SAMPLES, _MOST_FIT_SAMPLES = 2e13, 64, 384
# About how many candidates are measured for each site; twice as many where a part of it may be kept.
_CANDIDATES = 3
_RIDGE_REAL, _RIDGE_SYNTHETIC = 1e-3, 10.0


@dataclass(frozen=True, eq=False)
class Inputs:
    """A model and the samples to work with.

    Attributes:
        document: the model as it was loaded.
        analysis: its parts.
        config: the options.
        data: the samples.
        calibration: the calibration samples in batches.
        reduced: fewer of them, on which candidates and plans are compared.
        kinds: what the outputs mean.
    """

    document: Document
    analysis: Analysis
    config: Config
    data: Prepared
    calibration: Calibration
    reduced: Calibration
    kinds: tuple[OutputKind, ...]

    @cached_property
    def budget(self) -> Budget:
        """The targets in absolute numbers.

        Raises:
            UsageError: a target is malformed.
        """
        return read_budget(self.config, self.analysis)

    def at_granularity(self, granularity: str) -> "Inputs":
        """The same model and data, with activations that go or stay by another unit."""
        config = self.config.model_copy(update={"granularity": granularity})
        reduced = replace(_affordable(self.analysis, self.calibration, config), watched=self.reduced.watched)
        return replace(self, config=config, reduced=reduced)

    @cached_property
    def fitted(self) -> Seen | None:
        """The samples that layers are fitted to and plans chosen by; None where they are made up."""
        return None if self.data.synthetic else Seen.of(self.calibration.batches)

    @property
    def report_batches(self) -> int:
        """How many batches the samples of the report make; a rest is left out where the model fixes its batch."""
        batch = self.data.batch
        counts = [len(samples) for samples in (self.data.report, *self.data.others.values())]
        return sum(count // batch if self.fixed_batch else -(-count // batch) for count in counts)

    @property
    def fixed_batch(self) -> bool:
        """Whether the model runs on batches of one size only."""
        return is_fixed(self.analysis.network.inputs)


@dataclass(frozen=True, eq=False)
class Observation:
    """What the original does with the calibration samples.

    Attributes:
        statistics: what the removable sites do.
        reference: the outputs on the selection samples of `Inputs.reduced`, one array (N, ...) each.
    """

    statistics: Statistics
    reference: Sequence[np.ndarray]


def load_inputs(document: Document, config: Config) -> Inputs:
    """Analyse the model and read the data.

    Raises:
        ModelError: the model does not run.
        DataError: the data cannot be used.
        UsageError: options do not fit the model.
    """
    _require_tensors(document)
    analysis = analyze(document.plain.model, config.input_shape)
    data = prepare(config, analysis.network.inputs)
    if analysis.cost.unknown and (sizes := open_sizes(data.fit, analysis.network.inputs)):
        config = config.model_copy(update={"input_shape": {**sizes, **(config.input_shape or {})}})
        analysis = analyze(document.plain.model, config.input_shape)
    memory = divide_memory(config)
    whole = is_fixed(analysis.network.inputs)
    if not whole:
        data = replace(data, batch=memory.batch_size(analysis, data.batch))
    batches = [
        [feeds for feeds, _ in labelled_batches(part, data.batch, whole=whole)] for part in (data.fit, data.selection)
    ]
    ridge = config.ridge if config.ridge is not None else _RIDGE_SYNTHETIC if data.synthetic else _RIDGE_REAL
    calibration = Calibration(
        batches=[*batches[0], *batches[1]],
        fit_batches=len(batches[0]),
        store=ActivationStore(memory.activations),
        fit=FitOptions(ridge=ridge, memory=memory.fit, seed=config.seed),
        threads=config.threads or 0,
    )
    reduced = _affordable(analysis, calibration, config)
    kinds = find_kinds(analysis.network, config.output_kind, lambda: _labelled(document, config, data, whole))
    return Inputs(document, analysis, config, data, calibration, reduced, kinds)


def _require_tensors(document: Document) -> None:
    """Refuse outputs that cannot be compared before any work is done."""
    for value in document.model.graph.output:
        if value.type.WhichOneof("value") not in ("tensor_type", None):
            raise ModelError(
                f"Output {value.name!r} of {document.path} is no tensor but a sequence, a map or an optional value, "
                "and models are compared by tensors; export the model without it."
            )


def _labelled(document: Document, config: Config, data: Prepared, whole: bool) -> LabelledOutputs | None:
    """What the original says of validation samples, as labels of calibration samples decide nothing."""
    if config.validate_data is None:
        return None
    return labelled_outputs(document.model, data.report, data.batch, whole=whole, threads=config.threads or 0)


def _affordable(analysis: Analysis, calibration: Calibration, config: Config) -> Calibration:
    """As many samples to compare on as keep the sweep within `_SWEEP_MACS`, at the usual candidates a site.

    The number depends on the network, never on the clock, so that the same inputs give the same plan.
    """
    candidates = 2 * _CANDIDATES if config.in_part else _CANDIDATES
    affordable = int(_SWEEP_MACS / max(1, analysis.cost.macs * candidates * len(analysis.sites)))
    fit_samples = int(np.clip(affordable * 3 // 8, _FEWEST_FIT_SAMPLES, _MOST_FIT_SAMPLES))
    return fewer_samples(calibration, fit_samples, max(_FEWEST_FIT_SAMPLES // 2, affordable * 5 // 8))


def observe(inputs: Inputs, progress: Progress, plan: Plan | None = None) -> Observation:
    """Run the original on the calibration samples.

    Args:
        inputs: model and data.
        progress: shows how it goes.
        plan: what is to be done, where that is known; else what the options allow.

    Raises:
        ModelError: onnxruntime fails on the model, or it computes values that are not finite.
    """
    calibration, reduced = inputs.calibration, inputs.reduced
    reference = run_batches(inputs.document.model, reduced.batches[reduced.selection], reduced.threads)
    if not any(output.dtype.kind == "f" for output in reference):
        raise ModelError(
            f"No output of {inputs.document.path} is a floating-point tensor, so what a change does cannot be "
            "measured; make the tensor before it, such as the class scores, an output."
        )
    if not all(np.all(np.isfinite(output)) for output in reference if output.dtype.kind == "f"):
        raise ModelError(
            f"{inputs.document.path} computes values that are not finite on the calibration samples; check that "
            "these are preprocessed as the model wants."
        )
    sites = [site for site in inputs.analysis.sites if site.refusal is None]
    with progress.stage("Reading activations", len(sites)) as step:
        config, known = inputs.config, () if plan is None else plan.candidates
        pixels = config.granularity == "pixel" or any(c.by_element for c in known)
        statistics = collect_statistics(
            inputs.analysis,
            sites,
            calibration,
            step,
            pixels=pixels and inputs.analysis.network.has_fixed_sizes,
        )
    if config.lighter or any(c.by_order for c in known):
        statistics = _with_orders(inputs, statistics, progress)
    return Observation(statistics, reference)


def _with_orders(inputs: Inputs, statistics: Statistics, progress: Progress) -> Statistics:
    """Statistics with the orders of channels that go by what the samples of the search show."""
    narrowable, _ = find_narrowable(inputs.analysis)
    with progress.stage("Ranking channels", len(narrowable)) as step:
        return with_orders(inputs.analysis, statistics, narrowable, inputs.calibration, step)
