"""What synthetic samples can say of a model: whether it is close to the original on every sort of them.

Fitted to one sort of synthetic samples and close on others, a model is likely to be close on real ones. Nothing is
known of its accuracy, but where sorts of samples disagree it is known that nothing can be relied on. How the limits
were found: docs/decisions/data-free.md.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from onnxshallow.validation.judgement import Finding
from onnxshallow.validation.numbers import Number

__all__ = ["MAX_SYNTHETIC_DISAGREEMENT", "MAX_SYNTHETIC_ERROR", "SortFidelity", "synthetic_findings"]

MAX_SYNTHETIC_ERROR = 0.6
"""How far an output may be off on any sort of synthetic samples, relative to its size."""

MAX_SYNTHETIC_DISAGREEMENT = 0.5
"""The largest share of any sort of synthetic samples that may get another class."""


@dataclass(frozen=True)
class SortFidelity:
    """How close the second model's outputs are to the first's on one sort of synthetic samples.

    Attributes:
        name: of the sort.
        samples: how many there were.
        agreement: share of samples with the same most likely class; None where no output holds class scores.
        relative_error: for each floating-point output, as in `Fidelity`.
    """

    name: str
    samples: int
    agreement: float | None
    relative_error: Mapping[str, Number]

    @property
    def error(self) -> float | None:
        """The largest of the relative errors; None where there are none."""
        return max((error for error in self.relative_error.values() if error is not None), default=None)


def synthetic_findings(sorts: Sequence[SortFidelity]) -> list[Finding]:
    """What speaks against a model that was judged on synthetic samples only.

    Args:
        sorts: of synthetic samples; none where there are real ones.
    """
    broken = [breach for sort in sorts for breach in _breaches(sort)]
    if not broken:
        return []
    _, worst = max(broken)
    return [
        Finding(
            "data",
            f"Synthetic samples do not vouch for the model: {worst}. Give real samples with --calib or --validate, "
            "or raise the target.",
            refuses=True,
        )
    ]


def _breaches(sort: SortFidelity) -> list[tuple[float, str]]:
    """What passes its limit on one sort: by how many times, and in words."""
    found = []
    for output, error in sort.relative_error.items():
        if error is not None and not error <= MAX_SYNTHETIC_ERROR:
            times = math.inf if math.isnan(error) else error / MAX_SYNTHETIC_ERROR
            said = (
                f"the relative error of {output!r} is {error:.2g} on {sort.name}, more than {MAX_SYNTHETIC_ERROR:g}"
            )
            found.append((times, said))
    changed = 0.0 if sort.agreement is None else 1 - sort.agreement
    if changed > MAX_SYNTHETIC_DISAGREEMENT:
        share = f"{100 * changed:.0f} % of {sort.name} get another class"
        found.append((changed / MAX_SYNTHETIC_DISAGREEMENT, share))
    return found
