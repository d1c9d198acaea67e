"""Figures that may be infinite or NaN, which JSON does not know: reports are written with null in their place."""

import math
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer

__all__ = ["Number", "Real"]


def _finite(value: float | None) -> float | None:
    return value if value is None or math.isfinite(value) else None


def _read(value: object) -> object:
    return math.nan if value is None else value


Number = Annotated[float | None, PlainSerializer(_finite)]
"""A float, or none where nothing is known."""

Real = Annotated[float, BeforeValidator(_read), PlainSerializer(_finite)]
"""A float that is always known; null is read as NaN."""
