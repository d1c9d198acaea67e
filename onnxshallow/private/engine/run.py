"""Run a program under secure computation, in the engine's environment, and read what it took."""

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onnxshallow.errors import ExitCode, OnnxshallowError
from onnxshallow.private.engine.program import Program
from onnxshallow.private.protocols import Weights

__all__ = ["EngineError", "EngineRun", "Link", "run_program"]

_PARTY = Path(__file__).with_name("party.py")


class EngineError(OnnxshallowError):
    """The engine did not do what it was to do."""

    exit_code = ExitCode.UNUSABLE_INPUT


@dataclass(frozen=True)
class Link:
    """What lies between the parties.

    Attributes:
        rtt: seconds of a round trip.
        bandwidth: bits a second, each way.
    """

    rtt: float
    bandwidth: float


@dataclass(frozen=True, eq=False)
class EngineRun:
    """What one run took, by the engine's own statistics, and what came of it.

    Attributes:
        bytes: that all parties sent.
        sent: bytes that each party sent.
        messages: that the party sent that sent most.
        seconds: from the first step to the last, of the slowest party.
        work: seconds that the busier party computed.
        outputs: revealed, in the network's order.
    """

    bytes: int
    sent: tuple[int, ...]
    messages: int
    seconds: float
    work: float
    outputs: tuple[np.ndarray, ...]


def run_program(
    python: Path,
    program: Program,
    feeds: Sequence[Mapping[str, np.ndarray]],
    protocol: str,
    weights: Weights = "secret",
    link: Link | None = None,
    fraction_bits: int = 18,
) -> list[EngineRun]:
    """Run a program once for each set of inputs, a process a party.

    Args:
        python: of the engine's environment.
        program: the network.
        feeds: inputs by name, float32.
        protocol: `semi2k`, `aby3` or `cheetah`.
        weights: whether only their owner knows them.
        link: what to put between the parties; None for plain loopback.
        fraction_bits: of the fixed-point numbers in a ring of 64 bits.

    Raises:
        EngineError: it failed; the error has the engine's last words.
    """
    order = {
        **program.order(),
        "protocol": protocol,
        "weights": weights,
        "runs": len(feeds),
        "fraction_bits": fraction_bits,
        "link": None if link is None else vars(link),
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "order.json").write_text(json.dumps(order), encoding="utf-8")
        np.savez(folder / "arrays.npz", **{**program.weights, **program.public})  # type: ignore[arg-type]
        stored = {f"{run} {key}": each[key] for run, each in enumerate(feeds) for key in program.inputs}
        np.savez(folder / "feeds.npz", **stored)  # type: ignore[arg-type]
        # -I keeps this package's folder and the user's own paths off the process's search path.
        command = [str(python), "-I", str(_PARTY), name]
        environment = {**os.environ, "JAX_TRACEBACK_FILTERING": "off"}  # so that an error's last line is the error
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        except OSError as error:
            raise EngineError(f"Cannot start {python}: {error.strerror or error}.") from error
        if done.returncode or not (folder / "answer.json").is_file():
            lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
            last = lines[-1] if lines else f"it ended with {done.returncode}"
            raise EngineError(f"SPU failed with {protocol}: {last.rstrip('.')}.")
        answer = json.loads((folder / "answer.json").read_text(encoding="utf-8"))
        with np.load(folder / "outputs.npz") as stored_outputs:
            outputs = dict(stored_outputs)
    return [
        _read(runs, tuple(outputs[f"{index} {name}"] for name in program.outputs))
        for index, runs in enumerate(answer["runs"])
    ]


def _read(parties: Sequence[Mapping[str, float]], outputs: tuple[np.ndarray, ...]) -> EngineRun:
    sent = tuple(int(party["sent"]) for party in parties)
    return EngineRun(
        bytes=sum(sent),
        sent=sent,
        messages=max(int(party["messages"]) for party in parties),
        seconds=max(party["seconds"] for party in parties),
        work=max(party["work"] for party in parties),
        outputs=outputs,
    )
