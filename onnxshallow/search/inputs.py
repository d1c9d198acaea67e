"""What a run begins with: the model, its samples in batches, and what the original does with them."""

import logging
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
from onnxshallow.model.providers import Placed
from onnxshallow.model.session import Session, place
from onnxshallow.options.config import Config
from onnxshallow.rewriting.channel_orders import with_orders
from onnxshallow.rewriting.site_statistics import collect_statistics
from onnxshallow.runtime.progress import Progress
from onnxshallow.runtime.store import ActivationStore
from onnxshallow.runtime.whole import join_batches
from onnxshallow.search.memory import divide_memory
from onnxshallow.search.plan import Plan
from onnxshallow.search.planner import read_budget
from onnxshallow.search.reduction import fewer_samples, leading_samples
from onnxshallow.search.solver import Budget
from onnxshallow.validation.guess import LabelledOutputs, find_kinds, labelled_outputs
from onnxshallow.validation.kinds import OutputKind
from onnxshallow.validation.peaks import Reference
from onnxshallow.validation.seen import Seen

__all__ = ["ROUGHLY_WATCHED", "Inputs", "Observation", "load_inputs", "observe"]

logger = logging.getLogger(__name__)


# What measuring candidates one by one, looking at plans roughly, and comparing the best of them may cost.
_SWEEP_MACS, _ROUGH_MACS, _CLOSE_MACS = 4e12, 1e13, 2.4e13
# How many of these there are, about: candidates for each site, and for each layer where layers may get lighter; and
# plans. Where a part of a site may be kept, there are twice as many candidates, and plans take twice as long.
_CANDIDATES, _LIGHTER, _ROUGH_PLANS, _CLOSE_PLANS = 3, 3, 24, 8
# The fewest and the most samples to fit on.
_SWEEP_SAMPLES, _ROUGH_SAMPLES, _CLOSE_SAMPLES = (32, 128), (32, 96), (64, 256)
# While plans are looked at roughly, one in so many of the batches that are watched then.
ROUGHLY_WATCHED = 3
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
        reduced: fewer of them, on which plans are compared closely.
        kinds: what the outputs mean.
        reference: what the original's activations reach, remembered by sets of samples.
        placed: what each execution provider runs of the model.
        most_plans: how many plans to look at, at most, where time is short; None for as many as are worth it.
    """

    document: Document
    analysis: Analysis
    config: Config
    data: Prepared
    calibration: Calibration
    reduced: Calibration
    kinds: tuple[OutputKind, ...]
    reference: Reference
    placed: tuple[Placed, ...] = ()
    most_plans: int | None = None

    @cached_property
    def budget(self) -> Budget:
        """The targets in absolute numbers.

        Raises:
            UsageError: a target is malformed.
        """
        return read_budget(self.config, self.analysis)

    @cached_property
    def rough(self) -> Calibration:
        """Fewer samples still, on which most plans are only looked at; the leading ones of `reduced`."""
        count = int(np.clip(_affordable(self.analysis, _ROUGH_MACS, 3 * _ROUGH_PLANS, self.config), *_ROUGH_SAMPLES))
        watched = self.reduced.watched[::ROUGHLY_WATCHED]
        return replace(leading_samples(self.reduced, count, 2 * count), watched=watched)

    @cached_property
    def swept(self) -> Calibration:
        """The samples that candidates are measured on one by one; the leading ones of `reduced`."""
        candidates = _CANDIDATES * len(self.analysis.sites)
        candidates += _LIGHTER * len(self.analysis.layers) if self.config.lighter else 0
        count = int(np.clip(_affordable(self.analysis, _SWEEP_MACS, candidates, self.config), *_SWEEP_SAMPLES))
        return replace(leading_samples(self.reduced, count, count), watched=())

    def at_granularity(self, granularity: str) -> "Inputs":
        """The same model and data, with activations that go or stay by another unit."""
        config = self.config.model_copy(update={"granularity": granularity})
        reduced = self.reduced if self.most_plans else _reduced(self.analysis, self.calibration, config)
        reduced = replace(reduced, watched=self.reduced.watched)
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
        outputs: on the selection batches of `Inputs.reduced`; one list an output, one array (N, ...) a batch.
    """

    statistics: Statistics
    outputs: Sequence[Sequence[np.ndarray]]

    def reference(self, calibration: Calibration) -> list[np.ndarray]:
        """The outputs on the selection samples of `reduced`, `rough` or `swept`, one array (N, ...) each."""
        batches = len(calibration.batches[calibration.selection])
        return join_batches([arrays[:batches] for arrays in self.outputs])


