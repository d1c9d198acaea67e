"""What private inference is paid in: the protocol, the network between the parties, and what counts."""

from dataclasses import dataclass
from typing import Literal

from onnxshallow.analysis import Analysis
from onnxshallow.errors import UsageError
from onnxshallow.options.config import Config
from onnxshallow.options.quantities import parse_latency, parse_target
from onnxshallow.private.estimate import estimate
from onnxshallow.private.link import parse_bandwidth, parse_rtt
from onnxshallow.private.protocols import PROTOCOLS, Protocol, Weights

__all__ = ["Tariff", "Unit"]

Unit = Literal["seconds", "bytes", "messages"]

_TARGETS: dict[str, Unit] = {"target_private": "seconds", "target_bytes": "bytes", "target_messages": "messages"}
_PROTOCOL = "semi2k"


@dataclass(frozen=True)
class Tariff:
    """What one inference of one sample is charged, by the estimate of `onnxshallow.private.estimate`.

    Attributes:
        protocol: with its constants.
        rtt: seconds of a round trip between the parties.
        bandwidth: bits a second between them.
        weights: whether the network's weights are `secret` or `public`.
        unit: what counts: `seconds`, `bytes` of all parties, or `messages`.
        target: the most that is allowed, as it was given.
    """

    protocol: Protocol
    rtt: float
    bandwidth: float
    weights: Weights
    unit: Unit
    target: float | str

    @classmethod
    def from_config(cls, config: Config) -> "Tariff | None":
        """What the options ask for; None where no price is limited.

        Raises:
            UsageError: several prices are limited, or the protocol has no constants for this one.
        """
        given = [name for name in _TARGETS if getattr(config, name) is not None]
        if not given:
            return None
        if len(given) > 1:
            first, second = (f"--{name.replace('_', '-')}" for name in given[:2])
            raise UsageError(f"{first} and {second} are two prices; give one of them.")
        unit, protocol = _TARGETS[given[0]], PROTOCOLS[config.private_model or _PROTOCOL]
        if unit == "messages" and protocol.comparison.messages is None:
            raise UsageError(
                f"--private-model {protocol.name} has no constant for messages; give --target-bytes, or another."
            )
        rtt, bandwidth = parse_rtt(config.rtt), parse_bandwidth(config.bandwidth)
        return cls(protocol, rtt, bandwidth, config.weights, unit, getattr(config, given[0]))

    def charge(self, analysis: Analysis) -> float:
        """What a network is charged, in `unit`."""
        found = estimate(analysis, self.protocol, self.rtt, self.bandwidth, self.weights)
        return float(getattr(found, self.unit) or 0)

    def limit(self, analysis: Analysis) -> float:
        """The most that is allowed, of an original.

        Raises:
            UsageError: the target is malformed.
        """
        whole = self.charge(analysis)
        if self.unit == "seconds":
            return parse_latency(self.target, 1000 * whole) / 1000
        return float(parse_target(self.target, int(whole)))

    @property
    def title(self) -> str:
        """What is counted, in words."""
        link = f", {1000 * self.rtt:g} ms and {self.bandwidth / 1e6:g} Mbit/s" if self.unit == "seconds" else ""
        return f"{self.unit} under {self.protocol.title} with {self.weights} weights{link}"
