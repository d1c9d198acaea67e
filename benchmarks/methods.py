"""The frontier of this tool beside two simpler ways to remove ReLUs, on the same network and the same samples.

    python benchmarks/methods.py MODEL.onnx --targets 0.9,0.75,0.58,0.43 --results FOLDER -- --calib train.npz ...

    identity      a removed ReLU is left out
    affine        it is replaced by its least-squares affine map, channel by channel
    onnxshallow   the pareto command: fused, fitted, corrected

The simpler ways choose their sites as this tool does, by an integer program over damages that they measured in their
own way, site by site. Writes NAME.json and NAME.svg, and prints a Markdown table. What follows `--` are options of
`onnxshallow pareto`.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from arguments import benchmark_parser, by_name, read

from onnxshallow.actions.apply import apply_candidates
from onnxshallow.actions.base import Candidate, FindOptions, Statistics
from onnxshallow.actions.linearize import Linearize
from onnxshallow.errors import TargetError
from onnxshallow.model.document import load_document
from onnxshallow.model.network import Network
from onnxshallow.options.config import Config, resolve
from onnxshallow.report.page.plot import line_chart
from onnxshallow.rewriting.realize import Realized
from onnxshallow.runtime.progress import Silent
from onnxshallow.runtime.whole import run_batches
from onnxshallow.search.attempt import validate
from onnxshallow.search.inputs import Inputs, load_inputs, observe
from onnxshallow.search.planner import Planner, read_budget
from onnxshallow.search.sensitivity.measures import damage
from onnxshallow.workflows.pareto import pareto

Curve = list[dict[str, float]]


def simple_curve(inputs: Inputs, statistics: Statistics, reference: list[np.ndarray], targets: list[str]) -> Curve:
    """Points of a method that only replaces activations by affine maps."""
    analysis = inputs.analysis
    candidates = Linearize().find(analysis, FindOptions()).candidates

    def model_of(chosen: tuple[Candidate, ...]) -> onnx.ModelProto:
        return apply_candidates(analysis, chosen, statistics).model

    selection = inputs.reduced.batches[inputs.reduced.selection]
    damages = {
        c.key: damage("kl", reference, run_batches(model_of((c,)), selection, inputs.reduced.threads), inputs.kinds)
        for c in candidates
    }
    curve: Curve = []
    for target in targets:
        budget = read_budget(inputs.config.model_copy(update={"target_relus": target}), analysis)
        try:
            plan = list(zip(range(2), Planner(analysis, candidates, damages, budget).proposals(), strict=False))[-1][
                1
            ]
        except TargetError:
            continue
        comparison = validate(inputs, Realized(Network(model_of(plan.candidates)), []), Silent())
        left = analysis.cost.relus - sum(c.relus for c in plan.candidates)
        curve.append({"relus": left / analysis.cost.relus, "lost": 100 * comparison.loss.value})
    return curve


def own_curve(model: Path, targets: list[str], config: Config) -> Curve:
    """Points of `onnxshallow pareto`."""
    report = pareto(model, targets=targets, config=config)
    return [
        {
            "relus": point.optimized.relus / report.original.relus,
            "macs": point.optimized.macs / report.original.macs,
            "depth": point.optimized.depth,
            "lost": 100 * (point.accuracy_lost or 0.0),
        }
        for point in report.points
        if point.optimized is not None
    ]


def points(curve: Curve) -> str:
    """The points of a curve in one line."""
    return ", ".join(f"{point['relus']:.2f}: {point['lost']:.2f}" for point in curve)


def main() -> None:
    """Measure, write and print."""
    parser = benchmark_parser(__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--targets", default="0.9,0.8,0.7,0.58,0.5,0.43,0.35,0.3")
    arguments, rest = read(parser)
    targets = arguments.targets.split(",")
    config = resolve(by_name(rest), arguments.model)
    inputs = load_inputs(load_document(arguments.model), config)
    observation = observe(inputs, Silent())
    statistics = observation.statistics
    plain = {n: replace(a, scale=np.ones_like(a.scale), shift=np.zeros_like(a.shift)) for n, a in statistics.items()}
    curves = {
        "identity": simple_curve(inputs, plain, observation.reference(inputs.reduced), targets),
        "affine": simple_curve(inputs, statistics, observation.reference(inputs.reduced), targets),
        "onnxshallow": own_curve(arguments.model, targets, config),
    }
    name = arguments.model.stem
    arguments.results.mkdir(parents=True, exist_ok=True)
    (arguments.results / f"{name}.json").write_text(json.dumps(curves, indent=2) + "\n", encoding="utf-8")
    drawn = {method: [(p["relus"], min(p["lost"], 30.0)) for p in curve] for method, curve in curves.items()}
    chart = line_chart(drawn, title=name, x_label="share of ReLUs kept", y_label="points lost (cut off at 30)")
    (arguments.results / f"{name}.svg").write_text(chart, encoding="utf-8")
    print(f"{name}\n\n| method | ReLUs kept: points lost |\n|---|---|")
    for method, curve in curves.items():
        print(f"| {method} | {points(curve)} |")


if __name__ == "__main__":
    main()
