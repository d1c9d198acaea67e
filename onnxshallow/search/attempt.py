"""What comes of a plan: it is carried out, and the result is compared with the original."""

from dataclasses import dataclass, replace
from functools import cached_property

from onnxshallow.data.prepare import labelled_batches
from onnxshallow.fitting.calibration import Calibration
from onnxshallow.model.session import Session
from onnxshallow.rewriting.realize import Realized, realize
from onnxshallow.runtime.progress import Progress, counted
from onnxshallow.search.inputs import Inputs, Observation
from onnxshallow.search.plan import Plan
from onnxshallow.validation.compare import Comparison, Fidelity, Loss, Runner, compare_models
from onnxshallow.validation.evidence import data_findings
from onnxshallow.validation.gates import Gate, Limits, check_gates, gate_findings
from onnxshallow.validation.judgement import Finding

__all__ = ["Attempt", "carry_out", "realize_with", "validate"]

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
    """

    plan: Plan
    realized: Realized
    comparison: Comparison
    labels_decide: bool
    limits: Limits | None = None

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
        found = []
        if self.realized.unstable is not None:
            found.append(
                Finding("stability", f"The best plan is refused: {self.realized.unstable}. {_STEADIER}", refuses=True)
            )
        if self.limits is not None:
            found += gate_findings(self.judged, self.gates, _CLOSER)
        return found

    def against_the_data(self, inputs: Inputs) -> list[Finding]:
        """What speaks against the samples that it was fitted to and compared on.

        Args:
            inputs: the samples.
        """
        data = inputs.data
        return data_findings(data.report, self.judged, self.gates, inputs.fitted, data.fit.source)

    @property
    def usable(self) -> bool:
        """Whether no finding refuses it."""
        return not any(finding.refuses for finding in self.findings)

    def rank(self) -> tuple[bool, bool, float]:
        """What puts attempts in order, the best first: usable ones, stable ones, those that lose less."""
        return not self.usable, self.realized.unstable is not None, self.loss.value


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
        return compare_models(first, Session(realized.model, threads=threads), batches).located_in(report)
