"""What secure computation costs, protocol by protocol.

Each constant has its source. What no source gives is None, and an estimate says that it was left out. A range counts
with its middle, and a KB is 1000 bytes.

References:
    P. Mishra et al., *DELPHI: a cryptographic inference service for neural networks*, USENIX Security 2020.
    D. Rathee et al., *CrypTFlow2: practical 2-party secure inference*, CCS 2020 (arXiv 2010.06457).
    Z. Huang et al., *Cheetah: lean and fast secure two-party deep neural network inference*, USENIX Security 2022.
    R. Cramer et al., *SPDZ2k: efficient MPC mod 2^k for dishonest majority*, CRYPTO 2018; passive here.
    P. Mohassel, P. Rindal, *ABY3: a mixed protocol framework for machine learning*, CCS 2018.
    D. Beaver, *Efficient multiparty protocols using circuit randomization*, CRYPTO 1991.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from onnxshallow.errors import UsageError

__all__ = ["PROTOCOLS", "LinearCost", "Protocol", "choose_protocols"]

_SPU = "measured with SPU 0.9.5"


@dataclass(frozen=True)
class LinearCost:
    """Bytes on the wire of a multiplication of secrets, both parties together.

    A product of matrices X (n, k) and W (k, m) opens both, masked, and pays for its n m results:
    `opened` (n k + k m) + `made` n m.

    Attributes:
        opened: bytes an element of either factor.
        made: bytes an element of the product.
        source: where the constants come from.
    """

    opened: int
    made: int
    source: str


@dataclass(frozen=True)
class Protocol:
    """Constants of one protocol. A comparison is one ReLU of one element, or one step of a maximum.

    Attributes:
        name: what `--private-model` calls it.
        title: what people call it.
        comparison_bytes: on the wire while the network runs, a comparison.
        comparison_source: where that comes from.
        offline_bytes: likewise, before the input is known.
        comparison_seconds: of a comparison while the network runs, network included, where only that is published.
        seconds_source: where that comes from.
        messages: that follow each other in a layer of comparisons.
        messages_source: where that comes from.
        linear: linear layers with secret weights, and products of two tensors.
    """

    name: str
    title: str
    comparison_bytes: float
    comparison_source: str
    offline_bytes: float | None = None
    comparison_seconds: float | None = None
    seconds_source: str = ""
    messages: int | None = None
    messages_source: str = ""
    linear: LinearCost | None = None


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            name="delphi",
            title="DELPHI",
            comparison_bytes=2_000,
            comparison_source="literature on DELPHI (Mishra et al., 2020): 17 to 18 KB a ReLU offline, 2 KB online",
            offline_bytes=17_500,
            comparison_seconds=21e-6,
            seconds_source="a fit to published points for DELPHI: about 21 microseconds a ReLU online",
        ),
        Protocol(
            name="cryptflow2",
            title="CrypTFlow2",
            comparison_bytes=500,
            comparison_source="after CrypTFlow2 (Rathee et al., 2020), rounded: about 0.5 KB a ReLU",
        ),
        Protocol(
            name="cheetah",
            title="Cheetah",
            comparison_bytes=98.5,
            comparison_source=f"{_SPU}, CHEETAH: 98.5 bytes a ReLU",
        ),
        Protocol(
            name="semi2k",
            title="SEMI2K with a dealer",
            comparison_bytes=144,
            comparison_source=f"{_SPU}, SEMI2K: 144 bytes a ReLU",
            messages=8,
            messages_source=f"{_SPU}, SEMI2K: 8 messages a layer of ReLUs",
            linear=LinearCost(
                opened=16,
                made=8,
                source="multiplication by Beaver triples in a ring of 64 bits: each of two parties sends 8 bytes for "
                "an element of either factor, and 8 bytes are paid for a result",
            ),
        ),
        Protocol(
            name="aby3",
            title="ABY3",
            comparison_bytes=172,
            comparison_source=f"{_SPU}, ABY3: 172 bytes a ReLU",
        ),
    )
}
"""All protocols, by name."""


def choose_protocols(texts: Sequence[str]) -> tuple[Protocol, ...]:
    """The protocols that `--private-model` names: each text is a name, several with commas between, or `all`.

    Raises:
        UsageError: there is no such protocol.
    """
    names = [name.strip().lower() for text in texts for name in text.split(",")]
    unknown = next((name for name in names if name not in PROTOCOLS and name != "all"), None)
    if unknown is not None:
        raise UsageError(f"--private-model {unknown}: choose from {', '.join(PROTOCOLS)}, or all.")
    chosen = PROTOCOLS if "all" in names else dict.fromkeys(names)
    return tuple(PROTOCOLS[name] for name in chosen)
