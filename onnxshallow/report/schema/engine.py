"""What `bench --engine` measured."""

from typing import Literal

from onnxshallow.report.schema.part import SCHEMA_VERSION, Part
from onnxshallow.validation.numbers import Number

__all__ = ["EngineReport", "SetupReport"]


class SetupReport(Part):
    """The result of `private-setup`: the Python that runs the engine, and what was installed for it."""

    schema_version: int = SCHEMA_VERSION
    python: str
    requirements: list[str]


class EngineReport(Part):
    """One model under secure computation, measured with a real engine.

    Attributes:
        model: a place in `models`.
        kind: what the figures are.
        engine: which engine.
        protocol: name of the protocol.
        title: what people call the protocol.
        weights: `secret` where only their owner knows the weights, `public` where all parties do.
        rtt: seconds of a round trip between the parties, by a proxy.
        bandwidth: bits a second between them, each way, by the same.
        bytes: that all parties sent for one sample.
        sent_bytes: that each of them sent.
        messages: of the party that sent most messages.
        seconds: that one sample took.
        work_seconds: of these, those that the busier party computed.
        bytes_estimated: what the estimate says of the same.
        messages_estimated: likewise.
        seconds_estimated: likewise.
        samples: that were compared with onnxruntime.
        agreed: samples whose first output is largest at the same place.
        largest_error: of an output, in its own unit.
        largest_output: what the error is to be compared with.
        synthetic: whether the samples are made up.
    """

    model: int
    kind: Literal["measured"] = "measured"
    engine: str
    protocol: str
    title: str
    weights: Literal["secret", "public"]
    rtt: float
    bandwidth: float
    bytes: int
    sent_bytes: list[int]
    messages: int
    seconds: float
    work_seconds: float
    bytes_estimated: Number
    messages_estimated: Number
    seconds_estimated: Number
    samples: int
    agreed: int
    largest_error: Number
    largest_output: Number
    synthetic: bool
