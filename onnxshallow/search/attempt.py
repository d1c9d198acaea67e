"""What comes of a plan: it is carried out, and the result is compared with the original."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property

from onnxshallow.data.prepare import labelled_batches
from onnxshallow.data.samples import Samples
from onnxshallow.fitting.calibration import Calibration
from onnxshallow.fitting.gathering import KnownRows
from onnxshallow.model.network import Network
from onnxshallow.model.session import Session
from onnxshallow.model.spelling import plainly_spelled
from onnxshallow.rewriting.lossless import lossless
from onnxshallow.rewriting.realize import Realized, realize
from onnxshallow.runtime.cursor import Batches
from onnxshallow.runtime.progress import Progress, counted
from onnxshallow.search.inputs import Inputs, Observation
from onnxshallow.search.plan import Plan
from onnxshallow.search.watched import IN_SOURCE, affordable_pool
from onnxshallow.validation.compare import Comparison, Fidelity, Loss, Runner, compare_models
from onnxshallow.validation.evidence import data_findings
from onnxshallow.validation.gates import Gate, Limits, check_gates, gate_findings
from onnxshallow.validation.growth import Stability, stability_findings
from onnxshallow.validation.judgement import Finding
from onnxshallow.validation.peaks import Pair
from onnxshallow.validation.seen import Seen
from onnxshallow.validation.synthetic import synthetic_findings

__all__ = ["Attempt", "carry_out", "examined", "judged", "realize_with", "tidied", "validate"]

logger = logging.getLogger(__name__)

# How often a plan is fitted, each time with more samples watched, until nothing grows too far.
_MOST_FITS = 5
# What to do where a model is refused.
_STEADIER = "Leave out --polynomials, raise the target, or give more calibration samples."
_CLOSER = "Allow more, raise the target, or give more calibration samples."


@dataclass(frozen=True, eq=False)
class Attempt:
    """One plan carried out and compared with the original.

    Attributes:
        plan: the plan.
        realized: its model.
        comparison: of the original and that model.
        labels_decide: whether the labels are those of validation data; those of a calibration file never decide.
        limits: the gates; None where there are no real samples, by which nothing can be said of accuracy.
        stability: how far activations grow, where something is squared that the original does not square.
        watched: further samples that layers were fitted to, where something is squared.
        learned: samples that weights learned from.
    """

    plan: Plan
    realized: Realized
    comparison: Comparison
    labels_decide: bool
    limits: Limits | None = None
    stability: Stability | None = None
    watched: Batches = ()
    learned: Seen = field(default_factory=Seen)

    @property
    def judged(self) -> Comparison:
        """What the gates look at."""
        return self.comparison if self.labels_decide else self.comparison.unlabelled

    @property
    def loss(self) -> Loss:
        """What an accuracy budget counts as lost."""
        return self.judged.loss

    @property
    def fidelity(self) -> Fidelity:
        """How close the outputs are, and how far composed kernels alone are off."""
        return replace(self.comparison.fidelity, composition_error=self.realized.composition_error)

    @cached_property
    def gates(self) -> list[Gate]:
        """The gates, checked; none where there are no real samples."""
        return [] if self.limits is None else check_gates(self.judged, self.limits)

    @cached_property
    def findings(self) -> list[Finding]:
        """What is known for or against the model: whether it is stable, and what its outputs say.

        Raises:
            UsageError: a gate needs what the network does not have.
        """
        found = stability_findings(self.stability, _STEADIER)
        found += synthetic_findings(self.comparison.fidelity.sorts)
        if self.limits is not None:
            found += gate_findings(self.judged, self.gates, _CLOSER)
        return found

    def against_the_data(self, inputs: Inputs) -> list[Finding]:
        """What speaks against the samples that it was fitted to and compared on.

        Args:
            inputs: the samples.
        """
        data = inputs.data
        others = Seen((*Seen.of(self.watched).digests, *self.learned.digests))
        return data_findings(data.report, self.judged, self.limits, inputs.fitted, data.fit.source, others)

    @property
    def usable(self) -> bool:
        """Whether no finding refuses it."""
        return not any(finding.refuses for finding in self.findings)

    @property
    def stable(self) -> bool:
        """Whether activations stay in bounds."""
        return self.stability is None or self.stability.why_unstable is None

    def rank(self) -> tuple[bool, bool, float]:
        """What puts attempts in order, the best first: usable ones, stable ones, those that lose less."""
        return not self.usable, not self.stable, self.loss.value


def carry_out(
    inputs: Inputs, observation: Observation, plan: Plan, progress: Progress
) -> tuple[Realized, Stability | None]:
    """Apply a plan, fitting on all calibration samples, and see how far the activations of the result grow.

    Where they grow too far, the samples on which they do are watched as well in another fit. Before the last one it
    is enough that there are some.
    """
    calibration = replace(inputs.calibration, everything=True)
    suspects = set[tuple[str, str]]()
    for fit in range(1, _MOST_FITS + 1):
        realized = realize_with(calibration, inputs, observation, plan, progress)
        pair = examined(inputs, realized, progress, suspects, briefly=fit < _MOST_FITS)
        if pair is None:
            return realized, None
        stability = pair.result
        if stability.why_unstable is None:
            break
        logger.info("%s; fitting again with these watched.", stability.why_unstable)
        calibration = replace(calibration, watched=[*calibration.watched, *pair.offenders])
        suspects = pair.suspects
    return realized, stability


def examined(
    inputs: Inputs,
    realized: Realized,
    progress: Progress,
    suspects: Iterable[tuple[str, str]] = (),
    *,
    briefly: bool = False,
) -> Pair | None:
    """The original and the result, whose activations were compared on all that there is.

    None where nothing is squared that the original does not square.

    Args:
        inputs: the original, and samples.
        realized: the rewritten network.
        progress: shows how it goes.
        suspects: what grew in an earlier fit (`onnxshallow.validation.peaks.Pair`).
        briefly: whether some samples of too much growth are enough, without looking at all that there is; those for
            validation are then looked at only where there are none for calibration.
    """
    if realized.analysis.cost.squares <= inputs.analysis.cost.squares:
        return None
    data = inputs.data
    pair = Pair(inputs.reference, realized.network, suspects)
    sources = {IN_SOURCE: affordable_pool(inputs), "validation samples": data.report}
    for name, samples in sources.items():
        if not (briefly and pair.offenders):
            pair.examine(name, samples, data.batch, inputs.config.seed, briefly=briefly, progress=progress)
    return pair


def judged(
    inputs: Inputs,
    plan: Plan,
    realized: Realized,
    stability: Stability | None,
    progress: Progress,
    original: Runner | None = None,
) -> Attempt:
    """What comes of a rewritten model: compared with the original, held to the gates.

    Args:
        inputs: model and data.
        plan: what was done.
        realized: the rewritten model.
        stability: how far its activations grow.
        progress: shows how it goes.
        original: what runs the original, if it is not to be loaded anew.
    """
    comparison = validate(inputs, realized, progress, original)
    limits = Limits.from_config(inputs.config) if inputs.data.validated else None
    decide = inputs.config.validate_data is not None
    return Attempt(plan, realized, comparison, decide, limits, stability, inputs.calibration.watched)


def tidied(inputs: Inputs, realized: Realized) -> Realized:
    """The rewritten model, or the original itself, without what changes nothing (`onnxshallow.rewriting.lossless`).

    Args:
        inputs: the original.
        realized: in the original's plain spelling.
    """
    document = inputs.document
    model, removed = lossless(document.plain.restored(realized.model), inputs.config.input_shape, document.between)
    plain = plainly_spelled(model)
    network = Network(plain.model, realized.network.input_shapes)
    return replace(realized, network=network, plain=plain, removed=removed)


def realize_with(
    calibration: Calibration,
    inputs: Inputs,
    observation: Observation,
    plan: Plan,
    progress: Progress,
    rows: KnownRows | None = None,
) -> Realized:
    """Apply a plan, fitting on some samples; `rows` is what is known of the original from others fitted to these."""
    layers = len(inputs.analysis.layers) - sum(candidate.depth for candidate in plan.candidates)
    with progress.stage("Rewriting and fitting", layers) as step:
        return realize(
            inputs.analysis,
            plan.candidates,
            observation.statistics,
            calibration,
            correction=inputs.config.correction,
            form=inputs.config.form,
            step=step,
            rows=rows,
        )


def validate(inputs: Inputs, realized: Realized, progress: Progress, original: Runner | None = None) -> Comparison:
    """Compare the rewritten model with the original on samples that neither fitting nor choosing has seen.

    Of synthetic samples of several sorts, those on which the models differ most count.

    Args:
        inputs: model and data.
        realized: the rewritten model.
        progress: shows how it goes.
        original: what runs the original, if it is not to be loaded anew.
    """
    data, threads = inputs.data, inputs.calibration.threads
    with progress.stage("Validating", inputs.report_batches) as step:
        first = original or Session(inputs.document.model, threads=threads)
        second = Session(realized.model, threads=threads)

        def compared(samples: Samples) -> Comparison:
            batches = counted(labelled_batches(samples, data.batch, whole=inputs.fixed_batch), step)
            return compare_models(first, second, batches, kinds=inputs.kinds).located_in(samples)

        report = compared(data.report)
        return report.with_others({name: compared(samples) for name, samples in data.others.items()})
