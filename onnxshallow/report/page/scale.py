"""What damage is small: a scale in words.

The bounds are where plans were found to cost about a third of a point of accuracy, and about a whole one
(docs/how-to/reading-the-report.md has the figures).
"""

import math
from collections.abc import Mapping

from onnxshallow.report.schema.reports import Report

__all__ = ["LEVELS", "level", "levels_of"]

LEVELS: Mapping[str, tuple[float, float]] = {"tiny": (0.0, 0.01), "small": (0.01, 0.1), "large": (0.1, math.inf)}
"""From where to where a damage is called so; for class scores and the measure that is the default."""


def levels_of(report: Report) -> Mapping[str, tuple[float, float]]:
    """The scale of a report's damages; empty where they are measured in another way."""
    classes = report.fidelity is not None and report.fidelity.agreement is not None
    return LEVELS if classes and report.config.get("sensitivity", "kl") == "kl" else {}


def level(levels: Mapping[str, tuple[float, float]], damage: float | None) -> str | None:
    """What a damage is called; None where there is none or no scale."""
    if damage is None:
        return None
    return next((name for name, (_, high) in levels.items() if damage < high or high == math.inf), None)
