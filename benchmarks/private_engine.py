"""The estimate of private inference beside SPU, on networks of different kinds.

    python benchmarks/private_engine.py MODEL.onnx... --protocols semi2k,aby3 --results FOLDER

Every network runs under every protocol, with secret and with public weights, each party a process of its own; needs
`onnxshallow private-setup`. Prints a Markdown table and writes private-engine.json: bytes and messages as the engine
counts them, the estimate's share of them, seconds over the link, and how far the outputs are from onnxruntime's.

What follows `--` are options such as `--validate test.npz`, for the networks that the data fit; the others get
samples that are made up. Without `--rtt` and `--bandwidth` nothing is slowed down: bytes and messages are the same.
"""

import json
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from arguments import benchmark_parser, by_name, read

from onnxshallow.errors import DataError, OnnxshallowError
from onnxshallow.options.config import Config, resolve
from onnxshallow.private.engine.run import Link
from onnxshallow.private.link import parse_bandwidth, parse_rtt
from onnxshallow.private.protocols import Protocol, choose_runnable
from onnxshallow.report.schema.engine import EngineReport
from onnxshallow.runtime.progress import Silent
from onnxshallow.workflows.engine import measure_engine
from onnxshallow.workflows.validate import load_models

COLUMNS = (
    "network", "protocol", "weights", "MB", "estimate / measured", "messages", "estimate / measured", "seconds",
    "estimated", "same class", "largest error", "of",
)  # fmt: skip
# An estimate is close up to this share. Refills of CHEETAH's stock of transfers come now and then, and are left out.
CLOSE = {"semi2k": 0.05, "aby3": 0.05, "cheetah": 0.25}


def cells(path: Path, run: EngineReport) -> str:
    """One row of the table."""
    return (
        f"| {path.stem} | {run.protocol} | {run.weights} | {run.bytes / 1e6:.2f} "
        f"| {share(run.bytes_estimated, run.bytes):.3f} | {run.messages} "
        f"| {share(run.messages_estimated, run.messages):.3f} | {run.seconds:.2f} | {run.seconds_estimated:.2f} "
        f"| {run.agreed} of {run.samples} | {run.largest_error:.4f} | {run.largest_output:.1f} |"
    )


def share(estimated: float | None, measured: float) -> float:
    """The estimate by what was measured."""
    return (estimated or 0.0) / max(measured, 1)


def is_close(run: EngineReport) -> bool:
    """Whether the estimate is as close as it has to be; of CHEETAH, bytes alone, as refills are left out."""
    shares = [share(run.bytes_estimated, run.bytes)]
    if run.protocol != "cheetah":
        shares.append(share(run.messages_estimated, run.messages))
    return all(abs(each - 1) <= CLOSE[run.protocol] for each in shares)


def measured(path: Path, protocol: Protocol, arguments: Namespace, options: Mapping[str, Any]) -> list[EngineReport]:
    """One network under one protocol, with each kind of weights."""
    link = Link(parse_rtt(arguments.rtt), parse_bandwidth(arguments.bandwidth))
    found = []
    for weights in arguments.weights.split(","):
        config = resolve({**options, "validate_samples": arguments.samples}, path)
        (document, _), inputs = load_models([path, path], config)

        def run(config: Config) -> list[EngineReport]:
            return measure_engine([document], inputs, [protocol], weights, link, config, Silent())  # noqa: B023

        try:
            found += run(config)
        except DataError:
            found += run(config.model_copy(update={"validate_data": None}))
    return found


def main() -> int:
    """Run, write and print; 1 where an estimate is not close."""
    parser = benchmark_parser(__doc__)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--protocols", default="semi2k,aby3")
    parser.add_argument("--weights", default="secret,public")
    parser.add_argument("--rtt", default="0ms")
    parser.add_argument("--bandwidth", default="10Gbps")
    parser.add_argument("--samples", type=int, default=16, help="that are compared with onnxruntime [16]")
    arguments, rest = read(parser)
    rows, far = [], 0
    arguments.results.mkdir(parents=True, exist_ok=True)
    target = arguments.results / "private-engine.json"
    print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|", flush=True)
    for path in arguments.models:
        for protocol in choose_runnable([arguments.protocols]):
            try:
                runs = measured(path, protocol, arguments, by_name(rest))
            except OnnxshallowError as error:
                print(f"| {path.stem} | {protocol.name} | {error} |" + " |" * 9, flush=True)
                far += 1
                continue
            for run in runs:
                print(cells(path, run), flush=True)
                far += not is_close(run)
                rows.append({"network": path.stem, **run.model_dump()})
            target.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    return 1 if far else 0


if __name__ == "__main__":
    raise SystemExit(main())
