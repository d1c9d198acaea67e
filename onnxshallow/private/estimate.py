"""What a network would cost under secure computation. An estimate, never a measurement: counts times constants.

    bytes    = comparisons * bytes of a comparison + linear layers and products, where the protocol has constants
    messages = layers of comparisons * messages of a layer
    seconds  = computation + messages * RTT / 2 + 8 * bytes / bandwidth

where computation is not known, and so zero. For a protocol of which only times are published, network included,
seconds = comparisons * seconds of a comparison.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from onnxshallow.analysis import Analysis
from onnxshallow.private.operations import Operations, count_operations
from onnxshallow.private.protocols import LinearCost, Protocol

__all__ = ["PrivateEstimate", "estimate"]


@dataclass(frozen=True)
class PrivateEstimate:
    """What one inference of one sample would cost. Only what `counted` names is in it.

    Attributes:
        protocol: name of the protocol.
        title: what people call the protocol.
        rtt: seconds of a round trip between the parties.
        bandwidth: bits a second between them.
        comparisons: ReLUs and other comparisons.
        comparison_bytes: bytes on the wire for these, while the network runs.
        linear_bytes: bytes for linear layers and products; None where the protocol has no constant.
        bytes: both together.
        offline_bytes: bytes before the input is known; None where there is no constant.
        messages: that follow each other; None where there is no constant.
        seconds: while the network runs.
        offline_seconds: to send `offline_bytes`.
        counted: what is counted, in words.
        not_counted: what is not, in words.
        sources: of the constants.
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


def estimate(analysis: Analysis, protocol: Protocol, rtt: float = 1e-3, bandwidth: float = 1e9) -> PrivateEstimate:
    """Estimate what one inference of one sample costs.

    Args:
        analysis: of the network.
        protocol: the constants.
        rtt: seconds of a round trip between the parties.
        bandwidth: bits a second between them.
    """
    operations = count_operations(analysis)
    comparison_bytes = protocol.comparison_bytes * operations.comparisons
    linear_bytes = None if protocol.linear is None else _linear_bytes(operations, protocol.linear)
    total = comparison_bytes + (linear_bytes or 0)
    messages = None if protocol.messages is None else protocol.messages * operations.steps
    if protocol.comparison_seconds is not None:
        seconds = protocol.comparison_seconds * operations.comparisons
    else:
        seconds = (messages or 0) * rtt / 2 + 8 * total / bandwidth
    offline = None if protocol.offline_bytes is None else protocol.offline_bytes * operations.comparisons
    sources = (
        protocol.comparison_source,
        protocol.seconds_source,
        protocol.messages_source,
        protocol.linear.source if protocol.linear is not None else "",
    )
    return PrivateEstimate(
        protocol=protocol.name,
        title=protocol.title,
        rtt=rtt,
        bandwidth=bandwidth,
        comparisons=operations.comparisons,
        comparison_bytes=comparison_bytes,
        linear_bytes=linear_bytes,
        bytes=total,
        offline_bytes=offline,
        messages=messages,
        seconds=seconds,
        offline_seconds=None if offline is None else 8 * offline / bandwidth,
        counted=tuple(_counted(operations, protocol)),
        not_counted=tuple(_not_counted(operations, protocol)),
        sources=tuple(filter(None, sources)),
    )


def _linear_bytes(operations: Operations, cost: LinearCost) -> float:
    """Bytes of layers and products. A square opens its one factor once, a product of two tensors opens both."""
    opened = sum(layer.patches + layer.weights for layer in operations.linear)
    made = sum(layer.made for layer in operations.linear)
    opened += operations.squares + operations.factors
    made += operations.squares + operations.products
    return cost.opened * opened + cost.made * made


def _counted(operations: Operations, protocol: Protocol) -> Iterator[str]:
    yield f"{operations.comparisons} comparisons of ReLUs, Clips (two each) and max poolings"
    if protocol.messages is not None:
        yield f"messages of {operations.steps} layers of comparisons"
    if protocol.linear is not None:
        yield f"bytes of {len(operations.linear)} linear layers with secret weights"
        if operations.squares or operations.products:
            yield f"bytes of {operations.squares} squares and {operations.products} products of two values"


def _not_counted(operations: Operations, protocol: Protocol) -> Iterator[str]:
    products = operations.squares + operations.products
    if protocol.comparison_seconds is None:
        yield "the parties' own computation"
    else:
        yield "--rtt and --bandwidth while the network runs (the published times include a network of their own)"
    if protocol.messages is None and protocol.comparison_seconds is None:
        yield "waiting for messages"
    elif protocol.messages is not None:
        yield "messages of linear layers" + (" and products" if products else "")
    if protocol.linear is None:
        yield f"{len(operations.linear)} linear layers"
        if products:
            yield f"{operations.squares} squares and {operations.products} products of two values"
    if protocol.offline_bytes is None:
        yield "preparation before the input is known"
    for operator, nodes in operations.uncounted:
        yield f"{operator} nodes ({nodes})"
    if operations.unknown:
        yield f"nodes whose shapes are not known ({len(operations.unknown)})"
