"""The price of a network under secure computation: bytes, messages and own computing time, node by node.

Prices add up: an engine runs one node after the other, so that messages follow each other along all of them. What a
change saves is the difference of two prices.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from onnxshallow.analysis import Analysis
from onnxshallow.private.operations import Matrices, Operation, Operations, count_operations
from onnxshallow.private.protocols import Charge, Protocol, Weights
from onnxshallow.private.smooth import FUNCTIONS

__all__ = ["NetworkPrice", "Price", "charge_of", "goes_tap_by_tap", "price", "price_operation"]


@dataclass(frozen=True)
class Price:
    """What something costs, on one sample.

    Attributes:
        bytes: on the wire, of all parties together.
        messages: that follow each other.
        sent: bytes that one party sends; both directions of a link run at once.
        work: seconds that the busier party computes.
    """

    bytes: float = 0.0
    messages: float = 0.0
    sent: float = 0.0
    work: float = 0.0

    def __add__(self, other: "Price") -> "Price":
        """What both cost."""
        return Price(
            self.bytes + other.bytes, self.messages + other.messages, self.sent + other.sent, self.work + other.work
        )

    def __sub__(self, other: "Price") -> "Price":
        """What is saved where `other` takes the place of this; below zero where that costs more."""
        return Price(
            self.bytes - other.bytes, self.messages - other.messages, self.sent - other.sent, self.work - other.work
        )

    def seconds(self, rtt: float, bandwidth: float) -> float:
        """How long it takes: own work, waiting for messages, and sending.

        Args:
            rtt: seconds of a round trip between the parties.
            bandwidth: bits a second, each way.
        """
        return self.work + self.messages * rtt / 2 + 8 * self.sent / bandwidth


@dataclass(frozen=True)
class NetworkPrice:
    """What a network costs.

    Attributes:
        total: of all its nodes.
        by_node: of the nodes that cost anything, by their index.
        operations: what was priced, and what could not be.
    """

    total: Price
    by_node: Mapping[int, Price]
    operations: Operations


def price(analysis: Analysis, protocol: Protocol, weights: Weights = "secret") -> NetworkPrice:
    """Price a network, on one sample. Operations for which the protocol has no constants cost nothing.

    Args:
        analysis: of the network.
        protocol: the constants.
        weights: whether only their owner knows them.
    """
    operations = count_operations(analysis)
    by_node: dict[int, Price] = {}
    for operation in operations.all:
        made = price_operation(operation, protocol, weights)
        by_node[operation.node] = by_node.get(operation.node, Price()) + made
    return NetworkPrice(sum(by_node.values(), Price()), by_node, operations)


def price_operation(operation: Operation, protocol: Protocol, weights: Weights = "secret") -> Price:
    """Price one operation; nothing where the protocol has no constants for it."""
    matrices = operation.matrices
    if matrices is not None and matrices.groups > 1:
        if goes_tap_by_tap(matrices, protocol, weights):
            return _charged(_by_taps(operation.node, matrices), protocol, weights)
        operation = replace(operation, matrices=matrices.whole)
    return _charged(operation, protocol, weights)


def goes_tap_by_tap(matrices: Matrices, protocol: Protocol, weights: Weights) -> bool:
    """Whether a convolution of groups with one output channel each is cheaper as products than as one matrix."""
    if matrices.columns > 1 or matrices.groups == 1:
        return False
    whole = Operation(0, "linear", matrices.made, matrices=matrices.whole)
    return _charged(_by_taps(0, matrices), protocol, weights).bytes < _charged(whole, protocol, weights).bytes


def _by_taps(node: int, matrices: Matrices) -> Operation:
    """Every value under every tap times the tap's weight."""
    return Operation(node, "factor", matrices.macs)


def _charged(operation: Operation, protocol: Protocol, weights: Weights) -> Price:
    charge = charge_of(operation, protocol, weights)
    if charge is None:
        return Price()
    matrices = operation.matrices
    opened = 0 if matrices is None else matrices.opened
    total = charge.bytes * operation.made + charge.opened * opened
    messages = (charge.messages or 0) * operation.steps
    if charge.formula is not None:
        total, messages = charge.formula(operation)
    work = charge.work * operation.made
    if matrices is not None and protocol.work:
        work = protocol.work[weights] * matrices.opened
    return Price(total, messages, total / protocol.parties, work)


def charge_of(operation: Operation, protocol: Protocol, weights: Weights) -> Charge | None:
    """What a protocol charges for an operation; None where it has no constants."""
    if operation.kind == "comparison":
        return protocol.comparison
    if operation.kind in ("square", "product"):
        return protocol.product
    if operation.kind in FUNCTIONS:
        return protocol.functions.get(operation.kind)
    if operation.kind == "scale" or weights == "public":
        return protocol.scale
    return protocol.linear if operation.kind == "linear" else protocol.product
