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

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, cast

from onnxshallow.errors import UsageError
from onnxshallow.private import cheetah
from onnxshallow.private.operations import Kind, Operation

__all__ = [
    "PROTOCOLS",
    "RUNNABLE",
    "Charge",
    "Protocol",
    "Weights",
    "choose_protocols",
    "choose_runnable",
]

Weights = Literal["secret", "public"]
"""Whether only their owner knows the weights, or every party does."""

_SPU = "measured with SPU 0.9.5"


@dataclass(frozen=True)
class Charge:
    """What one kind of operation costs; bytes are on the wire, of all parties together.

    Attributes:
        bytes: an element of the result; of comparisons, a comparison.
        messages: that follow each other in one step; None where no source tells.
        source: where the constants come from.
        opened: bytes an element of either factor, for linear layers whose factors are masked and opened.
        work: seconds that the busier party computes for what `bytes` are for.
        formula: bytes and messages of an operation, where no constants tell them; `bytes` and `messages` are then
            those of a large one.
    """

    bytes: float
    messages: float | None
    source: str
    opened: float = 0.0
    work: float = 0.0
    formula: Callable[[Operation], tuple[float, float]] | None = None


@dataclass(frozen=True)
class Protocol:
    """Constants of one protocol. A comparison is one ReLU of one element, or one step of a maximum.

    Attributes:
        name: what `--private-model` calls it.
        title: what people call it.
        comparison: comparisons.
        parties: how many compute.
        product: squares, and products of two secrets, element by element.
        linear: linear layers with secret weights.
        scale: whatever is multiplied by numbers that all parties know: linear layers with public weights, average
            poolings. The parties multiply on their own; the charge is for cutting digits off afterwards.
        functions: smooth functions, by what they compute; none where no source tells what they cost.
        offline_bytes: a comparison, before the input is known.
        comparison_seconds: of a comparison while the network runs, network included, where only that is published.
        seconds_source: where that comes from.
        work: seconds that the busier party computes for a linear layer, an element of either factor, by who knows the
            weights.
        work_source: where that and the charges' work come from.
        left_out: what the constants do not hold, in words.
    """

    name: str
    title: str
    comparison: Charge
    parties: int = 2
    product: Charge | None = None
    linear: Charge | None = None
    scale: Charge | None = None
    functions: Mapping[Kind, Charge] = field(default_factory=dict)
    offline_bytes: float | None = None
    comparison_seconds: float | None = None
    seconds_source: str = ""
    work: Mapping[Weights, float] = field(default_factory=dict)
    work_source: str = ""
    left_out: tuple[str, ...] = ()


_SEMI2K = f"{_SPU}, SEMI2K"
# Which party sends one message less changes from node to node: a number between the mean and the most is near.
_ABY3 = f"{_SPU}, ABY3"
_WORK = f"own work {_SPU}, a core of a shared server for each party"
_CHEETAH = f"{_SPU}, CHEETAH, without the set-up of its first run"


