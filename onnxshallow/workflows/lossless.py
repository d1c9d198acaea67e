"""`optimize` without a target: what can go without a change goes, and the outputs prove it."""

from onnxshallow.model.network import Network
from onnxshallow.model.spelling import plainly_spelled
from onnxshallow.rewriting.lossless import lossless
from onnxshallow.rewriting.realize import Realized
from onnxshallow.runtime.progress import Clock, Progress
from onnxshallow.search.attempt import Attempt, judged
from onnxshallow.search.inputs import Inputs
from onnxshallow.search.plan import Plan
from onnxshallow.validation.judgement import Finding
from onnxshallow.workflows.outcome import Tidied, outcome
from onnxshallow.workflows.result import Result

__all__ = ["tidy"]

# Folding changes the order of sums, which moves float32 outputs by some 1e-6 of their size.
_MOST_MOVED = 1e-4
_MOST_MOVED_IN_HALF = 2e-2


def tidy(inputs: Inputs, progress: Progress, clock: Clock, *, force: bool = False) -> Result:
    """The model without what changes nothing.

    Args:
        inputs: model and data.
        progress: shows how it goes.
        clock: seconds by stage.
        force: take the model also where it is refused.
    """
    with clock("rewrite"):
        model, removed = lossless(inputs.document.model, inputs.config.input_shape)
        made = Realized(Network(plainly_spelled(model).model, inputs.analysis.network.input_shapes), outputs=[])
    with clock("validate"):
        attempt = judged(inputs, Plan((), {}), made, None, progress)
    tidied = Tidied(model, removed, _moved(attempt))
    return outcome(inputs, attempt, [removed.in_words], clock, force=force, tidied=tidied)


def _moved(attempt: Attempt) -> list[Finding]:
    """What speaks against calling it the same."""
    network, fidelity = attempt.realized.network, attempt.comparison.fidelity
    compared = [fidelity.relative_error, *(sort.relative_error for sort in fidelity.sorts)]
    for name, error in (pair for errors in compared for pair in errors.items()):
        most = _MOST_MOVED_IN_HALF if network.dtype(name) == "float16" else _MOST_MOVED
        if error is not None and not error <= most:
            text = (
                f"{name!r} moved by {error:.2g} of its size though nothing was left out, more than {most:g}: this "
                "is a defect of onnxshallow; please report it with the model."
            )
            return [Finding("accuracy", text, refuses=True)]
    return []
