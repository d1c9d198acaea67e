"""The network between the parties, as text says it: `10ms`, `1Gbps`."""

import re

from onnxshallow.errors import UsageError
from onnxshallow.options.quantities import NUMBER

__all__ = ["parse_bandwidth", "parse_rtt"]

_TIMES = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
_RATES = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}


def parse_rtt(text: str) -> float:
    """Seconds of a round trip, such as "0.5ms", "200us" or "0.1s"; zero is allowed.

    Raises:
        UsageError: the text is no such time.
    """
    match = re.fullmatch(rf"{NUMBER}\s*(?P<unit>us|ms|s)", text.strip().lower())
    if match is None:
        raise UsageError(f"--rtt {text}: write a time with its unit, such as 10ms, 200us or 0.1s.")
    return float(match["number"]) * _TIMES[match["unit"]]


def parse_bandwidth(text: str) -> float:
    """Bits a second, such as "1Gbps" or "100Mbit/s"; a rate in bytes ("50MB/s") counts eight bits each.

    Raises:
        UsageError: the text is no such rate, or it is zero.
    """
    match = re.fullmatch(rf"{NUMBER}\s*(?P<prefix>[kKmMgG]?)(?P<unit>bps|bit/s|b/s|Bps|B/s)", text.strip())
    if match is None or float(match["number"]) == 0:
        raise UsageError(f"--bandwidth {text}: write a rate with its unit, such as 1Gbps, 100Mbit/s or 50MB/s.")
    bits = 8 if match["unit"].startswith("B") else 1
    return float(match["number"]) * _RATES[match["prefix"].lower()] * bits
