"""Run `onnxshallow optimize` on every model of a folder and on one network of each odd kind; say what came of it.

    python -m benchmarks.corpus [FOLDER] --samples 32

All runs are calibrated on synthetic inputs, so nothing here speaks of accuracy: what is shown is whether the tool
works on other people's models, what it refuses and why. Writes docs/corpus.md and results/corpus.json. Needs the
repository's root as the current folder, as the networks of odd kinds are those of the tests.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import onnx

from benchmarks.arguments import benchmark_parser, read
from onnxshallow.analysis import Analysis, analyze
from onnxshallow.errors import OnnxshallowError
from onnxshallow.model.document import load_document
from onnxshallow.report.build.run import site_reports
from tests.corpus.checks import checks
from tests.kinds import KINDS

TARGET = "0.7"
SHAPES: Mapping[str, Mapping[str, tuple[int, ...]]] = {
    "silero_vad_16k": {"input": (1, 576)},
    "freeDimInput": {"inputImage": (1, 3, 720, 720)},
}
"""Sizes for models with open axes, by a part of the file's name."""

PAGE = """# Other people's models

What `onnxshallow optimize --target-relus {target}` makes of {count} files of other people's exporters, and of one
small network of each kind that they lack. Written by `python -m benchmarks.corpus`, which runs on any folder.

- Nothing here speaks of accuracy. All runs are calibrated on {samples} synthetic samples, which is few, and the
  networks called `onnx__light` have weights that are all alike. What counts is: done, or refused for a true reason.
- Exit code 4 says that synthetic samples of other sorts do not vouch for the model. It was made all the same
  (`--keep-rejected`), so its row is filled in, and it was checked like the others.
- *sites* are ReLU-like nodes. *removed* ones are gone; *fused* ones of these went into a convolution together with
  their neighbours. *depth* counts the linear layers on the longest path.
- *refused* says how many sites cannot be removed, and how many of the others cannot be fused, with the most frequent
  reason in full.
- *checked by*: C is onnx's checker. O is onnxruntime, whose outputs agree with all its optimizations and with none.
  R is onnx's reference implementation, which agrees too, for networks of up to 30 M multiply-adds.
- *CPU s* are the seconds of processor time and *MB* the most memory that one run took, everything included. Rows
  without *MB* are of an earlier state of the tool, and their seconds those of the clock on a busy machine.

{table}

## What is behind it

{notes}
"""

NOTES = """- **More removed than asked for.** A network of few large sites has no plan in between. `cnn_mnist_pytorch`
  has sites of 1440, 320, 50 and 10; 0.7 of them are 1274, so the largest has to go and 380 stay at the most. That two
  small ones go as well merges two layers, and of the plans tried that one did the least damage.
- **One activation always stays**, as a network without any is linear. So a model of one site is refused with exit
  code 5.
- **Merging needs a chain.** Sites before a pooling, an InstanceNormalization or several readers can be removed, which
  saves activations, but not merged, which would save layers. Branches of one tensor that a Concat joins are merged
  with the layer behind it ([how](decisions/joined-branches.md)).
- **Weights that are listed as inputs**, as PyTorch 1.2 wrote them, may be overridden by whoever runs the model, so
  nothing that reads them is merged. `--freeze-weights` takes them off the inputs, and the two Linzaer models can be.
- **Quantized weights** are left alone. The activations between them can be removed, and the layers merged before the
  model is quantized.
- **`onnx__light` networks** compute one constant, whatever goes in. So no plan does damage, the first is kept, and O
  says of them only that the result loads and runs, not that it was fitted well.
"""


@dataclass(frozen=True)
class Row:
    """What came of one model."""

    model: str
    made_by: str
    sites: int | None
    removed: int | None
    fused: int | None
    depth: str
    relus: float | None
    refused: str
    checked: tuple[str, ...]
    seconds: float | None
    outcome: str
    megabytes: float | None = None

    def cells(self) -> str:
        """The row of the table."""
        short = {"onnx.checker": "C", "onnx.reference": "R"}
        checked = " ".join(short.get(name, "O") for name in self.checked) or "-"
        share = "-" if self.relus is None else f"{self.relus:.2f}"
        numbers = " | ".join("-" if n is None else str(n) for n in (self.sites, self.removed, self.fused))
        return (
            f"| {self.model} | {self.made_by} | {numbers} | {self.depth} | {share} | {self.refused} | {checked} "
            f"| {_rounded(self.seconds)} | {_rounded(self.megabytes)} | {self.outcome} |"
        )


HEAD = """| model | made by | sites | removed | fused | depth | ReLUs | refused | checked by | CPU s | MB | outcome |
|---|---|---|---|---|---|---|---|---|---|---|---|"""


def _rounded(number: float | None) -> str:
    return "-" if number is None else f"{number:.0f}"


