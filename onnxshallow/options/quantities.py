"""Quantities that people write: targets such as 0.58 or 320k, latencies such as 3.5ms, sizes such as 4G."""

import logging
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from onnxshallow.errors import UsageError

__all__ = [
    "NUMBER",
    "Length",
    "parse_bytes",
    "parse_latency",
    "parse_size",
    "parse_target",
    "read_bytes",
    "read_latency",
    "read_length",
    "read_size",
    "read_target",
    "read_time",
]

logger = logging.getLogger(__name__)

COUNT_SUFFIXES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}
BYTE_SUFFIXES = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
NUMBER = r"(?P<number>\d+(?:\.\d*)?(?:e[+-]?\d{1,2})?|\.\d+)"
"""A number as people write it, for patterns."""
_UNITS: Mapping[str, tuple[float, Literal["seconds", "steps", "epochs"]]] = {
    "s": (1, "seconds"),
    "m": (60, "seconds"),
    "h": (3600, "seconds"),
    "steps": (1, "steps"),
    "epochs": (1, "epochs"),
}
# Counts up to this, where there are many times as many, may be meant as per cent.
_LIKE_PERCENT = 100


def parse_target(value: float | str, total: int, *, zero: bool = False) -> int:
    """The budget that a target stands for.

    Args:
        value: a fraction of `total` up to 1, or a count above 1, as a number or text ("0.58", "320k",
            "1.2M").
        total: what the original network has.
        zero: whether nothing at all may be asked for.

    Returns:
        The most that may stay; fractions are rounded down.

    Raises:
        UsageError: the value is negative, or zero where it may not be, or neither a fraction nor a whole count.
    """
    try:
        target = read_target(value, zero=zero)
    except ValueError as error:
        raise UsageError(f"The target {value!r} cannot be used: {error}.") from error
    if isinstance(target, Fraction):
        return math.floor(target * total)
    if target <= _LIKE_PERCENT < total // 10:
        logger.warning("the target %s is a count; for %s %% write %s", value, value, target / 100)
    return target


def parse_size(value: float | str, total: int) -> int:
    """The bytes of a file that a target stands for.

    Args:
        value: a fraction of `total` up to 1, or a size such as "500kB" or "1.5 MiB"; suffixes are powers of 1024.
        total: bytes of the original.

    Raises:
        UsageError: the value is neither.
    """
    try:
        target = read_size(value)
    except ValueError as error:
        raise UsageError(f"The target {value!r} cannot be used: {error}.") from error
    return math.floor(target * total) if isinstance(target, Fraction) else target


def parse_latency(value: float | str, original: float) -> float:
    """The milliseconds that a target stands for.

    Args:
        value: a fraction of `original` up to 1, or milliseconds as text ("3.5ms").
        original: milliseconds of the original network.

    Raises:
        UsageError: the value is neither.
    """
    try:
        target, absolute = read_latency(value)
    except ValueError as error:
        raise UsageError(f"The target {value!r} cannot be used: {error}.") from error
    return target if absolute else target * original


def parse_bytes(text: str) -> int:
    """The number of bytes in a size such as "4G", "512M" or "1.5 GiB"; suffixes are powers of 1024.

    Raises:
        UsageError: the text is no positive size.
    """
    try:
        return read_bytes(text)
    except ValueError as error:
        raise UsageError(f"The size {text!r} cannot be used: {error}.") from error


def read_target(value: object, *, zero: bool = False) -> Fraction | int:
    """A fraction, or a whole count, perhaps zero; ValueError says what is wrong."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("it must be a fraction up to 1 or a count, such as 0.58 or 320k")
    hint = "it must be a positive number, such as 0.58 or 320k"
    if zero and re.fullmatch(r"0*\.?0+", str(value).strip()):
        return 0
    number, suffix = _read_number(str(value), COUNT_SUFFIXES, hint)
    if number <= 1 and not suffix:
        return number
    if number.denominator != 1:
        raise ValueError("it is neither a fraction up to 1 nor a whole count")
    return int(number)


def read_size(value: object) -> Fraction | int:
    """A fraction, or a number of bytes; ValueError says what is wrong."""
    hint = "it must be a fraction up to 1 or a size such as 500kB or 1.5M"
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(hint)
    number, suffix = _read_number(_without_byte(str(value)), BYTE_SUFFIXES, hint)
    return number if number <= 1 and not suffix else int(number)


def read_latency(value: object) -> tuple[float, bool]:
    """A number, and whether it is milliseconds; ValueError says what is wrong."""
    hint = "it must be a fraction up to 1 or a time such as 3.5ms"
    text = str(value).strip().lower()
    number, _ = _read_number(text.removesuffix("ms"), {"": 1}, hint)
    if isinstance(value, bool) or (number > 1 and not text.endswith("ms")):
        raise ValueError(hint)
    return float(number), text.endswith("ms")


@dataclass(frozen=True)
class Length:
    """How long training is to take.

    Attributes:
        number: how much.
        unit: of what.
    """

    number: float
    unit: Literal["seconds", "steps", "epochs"]


def read_length(value: object) -> Length:
    """A time, a number of steps or of epochs; ValueError says what is wrong."""
    match = re.fullmatch(rf"{NUMBER}\s*(?P<unit>[a-z]+)", str(value).strip().lower())
    if match is None or match["unit"] not in _UNITS or float(match["number"]) == 0:
        raise ValueError("it must be a time such as 10m, 90s or 1h, or a number such as 500steps or 3epochs")
    factor, unit = _UNITS[match["unit"]]
    if unit == "steps" and not float(match["number"]).is_integer():
        raise ValueError("steps are whole, such as 500steps")
    return Length(factor * float(match["number"]), unit)


def read_time(value: object) -> float:
    """The seconds of a time; ValueError says what is wrong."""
    problem = "it must be a time such as 20m, 90s or 1h"
    try:
        length = read_length(value)
    except ValueError as error:
        raise ValueError(problem) from error
    if length.unit != "seconds":
        raise ValueError(problem)
    return length.number


def read_bytes(text: str) -> int:
    """A number of bytes; ValueError says what is wrong."""
    number, _ = _read_number(_without_byte(text), BYTE_SUFFIXES, "write it like 4G or 512M")
    return int(number)


def _without_byte(text: str) -> str:
    """A size without the B of kB or KiB."""
    return re.sub(r"(?<=[kmgt])i?b$", "", text.strip().lower())


def _read_number(text: str, suffixes: Mapping[str, int], hint: str) -> tuple[Fraction, str]:
    """A positive number, multiplied by its suffix, and the suffix; exact, so that 0.29 of 100 is 29."""
    match = re.fullmatch(rf"{NUMBER}\s*(?P<suffix>[a-z]?)", text.strip().lower())
    if match is None or match["suffix"] not in suffixes or Fraction(match["number"]) == 0:
        raise ValueError(hint)
    return Fraction(match["number"]) * suffixes[match["suffix"]], match["suffix"]