def _functions(measured: str, **figures: tuple[float, int]) -> dict[Kind, Charge]:
    """Charges for smooth functions, of bytes an element and messages a node, measured on 4 096 elements."""
    return {
        cast(Kind, name): Charge(size, messages, f"{measured}: {size:g} bytes and {messages} messages for a {name}")
        for name, (size, messages) in figures.items()
    }


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            name="delphi",
            title="DELPHI",
            comparison=Charge(
                2_000, None, "literature on DELPHI (Mishra et al., 2020): 17 to 18 KB a ReLU offline, 2 KB online"
            ),
            offline_bytes=17_500,
            comparison_seconds=21e-6,
            seconds_source="a fit to published points for DELPHI: about 21 microseconds a ReLU online",
        ),
        Protocol(
            name="cryptflow2",
            title="CrypTFlow2",
            comparison=Charge(500, None, "after CrypTFlow2 (Rathee et al., 2020), rounded: about 0.5 KB a ReLU"),
        ),
        Protocol(
            name="cheetah",
            title="Cheetah",
            comparison=Charge(
                98.5,
                40,
                f"{_CHEETAH}: 98.5 bytes a ReLU, 40 messages a layer of them, 20 of few",
                work=9.3e-6,
                formula=cheetah.comparisons,
            ),
            product=Charge(
                221.3,
                14,
                f"{_CHEETAH}: 221.3 bytes a product of very many, 14 messages for 16 384 of them",
                work=3.3e-6,
                formula=cheetah.products,
            ),
            linear=Charge(
                253_700,
                5,
                f"{_CHEETAH}: ciphertexts of 185 600 and 253700 bytes for a layer, in 5 messages or so",
                formula=cheetah.linear,
            ),
            scale=Charge(
                3.125,
                2,
                f"{_CHEETAH}: 3.125 bytes for cutting digits off an element, 2 messages a node",
                work=0.29e-6,
                formula=cheetah.scales,
            ),
            functions=_functions(
                _CHEETAH,
                sigmoid=(5632, 193),
                tanh=(3001, 146),
                erf=(4770, 250),
                exp=(2261, 50),
                softplus=(5527, 151),
            ),
            work={"secret": 8e-6, "public": 0.2e-6},
            work_source=_WORK,
            left_out=(
                "what refills the stock of oblivious transfers: 1281 messages that nobody waits for, and 267 KB, "
                "about every 80 000 comparisons",
            ),
        ),
        Protocol(
            name="semi2k",
            title="SEMI2K with a dealer",
            comparison=Charge(144, 8, f"{_SEMI2K}: 144 bytes a ReLU, 8 messages a layer of them", work=1.1e-6),
            product=Charge(40, 2, f"{_SEMI2K}: 40 bytes a product, 2 messages a node", work=0.21e-6),
            linear=Charge(
                8,
                2,
                "multiplication by Beaver triples in a ring of 64 bits: each of two parties sends 8 bytes for an "
                f"element of either factor, and 8 bytes are paid for a result; 2 messages, {_SEMI2K}",
                opened=16,
            ),
            scale=Charge(
                8, 1, f"{_SEMI2K}: 8 bytes for cutting digits off an element, 1 message a node", work=0.08e-6
            ),
            functions=_functions(
                _SEMI2K, sigmoid=(1210, 53), tanh=(648, 36), erf=(1442, 60), exp=(200, 17), softplus=(1220, 43)
            ),
            work={"secret": 0.8e-6, "public": 0.2e-6},
            work_source=_WORK,
        ),
        Protocol(
            name="aby3",
            title="ABY3",
            parties=3,
            comparison=Charge(
                172, 10.75, f"{_ABY3}: 172 bytes a ReLU, 11, 11 and 10 messages a layer, by party", work=0.9e-6
            ),
            product=Charge(52, 2.75, f"{_ABY3}: 52 bytes a product, 3, 3 and 2 messages a node", work=0.12e-6),
            linear=Charge(52, 2.75, f"{_ABY3}: 52 bytes an output with secret weights, 3, 3 and 2 messages a layer"),
            scale=Charge(
                28,
                1.75,
                f"{_ABY3}: 28 bytes for cutting digits off an element, 2, 2 and 1 messages a node",
                work=0.12e-6,
            ),
            functions=_functions(
                _ABY3, sigmoid=(1780, 78), tanh=(868, 52), erf=(1944, 87), exp=(444, 24), softplus=(2968, 65)
            ),
            work={"secret": 0.5e-6, "public": 0.45e-6},
            work_source=_WORK,
        ),
    )
}
"""All protocols, by name."""


RUNNABLE = ("semi2k", "aby3", "cheetah")
"""Names of the protocols that the engine can run."""


def choose_protocols(texts: Sequence[str]) -> tuple[Protocol, ...]:
    """The protocols that `--private-model` names: each text is a name, several with commas between, or `all`.

    Raises:
        UsageError: there is no such protocol.
    """
    return _choose("--private-model", texts, tuple(PROTOCOLS))


def choose_runnable(texts: Sequence[str]) -> tuple[Protocol, ...]:
    """The protocols that `--protocol` names, likewise.

    Raises:
        UsageError: the engine has no such protocol.
    """
    return _choose("--protocol", texts, RUNNABLE)


def _choose(option: str, texts: Sequence[str], known: Sequence[str]) -> tuple[Protocol, ...]:
    names = [name.strip().lower() for text in texts for name in text.split(",")]
    unknown = next((name for name in names if name not in known and name != "all"), None)
    if unknown is not None:
        raise UsageError(f"{option} {unknown}: choose from {', '.join(known)}, or all.")
    return tuple(PROTOCOLS[name] for name in (known if "all" in names else dict.fromkeys(names)))
