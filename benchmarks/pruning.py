"""Channels left out in several ways, on the same network, samples and multiply-adds.

    python benchmarks/pruning.py MODEL.onnx --macs 0.7,0.5 --results FOLDER -- --calib train.npz ...

    l2              the same share of each stream's channels goes, those of the smallest weights; nothing is fitted
    wanda           those of the smallest weights times what they read (Wanda, arXiv 2306.11695); nothing is fitted
    order           those that the others can make up for best; nothing is fitted
    ..., fitted     as each of these, and all layers are fitted as this tool does
    onnxsim l2      `onnxsim.pruning.apply_structured_pruning` at the same multiply-adds, where onnxsim is installed
    onnxsim wanda   `onnxsim.pruning.apply_structured_wanda_pruning`, likewise
    optimize        `onnxshallow optimize --target-macs`, which may split layers, too

Writes pruning-NAME.json, goes on with what that lacks, and prints a Markdown table. What follows `--` are options of
`onnxshallow optimize`.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from arguments import benchmark_parser, by_name, read

from onnxshallow.actions.base import Candidate, FindOptions, Statistics
from onnxshallow.actions.prune import Prune
from onnxshallow.analysis import Analysis, analyze
from onnxshallow.analysis.narrowing import Narrowable, find_narrowable
from onnxshallow.model.document import load_document
from onnxshallow.model.network import Network
from onnxshallow.options.config import resolve
from onnxshallow.rewriting.realize import Realized, realize, unfitted
from onnxshallow.runtime.progress import Silent
from onnxshallow.runtime.whole import run_batches
from onnxshallow.search.attempt import validate
from onnxshallow.search.inputs import Inputs, load_inputs, observe
from onnxshallow.search.overlaps import saved
from onnxshallow.workflows.optimize import optimize

Row = dict[str, Any]


def same_share(inputs: Inputs, macs: int) -> list[Candidate]:
    """About the same share of the channels of every stream, so that at most so many multiply-adds are left."""
    options = FindOptions(narrower=True, every_size=True, memory=inputs.calibration.fit.memory)
    places: dict[str, list[Any]] = {}
    for candidate in Prune().find(inputs.analysis, options).candidates:
        places.setdefault(candidate.place, []).append(candidate)
    for share in np.arange(0.99, 0.0, -0.01):
        chosen = [min(each, key=lambda c: abs(c.kept - share * c.width)) for each in places.values()]
        if inputs.analysis.cost.macs - saved(chosen, "macs") <= macs:
            return chosen
    raise SystemExit("So few multiply-adds cannot be reached by leaving out channels; raise --macs.")


def by_norms(inputs: Inputs, statistics: Statistics, *, activations: bool) -> Statistics:
    """Statistics whose orders are those of the norms of weights: of what makes a channel, or of what reads it."""
    analysis, found = inputs.analysis, dict(statistics)
    for place in find_narrowable(analysis)[0]:
        importance = _read(inputs, place) if activations else _made(inputs, place)
        order = np.argsort(importance, kind="stable")
        found |= {site.name: replace(found[site.name], order=order) for site in place.sites if site.name in found}
    return found


def _made(inputs: Inputs, place: Narrowable) -> np.ndarray:
    weights = [inputs.analysis.layers.convolution(layer).weight for layer in place.makers]
    return np.sum([np.square(weight).sum(axis=tuple(range(1, weight.ndim))) for weight in weights], axis=0)


def _read(inputs: Inputs, place: Narrowable) -> np.ndarray:
    total = np.zeros(place.stream.channels)
    editor = onnx.ModelProto()
    editor.CopyFrom(inputs.document.plain.model)
    del editor.graph.output[:]
    sources = list(dict.fromkeys(layer.source for layer in place.readers))
    editor.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sources)
    batches = inputs.reduced.batches[inputs.reduced.fitting]
    values = dict(zip(sources, run_batches(editor, batches, inputs.reduced.threads), strict=True))
    for layer in place.readers:
        weight = np.abs(inputs.analysis.layers.convolution(layer).weight)
        x = values[layer.source]
        norm = np.sqrt(np.square(x).mean(axis=(0, *range(2, x.ndim))))
        score = weight.sum(axis=(0, *range(2, weight.ndim))) * norm
        total += score.reshape(place.stream.channels, -1).sum(axis=1)
    return total


def onnxsim_at(
    model: onnx.ModelProto,
    reached: Callable[[Analysis], bool],
    prune: Callable[[onnx.ModelProto, float], onnx.ModelProto],
) -> onnx.ModelProto | None:
    """What onnxsim leaves at the smallest sparsity that reaches a target; None where none does."""
    for sparsity in np.arange(0.02, 0.98, 0.02):
        made = prune(model, float(sparsity))
        if reached(analyze(made)):
            return made
    return None


def onnxsim_ways(inputs: Inputs) -> dict[str, Callable[[onnx.ModelProto, float], onnx.ModelProto]]:
    """The ways that onnxsim has; none where it is not installed."""
    try:
        from onnxsim import pruning, simplify
    except ImportError:
        return {}
    samples = [dict(batch) for batch in inputs.reduced.batches[inputs.reduced.fitting]]
    return {
        "onnxsim l2": lambda model, sparsity: pruning.apply_structured_pruning(simplify(model)[0], sparsity),
        "onnxsim wanda": lambda model, sparsity: pruning.apply_structured_wanda_pruning(
            simplify(model)[0], samples, sparsity=sparsity
        ),
    }


def ways_of(inputs: Inputs, share: float) -> dict[str, Callable[[], onnx.ModelProto | None]]:
    """What makes a model with a share of the multiply-adds, by way."""
    analysis = inputs.analysis
    most = int(share * analysis.cost.macs)
    whole = replace(inputs.calibration, everything=True)
    found: dict[str, Callable[[], onnx.ModelProto | None]] = {}
    for name, rank in RANKINGS.items():
        found[name] = lambda rank=rank: unfitted(analysis, same_share(inputs, most), rank(inputs))
        found[f"{name}, fitted"] = lambda rank=rank: (
            realize(analysis, same_share(inputs, most), rank(inputs), whole).model
        )
    for name, prune in onnxsim_ways(inputs).items():
        found[name] = lambda prune=prune: onnxsim_at(
            inputs.document.plain.model, lambda made: made.cost.macs <= most, prune
        )
    return found


@cache
def ranked(inputs: Inputs) -> Statistics:
    """Statistics whose orders are this tool's."""
    return observe(inputs, Silent()).statistics


