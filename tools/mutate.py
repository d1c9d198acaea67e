"""Change the code of a room bit by bit and see whether its tests notice: `python -m tools.mutate convolution`.

mutmut makes the mutants and runs tests/ROOM on each, in a copy of the project below `--work`, so that nothing of it
ends up here. A run that was interrupted goes on where it stopped. A mutant that no test fails on survives; it is
printed, and is a gap in the tests or a change that changes nothing.

Needs `pip install mutmut`.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

__all__ = ["Outcomes", "chosen", "main", "summary"]

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("actions", "convolution", "fitting")

Outcomes = Mapping[str, int | None]
"""Exit codes of the tests by mutant; None for one that was not tried."""

_SURVIVED = (0, 5, 33)  # 5 and 33: no test runs the code
_CONFIGURATION = """[mutmut]
source_paths = onnxshallow
only_mutate = onnxshallow/{room}/*
also_copy =
    docs
    models
    few_examples.py
pytest_add_cli_args_test_selection =
    tests/{room}
pytest_add_cli_args =
    -n
    0
    -p
    no:cacheprovider
    -p
    few_examples
process_isolation = forkserver
forkserver_warmup = collect
timeout_constant = 3.0
timeout_multiplier = 6.0
use_git_change_detection = false
on_dependency_change = ignore
"""
# A plugin for pytest: the first failure kills a mutant, so that examples need not be many, nor be made smaller.
_FEW_EXAMPLES = """from hypothesis import HealthCheck, Phase, settings


def pytest_collection_modifyitems(items):
    for item in items:
        function = getattr(item.obj, "__func__", getattr(item, "obj", None))
        if getattr(function, "is_hypothesis_test", False):
            own = function._hypothesis_internal_use_settings
            function._hypothesis_internal_use_settings = settings(
                own,
                max_examples=min(own.max_examples, 30),
                phases=(Phase.explicit, Phase.generate),
                report_multiple_bugs=False,
                suppress_health_check=list(HealthCheck),
                deadline=None,
                database=None,
            )
"""


def chosen(outcomes: Outcomes, every: int) -> list[str]:
    """Every so many of the mutants, in the order of their names."""
    return sorted(outcomes)[::every]


def summary(outcomes: Outcomes, names: list[str]) -> str:
    """How many of these mutants were made and killed; those that ran out of time or crashed were noticed, too."""
    counts = Counter(
        "not tried" if outcomes[name] is None else "survived" if outcomes[name] in _SURVIVED else "killed"
        for name in names
    )
    made = counts["killed"] + counts["survived"]
    share = f" ({counts['killed'] / made:.1%})" if made else ""
    rest = f", {counts['not tried']} not tried" if counts["not tried"] else ""
    return f"killed {counts['killed']} of {made}{share}{rest}"


def _prepare(room: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("onnxshallow", "tests", "models", "docs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    shutil.copy2(ROOT / "pyproject.toml", folder)
    (folder / "few_examples.py").write_text(_FEW_EXAMPLES, encoding="utf-8")
    (folder / "setup.cfg").write_text(_CONFIGURATION.format(room=room), encoding="utf-8")


def _outcomes(room: str, folder: Path) -> Outcomes:
    found: dict[str, int | None] = {}
    for path in sorted((folder / "mutants" / "onnxshallow" / room).glob("*.meta")):
        found.update(json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"])
    return found


def _mutmut(folder: Path, *arguments: str) -> str:
    """Run mutmut with one process, and one thread of the BLAS; what it printed."""
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "mutmut", *arguments],
        cwd=folder,
        env={**os.environ, **threads, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def _survivors(folder: Path, outcomes: Outcomes, names: list[str]) -> Iterator[str]:
    """The changed lines of each mutant that survived."""
    for name in names:
        if outcomes[name] in _SURVIVED:
            lines = _mutmut(folder, "show", name).splitlines()
            changed = [line for line in lines if line[:1] in "-+" and line[:3] not in ("---", "+++")]
            yield "\n".join([f"# {name}", *changed, ""])


def main() -> None:
    """Run the mutants of one room, and print the figures and who survived."""
    parser = argparse.ArgumentParser(description="Change the code of a room and see whether its tests notice.")
    parser.add_argument("room", choices=ROOMS)
    parser.add_argument("--every", type=int, default=1, help="try every so many mutants only [default: all]")
    work = Path(tempfile.gettempdir()) / "onnxshallow-mutants"
    parser.add_argument("--work", type=Path, default=work, help=f"where the copy is made [default: {work}]")
    arguments = parser.parse_args()
    room, folder = arguments.room, arguments.work / arguments.room
    _prepare(room, folder)
    if arguments.every > 1 and not _outcomes(room, folder):
        _mutmut(folder, "run", "--max-children", "1", "no mutant has this name")  # makes the mutants
    outcomes = _outcomes(room, folder)
    names = [name for name in chosen(outcomes, arguments.every) if outcomes[name] is None]
    said = _mutmut(folder, "run", "--max-children", "1", *(names if arguments.every > 1 else ()))
    outcomes = _outcomes(room, folder)
    names = chosen(outcomes, arguments.every)
    if all(outcomes[name] is None for name in names):
        raise SystemExit(f"mutmut tried no mutant; its last words: {said[-500:]}")
    for text in _survivors(folder, outcomes, names):
        print(text)
    print(f"{room}: {summary(outcomes, names)}")


if __name__ == "__main__":
    main()
