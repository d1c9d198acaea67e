"""What a network would cost under secure computation. An estimate, never a measurement: counts times constants.

    bytes    = what each operation sends, all parties together
    messages = of all operations, one after the other
    seconds  = own work + messages * RTT / 2 + 8 * bytes of one party / bandwidth

since both directions of a link run at once. For a protocol of which only times are published, network included,
seconds = comparisons * seconds of a comparison.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from onnxshallow.analysis import Analysis
from onnxshallow.private.operations import Kind, Operations
from onnxshallow.private.price import NetworkPrice, charge_of, price, price_operation
from onnxshallow.private.protocols import Protocol, Weights
from onnxshallow.private.smooth import FUNCTIONS

__all__ = ["PrivateEstimate", "estimate"]


@dataclass(frozen=True)
class PrivateEstimate:
    """What one inference of one sample would cost. Only what `counted` names is in it.

    Attributes:
        protocol: name of the protocol.
        title: what people call the protocol.
        rtt: seconds of a round trip between the parties.
        bandwidth: bits a second between them, each way.
        comparisons: ReLUs and other comparisons.
        comparison_bytes: bytes on the wire for these, while the network runs.
        linear_bytes: bytes for all else: linear layers, products, factors; None where the protocol has no constant.
        bytes: both together.
        offline_bytes: bytes before the input is known; None where there is no constant.
        messages: that follow each other; None where there is no constant.
        seconds: while the network runs.
        offline_seconds: to send `offline_bytes`.
        counted: what is counted, in words.
        not_counted: what is not, in words.
        sources: of the constants.
        weights: `secret` where only their owner knows the weights, `public` where all parties do.
        sent_bytes: of `bytes`, those that one party sends.
        work_seconds: of `seconds`, those that the busier party computes; None where there is no constant.
    """

    protocol: str
    title: str
    rtt: float
    bandwidth: float
    comparisons: int
    comparison_bytes: float
    linear_bytes: float | None
    bytes: float
    offline_bytes: float | None
    messages: int | None
    seconds: float
    offline_seconds: float | None
    counted: tuple[str, ...]
    not_counted: tuple[str, ...]
    sources: tuple[str, ...]
    weights: Weights = "secret"
    sent_bytes: float = 0.0
    work_seconds: float | None = None


def estimate(
    analysis: Analysis,
    protocol: Protocol,
    rtt: float = 1e-3,
    bandwidth: float = 1e9,
    weights: Weights = "secret",
) -> PrivateEstimate:
    """Estimate what one inference of one sample costs.

    Args:
        analysis: of the network.
        protocol: the constants.
        rtt: seconds of a round trip between the parties.
        bandwidth: bits a second between them, each way.
        weights: whether only their owner knows the weights.
    """
    priced = price(analysis, protocol, weights)
    operations, total = priced.operations, priced.total
    compared = sum(price_operation(each, protocol, weights).bytes for each in operations.of("comparison"))
    if protocol.comparison_seconds is not None:
        seconds = protocol.comparison_seconds * operations.comparisons
    else:
        seconds = total.seconds(rtt, bandwidth)
    offline = None if protocol.offline_bytes is None else protocol.offline_bytes * operations.comparisons
    return PrivateEstimate(
        protocol=protocol.name,
        title=protocol.title,
        rtt=rtt,
        bandwidth=bandwidth,
        comparisons=operations.comparisons,
        comparison_bytes=compared,
        linear_bytes=None if protocol.scale is None else total.bytes - compared,
        bytes=total.bytes,
        offline_bytes=offline,
        messages=None if protocol.comparison.messages is None else round(total.messages),
        seconds=seconds,
        offline_seconds=None if offline is None else 8 * offline / bandwidth,
        counted=tuple(_counted(operations, protocol, weights)),
        not_counted=tuple(_not_counted(operations, protocol, weights)),
        sources=tuple(_sources(priced, protocol, weights)),
        weights=weights,
        sent_bytes=total.sent,
        work_seconds=total.work if protocol.comparison.work else None,
    )


def _counted(operations: Operations, protocol: Protocol, weights: Weights) -> Iterator[str]:
    yield f"{operations.comparisons} comparisons of ReLUs, Clips (two each) and max poolings"
    for kinds, words in _parts(operations, weights):
        if all(charge_of(each, protocol, weights) is not None for each in operations.of(*kinds)):
            yield words
    if protocol.comparison.messages is not None:
        yield "messages of all of these"
    if protocol.comparison.work:
        yield "the parties' own computation, on one core each"


def _not_counted(operations: Operations, protocol: Protocol, weights: Weights) -> Iterator[str]:
    if protocol.comparison_seconds is not None:
        yield "--rtt and --bandwidth while the network runs (the published times include a network of their own)"
    else:
        if not protocol.comparison.work:
            yield "the parties' own computation"
        if protocol.comparison.messages is None:
            yield "waiting for messages"
    if operations.smooth and protocol.comparison.work:
        yield "the parties' own computation of smooth functions"
    for kinds, words in _parts(operations, weights):
        if any(charge_of(each, protocol, weights) is None for each in operations.of(*kinds)):
            yield words
    if protocol.offline_bytes is None:
        yield "preparation before the input is known"
    yield from protocol.left_out
    for operator, nodes in operations.uncounted:
        yield f"{operator} nodes ({nodes})"
    if operations.unknown:
        yield f"nodes whose shapes are not known ({len(operations.unknown)})"


def _parts(operations: Operations, weights: Weights) -> Iterator[tuple[tuple[Kind, ...], str]]:
    """What there is besides comparisons: kinds of operations, and their name with how many there are."""
    if linear := operations.of("linear"):
        yield ("linear",), f"{len(linear)} linear layers with {weights} weights"
    if operations.squares or operations.products:
        yield (
            ("square", "product"),
            f"{operations.squares} squares and {operations.products} products of two values",
        )
    for function in FUNCTIONS:
        if found := operations.of(function):
            yield (function,), f"{sum(each.made for each in found)} elements of a {function} function"
    if factors := operations.of("factor", "scale"):
        made = sum(each.made for each in factors)
        yield ("factor", "scale"), f"{made} elements of average poolings and multiplications by the model's numbers"


def _sources(priced: NetworkPrice, protocol: Protocol, weights: Weights) -> Iterator[str]:
    """Of every constant that was used, each once."""
    yield protocol.comparison.source
    if protocol.seconds_source:
        yield protocol.seconds_source
    charges = (charge_of(each, protocol, weights) for each in priced.operations.all)
    yield from dict.fromkeys(c.source for c in charges if c is not None and c is not protocol.comparison)
    if protocol.work_source:
        yield protocol.work_source
