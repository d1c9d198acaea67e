"""Whether `optimize` and `validate` say the same of a model, in verdict and exit code, on the same samples.

    python -m benchmarks.agreement models FOLDER... --config digits-resnet=models/onnxshallow.toml

Every model of the folders is optimized in each mode: whole layers, channel masks, pixel masks, what `auto` makes of
them, and channel masks with squares. `validate` then compares what came of it, refused or not, with the original on
the samples that `optimize` validated on. Prints a Markdown table, and ends with 1 where the two disagree. Needs the
repository's root as the current folder.

A network goes by the options file that `--config` names for it, which says where its data are and how they are
prepared. For others samples are made up, those to validate on unlike those to calibrate on, and given as if they were
real. Large networks are run in whole layers only, very large ones not at all; `--all` runs everything. What follows
`--` are options of `optimize`.

`validate` cannot see what speaks against a model by its calibration samples, its targets or its speed. Where nothing
else refuses it, `validate` has to let it pass, and the row says "not comparable"; "no model" where none was made.
"""

import json
import math
import subprocess
import sys
import tempfile
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.arguments import benchmark_parser, read
from benchmarks.corpus import SHAPES
from onnxshallow.analysis import analyze
from onnxshallow.data.preprocessing import Preprocessing
from onnxshallow.data.synthetic import synthesize
from onnxshallow.errors import ExitCode, OnnxshallowError
from onnxshallow.model.document import load_document
from onnxshallow.model.network import Network
from onnxshallow.model.tensors import with_sizes
from onnxshallow.report.schema.reports import Report, ValidationReport
from onnxshallow.validation.gates import Gate
from onnxshallow.validation.growth import BOUND
from onnxshallow.validation.judgement import About

MODES = {
    "layer": ("--granularity", "layer"),
    "channel": ("--granularity", "channel"),
    "pixel": ("--granularity", "pixel"),
    "auto": ("--granularity", "auto"),
    "channel, squares": ("--granularity", "channel", "--polynomials"),
}
# Multiply-adds a sample from which on a network is run in whole layers only, and not at all.
_LARGE, _VERY_LARGE = 300_000_000, 1_000_000_000
# What `optimize` makes need not be good, but has to be there also where it is refused.
_QUICK = ("--keep-rejected", "--no-cache", "--sensitivity", "magnitude")

HEAD = """| network | mode | `optimize` | `validate` | agree? |
|---|---|---|---|---|"""


@dataclass(frozen=True)
class Row:
    """What both commands said of one network in one mode."""

    network: str
    mode: str
    optimize: str
    validate: str = "-"
    agree: str = "no model"

    def cells(self) -> str:
        """The row of the table."""
        return f"| {self.network} | {self.mode} | {self.optimize} | {self.validate} | {self.agree} |"


@dataclass(frozen=True)
class Case:
    """A network in one mode.

    Attributes:
        path: of the network.
        mode: one of `MODES`.
        given: options for both commands.
        more: options for `optimize` alone.
    """

    path: Path
    mode: str
    given: tuple[str, ...]
    more: tuple[str, ...]

    def row(self) -> Row:
        """Optimize, and validate what came of it."""
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / "out.onnx"
            made = _run("optimize", str(self.path), "-o", str(output), *MODES[self.mode], *self.given, *self.more)
            if not output.is_file():  # a wrong option, or a fault of the program, is no verdict
                agree = "no model" if made.returncode >= ExitCode.UNUSABLE_INPUT else "NO"
                return Row(self.path.stem, self.mode, _error(made), agree=agree)
            first = Report.model_validate_json(output.with_suffix(".json").read_text(encoding="utf-8"))
            checked = _run("validate", str(self.path), str(output), "--json", "-", *self.given)
        if not checked.stdout:
            return Row(self.path.stem, self.mode, _in_short(first), _error(checked), "NO")
        second = ValidationReport.model_validate_json(checked.stdout)
        reported = first.verdict.exit_code, second.verdict.exit_code
        agree = judged(first, second) if reported == (made.returncode, checked.returncode) else "NO"
        return Row(self.path.stem, self.mode, _in_short(first), _in_short(second), agree)


def judged(first: Report, second: ValidationReport) -> str:
    """Whether both commands say the same of a model that was made.

    Args:
        first: of `optimize`.
        second: of `validate`, on the validation samples of the former.
    """
    wanted, said = _seen_by_both(first), _refused(second)
    if said != wanted or not _same(first.gates, second.gates) or _growth(first) != _growth(second):
        return "NO"
    if _refused(first) and not wanted:
        return "NO" if second.verdict.exit_code else "not comparable"
    verdicts = [(report.verdict.status, report.verdict.exit_code) for report in (first, second)]
    return "yes" if verdicts[0] == verdicts[1] else "NO"


def _refused(report: Report | ValidationReport) -> set[About]:
    return {finding.about for finding in report.verdict.findings if finding.refuses}


def _seen_by_both(report: Report) -> set[About]:
    """What `optimize` refuses a model for that `validate` has to see as well."""
    found = _refused(report) - {"target", "speed"}
    growth = [] if report.stability is None else report.stability.growth
    if not any(each.factor > BOUND for each in growth if each.samples.startswith("validation samples")):
        found.discard("stability")
    against = [finding for finding in report.verdict.findings if finding.refuses and finding.about == "data"]
    if all(str(report.config.get("calib")) in finding.text for finding in against):
        found.discard("data")
    return found


def _same(first: Sequence[Gate], second: Sequence[Gate]) -> bool:
    """Whether the same was checked with the same result; batches of another size round differently."""
    return len(first) == len(second) and all(
        (one.name, one.limit, one.met) == (other.name, other.limit, other.met)
        and math.isclose(one.value, other.value, rel_tol=1e-3, abs_tol=1e-5)
        for one, other in zip(first, second, strict=True)
    )


