"""What one network loses in each mode, at several ReLU targets, and what private inference saves by it.

    python benchmarks/modes.py MODEL.onnx --targets 0.9,0.5,0.1 -- --calib train.npz --validate test.npz ...

    layer                 ReLUs go layer by layer
    layer+squares         or become squares (--polynomials)
    channel               or stay for some channels (--granularity channel)
    channel+squares       or both
    pixel                 or stay for single elements (--granularity pixel)

Each mode goes the way of `onnxshallow pareto`, stage by stage, so that each point's model is at hand: its operations
are counted, and priced by every protocol. Writes modes-MODEL.json, and a plot as SVG, and as PNG where there is
Chromium. Prints three Markdown tables. A run that was interrupted goes on with the modes that the JSON lacks. What
follows `--` are options of `onnxshallow pareto`.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from arguments import benchmark_parser, by_name, read

from onnxshallow.analysis import Analysis
from onnxshallow.errors import TargetError
from onnxshallow.fitting.threads import computing
from onnxshallow.model.document import load_document, save_model
from onnxshallow.model.files import write_text
from onnxshallow.options.config import resolve
from onnxshallow.private.estimate import estimate
from onnxshallow.private.link import parse_bandwidth, parse_rtt
from onnxshallow.private.protocols import PROTOCOLS
from onnxshallow.report.page.plot import line_chart
from onnxshallow.runtime.progress import Clock, Silent
from onnxshallow.search.inputs import Inputs, load_inputs
from onnxshallow.search.planner import about_equal, read_budget
from onnxshallow.search.run import Run
from onnxshallow.search.tries import tries_together
from onnxshallow.versions import versions

MODES: dict[str, dict[str, object]] = {
    "layer": {"granularity": "layer"},
    "layer+squares": {"granularity": "layer", "polynomials": True},
    "channel": {"granularity": "channel"},
    "channel+squares": {"granularity": "channel", "polynomials": True},
    "pixel": {"granularity": "pixel"},
}
Point = dict[str, Any]
_IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
_PRICES = ("bytes", "messages", "seconds", "offline_bytes")
# Points that lose more are drawn as losing this much.
_MOST_LOST = 20.0


def prices(analysis: Analysis, rtt: float, bandwidth: float) -> dict[str, dict[str, float | None]]:
    """What a network costs under each protocol."""
    made = {name: estimate(analysis, protocol, rtt, bandwidth) for name, protocol in PROTOCOLS.items()}
    return {name: {what: getattr(price, what) for what in _PRICES} for name, price in made.items()}


def shares(
    after: Mapping[str, Mapping[str, float | None]], before: Mapping[str, Mapping[str, float | None]]
) -> dict[str, dict[str, float]]:
    """The prices of a network as shares of the original's; what a protocol has no constant for is left out."""
    return {
        name: {
            what: round((price or 0.0) / before[name][what], 4) for what, price in costs.items() if before[name][what]
        }
        for name, costs in after.items()
    }


def counts(analysis: Analysis) -> dict[str, int]:
    """What is counted of a network."""
    cost = analysis.cost
    return {
        "relus": cost.relus,
        "relu_nodes": cost.relu_nodes,
        "squares": cost.squares,
        "macs": cost.macs,
        "depth": cost.depth,
    }


def described(arguments: argparse.Namespace, options: Mapping[str, object], inputs: Inputs) -> dict[str, Any]:
    """What the figures depend on, so that those of another run are not mixed with these, and the original's own."""
    data = ("calib", "validate")
    return {
        "model": {"name": arguments.model.stem, "sha256": inputs.document.sha256, **counts(inputs.analysis)},
        "settings": {
            "targets": arguments.targets.split(","),
            "rtt": arguments.rtt,
            "bandwidth": arguments.bandwidth,
            "options": {name: Path(str(value)).name if name in data else value for name, value in options.items()},
        },
        "private": prices(inputs.analysis, arguments.rtt, arguments.bandwidth),
        "versions": versions(),
    }


