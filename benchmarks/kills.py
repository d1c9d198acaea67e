"""Kill `optimize` at random moments and look at what is left.

    python benchmarks/kills.py MODEL --kills 50 -- --target-relus 0.58 --calib train.npz ...

One run is left alone; it says how long a run takes and what it makes. Then runs are begun one after the other in a
folder of their own, with a cache of their own, and ended by SIGKILL, SIGTERM or SIGINT in turns at a moment drawn
from the whole length of a run; a run that ends before its moment empties the cache, so that the next is a long one
again. After each kill the input must be as it was, and the output absent or the very bytes of the run that was left
alone. Run once more, the command must finish, make these bytes, and leave no other file behind.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from arguments import benchmark_parser, read

from onnxshallow.model.files import file_digest

_KINDS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


@dataclass
class Trial:
    """Runs in one folder.

    Attributes:
        folder: where a copy of the model lies.
        cache: where damages are kept.
        command: the command line.
        expected: digests of all files that a run leaves.
        inputs: the names of those that are there before.
        faults: what was found wrong.
    """

    folder: Path
    cache: Path
    command: list[str]
    expected: dict[str, str] = field(default_factory=dict)
    inputs: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)

    def begin(self) -> "subprocess.Popen[str]":
        """Start the command."""
        environment = {**os.environ, "ONNXSHALLOW_CACHE": str(self.cache)}
        return subprocess.Popen(
            self.command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )

    def digests(self) -> dict[str, str]:
        """Digests of the folder's files; reports differ in their times, so only whether there is one counts."""
        return {p.name: "" if p.suffix == ".json" else file_digest(p) for p in self.folder.iterdir()}

    def look(self, what: str, errors: str, temporary: bool) -> None:
        """Note what is wrong after a kill; only SIGKILL may leave a temporary file."""
        left = self.digests()
        for name in sorted(self.inputs - set(left)):
            self.faults.append(f"{what}: {name} is gone")
        for name, digest in left.items():
            if name.endswith(".tmp") and temporary:
                continue
            if self.expected.get(name) != digest:
                self.faults.append(f"{what}: {name} is not what it was, or has no business here")
        if "Traceback" in errors and "onnxshallow" in errors:
            self.faults.append(f"{what}: a traceback\n{errors}")


def main() -> int:
    """Run the benchmark; 1 where anything was damaged."""
    parser = benchmark_parser(__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    arguments, options = read(parser)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it, and so would runs
    with tempfile.TemporaryDirectory() as base:
        folder = Path(base, "work")
        folder.mkdir()
        model = Path(shutil.copy(arguments.model, folder))
        command = [sys.executable, "-m", "onnxshallow", "optimize", str(model), *options]
        trial = Trial(folder, Path(base, "cache"), command)
        trial.inputs = set(trial.digests())
        return _report(trial, *_kill(trial, arguments.kills, random.Random(arguments.seed)))


def _kill(trial: Trial, kills: int, chance: random.Random) -> tuple[float, int]:
    """Seconds of an undisturbed run, and how many runs ended before their kill."""
    length = _undisturbed(trial)
    shutil.rmtree(trial.cache, ignore_errors=True)
    done = early = 0
    while done < kills:
        kind = _KINDS[done % len(_KINDS)]
        moment = chance.uniform(0, length)
        process = trial.begin()
        try:
            process.wait(moment)
            early += 1
            shutil.rmtree(trial.cache, ignore_errors=True)
            process.communicate()
            trial.look("a run that ended early", "", temporary=False)
        except subprocess.TimeoutExpired:
            process.send_signal(kind)
            _, errors = process.communicate()
            done += 1
            print(f"{done}: {kind.name} after {moment:.1f} s, exit code {process.returncode}", flush=True)
            trial.look(f"{kind.name} after {moment:.1f} s", errors, temporary=kind == signal.SIGKILL)
        for name in set(trial.digests()) - trial.inputs:
            if not name.endswith(".tmp"):
                (trial.folder / name).unlink(missing_ok=True)
    return length, early


def _undisturbed(trial: Trial) -> float:
    began = time.monotonic()
    _, errors = trial.begin().communicate()
    trial.expected = trial.digests()
    if len(trial.expected) < len(trial.inputs) + 2:
        raise SystemExit(f"The run that was left alone made no result: {errors}")
    for name in set(trial.expected) - trial.inputs:
        (trial.folder / name).unlink()
    return time.monotonic() - began


def _report(trial: Trial, length: float, early: int) -> int:
    process = trial.begin()
    _, errors = process.communicate()
    left = trial.digests()
    if process.returncode or left != trial.expected:
        trial.faults.append(f"the next run ended with {process.returncode} and left {sorted(left)}: {errors}")
    print(f"An undisturbed run takes {length:.0f} s; {early} runs ended before their kill.")
    print("\n".join(trial.faults) or "No damage of any kind; the run after the last kill made the same bytes.")
    return 1 if trial.faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