def run(path: Path, made_by: str, options: list[str], timeout: float) -> Row:
    """Optimize one model in a process of its own, and check what it wrote."""
    shapes = next((given for part, given in SHAPES.items() if part in path.name), None)
    given = [f"{name}:{','.join(map(str, sizes))}" for name, sizes in (shapes or {}).items()]
    shape_options = [text for shape in given for text in ("--input-shape", shape)]
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "out.onnx"
        command = [sys.executable, "-m", "onnxshallow", "optimize", str(path), "--target-relus", TARGET]
        command += ["--no-cache", "--keep-rejected", "-o", str(output), *shape_options, *options]
        done = _timed(command, timeout)
        if done is None:
            count, refused = _sites(path, shapes)
            return Row(path.stem, made_by, count, None, None, "-", None, refused, (), None, "too slow")
        content = output.with_suffix(".json")
        report = json.loads(content.read_text(encoding="utf-8")) if content.is_file() else None
        passed: tuple[str, ...] = ()
        outcome = "done" if done.code == 0 else f"exit {done.code}: {_sentence(done.said, path)}"
        if output.is_file():
            try:
                passed = tuple(checks(onnx.load(output), load_document(path).model, shapes))
            except AssertionError as error:
                outcome = f"WRONG: {error}"
    count, refused = _sites(path, shapes)
    taken = [d for d in report["decisions"] if d["action"] != "keep" and not d.get("kept")] if report else []
    after = report["optimized"] if report else None
    return Row(
        model=path.stem,
        made_by=made_by,
        sites=count,
        removed=len(taken) if after else None,
        fused=sum(d["action"] == "fuse" for d in taken) if after else None,
        depth=f"{report['original']['depth']} -> {after['depth']}" if after else "-",
        relus=after["relus"] / report["original"]["relus"] if after and report["original"]["relus"] else None,
        refused=refused,
        checked=passed,
        seconds=done.seconds,
        megabytes=done.megabytes,
        outcome=outcome,
    )


@dataclass(frozen=True)
class _Done:
    """A process that ended: its exit code, CPU seconds, the most memory that it held, and what it said."""

    code: int
    seconds: float
    megabytes: float
    said: str


def _timed(command: list[str], timeout: float) -> _Done | None:
    """Run a command; None where it took longer than `timeout` seconds."""
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said, text=True)
        alarm = threading.Timer(timeout, process.kill)
        alarm.start()
        _, status, usage = os.wait4(process.pid, 0)
        ended = alarm.is_alive()
        alarm.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        seconds, megabytes = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
        return _Done(process.returncode, seconds, megabytes, said.read()) if ended else None


def _sites(path: Path, shapes: Mapping[str, tuple[int, ...]] | None) -> tuple[int | None, str]:
    """How many sites a model has, and what stands in the way of removing and of merging them."""
    try:
        analysis: Analysis = analyze(load_document(path).plain.model, shapes)
    except OnnxshallowError:
        return None, ""
    sites = site_reports(analysis)
    kinds = {
        "cannot be removed": [site.reason for site in sites if not site.removable],
        "cannot be fused": [site.reason for site in sites if site.removable and not site.fusable],
    }
    parts = [f"{len(reasons)} {what}: {_most_frequent(reasons)}" for what, reasons in kinds.items() if reasons]
    return len(sites), "; ".join(parts)


def _most_frequent(reasons: list[str | None]) -> str:
    """The most frequent reason, names left out when counting; the first of its kind in full."""
    plain = [re.sub(r"'[^']*'", "''", reason or "") for reason in reasons]
    ((kind, count),) = Counter(plain).most_common(1)
    first = reasons[plain.index(kind)] or "no reason is given"
    return first.replace("|", "/") if count == len(reasons) else f"{first} ({count} of them)".replace("|", "/")


def _sentence(text: str, path: Path) -> str:
    """What the tool said last, without the folder."""
    lines = [line for line in text.splitlines() if line.startswith("error: ")]
    said = lines[-1].removeprefix("error: ") if lines else "no sentence"
    return said.replace(str(path), path.name).replace("|", "/")


def _made_by(path: Path) -> str:
    """Exporter and operator set, as the file says."""
    model = onnx.load(path, load_external_data=False)
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), "?")
    producer = f"{model.producer_name} {model.producer_version}".strip() or "unknown"
    return f"{producer}, {opset}"


def main() -> None:
    """Run, write and print."""
    parser = benchmark_parser(__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("../shared/corpus"))
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--timeout", type=float, default=1800, help="seconds for one model")
    parser.add_argument("--only", default="", help="run models with this in their names; keep the last other rows")
    parser.add_argument("--page", type=Path, default=Path("docs/corpus.md"))
    arguments, rest = read(parser)
    options = ["--calib-samples", str(arguments.samples), *rest]
    paths = sorted(arguments.folder.glob("*.onnx"))
    arguments.results.mkdir(parents=True, exist_ok=True)
    stored = arguments.results / "corpus.json"
    old = json.loads(stored.read_text(encoding="utf-8")) if arguments.only and stored.is_file() else []
    rows = {row["model"]: Row(**row) for row in old}
    print(HEAD)
    with tempfile.TemporaryDirectory() as folder:
        built = {Path(folder) / f"{name}.onnx": kind for name, kind in KINDS.items()}
        for path, kind in built.items():
            onnx.save(kind.build(), path)
        for path in [*paths, *built]:
            if arguments.only in path.stem:
                made_by = f"tests/kinds.py: {built[path].what}" if path in built else _made_by(path)
                rows[path.stem] = run(path, made_by, options, arguments.timeout)
                print(rows[path.stem].cells(), flush=True)
                stored.write_text(
                    json.dumps([asdict(row) for row in rows.values()], indent=2) + "\n", encoding="utf-8"
                )
    table = "\n".join([HEAD, *(row.cells() for row in rows.values())])
    page = PAGE.format(target=TARGET, count=len(paths), samples=arguments.samples, table=table, notes=NOTES)
    arguments.page.write_text(page.rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
