"""Running commands on damaged files, each in a process of its own, with time and memory measured."""

import math
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path

import numpy as np
import onnx

from onnxshallow.cli.main import main
from tests.damage.generator import ARCHIVES, MODELS, damaged_archive, damaged_model
from tests.damage.outside import place
from tests.damage.table import sound_arrays
from tests.networks import residual, signed

__all__ = ["LONGEST", "MOST", "Outcome", "Run", "all_runs", "measured", "runs_of"]

LONGEST = 10.0
"""Seconds that a refusal may compute; waiting for a busy machine does not count."""
MOST = 1024.0
"""MiB that a refusal may take at its highest."""

# Commands import these late; imported here, they are not imported by every child anew.
for _late in ("onnxshallow.workflows.optimize", "onnxshallow.report.terminal.runs"):
    import_module(_late)

_OPTIONS = ("--target-relus", "0.5", "--no-cache", "--calib-samples", "16", "--batch-size", "8", "--threads", "1")
_KILL_AFTER, _KILL_OVER = LONGEST * 1.5, MOST * 1.5
# Seconds on the clock after which a child that does not compute is taken to wait for ever.
_HANGS_AFTER = 1200.0
_MOST_DRAWS = 300
_PAGE = resource.getpagesize()


@dataclass(frozen=True)
class Outcome:
    """How a process ended.

    Attributes:
        code: its exit code; negative for a signal.
        errors: what it wrote to stderr.
        seconds: that it computed, on all cores together.
        mebibytes: its largest resident set, the imports included.
    """

    code: int
    errors: str
    seconds: float
    mebibytes: float

    def problem(self) -> str | None:
        """Why this is no proper refusal; None where it is one."""
        said = ("WARNING: ", "This will take about ")  # the second on a machine that is slow, or busy
        lines = [line for line in self.errors.splitlines() if not line.startswith(said)]
        if self.mebibytes > MOST:
            return f"{self.mebibytes:.0f} MiB"
        if self.seconds > LONGEST:
            return f"{self.seconds:.1f} s"
        if self.code != 3:
            return f"exit {self.code}"
        if len(lines) != 1 or not lines[0].startswith("error: ") or not lines[0].rstrip().endswith("."):
            return "no single sentence"
        if any(ord(c) < 32 or 127 <= ord(c) < 160 for c in lines[0]):
            return "control characters"
        return None


@dataclass(frozen=True)
class Run:
    """A command on one damaged file.

    Attributes:
        index: the file's number, from which it can be made again.
        kind: of its damage.
        command: what was run.
        outcome: how it ended.
    """

    index: int
    kind: str
    command: str
    outcome: Outcome


def measured(work: Callable[[], int], kill_after: float = _KILL_AFTER) -> Outcome:
    """Do some work in a child process, which starts with what this one has imported.

    A child that goes far beyond the limits is killed. What other tests have left in this process is no child's fault
    and is taken off.

    Args:
        work: gives the exit code.
        kill_after: so many seconds of computing, rounded up.
    """
    inherited = max(0.0, _anonymous() - _AT_FIRST)
    with tempfile.TemporaryFile() as errors:
        child = os.fork()
        if child == 0:
            _work_and_exit(work, errors.fileno(), math.ceil(kill_after))
        status, usage = _wait(child, inherited)
        errors.seek(0)
        text = errors.read().decode(errors="replace")
    seconds = usage.ru_utime + usage.ru_stime
    return Outcome(os.waitstatus_to_exitcode(status), text, seconds, usage.ru_maxrss / 1024 - inherited)


def _work_and_exit(work: Callable[[], int], errors: int, most_seconds: int) -> None:
    code = 1
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (most_seconds, resource.getrlimit(resource.RLIMIT_CPU)[1]))
        with open(os.devnull, "r+b") as nothing:
            os.dup2(nothing.fileno(), 0)
            os.dup2(nothing.fileno(), 1)
        os.dup2(errors, 2)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
        code = work()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code & 255)


def _wait(child: int, inherited: float) -> tuple[int, resource.struct_rusage]:
    start = time.monotonic()
    while True:
        found, status, usage = os.wait4(child, os.WNOHANG)
        if found:
            return status, usage
        if time.monotonic() - start > _HANGS_AFTER or _resident(child) > _KILL_OVER + inherited:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.005)


def _resident(process: int) -> float:
    """MiB that a process holds now."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * _PAGE / 2**20
    except (OSError, IndexError):
        return 0.0


def _anonymous() -> float:
    """MiB that this process holds and no file backs: what a child begins with, as it maps files anew."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon:")), 0.0)


# What this process holds with the imports done and nothing else.
_AT_FIRST = _anonymous()


def _command(arguments: Sequence[str]) -> Callable[[], int]:
    def work() -> int:
        sys.argv = ["onnxshallow", *arguments]
        main()
        return 0

    return work


