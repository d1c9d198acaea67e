"""Targets can only be set over what can be counted: what is not known is never taken for nothing."""

from onnxshallow.analysis import Analysis
from onnxshallow.analysis.others import other_activations
from onnxshallow.errors import ModelError
from onnxshallow.model.session import Session
from onnxshallow.search.inputs import Inputs
from onnxshallow.search.solver import Budget
from onnxshallow.text import printable

__all__ = ["require_countable"]


def require_countable(inputs: Inputs, budget: Budget) -> None:
    """Make sure that what the targets are shares of is known.

    Args:
        inputs: model, data and options.
        budget: what has to be reached.

    Raises:
        ModelError: the model does not run, which counts for more; or it holds activations that are not counted, says
            which.
    """
    if budget.relus is None and budget.price_saved is None:
        return
    reason = _uncounted(inputs.analysis)
    if reason is not None:
        Session(inputs.document.model, threads=inputs.calibration.threads)
        raise ModelError(f"{inputs.document.path} {reason}")


def _uncounted(analysis: Analysis) -> str | None:
    """Why no share of a network's activations can be asked for, as what goes on from its path."""
    hidden = [site for site in analysis.sites if site.node < 0 and site.size is None]
    if hidden:
        return (
            f"has {len(hidden)} activations whose sizes are not known, so no share of all can be asked for: of "
            f"{printable(hidden[0].name)!r}, {hidden[0].refusal}. Export the model without such nodes, or ask for "
            "fewer MACs with --target-macs."
        )
    unknown = [site.name for site in analysis.sites if site.size is None]
    if unknown:
        return (
            f"has activations of unknown sizes, {len(unknown)} of {len(analysis.sites)} such as "
            f"{printable(unknown[0])!r}, so no share of all can be asked for; "
            + (
                "ask for fewer MACs with --target-macs."
                if analysis.network.has_fixed_sizes
                else "fix the open axes of the inputs with --input-shape NAME:1,3,224,224."
            )
        )
    others = other_activations(analysis.network)
    if not analysis.sites and others:
        return (
            f"has no ReLU-like activation, and {', '.join(others)}, which are not counted and cannot be removed; "
            "ask for fewer MACs with --target-macs, or leave the model as it is."
        )
    inside = [words for words in others if " in " in words]  # which layers hold
    if inside:
        return (
            f"has {', '.join(inside)}, as onnxruntime's tools write them, which are not counted, so no share of "
            "all can be asked for; take the model from before that, or ask for fewer MACs with --target-macs."
        )
    return None