def load_inputs(document: Document, config: Config) -> Inputs:
    """Analyse the model and read the data.

    Raises:
        ModelError: the model does not run.
        DataError: the data cannot be used.
        UsageError: options do not fit the model.
    """
    _require_tensors(document)
    document = document.measurable()
    for remark in document.remarks:
        logger.info("%s: %s", document.path, remark)
    if config.input_shape is not None:
        config = config.model_copy(update={"input_shape": document.sizes(config.input_shape)})
    analysis = analyze(document.plain.model, config.input_shape)
    data = prepare(config, analysis.network.inputs)
    if analysis.cost.unknown and (sizes := open_sizes(data.fit, analysis.network.inputs)):
        config = config.model_copy(update={"input_shape": {**sizes, **(config.input_shape or {})}})
        analysis = analyze(document.plain.model, config.input_shape)
    memory = divide_memory(config, analysis)
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
    reduced = _reduced(analysis, calibration, config)
    kinds = find_kinds(analysis.network, config.output_kind, lambda: _labelled(document, config, data, whole))
    placed = place(document.model, calibration.batches[0], calibration.threads)
    reference = Reference(analysis, calibration.threads)
    return Inputs(document, analysis, config, data, calibration, reduced, kinds, reference, placed)


def _require_tensors(document: Document) -> None:
    """Refuse inputs that samples cannot be, and outputs that cannot be compared, before any work is done."""
    graph = document.model.graph
    if not {value.name for value in graph.input} - {tensor.name for tensor in graph.initializer}:
        raise ModelError(
            f"{document.path} has no inputs, so that it computes the same each time and there are no samples to "
            "measure on; export it with what it reads as inputs."
        )
    for what, value in (*(("Input", v) for v in graph.input), *(("Output", v) for v in graph.output)):
        if value.type.WhichOneof("value") not in ("tensor_type", None):
            raise _no_tensor(what, value.name, document)


def _no_tensor(what: str, name: str, document: Document) -> ModelError:
    return ModelError(
        f"{what} {name!r} of {document.path} is no tensor but a sequence, a map or an optional value, and models are "
        "compared by tensors; export the model without it."
    )


def _labelled(document: Document, config: Config, data: Prepared, whole: bool) -> LabelledOutputs | None:
    """What the original says of validation samples, as labels of calibration samples decide nothing."""
    if config.validate_data is None:
        return None
    return labelled_outputs(document.model, data.report, data.batch, whole=whole, threads=config.threads or 0)


def _reduced(analysis: Analysis, calibration: Calibration, config: Config) -> Calibration:
    """The samples that the best plans are compared on."""
    affordable = _affordable(analysis, _CLOSE_MACS, _CLOSE_PLANS, config)
    fit_samples = int(np.clip(affordable * 3 // 8, *_CLOSE_SAMPLES))
    return fewer_samples(calibration, fit_samples, max(_CLOSE_SAMPLES[0], affordable * 5 // 8))


def _affordable(analysis: Analysis, macs: float, times: int, config: Config) -> int:
    """How many samples the network can be run on so many times for so many multiply-adds in all.

    The number depends on the network, never on the clock, so that the same inputs give the same plan.
    """
    return int(macs / max(1, analysis.cost.macs * times * (2 if config.in_part else 1)))


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
    session = Session(inputs.document.model, threads=reduced.threads)
    runs = [session.run(batch) for batch in reduced.batches[reduced.selection]]
    outputs = list(zip(*runs, strict=True))
    for name, output in zip(session.output_names, runs[0], strict=True):
        if not isinstance(output, np.ndarray):  # an output that says nothing of its type may be anything
            raise _no_tensor("Output", name, inputs.document)
    if not any(output.dtype.kind == "f" and output.size for output in runs[0]):
        raise ModelError(
            f"No output of {inputs.document.path} is a floating-point tensor with elements, nor made from one, so "
            "what a change does cannot be measured; make a tensor inside, such as the class scores, an output."
        )
    if not all(np.all(np.isfinite(output)) for run in runs for output in run if output.dtype.kind == "f"):
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
            curved=config.squares or any(c.squares for c in known),
        )
    if config.lighter or any(c.by_order for c in known):
        statistics = _with_orders(inputs, statistics, progress)
    return Observation(statistics, outputs)


def _with_orders(inputs: Inputs, statistics: Statistics, progress: Progress) -> Statistics:
    """Statistics with the orders of channels that go by what the samples of the search show."""
    narrowable, _ = find_narrowable(inputs.analysis)
    with progress.stage("Ranking channels", len(narrowable)) as step:
        return with_orders(inputs.analysis, statistics, narrowable, inputs.calibration, step)
