"""What comes of a plan: it is carried out, and the result is compared with the original."""

import logging
from dataclasses import dataclass, replace

from onnxshallow.data.changes import Changer
from onnxshallow.data.prepare import labelled_batches
from onnxshallow.fitting.calibration import Calibration
from onnxshallow.model.session import Session
from onnxshallow.rewriting.realize import Realized, realize
from onnxshallow.runtime.progress import Progress, counted
from onnxshallow.search.inputs import Inputs, Observation
from onnxshallow.search.plan import Plan
from onnxshallow.search.watched import affordable_pool
from onnxshallow.validation.compare import Comparison, Fidelity, Loss, Runner, compare_models
from onnxshallow.validation.growth import Pair, Stability

__all__ = ["Attempt", "carry_out", "realize_with", "validate"]

logger = logging.getLogger(__name__)

# How often a plan is fitted, each time with more samples watched, until nothing grows too far.
_MOST_FITS = 3


@dataclass(frozen=True, eq=False)
class Attempt:
    """One plan carried out and compared with the original.

    Attributes:
        plan: the plan.
        realized: its model.
        comparison: of the original and that model.
        labels_decide: whether the labels are those of validation data; those of a calibration file never decide.
        stability: how far activations grow, where something is squared.
    """

    plan: Plan
    realized: Realized
    comparison: Comparison
    labels_decide: bool
    stability: Stability | None = None

    @property
    def loss(self) -> Loss:
        """What an accuracy budget counts as lost."""
        return self.comparison.loss if self.labels_decide else self.comparison.fidelity.loss

    @property
    def fidelity(self) -> Fidelity:
        """How close the outputs are, and how far composed kernels alone are off."""
        return replace(self.comparison.fidelity, composition_error=self.realized.composition_error)

    @property
    def unstable(self) -> str | None:
        """Why the model is not to be used on inputs a little different from the samples, else None."""
        return self.realized.unstable or (None if self.stability is None else self.stability.why_unstable)

    def keeps(self, limit: float | None) -> bool:
        """Whether the model may be used: it is stable, and loses no more than the limit, where there is one."""
        return self.unstable is None and (limit is None or self.loss.value <= limit)

    def rank(self) -> tuple[bool, float]:
        """What puts attempts in order, the best first: those that may be used, then those that lose less."""
        return self.unstable is not None, self.loss.value


def carry_out(
    inputs: Inputs, observation: Observation, plan: Plan, progress: Progress
) -> tuple[Realized, Stability | None]:
    """Apply a plan, fitting on all calibration samples, and see how far the activations of the result grow.

    Where they grow too far, the samples on which they do are watched as well in another fit.
    """
    calibration = replace(inputs.calibration, everything=True)
    for _ in range(_MOST_FITS):
        realized = realize_with(calibration, inputs, observation, plan, progress)
        if not realized.analysis.cost.squares:
            return realized, None
        pair = _examined(inputs, realized, progress)
        if pair.result.why_unstable is None:
            break
        logger.info("%s; fitting again with these watched.", pair.result.why_unstable)
        calibration = replace(calibration, watched=[*calibration.watched, *pair.offenders])
    return realized, pair.result


def _examined(inputs: Inputs, realized: Realized, progress: Progress) -> Pair:
    """The original and the result, whose activations were compared on all that there is."""
    network, data = inputs.analysis.network, inputs.data
    changer = Changer.of(network.inputs, inputs.calibration.batches, inputs.config.seed)
    pair = Pair(inputs.analysis, realized.network, inputs.calibration.threads)
    sources = {"calibration samples": affordable_pool(inputs), "validation samples": data.report}
    with progress.stage("Looking for growth", len(sources)) as step:
        for name, samples in sources.items():
            pair.examine(name, samples, data.batch, changer, whole=inputs.fixed_batch)
            step()
    return pair


def realize_with(
    calibration: Calibration, inputs: Inputs, observation: Observation, plan: Plan, progress: Progress
) -> Realized:
    """Apply a plan, fitting on some samples."""
    with progress.stage("Rewriting and fitting", len(inputs.analysis.layers)) as step:
        return realize(
            inputs.analysis,
            plan.candidates,
            observation.statistics,
            calibration,
            correction=inputs.config.correction,
            form=inputs.config.mask_form or "split",
            step=step,
        )


def validate(inputs: Inputs, realized: Realized, progress: Progress, original: Runner | None = None) -> Comparison:
    """Compare the rewritten model with the original on samples that neither fitting nor choosing has seen.

    Args:
        inputs: model and data.
        realized: the rewritten model.
        progress: shows how it goes.
        original: what runs the original, if it is not to be loaded anew.
    """
    report, batch = inputs.data.report, inputs.data.batch
    threads = inputs.calibration.threads
    with progress.stage("Validating", inputs.report_batches) as step:
        batches = counted(labelled_batches(report, batch, whole=inputs.fixed_batch), step)
        first = original or Session(inputs.document.model, threads=threads)
        second = Session(realized.model, threads=threads)
        return compare_models(first, second, batches, kinds=inputs.kinds).located_in(report)
