"""From a comparison of two models to what `validate` says of it."""

from typing import Any

from onnxshallow.validation.compare import Comparison
from onnxshallow.validation.statistics import wilson_interval

__all__ = ["class_details", "first_answer"]


def class_details(comparison: Comparison) -> dict[str, Any]:
    """What a report says of classes, of the samples that changed theirs, and of what labels belong to."""
    return {
        name: getattr(comparison, name)
        for name in ("classes", "changed", "changed_total", "labels_of", "unused_labels")
    }


def first_answer(comparison: Comparison, total: int) -> str:
    """What is known of a long set after its first samples.

    Args:
        comparison: of those samples.
        total: how many there are.
    """
    first, second, fidelity = comparison.first, comparison.second, comparison.fidelity
    parts = []
    if first is not None and second is not None and comparison.drop_interval is not None:
        low, high = comparison.drop_interval
        lost = f"points lost: 95 % interval {100 * low:.1f} to {100 * high:.1f}"
        parts.append(f"top-1 {_percent(first.top1)} -> {_percent(second.top1)} ({lost})")
    if fidelity.agreement is not None:
        low, high = wilson_interval(round(fidelity.agreement * fidelity.samples), fidelity.samples)
        interval = f"95 % interval {_percent(low)} to {_percent(high)}"
        parts.append(f"same class for {_percent(fidelity.agreement)} ({interval})")
    if not parts:
        parts = [f"relative error of {name!r} {error:.4g}" for name, error in fidelity.relative_error.items()]
    parts = parts or [
        f"{_percent(one.equal or 0.0)} of the elements of {one.name!r} are equal" for one in fidelity.outputs
    ]
    return f"After {fidelity.samples} of {total} samples: {'; '.join(parts)}."


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
