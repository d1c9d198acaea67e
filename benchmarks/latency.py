"""Latency of models and of their optimized forms in onnxruntime, beside what onnxslim and onnxsim make of them.

    python benchmarks/latency.py MODEL.onnx MODEL.shallow.onnx [OTHER.onnx OTHER.shallow.onnx ...] --results FOLDER

All forms of a model take turns, with one and two threads and batches of 1 and 32. `pip install onnxslim onnxsim` for
theirs; what is not installed is left out. Prints a Markdown table and writes latency.json, or of one model
MODEL-latency.json.
"""

import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from arguments import benchmark_parser, read

from onnxshallow.data.preprocessing import Preprocessing
from onnxshallow.data.synthetic import synthesize
from onnxshallow.model.network import Network
from onnxshallow.validation.latency import speedup, time_in_parts

__all__ = ["forms", "show", "timed"]

SETTINGS = tuple((threads, batch) for threads in (1, 2) for batch in (1, 32))


def forms(model: onnx.ModelProto, optimized: Mapping[str, onnx.ModelProto]) -> dict[str, onnx.ModelProto]:
    """The original, what the simplifiers that are installed make of it, and what onnxshallow made."""
    found = {"original": model}
    if find_spec("onnxslim"):
        import onnxslim

        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        found["onnxslim"] = onnxslim.slim(copy)
    if find_spec("onnxsim"):
        import onnxsim

        found["onnxsim"] = onnxsim.simplify(model)[0]
    return {**found, **optimized}


def timed(models: Mapping[str, onnx.ModelProto], seconds: float = 4.0) -> list[dict[str, Any]]:
    """A row for each setting: what each model takes, and how many times as fast as the first it is."""
    inputs = Network(next(iter(models.values()))).inputs
    rows = []
    for threads, batch in SETTINGS:
        feeds = synthesize(inputs, batch, 0, Preprocessing()).batch(np.arange(batch))
        timings = time_in_parts(list(models.values()), feeds, threads, seconds=seconds)
        row: dict[str, Any] = {"threads": threads, "batch": batch}
        for name, timing in zip(models, timings, strict=True):
            ratio, (low, high) = speedup(timings[0].turns, timing.turns)
            row[name] = {"ms": 1000 * timing.median, "speedup": ratio, "interval": [low, high]}
        rows.append(row)
    return rows


def show(title: str, rows: list[dict[str, Any]]) -> None:
    """Print rows as a table."""
    names = [name for name in rows[0] if name not in ("threads", "batch")]
    print(f"\n| {title}: threads, batch | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
    for row in rows:
        cells = []
        for name in names:
            low, high = row[name]["interval"]
            cells.append(f"{row[name]['ms']:.3g} ms, {row[name]['speedup']:.2f}x ({low:.2f} to {high:.2f})")
        print(f"| {row['threads']}, {row['batch']} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Measure, write and print."""
    parser = benchmark_parser(__doc__)
    parser.add_argument("models", type=Path, nargs="+", help="original, optimized, and so on")
    parser.add_argument("--seconds", type=float, default=4.0, help="for each setting of a model")
    arguments, _ = read(parser)
    pairs = list(zip(arguments.models[::2], arguments.models[1::2], strict=True))
    found = {}
    for original, optimized in pairs:
        models = forms(onnx.load(original), {"onnxshallow": onnx.load(optimized)})
        found[optimized.stem] = timed(models, arguments.seconds)
        show(original.stem, found[optimized.stem])
    arguments.results.mkdir(parents=True, exist_ok=True)
    single = len(pairs) == 1
    target = arguments.results / (f"{pairs[0][0].stem}-latency.json" if single else "latency.json")
    written = next(iter(found.values())) if single else found
    target.write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
