"""What `optimize` takes: CPU seconds, passes over the calibration samples, and points lost, beside other checkouts.

    python benchmarks/work.py MODEL.onnx --against FOLDER --results FOLDER -- --target-relus 0.58 --calib ...

A pass is the multiply-adds of the original on all calibration samples, as sessions of onnxruntime run them; those of
the validation are not counted. Each checkout of the project (this one and those that `--against` names) runs in a
process of its own, one after the other, without a cache and with one thread. Prints a Markdown table and writes
MODEL-work.json.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from arguments import benchmark_parser, read

# Stages that the clock knows, in the order of the table.
_STAGES = ("observe", "sensitivity", "plan", "fit")
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def counted(checkout: Path, model: Path, options: list[str]) -> dict[str, object]:
    """What one run took by stage, and the report of what it made."""
    with tempfile.TemporaryDirectory() as folder:
        counts, output = Path(folder) / "counts.json", Path(folder) / "out.onnx"
        script = Path(__file__).with_name("counted.py")
        command = [sys.executable, str(script), str(counts), "optimize", str(model.absolute()), *options]
        command += ["-o", str(output), "--no-cache", "--threads", "1", "--keep-rejected"]
        environment = {**os.environ, **_ONE_THREAD, "PYTHONPATH": str(checkout.absolute())}
        subprocess.run(command, cwd=checkout, env=environment, stderr=subprocess.DEVNULL, check=False)
        found: dict[str, object] = json.loads(counts.read_text(encoding="utf-8"))
        report = json.loads(output.with_suffix(".json").read_text(encoding="utf-8"))
    original, optimized = report["original"], report["optimized"]
    accuracy = [(each.get("accuracy") or {}).get("top1") for each in (original, optimized)]
    samples = int(options[options.index("--calib-samples") + 1]) if "--calib-samples" in options else 1024
    unit = original["macs"] * samples
    passes = {stage: macs / unit for stage, macs in found.pop("macs").items()}  # type: ignore[attr-defined]
    return found | {
        "checkout": str(checkout),
        "passes": passes,
        "relus": optimized["relus"] / original["relus"],
        "points_lost": None if None in accuracy else 100 * (accuracy[0] - accuracy[1]),
        "kl": report["fidelity"].get("kl"),
    }


def main() -> None:
    """Measure, write and print."""
    parser = benchmark_parser(__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--against", type=Path, action="append", default=[], help="another checkout")
    arguments, rest = read(parser)
    rows = []
    print(f"| checkout | CPU s | {' | '.join(_STAGES)} | passes | peak MiB | ReLUs kept | points lost | KL |")
    print("|---|" + "---|" * (len(_STAGES) + 6))
    for checkout in (*arguments.against, Path(__file__).resolve().parents[1]):
        row = counted(checkout, arguments.model, rest)
        rows.append(row)
        stages = [f"{row['cpu'].get(s, 0):.1f} s, {row['passes'].get(s, 0):.1f}" for s in _STAGES]
        passes = sum(row["passes"].get(stage, 0) for stage in _STAGES)
        lost, kl = ("-" if value is None else f"{value:.3f}" for value in (row["points_lost"], row["kl"]))
        cells = [
            f"{row['cpu_seconds']:.1f}",
            *stages,
            f"{passes:.1f}",
            f"{row['peak_mib']:.0f}",
            f"{row['relus']:.3f}",
        ]
        print(f"| {checkout.name} | {' | '.join([*cells, lost, kl])} |", flush=True)
    arguments.results.mkdir(parents=True, exist_ok=True)
    target = arguments.results / f"{arguments.model.stem}-work.json"
    target.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