def curve(
    inputs: Inputs, targets: Sequence[str], link: tuple[float, float], cache: Path, stem: Path | None
) -> list[Point]:
    """One point a target, those that keep most ReLUs first; with a stem, models go to STEM-RELUS.onnx."""
    config, before = inputs.config, prices(inputs.analysis, *link)
    wanted = [config.model_copy(update={"target_relus": target}) for target in targets]
    budgets = sorted({read_budget(each, inputs.analysis) for each in wanted}, key=lambda b: -(b.relus or 0))
    run = Run.begin(inputs, Silent(), Clock(), cache)
    searched = run.search(budgets, tries_together(inputs, len(budgets)))
    points: list[Point] = []
    done: dict[frozenset[str], Point] = {}
    for budget, plans in zip(budgets, searched, strict=True):
        goal = {"target_relus": budget.relus}
        if isinstance(plans, TargetError):
            points.append({**goal, "reason": str(plans)})
            continue
        plan = about_equal(plans, inputs.analysis.cost, budget)[0]
        if plan.keys not in done:
            attempt = run.attempt(plan)
            realized, comparison = attempt.realized, attempt.comparison
            if comparison.first is None or comparison.second is None:
                raise SystemExit("The validation data need labels.")
            analysis = realized.analysis
            if stem is not None:
                path = stem.with_name(f"{stem.name}-{budget.relus}.onnx")
                save_model(realized.model, path, external=inputs.document.external)
            done[plan.keys] = {
                **counts(analysis),
                "share": round(analysis.cost.relus / max(inputs.analysis.cost.relus, 1), 4),
                "top1": [comparison.first.top1, comparison.second.top1],
                "lost": comparison.accuracy_lost,
                "interval": comparison.drop_interval,
                "private": shares(prices(analysis, *link), before),
                "refused": None if attempt.stability is None else attempt.stability.why_unstable,
                "plan": sorted(plan.keys),
            }
        points.append({**goal, **done[plan.keys]})
    return points


def usable(points: Sequence[Point]) -> list[Point]:
    """The points whose targets were reached by networks that may be used."""
    return [point for point in points if "reason" not in point and not point["refused"]]


def chart(result: Mapping[str, Any]) -> str:
    """Points lost over ReLUs kept, one line a mode, as the text of an SVG file; what is refused is left out."""
    series = {
        mode: [(point["share"], 100 * point["lost"]) for point in usable(found["points"])]
        for mode, found in result["modes"].items()
    }
    cut = any(lost > _MOST_LOST for curve in series.values() for _, lost in curve)
    return line_chart(
        {mode: [(share, min(lost, _MOST_LOST)) for share, lost in curve] for mode, curve in series.items()},
        title=result["model"]["name"],
        x_label="share of ReLUs kept",
        y_label=f"points lost (cut off at {_MOST_LOST:g})" if cut else "points lost",
    )


def draw(result: Mapping[str, Any], path: Path) -> None:
    """Write the plot as SVG, and where there is Chromium as PNG beside it."""
    write_text(chart(result), path.with_suffix(".svg"))
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        print(f"No Chromium on the path, so {path.with_suffix('.png')} is not drawn.", file=sys.stderr)
        return
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--force-device-scale-factor=2"]
    target = [f"--screenshot={path.with_suffix('.png').resolve()}", path.with_suffix(".svg").resolve().as_uri()]
    subprocess.run([chromium, *flags, "--window-size=640,400", *target], capture_output=True, timeout=120, check=True)


def short_table(result: Mapping[str, Any]) -> str:
    """Points lost, a row a mode, a column a target."""
    before = result["model"]["relus"]
    targets = sorted({p["target_relus"] for found in result["modes"].values() for p in found["points"]}, reverse=True)
    lines = ["| mode | " + " | ".join(f"{target / before:.2f}" for target in targets) + " |"]
    lines.append("|---" * (len(targets) + 1) + "|")
    for mode, found in result["modes"].items():
        lost = {point["target_relus"]: f"{100 * point['lost']:.2f}" for point in usable(found["points"])}
        lines.append(f"| {mode} | " + " | ".join(lost.get(target, "-") for target in targets) + " |")
    return "\n".join(lines)


