"""Layers split by this tool and by simpler means, and channels left out by onnxsim, for the same targets.

    python benchmarks/low_rank.py MODEL.onnx --targets macs=0.5,params=0.35 -- --calib D --validate D ...

    truncated SVD           layers become two, of one group; ranks by ALDS' error, nothing fitted
    truncated SVD, fitted   the same, fitted as this tool does
    minmax, in two          every form of two layers, ranks by ALDS' error, fitted
    minmax                  those of three as well (`--allocation minmax`)
    even                    the same, ranks by a sum of powers (`--allocation even`)
    onnxsim l2, wanda       `onnxsim.pruning` at the smallest sparsity that reaches the target, where it is installed
    optimize                what the command keeps, by measured damage; takes longest

Writes low-rank-NAME.json, goes on with what that lacks, and prints a Markdown table: what is kept, points lost, KL,
and the time in onnxruntime as a share of the original's. What follows `--` are options of `onnxshallow optimize`,
whose own target is not among them.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import onnx
from arguments import benchmark_parser, by_name, read
from pruning import onnxsim_at, onnxsim_ways

from onnxshallow.actions.base import Candidate
from onnxshallow.analysis import Analysis, analyze
from onnxshallow.errors import TargetError
from onnxshallow.model.document import load_document
from onnxshallow.model.network import Network
from onnxshallow.options.config import resolve
from onnxshallow.rewriting.realize import Realized, unfitted
from onnxshallow.runtime.progress import Silent
from onnxshallow.search.allocation import least_largest_error, least_sum_of_powers, split_candidates
from onnxshallow.search.attempt import realize_with, validate
from onnxshallow.search.inputs import Inputs, Observation, load_inputs, observe
from onnxshallow.search.latency import measured_speeds
from onnxshallow.search.plan import Plan
from onnxshallow.workflows.optimize import optimize

Row = dict[str, Any]


def ways_of(inputs: Inputs, observation: Observation) -> dict[str, Callable[[], onnx.ModelProto | None]]:
    """What makes a model that reaches the target of the inputs, by way."""
    every = split_candidates(inputs)
    in_two = [candidate for candidate in every if candidate.layers == 2]
    plain = [
        candidate for candidate in in_two if candidate.variant["groups"] == 1 and candidate.variant["taps"] == "all"
    ]

    def made(
        spread: Callable[..., tuple[Candidate, ...]], candidates: list[Candidate], fitted: bool
    ) -> onnx.ModelProto:
        chosen = spread(inputs.analysis, candidates, inputs.budget)
        if not fitted:
            return unfitted(inputs.analysis, chosen, observation.statistics)
        whole = replace(inputs.calibration, everything=True)
        return realize_with(whole, inputs, observation, Plan(chosen, {}), Silent()).model

    def reached(analysis: Analysis) -> bool:
        budget, cost = inputs.budget, analysis.cost
        limits = ((cost.macs, budget.macs), (cost.params, budget.params))
        return all(most is None or count <= most for count, most in limits)

    model = inputs.document.plain.model
    return {
        "truncated SVD": partial(made, least_largest_error, plain, False),
        "truncated SVD, fitted": partial(made, least_largest_error, plain, True),
        "minmax, in two": partial(made, least_largest_error, in_two, True),
        "minmax": partial(made, least_largest_error, every, True),
        "even": partial(made, least_sum_of_powers, every, True),
        **{name: partial(onnxsim_at, model, reached, prune) for name, prune in onnxsim_ways(inputs).items()},
    }


def _row(inputs: Inputs, model: onnx.ModelProto) -> Row:
    network = Network(model, inputs.analysis.network.input_shapes)
    comparison = validate(inputs, Realized(network, []), Silent())
    before, after = inputs.analysis.cost, analyze(network).cost
    (speed,) = measured_speeds(inputs, [model])
    return {
        "macs": after.macs / before.macs,
        "params": after.params / before.params,
        "lost": 100 * comparison.loss.value,
        "kl": comparison.fidelity.kl,
        "time": 1 / speed.speedup,
        "depth": after.depth,
    }


def own_row(model: Path, inputs: Inputs) -> Row:
    """`onnxshallow optimize`."""
    report = optimize(model, config=inputs.config, force=True).report
    if report.optimized is None or report.fidelity is None or report.speed is None:
        return {"why": report.verdict.line}
    before, after = report.original, report.optimized
    return {
        "macs": after.macs / before.macs,
        "params": after.params / before.params,
        "lost": 100 * (report.verdict.accuracy_lost or 0.0),
        "kl": report.fidelity.kl,
        "time": 1 / report.speed.speedup,
        "depth": after.depth,
        "changes": [change.short for change in report.changes],
    }


def measured(inputs: Inputs, way: str, make: Callable[[], onnx.ModelProto | None] | None, path: Path) -> Row:
    """The row of a way to reach a target."""
    try:
        if make is None:
            return own_row(path, inputs)
        model = make()
    except TargetError as error:
        return {"why": str(error)}
    return {"why": "does not reach it"} if model is None else _row(inputs, model)


def main() -> None:
    """Measure, write and print."""
    parser = benchmark_parser(__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--targets", default="macs=0.5,macs=0.7,params=0.35")
    parser.add_argument("--ways", help="only these, with semicolons between")
    arguments, rest = read(parser)
    arguments.results.mkdir(parents=True, exist_ok=True)
    path = arguments.results / f"low-rank-{arguments.model.stem}.json"
    rows: list[Row] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    base = resolve(by_name(rest), arguments.model)
    inputs = load_inputs(load_document(arguments.model), base)
    observation = observe(inputs, Silent())
    for target in arguments.targets.split(","):
        name, share = target.split("=")
        asked = replace(inputs, config=base.model_copy(update={f"target_{name}": share}))
        makers = {**ways_of(asked, observation), "optimize": None}
        known = {row["way"] for row in rows if row["target"] == target}
        for way in arguments.ways.split(";") if arguments.ways else makers:
            if way not in known and way in makers:
                rows.append({"target": target, "way": way, **measured(asked, way, makers[way], arguments.model)})
                path.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    print(f"{arguments.model.stem}, depth {inputs.analysis.cost.depth}\n")
    print("| target | way | MACs | parameters | points lost | KL | time | depth |\n|---|---|---|---|---|---|---|---|")
    for row in rows:
        if "lost" in row:
            kept = f"{row['macs']:.3f} | {row['params']:.3f} | {row['lost']:.2f} | {row['kl']:.3f}"
            print(f"| {row['target']} | {row['way']} | {kept} | {row['time']:.2f} | {row['depth']} |")
        else:
            print(f"| {row['target']} | {row['way']} | {row['why']} | | | | | |")


if __name__ == "__main__":
    main()