def _fresh(arguments: Sequence[str]) -> Callable[[], int]:
    """The command in a new interpreter, whose imports count as well."""

    def work() -> int:
        os.execv(sys.executable, [sys.executable, "-m", "onnxshallow", *arguments])

    return work


def runs_of(index: int, kind: str | None = None, *, fresh: bool = False, commands: int | None = None) -> list[Run]:
    """Make the damaged file number `index`, and run the commands on it that must refuse it.

    Damages that leave a file usable are none: they are dropped, and others drawn.

    Args:
        index: number of the file.
        kind: of damage; drawn if not given.
        fresh: start a new interpreter for each command.
        commands: how many of the commands to run; None for all.
    """
    source = random.Random(index)
    kind = kind or source.choice((*MODELS, *ARCHIVES))
    for _ in range(_MOST_DRAWS):
        with tempfile.TemporaryDirectory(prefix="onnxshallow-damage-") as parent:
            folder = Path(parent) / "model"
            folder.mkdir()
            lines = _model(folder, kind, source) if kind in MODELS else _archive(folder, kind, source)
            if lines:
                how = _fresh if fresh else _command
                lines = lines[:commands]
                outcomes = [(arguments[0], measured(_inside(folder, how(arguments)))) for arguments in lines]
                return [Run(index, kind, command, outcome) for command, outcome in outcomes]
    raise ValueError(f"{kind} damages nothing: {_MOST_DRAWS} draws left the file usable")


def _inside(folder: Path, work: Callable[[], int]) -> Callable[[], int]:
    def moved() -> int:
        os.chdir(folder)
        return work()

    return moved


def _model(folder: Path, kind: str, source: random.Random) -> list[tuple[str, ...]]:
    """Write a damaged model; the commands to run on it, none where it is usable."""
    _, content = damaged_model(source, kind)
    path = folder / "damaged.onnx"
    path.write_bytes(content)
    place(folder)
    if not MODELS[kind].certain and measured(lambda: 0 if _runs(path) else 1).code == 0:
        return []
    commands: list[tuple[str, ...]] = [("optimize", path.name, *_OPTIONS)]
    return [*commands, ("analyze", path.name)] if MODELS[kind].seen else commands


def _archive(folder: Path, kind: str, source: random.Random) -> list[tuple[str, ...]]:
    """Write a damaged archive beside a sound model; likewise."""
    _, content = damaged_archive(source, kind)
    path = folder / "damaged.npz"
    path.write_bytes(content)
    if not ARCHIVES[kind][1] and measured(lambda: 0 if _reads(path) else 1).code == 0:
        return []
    (folder / "net.onnx").write_bytes(_sound_model())
    options = [*_OPTIONS, source.choice(("--calib", "--validate")), path.name]
    return [("optimize", "net.onnx", *options)]


@cache
def _sound_model() -> bytes:
    return residual().SerializeToString()


def _runs(path: Path) -> bool:
    """The oracle for models: onnxruntime runs it, and all that comes out of some random input is finite.

    What onnx's strict checker says does not count: where onnxruntime runs a model that the checker refuses, the
    tool warns and goes on.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        content = path.read_bytes()
        model = onnx.ModelProto.FromString(content)
        session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        for seed in range(4):
            outputs = session.run(None, {value.name: _values(value, seed) for value in session.get_inputs()})
            if all(np.isfinite(o).all() for o in outputs if isinstance(o, np.ndarray) and o.dtype.kind == "f"):
                return bool(model.graph.node)
    except Exception:
        return False
    return False


def _values(value: object, seed: int) -> np.ndarray:
    sizes = [size if isinstance(size, int) and size > 0 else 2 for size in value.shape]  # type: ignore[attr-defined]
    names = {"tensor(float)": "f4", "tensor(double)": "f8", "tensor(float16)": "f2"}
    kind = value.type  # type: ignore[attr-defined]
    dtype = names.get(kind) or np.dtype(kind.removeprefix("tensor(").removesuffix(")"))
    return signed(sizes, seed).astype(dtype)


def _reads(path: Path) -> bool:
    """The oracle for archives: numpy reads what was put in."""
    expected = sound_arrays()
    try:
        with np.load(path) as archive:
            return set(archive.files) == set(expected) and all(
                np.array_equal(archive[name], value) for name, value in expected.items()
            )
    except Exception:
        return False


def all_runs(indices: Sequence[int], jobs: int, kinds: Sequence[str | None], *, fresh: bool) -> Iterator[Run]:
    """The runs for many files, in order.

    Args:
        indices: numbers of the files.
        jobs: processes at a time.
        kinds: of damage, one for each file.
        fresh: see `runs_of`.
    """
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    with ProcessPoolExecutor(jobs, mp_context=get_context("fork")) as pool:
        waiting = [pool.submit(runs_of, index, kind, fresh=fresh) for index, kind in zip(indices, kinds, strict=True)]
        for one in waiting:
            yield from one.result()
