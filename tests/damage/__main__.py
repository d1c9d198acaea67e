"""`python -m tests.damage --files 500`: damage files, run the tool on each, and show how it took them."""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence

from tests.damage.generator import every_kind
from tests.damage.runner import LONGEST, MOST, Run, all_runs


def show(runs: Sequence[Run]) -> int:
    """Print a table by kind, then what went wrong; 1 if anything did."""
    print(f"{'kind':32} {'files':>5} {'runs':>5} {'exit codes':16} {'slowest, s':>10} {'largest, MiB':>12}")
    for kind in [kind for kind in every_kind() if any(run.kind == kind for run in runs)]:
        line(kind, [run for run in runs if run.kind == kind])
    line("all", runs)
    wrong = [(run, problem) for run in runs if (problem := run.outcome.problem())]
    for run, problem in wrong:
        print(f"\n{run.kind}, file {run.index}, {run.command}: {problem}")
        print("    " + "\n    ".join(run.outcome.errors.strip()[-1500:].splitlines()[-6:]))
    print(f"\n{len(wrong)} of {len(runs)} runs are no proper refusals.")
    return 1 if wrong else 0


def line(kind: str, runs: Sequence[Run]) -> None:
    """Print one line of the table."""
    codes = Counter(run.outcome.code for run in runs)
    shown = ", ".join(f"{code}: {count}" for code, count in sorted(codes.items()))
    files, slowest = len({run.index for run in runs}), max(run.outcome.seconds for run in runs)
    largest = max(run.outcome.mebibytes for run in runs)
    print(f"{kind:32} {files:5} {len(runs):5} {shown:16} {slowest:10.2f} {largest:12.0f}")


def tell(run: Run) -> Run:
    """Let a person who waits see how far it is."""
    if sys.stderr.isatty():
        print(f"\r{run.index} {run.kind:40}", end="", file=sys.stderr)
    return run


def main() -> int:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.damage", description=__doc__)
    parser.add_argument("--files", type=int, default=500, help="how many [default: 500]")
    parser.add_argument("--first", type=int, default=0, help="number of the first [default: 0]")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time [default: 2]")
    parser.add_argument("--kind", action="append", choices=every_kind(), help="only these kinds")
    parser.add_argument("--fresh", action="store_true", help="a new interpreter for each run, instead of a fork")
    options = parser.parse_args()
    print(f"A refusal exits with 3, says one sentence, takes at most {LONGEST:g} s and {MOST:g} MiB.\n")
    indices = range(options.first, options.first + options.files)
    kinds = options.kind or every_kind()  # in turn, so that every kind gets its share
    runs = all_runs(indices, options.jobs, [kinds[index % len(kinds)] for index in indices], fresh=options.fresh)
    return show([tell(run) for run in runs])


if __name__ == "__main__":
    sys.exit(main())
