"""Whether outputs are really faster: networks are optimized and timed beside their originals, all in turns.

    python benchmarks/faster.py --models SHARED --data SHARED/data/cifar10 --results FOLDER

Runs `optimize` on the digits network at 0.58 and, with CIFAR-10 (`train.npz` and `validation.npz`) in --data, on the
VGG and the MobileNetV2 of models/ for 0.67 of their latency; with a folder --models that holds resnet20-cifar10.onnx
also on that, at 0.58, and at 0.43 with masks in the form that is fastest. Then each is timed with one and two threads
and batches of 1 and 32, beside what onnxslim makes of the original where it is installed. Networks that are in
--results already are not optimized again. Prints tables with the points lost, and writes faster.json.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import onnx
from arguments import benchmark_parser, read
from latency import forms, show, timed

ZOO = Path(__file__).parents[1] / "models"
OF_ZOO = ("--mean", "0.4914,0.4822,0.4465", "--std", "0.2470,0.2435,0.2616", "--scale", "255", "--layout", "nhwc")
OF_RESNET = ("--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225", "--layout", "nhwc")


@dataclass(frozen=True)
class Case:
    """One run of `optimize`.

    Attributes:
        name: of its results.
        model: the original.
        options: what is asked for.
        preprocessing: of CIFAR-10; none for data that are named beside the model.
    """

    name: str
    model: Path
    options: tuple[str, ...]
    preprocessing: tuple[str, ...] = ()


def cases(models: Path | None) -> list[Case]:
    """What to optimize."""
    found = [
        Case("digits-0.58", ZOO / "digits-resnet.onnx", ("--target-relus", "0.58")),
        Case("vgg-latency-0.67", ZOO / "vgg-cifar10.onnx", ("--target-latency", "0.67"), OF_ZOO),
        Case("mobilenetv2-latency-0.67", ZOO / "mobilenetv2-cifar10.onnx", ("--target-latency", "0.67"), OF_ZOO),
    ]
    if models is not None:
        model, masks = models / "resnet20-cifar10.onnx", ("--granularity", "channel", "--mask-form", "max")
        found.append(Case("resnet20-0.58", model, ("--target-relus", "0.58"), OF_RESNET))
        found.append(Case("resnet20-masks-0.43", model, ("--target-relus", "0.43", *masks), OF_RESNET))
    return found


def optimized(case: Case, data: Path | None, folder: Path, options: list[str]) -> Path | None:
    """The model that a case leads to; None where its data are not there."""
    if case.preprocessing and data is None:
        return None
    output = folder / f"{case.name}.onnx"
    command = [sys.executable, "-m", "onnxshallow", "optimize", str(case.model), *case.options, *case.preprocessing]
    if case.preprocessing and data is not None:
        command += ["--calib", str(data / "train.npz"), "--validate", str(data / "validation.npz")]
    if not output.exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run([*command, *options, "--force", "-o", str(output)], check=True, stdout=subprocess.DEVNULL)
    return output


def points_lost(report: Path) -> float:
    """Points of top-1 that a report says are lost."""
    read_back = json.loads(report.read_text(encoding="utf-8"))
    return 100 * float(read_back["original"]["accuracy"]["top1"] - read_back["optimized"]["accuracy"]["top1"])


def main() -> None:
    """Optimize, time, write and print."""
    parser = benchmark_parser(__doc__)
    parser.add_argument("--data", type=Path, help="folder with CIFAR-10 as train.npz and validation.npz")
    parser.add_argument("--models", type=Path, help="folder with resnet20-cifar10.onnx")
    parser.add_argument("--seconds", type=float, default=4.0, help="for each setting of a model")
    arguments, options = read(parser)
    found = {}
    for case in cases(arguments.models):
        output = optimized(case, arguments.data, arguments.results, options)
        if output is None:
            continue
        lost = points_lost(output.with_suffix(".json"))
        rows = timed(forms(onnx.load(case.model), {"onnxshallow": onnx.load(output)}), arguments.seconds)
        found[case.name] = {"points_lost": lost, "rows": rows}
        show(f"{case.name}, {lost:.2f} points lost", rows)
        target = arguments.results / "faster.json"
        target.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
