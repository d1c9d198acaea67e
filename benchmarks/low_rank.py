"""Layers split in two by this tool and by simpler means, on the same network, samples and targets.

    python benchmarks/low_rank.py MODEL.onnx --targets macs=0.5,params=0.35 -- --calib D --validate D ...

    truncated SVD    one group, ranks by ALDS' error, nothing fitted
    the same, fitted
    minmax           every form, ranks by ALDS' error (`--allocation minmax`)
    optimize         what the command keeps, by measured damage; `--no-search` leaves it out, which takes longest

Prints a Markdown table: what is kept, points lost, KL, and the time in onnxruntime as a share of the original's. What
follows `--` are options of `onnxshallow optimize`, whose own target is not among them.
"""

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from arguments import benchmark_parser, by_name, read

from onnxshallow.analysis import Analysis
from onnxshallow.errors import TargetError
from onnxshallow.model.document import load_document
from onnxshallow.model.network import Network
from onnxshallow.options.config import resolve
from onnxshallow.rewriting.realize import Realized, unfitted
from onnxshallow.runtime.progress import Silent
from onnxshallow.search.allocation import least_largest_error, split_candidates
from onnxshallow.search.attempt import Attempt, judged, realize_with
from onnxshallow.search.inputs import Inputs, Observation, load_inputs, observe
from onnxshallow.search.latency import measured_speeds
from onnxshallow.search.plan import Plan
from onnxshallow.workflows.optimize import optimize


def simple_attempts(inputs: Inputs, observation: Observation) -> Iterator[tuple[str, Attempt]]:
    """What comes of plans that nothing was measured for."""
    every = split_candidates(inputs)
    plain = [c for c in every if c.variant["groups"] == 1 and c.variant["taps"] == "all"]
    for name, candidates, fitted in (
        ("truncated SVD", plain, False),
        ("the same, fitted", plain, True),
        ("minmax", every, True),
    ):
        try:
            plan = Plan(least_largest_error(inputs.analysis, candidates, inputs.budget), {})
        except TargetError as error:
            print(f"{name}: {error}")
            continue
        if fitted:
            made = realize_with(replace(inputs.calibration, everything=True), inputs, observation, plan, Silent())
        else:
            made = Realized(Network(unfitted(inputs.analysis, plan.candidates, observation.statistics)), [])
        yield name, judged(inputs, plan, made, None, Silent())


def row(name: str, target: str, original: Analysis, made: Analysis, lost: float, kl: float, time: float) -> str:
    """A row of the table."""
    macs, params = made.cost.macs / original.cost.macs, made.cost.params / original.cost.params
    return (
        f"| {target} | {name} | {macs:.3f} | {params:.3f} | {100 * lost:.2f} | {kl:.3f} | {time:.2f} "
        f"| {original.cost.depth} → {made.cost.depth} |"
    )


def main() -> None:
    """Measure and print."""
    parser = benchmark_parser(__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--targets", default="macs=0.5,macs=0.7,params=0.35")
    parser.add_argument("--no-search", action="store_true")
    arguments, rest = read(parser)
    logging.basicConfig(level="ERROR")
    base = resolve(by_name(rest), arguments.model)
    inputs = load_inputs(load_document(arguments.model), base)
    observation = observe(inputs, Silent())
    print(
        "| target | method | MACs | parameters | points lost | KL | time | depth |\n|---|---|---|---|---|---|---|---|"
    )
    for target in arguments.targets.split(","):
        name, share = target.split("=")
        config = base.model_copy(update={f"target_{name}": share})
        asked = replace(inputs, config=config)
        for method, attempt in simple_attempts(asked, observation):
            (speed,) = measured_speeds(asked, [attempt.realized.model])
            lost, kl = attempt.comparison.accuracy_lost or 0.0, attempt.fidelity.kl or 0.0
            line = row(method, target, asked.analysis, attempt.realized.analysis, lost, kl, 1 / speed.speedup)
            print(line, flush=True)
        if arguments.no_search:
            continue
        report = optimize(arguments.model, config=config, force=True).report
        if report.optimized is None or report.fidelity is None or report.speed is None:
            print(f"| {target} | optimize | {report.verdict.line} |")
            continue
        before, after, lost = report.original, report.optimized, report.verdict.accuracy_lost or 0.0
        kept = f"{after.macs / before.macs:.3f} | {after.params / before.params:.3f}"
        said = f"{100 * lost:.2f} | {report.fidelity.kl or 0.0:.3f} | {1 / report.speed.speedup:.2f}"
        print(f"| {target} | optimize | {kept} | {said} | {before.depth} → {after.depth} |", flush=True)


if __name__ == "__main__":
    main()
