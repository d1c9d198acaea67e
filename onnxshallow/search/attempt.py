"""What comes of a plan: it is carried out, and the result is compared with the original."""

from dataclasses import dataclass, replace

from onnxshallow.data.prepare import labelled_batches
from onnxshallow.data.samples import Samples
from onnxshallow.fitting.calibration import Calibration
from onnxshallow.model.session import Session
from onnxshallow.rewriting.realize import Realized, realize
from onnxshallow.runtime.progress import Progress, counted
from onnxshallow.search.inputs import Inputs, Observation
from onnxshallow.search.plan import Plan
from onnxshallow.validation.compare import Comparison, Fidelity, Loss, Runner, compare_models

__all__ = ["Attempt", "carry_out", "realize_with", "validate"]


@dataclass(frozen=True, eq=False)
class Attempt:
    """One plan carried out and compared with the original.

    Attributes:
        plan: the plan.
        realized: its model.
        comparison: of the original and that model.
        labels_decide: whether the labels are those of validation data; those of a calibration file never decide.
    """

    plan: Plan
    realized: Realized
    comparison: Comparison
    labels_decide: bool

    @property
    def loss(self) -> Loss:
        """What an accuracy budget counts as lost."""
        return self.comparison.loss if self.labels_decide else self.comparison.fidelity.loss

    @property
    def fidelity(self) -> Fidelity:
        """How close the outputs are, and how far composed kernels alone are off."""
        return replace(self.comparison.fidelity, composition_error=self.realized.composition_error)

    def keeps(self, limit: float | None) -> bool:
        """Whether the model may be used: it is stable, and loses no more than the limit, where there is one."""
        return self.realized.unstable is None and (limit is None or self.loss.value <= limit)

    def rank(self) -> tuple[bool, float]:
        """What puts attempts in order, the best first: those that may be used, then those that lose less."""
        return self.realized.unstable is not None, self.loss.value


def carry_out(inputs: Inputs, observation: Observation, plan: Plan, progress: Progress) -> Realized:
    """Apply a plan, fitting on all calibration samples."""
    return realize_with(replace(inputs.calibration, everything=True), inputs, observation, plan, progress)


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
            return compare_models(first, second, batches).located_in(samples)

        report = compared(data.report)
        return report.with_others({name: compared(samples) for name, samples in data.others.items()})
