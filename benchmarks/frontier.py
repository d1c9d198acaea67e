"""Optimize one model for several ReLU targets and print what came out as a Markdown table."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from arguments import benchmark_parser, read


def run(model: Path, target: str, results: Path, options: list[str]) -> str:
    """One run; its report is kept, its row of the table returned."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / f"{model.stem}-{target}.onnx"
        command = [sys.executable, "-m", "onnxshallow", "optimize", str(model), "--target-relus", target]
        done = subprocess.run([*command, "-o", str(output), *options], check=False, stdout=subprocess.DEVNULL)
        report = output.with_suffix(".json")
        if not report.is_file():
            return f"| {target} | exit code {done.returncode} | | | |"
        content = json.loads(report.read_text(encoding="utf-8"))
    results.mkdir(parents=True, exist_ok=True)
    (results / report.name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    before, after = content["original"], content["optimized"]
    if after is None:
        return f"| {target} | exit code {done.returncode} | | | |"
    lost = content["verdict"]["accuracy_lost"]
    return (
        f"| {target} | {after['relus'] / before['relus']:.3f} | {after['macs'] / before['macs']:.3f} "
        f"| {before['depth']} -> {after['depth']} | {'-' if lost is None else f'{100 * lost:.2f}'} |"
    )


def main() -> None:
    """Parse the command line and run."""
    parser = benchmark_parser(__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--targets", default="0.75,0.58,0.43")
    arguments, rest = read(parser)
    print("| target | ReLUs kept | MACs | depth | points lost |\n|---|---|---|---|---|")
    for target in arguments.targets.split(","):
        print(run(arguments.model, target, arguments.results, rest), flush=True)


if __name__ == "__main__":
    main()
