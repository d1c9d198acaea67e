"""`optimize` without a target: what can go without a change goes, and the outputs prove it."""

from onnxshallow.model.session import Session
from onnxshallow.rewriting.realize import Realized
from onnxshallow.runtime.progress import Clock, Progress
from onnxshallow.search.attempt import Attempt, judged, tidied
from onnxshallow.search.inputs import Inputs
from onnxshallow.search.plan import Plan
from onnxshallow.validation.judgement import Finding
from onnxshallow.validation.metrics import relative_error
from onnxshallow.workflows.outcome import outcome
from onnxshallow.workflows.result import Result

__all__ = ["tidy"]

# Folding changes the order of sums, which moves float32 outputs by some 1e-6 of their size.
_MOST_MOVED = 1e-4
_MOST_MOVED_IN_HALF = 2e-2
# Some networks blow rounding up: what moves by no more than so many times what the original moves by is the same.
_AS_MUCH = 10.0


def tidy(inputs: Inputs, progress: Progress, clock: Clock, *, force: bool = False) -> Result:
    """The model without what changes nothing.

    Args:
        inputs: model and data.
        progress: shows how it goes.
        clock: seconds by stage.
        force: take the model also where it is refused.
    """
    with clock("rewrite"):
        made = tidied(inputs, Realized(inputs.analysis.network, outputs=[]))
    with clock("validate"):
        attempt = judged(inputs, Plan((), {}), made, None, progress)
    return outcome(inputs, attempt, [], clock, force=force, moved=_moved(inputs, attempt))


def _moved(inputs: Inputs, attempt: Attempt) -> list[Finding]:
    """What speaks against calling it the same."""
    network, fidelity = attempt.realized.network, attempt.comparison.fidelity
    compared = [fidelity.relative_error, *(sort.relative_error for sort in fidelity.sorts)]
    own: dict[str, float] | None = None
    found: list[Finding] = []
    for name, error in (pair for errors in compared for pair in errors.items()):
        most = _MOST_MOVED_IN_HALF if network.dtype(name) == "float16" else _MOST_MOVED
        if error is None or error <= most:
            continue
        own = _own_rounding(inputs) if own is None else own
        by_rounding = own.get(name, 0.0)
        if error <= _AS_MUCH * by_rounding:
            text = (
                f"{name!r} moved by {error:.2g} of its size, as rounding moves it: by {by_rounding:.2g} where "
                "onnxruntime runs the original's nodes one by one."
            )
            found.append(Finding("accuracy", text, refuses=False))
        else:
            text = (
                f"{name!r} moved by {error:.2g} of its size though nothing was left out, more than {most:g}: this "
                "is a defect of onnxshallow; please report it with the model."
            )
            return [Finding("accuracy", text, refuses=True)]
    return found


def _own_rounding(inputs: Inputs) -> dict[str, float]:
    """How far the original is off where onnxruntime rewrites nothing, by output, of its size."""
    model, threads = inputs.document.model, inputs.calibration.threads
    feeds = inputs.data.report.batch(range(min(len(inputs.data.report), inputs.data.batch)))
    sessions = [Session(model, threads=threads, optimize=optimize) for optimize in (True, False)]
    pairs = zip(sessions[0].output_names, *(session.run(feeds) for session in sessions), strict=True)
    return {name: relative_error(a, b) for name, a, b in pairs if a.dtype.kind == "f" and a.size}