def _growth(report: Report | ValidationReport) -> dict[str, str]:
    """How far activations grow on the validation samples and changed ones, to two digits, in whatever order."""
    found = () if report.stability is None else report.stability.growth
    own = (each for each in found if not each.samples.startswith("calibration samples"))
    return {each.samples.removeprefix("validation "): f"{each.factor:.2g}" for each in own}


def _run(*command: str) -> "subprocess.CompletedProcess[str]":
    arguments = [sys.executable, "-m", "onnxshallow", *command, "--quiet"]
    return subprocess.run(arguments, check=False, capture_output=True, text=True)


def _error(done: "subprocess.CompletedProcess[str]") -> str:
    """Exit code and error of a command that made nothing."""
    lines = [line.removeprefix("error: ") for line in done.stderr.splitlines() if line.startswith("error: ")]
    return f"{done.returncode}: {lines[-1] if lines else 'no sentence'}".replace("|", "/")


def _in_short(report: Report | ValidationReport) -> str:
    """Exit code, status, and what refuses the model."""
    refused = ", ".join(sorted(_refused(report)))
    return f"{report.verdict.exit_code}: {report.verdict.status}" + (f" ({refused})" if refused else "")


def made_up(path: Path, folder: Path, calibration: int, validation: int) -> tuple[str, ...]:
    """Options for a network that no data are known of: samples are made up and written to `folder`.

    Args:
        path: of the network.
        folder: where the samples go, and an options file that names them.
        calibration: how many to calibrate on.
        validation: how many to validate on; none of them is one of the former.

    Raises:
        OnnxshallowError: the network cannot be used, or nothing can be made up for it.
    """
    shapes = next((shapes for part, shapes in SHAPES.items() if part in path.name), {})
    inputs = with_sizes(Network(load_document(path).model).inputs, shapes)
    for seed, (name, count) in enumerate({"calib": calibration, "validate": validation}.items()):
        samples = synthesize(inputs, count, 100 * seed, Preprocessing())
        arrays: Mapping[str, Any] = samples.batch(np.arange(count))
        np.savez(folder / f"{name}.npz", **arrays)
    config = folder / "onnxshallow.toml"
    config.write_text('calib = "calib.npz"\nvalidate = "validate.npz"\n', encoding="utf-8")
    sizes = [f"{name}:{','.join(map(str, shape))}" for name, shape in shapes.items()]
    return ("--config", str(config), *(text for size in sizes for text in ("--input-shape", size)))


def modes_of(path: Path) -> list[str]:
    """The modes that a network is run in by its size; none where it is very large.

    Raises:
        OnnxshallowError: the network cannot be used.
    """
    macs = analyze(load_document(path).model).cost.macs
    return list(MODES) if macs < _LARGE else ["layer"] if macs < _VERY_LARGE else []


def rows_of(path: Path, arguments: Namespace, rest: Sequence[str]) -> Iterator[Row]:
    """One row for each mode of a network, or one that says why there is none.

    Args:
        path: of the network.
        arguments: of the benchmark.
        rest: options for `optimize`.
    """
    samples = arguments.calib_samples, arguments.validate_samples
    configs = dict(each.split("=", 1) for each in arguments.config)
    with tempfile.TemporaryDirectory() as folder:
        try:
            modes = list(MODES) if arguments.all else modes_of(path)
            known = ("--config", configs[path.stem]) if path.stem in configs else ()
            given = known or made_up(path, Path(folder), *samples)
        except OnnxshallowError as error:
            yield Row(path.stem, "all", f"{error.exit_code:d}: {error}".replace("|", "/"))
            return
        if not modes:
            yield Row(path.stem, "all", "not run, as it is very large")
        both = (*given, "--validate-samples", str(samples[1]), "--threads", "1")
        more = ("--calib-samples", str(samples[0]), "--target-relus", arguments.target, *_QUICK, *rest)
        for mode in modes:
            yield Case(path, mode, both, more).row()


def main() -> int:
    """Run, write and print; 1 where any two disagree."""
    parser = benchmark_parser(__doc__)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--config", action="append", default=[], metavar="NETWORK=TOML", help="options of a network")
    parser.add_argument("--calib-samples", type=int, default=64)
    parser.add_argument("--validate-samples", type=int, default=32)
    parser.add_argument("--target", default="0.7", help="share of ReLUs that may stay [0.7]")
    parser.add_argument("--only", default="", help="networks with this in their names")
    parser.add_argument("--jobs", type=int, default=2, help="networks at a time [2]")
    parser.add_argument("--all", action="store_true", help="large networks too, in all modes")
    arguments, rest = read(parser)
    paths = [path for folder in arguments.folders for path in sorted(folder.glob("*.onnx"))]
    rows: list[Row] = []

    def work(path: Path) -> None:
        for row in rows_of(path, arguments, rest):
            print(row.cells(), flush=True)
            rows.append(row)

    print(HEAD, flush=True)
    with ThreadPoolExecutor(arguments.jobs) as pool:
        list(pool.map(work, [path for path in paths if arguments.only in path.stem]))
    arguments.results.mkdir(parents=True, exist_ok=True)
    text = json.dumps([asdict(row) for row in rows], indent=2)
    (arguments.results / "agreement.json").write_text(text + "\n", encoding="utf-8")
    counts = Counter(row.agree for row in rows)
    print("\n" + ", ".join(f"{count} {agree}" for agree, count in counts.most_common()))
    return 1 if counts["NO"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
