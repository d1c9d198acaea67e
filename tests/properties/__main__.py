"""Check random networks: `python -m tests.properties --graphs 2000 --jobs 2`."""

import argparse
import multiprocessing
import random
import sys
import time

from onnx import helper
from onnx.printer import to_text

from tests.properties.cases import Counts
from tests.properties.features import PROMISED
from tests.properties.generator import random_model
from tests.properties.run import Outcome, outcome, prepare

_SHOWN = 12


def main() -> int:
    """Run the command; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.properties", description=__doc__)
    parser.add_argument("--graphs", type=int, default=150, help="how many models to check")
    parser.add_argument("--first", type=int, default=0, help="seed of the first")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--seed", type=int, help="check this one only, and print it if a check fails")
    arguments = parser.parse_args()
    prepare()
    if arguments.seed is not None:
        return _check_one(arguments.seed)
    start = time.perf_counter()
    seeds = range(arguments.first, arguments.first + arguments.graphs)
    with multiprocessing.get_context("spawn").Pool(arguments.jobs, prepare) as pool:
        outcomes = list(pool.imap_unordered(outcome, seeds, chunksize=8))
    _print_figures(outcomes)
    print(f"{'seconds':60} {time.perf_counter() - start:8.0f}")
    return int(any(one.wrong or one.crash for one in outcomes))


def _check_one(seed: int) -> int:
    result = outcome(seed)
    if not result.wrong and not result.crash:
        print(f"Seed {seed}: all checks hold.")
        return 0
    graph = random_model(random.Random(seed)).graph
    for tensor in graph.initializer:
        print(f"# {tensor.name}: {helper.tensor_dtype_to_string(tensor.data_type)}{list(tensor.dims)}")
    del graph.initializer[:]
    print(to_text(graph))
    print(result.wrong or result.crash, file=sys.stderr)
    return 1


def _print_figures(outcomes: list[Outcome]) -> None:
    counts = sum((one.counts for one in outcomes), Counts())
    refusals = Counts({name: count for name, count in counts.items() if name.startswith("refusal:")})
    disagreements = [name for name in counts if name.startswith("engines disagree: ")]
    for name in sorted(set(counts) - set(PROMISED) - set(refusals) - set(disagreements)):
        print(f"{name:60} {counts[name]:8}")
    for name, count in refusals.most_common(_SHOWN):
        print(f"{name[:60]:60} {count:8}")
    print(f"{'features seen, of ' + str(len(PROMISED)):60} {sum(counts[name] > 0 for name in PROMISED):8}")
    for name in (*disagreements, *(name for name in PROMISED if not counts[name])):
        print(f"  {'not seen: ' if name in PROMISED else ''}{name}")
    for kind in ("wrong", "crash"):
        failed = [one for one in outcomes if getattr(one, kind)]
        print(f"{ {'wrong': 'wrong outputs', 'crash': 'tracebacks'}[kind]:60} {len(failed):8}")
        for one in sorted(failed, key=lambda one: one.seed)[:_SHOWN]:
            print(f"  seed {one.seed}: {getattr(one, kind).strip().splitlines()[-1][:300]}")


if __name__ == "__main__":
    sys.exit(main())
