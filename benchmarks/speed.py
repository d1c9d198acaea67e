"""Where the time of `optimize` goes, as multiples of one onnxruntime pass over the calibration samples.

    python benchmarks/speed.py MODEL.onnx --samples 256,512,1024 --results FOLDER -- --target-relus 0.58 --calib ...

Each run is a process of its own without a cache. Prints a Markdown table with seconds, multiples of a pass and the
peak memory, and writes MODEL-speed.json.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from arguments import benchmark_parser, by_name, read

from onnxshallow.model.document import load_document
from onnxshallow.options.config import resolve
from onnxshallow.runtime.whole import run_batches
from onnxshallow.search.inputs import load_inputs


def one_pass(model: Path, options: list[str], samples: int) -> float:
    """Seconds that the original takes for all calibration samples, loading not counted."""
    inputs = load_inputs(load_document(model), resolve({**by_name(options), "calib-samples": samples}, model))
    batches, threads = inputs.calibration.batches, inputs.calibration.threads
    run_batches(inputs.document.model, batches[:1], threads)
    start = time.perf_counter()
    run_batches(inputs.document.model, batches, threads)
    return time.perf_counter() - start


def optimize(model: Path, options: list[str], samples: int) -> dict[str, object]:
    """Timings of one run, and the memory that it took at the most."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "out.onnx"
        command = [sys.executable, "-m", "onnxshallow", "optimize", str(model), *options, "-o", str(output)]
        command += ["--calib-samples", str(samples), "--no-cache", "--force"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        timings: dict[str, float] = json.loads(output.with_suffix(".json").read_text(encoding="utf-8"))["timings"]
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return {"samples": samples, "timings": timings, "peak_mib": peak}


def main() -> None:
    """Measure, write and print."""
    parser = benchmark_parser(__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--samples", default="256,512,1024")
    arguments, rest = read(parser)
    rows = []
    print("| samples | one pass, s | sweep | plan | fit | all but validation | peak MiB |")
    print("|---|" + "---|" * 6)
    for samples in sorted(int(text) for text in arguments.samples.split(",")):  # the peak is of all runs up to now
        row = optimize(arguments.model, rest, samples) | {"pass": one_pass(arguments.model, rest, samples)}
        rows.append(row)
        timings, unit = row["timings"], row["pass"]
        whole = sum(timings.values()) - timings["validate"] - timings["latency"]
        cells = [timings["observe"] + timings["sensitivity"], timings["plan"], timings["fit"], whole]
        shown = " | ".join(f"{seconds:.1f} s = {seconds / unit:.0f}x" for seconds in cells)
        print(f"| {samples} | {unit:.2f} | {shown} | {row['peak_mib']:.0f} |", flush=True)
    arguments.results.mkdir(parents=True, exist_ok=True)
    target = arguments.results / f"{arguments.model.stem}-speed.json"
    target.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