def lost_table(result: Mapping[str, Any]) -> str:
    """Points lost, a row a mode and target, with what the network has left."""
    before = result["model"]
    lines = ["| mode | ReLUs kept | squares | MACs | depth | points lost |", "|---|---|---|---|---|---|"]
    for mode, found in result["modes"].items():
        for point in found["points"]:
            if "reason" in point:
                lines.append(f"| {mode} | {point['target_relus'] / before['relus']:.3f} | | | | out of reach |")
                continue
            low, high = (100 * end for end in point["interval"])
            lines.append(
                f"| {mode} | {point['share']:.3f} | {point['squares'] / before['relus']:.3f} "
                f"| {point['macs'] / before['macs']:.3f} | {before['depth']} -> {point['depth']} "
                f"| {100 * point['lost']:.2f} ({low:.2f} to {high:.2f}){' refused' * bool(point['refused'])} |"
            )
    return "\n".join(lines)


def private_table(result: Mapping[str, Any], most: float) -> str:
    """For each protocol and mode the cheapest network that loses at most `most` points, as shares of the original."""
    lines = [
        f"| protocol | mode (at most {most:g} points lost) | ReLUs kept | bytes | messages | seconds |",
        "|---|---|---|---|---|---|",
    ]
    for protocol in result["private"]:
        for mode, found in result["modes"].items():
            good = [point for point in usable(found["points"]) if 100 * point["lost"] <= most]
            if not good:
                lines.append(f"| {protocol} | {mode} | - | | | |")
                continue
            best = min(good, key=lambda p: p["private"][protocol]["seconds"])
            cost = best["private"][protocol]
            figures = " | ".join(f"{cost[what]:.3f}" if what in cost else "-" for what in _PRICES[:3])
            lines.append(f"| {protocol} | {mode} | {best['share']:.3f} | {figures} |")
    return "\n".join(lines)


def main() -> None:
    """Measure what is missing, write, draw and print."""
    parser = benchmark_parser(__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--targets", default="0.9,0.8,0.7,0.6,0.5,0.43,0.35,0.27,0.2,0.1")
    parser.add_argument("--modes", default=",".join(MODES), help="comma-separated")
    parser.add_argument("--rtt", type=parse_rtt, default="10ms", help="between the parties [10ms]")
    parser.add_argument("--bandwidth", type=parse_bandwidth, default="100Mbps", help="between the parties [100Mbps]")
    parser.add_argument("--lost", type=float, default=2.0, help="points that the last table allows [2]")
    parser.add_argument("--models", type=Path, help="a folder for all points' models")
    parser.add_argument("--plot", type=Path, default=_IMAGES / "frontier-modes.svg")
    arguments, rest = read(parser)
    wanted = arguments.modes.split(",")
    if unknown := [mode for mode in wanted if mode not in MODES]:
        parser.error(f"there is no mode {unknown[0]!r}; choose from {', '.join(MODES)}")
    options = by_name(rest)
    path = arguments.results / f"modes-{arguments.model.stem}.json"
    result = described(
        arguments, options, load_inputs(load_document(arguments.model), resolve(options, arguments.model))
    )
    known: dict[str, Any] = {}
    if path.is_file():
        known = json.loads(path.read_text(encoding="utf-8"))
        if changed := [name for name in result if known.get(name) != result[name]]:
            parser.error(f"{path} is of another run, its {changed[0]!r} differs; move it, or give another --results")
    done = known.get("modes", {})
    for folder in filter(None, (arguments.results, arguments.models)):
        folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as cache:  # measured anew: what older code has measured does not count
        for mode in (mode for mode in wanted if mode not in done):
            begin = time.monotonic()
            config = resolve({**options, **MODES[mode]}, arguments.model)
            with computing(config.threads):
                points = curve(
                    load_inputs(load_document(arguments.model), config),
                    result["settings"]["targets"],
                    (arguments.rtt, arguments.bandwidth),
                    Path(cache),
                    None if arguments.models is None else arguments.models / f"{arguments.model.stem}-{mode}",
                )
            done[mode] = {"seconds": round(time.monotonic() - begin, 1), "points": points}
            done = {name: done[name] for name in MODES if name in done}
            write_text(json.dumps({**result, "modes": done}, indent=2) + "\n", path)
            print(f"{mode}: {done[mode]['seconds']:.0f} s", file=sys.stderr, flush=True)
    result["modes"] = done
    draw(result, arguments.plot)
    print(short_table(result), lost_table(result), private_table(result, arguments.lost), sep="\n\n")


if __name__ == "__main__":
    main()