RANKINGS: dict[str, Callable[[Inputs], Statistics]] = {
    "l2": lambda inputs: by_norms(inputs, ranked(inputs), activations=False),
    "wanda": lambda inputs: by_norms(inputs, ranked(inputs), activations=True),
    "order": ranked,
}


def _row(inputs: Inputs, way: str, share: float, model: onnx.ModelProto) -> Row:
    network = Network(model, inputs.analysis.network.input_shapes)
    comparison = validate(inputs, Realized(network, []), Silent())
    before, after = inputs.analysis.cost, analyze(network).cost
    return {
        "way": way,
        "target": share,
        "macs": after.macs / before.macs,
        "params": after.params / before.params,
        "lost": 100 * comparison.loss.value,
        "kl": comparison.fidelity.kl,
    }


def own_row(model: Path, share: float, options: dict[str, Any]) -> Row:
    """`onnxshallow optimize`."""
    report = optimize(model, config=resolve({**options, "target-macs": share}, model)).report
    before, after = report.original, report.optimized
    return {
        "way": "optimize",
        "target": share,
        "macs": after.macs / before.macs,
        "params": after.params / before.params,
        "lost": 100 * report.verdict.accuracy_lost,
        "kl": report.fidelity.kl,
        "changes": [change.short for change in report.changes],
    }


def main() -> None:
    """Measure, write and print."""
    parser = benchmark_parser(__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--macs", default="0.85,0.7,0.5")
    parser.add_argument("--ways", help="only these, with semicolons between")
    arguments, rest = read(parser)
    options, shares = by_name(rest), [float(share) for share in arguments.macs.split(",")]
    arguments.results.mkdir(parents=True, exist_ok=True)
    path = arguments.results / f"pruning-{arguments.model.stem}.json"
    rows: list[Row] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    inputs = load_inputs(
        load_document(arguments.model), resolve({**options, "target-macs": shares[0]}, arguments.model)
    )
    for share in shares:
        makers = ways_of(inputs, share)
        wanted = arguments.ways.split(";") if arguments.ways else [*makers, "optimize"]
        known = {row["way"] for row in rows if row["target"] == share}
        for way in wanted:
            if way in known or way not in (*makers, "optimize"):
                continue
            if way == "optimize":
                rows.append(own_row(arguments.model, share, options))
            else:
                model = makers[way]()
                rows.append({"way": way, "target": share} if model is None else _row(inputs, way, share, model))
            path.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    rows.sort(key=lambda row: -row["target"])
    print(f"{arguments.model.stem}\n\n| way | MACs | parameters | points lost | KL |\n|---|---|---|---|---|")
    for row in rows:
        if "lost" in row:
            print(f"| {row['way']} | {row['macs']:.3f} | {row['params']:.3f} | {row['lost']:.2f} | {row['kl']:.4f} |")
        else:
            print(f"| {row['way']} | above {row['target']:.3f} | | | |")


if __name__ == "__main__":
    main()
