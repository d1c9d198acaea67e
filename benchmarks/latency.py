"""Latency of a model and of its optimized form in onnxruntime, beside what onnxslim and onnxsim make of the original.

    python benchmarks/latency.py MODEL.onnx MODEL.shallow.onnx --results FOLDER

All models take turns, with one and two threads and batches of 1 and 32. Needs `pip install onnxslim onnxsim`.
Prints a Markdown table and writes MODEL-latency.json.
"""

import json
from pathlib import Path

import numpy as np
import onnx
from arguments import benchmark_parser, read

from onnxshallow.data.preprocessing import Preprocessing
from onnxshallow.data.synthetic import synthesize
from onnxshallow.model.network import Network
from onnxshallow.model.session import Session
from onnxshallow.validation.latency import speedup, time_models


def simplified(model: onnx.ModelProto) -> dict[str, onnx.ModelProto]:
    """What the two simplifiers make of a model."""
    import onnxsim
    import onnxslim

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return {"onnxslim": onnxslim.slim(copy), "onnxsim": onnxsim.simplify(model)[0]}


def main() -> None:
    """Measure, write and print."""
    parser = benchmark_parser(__doc__)
    parser.add_argument("original", type=Path)
    parser.add_argument("optimized", type=Path)
    parser.add_argument("--runs", type=int, default=60)
    arguments, _ = read(parser)
    original = onnx.load(arguments.original)
    models = {"original": original, **simplified(original), "onnxshallow": onnx.load(arguments.optimized)}
    network = Network(original)
    rows = []
    for threads in (1, 2):
        for batch in (1, 32):
            feeds = synthesize(network.inputs, batch, 0, Preprocessing()).batch(np.arange(batch))
            sessions = {name: Session(model, threads=threads, in_turns=True) for name, model in models.items()}
            times = time_models(sessions, feeds, arguments.runs)
            row = {"threads": threads, "batch": batch}
            for name in models:
                ratio, (low, high) = speedup(times["original"].turns, times[name].turns)
                row[name] = {"ms": 1000 * times[name].median, "speedup": ratio, "interval": [low, high]}
            rows.append(row)
    arguments.results.mkdir(parents=True, exist_ok=True)
    target = arguments.results / f"{arguments.original.stem}-latency.json"
    target.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    print(f"| threads, batch | {' | '.join(models)} |\n|---|{'---|' * len(models)}")
    for row in rows:
        cells = []
        for name in models:
            low, high = row[name]["interval"]
            cells.append(f"{row[name]['ms']:.2f} ms, {row[name]['speedup']:.2f}x ({low:.2f} to {high:.2f})")
        print(f"| {row['threads']}, {row['batch']} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
