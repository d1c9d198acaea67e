"""What other tools make of one network, side by side in one run: the figures of docs/other-tools.md.

    pip install onnxslim onnxsim torch-pruning '.[cpu,zoo]'
    python benchmarks/others.py --macs 0.7

The network is `models/digits-resnet.onnx`, since its training data and recipe lie here too: what trains can be given
its due. Tools that leave channels out get the same multiply-adds. For each way the multiply-adds, the ReLUs and the
depth as shares of the original's, points of accuracy lost on the validation images (with McNemar's p), and how many
times as fast it is in onnxruntime, one thread, all in turns. Writes others.json.
"""

import copy
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxsim
import onnxslim
import torch
import torch_pruning
from arguments import benchmark_parser
from onnxsim import pruning
from torch import nn

import onnxshallow
from onnxshallow.model.session import Session
from onnxshallow.validation.latency import time_models

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

from train_zoo import RECIPES  # noqa: E402 - the tools are no package
from zoo.files import export  # noqa: E402
from zoo.training import train  # noqa: E402

MODEL = ROOT / "models" / "digits-resnet.onnx"
RECIPE = RECIPES["digits"]
IMAGES = RECIPE.load_images(None)
TOOLS = ("onnxshallow", "onnxslim", "onnxsim", "torch-pruning", "torch", "onnxruntime")
SAMPLE = IMAGES.preprocess(IMAGES.train_x[:2])
# What Torch-Pruning's network is trained with afterwards, beside its recipe.
RETRAINING: dict[str, Any] = {"learning_rate": 0.01, "epochs": 20}


def in_torch() -> nn.Module:
    """The network of the file, in torch."""
    stored = {one.name: torch.from_numpy(onnx.numpy_helper.to_array(one).copy()) for one in weights()}
    network = RECIPE.build().eval()
    missing = network.load_state_dict(stored, strict=False).missing_keys
    for name in missing:  # the exporter writes equal biases once
        if not name.endswith("num_batches_tracked"):
            raise SystemExit(f"{MODEL.name} holds no {name}.")
    return network


def weights() -> list[onnx.TensorProto]:
    """The initializers, also under the names of their Identity nodes."""
    model = onnx.load(MODEL)
    found = {one.name: one for one in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Identity" and node.input[0] in found:
            again = copy.deepcopy(found[node.input[0]])
            again.name = node.output[0].removeprefix("/")
            found[again.name] = again
    return list(found.values())


def macs(model: onnx.ModelProto) -> int:
    """Multiply-adds for one sample."""
    return onnxshallow.analyze(model).cost.macs


def exported(network: nn.Module) -> onnx.ModelProto:
    """A network as ONNX."""
    with tempfile.TemporaryDirectory() as folder:
        export(network.eval(), SAMPLE, Path(folder, "made.onnx"))
        return onnx.load(Path(folder, "made.onnx"))


def pruned_in_torch(most: int) -> nn.Module:
    """What Torch-Pruning leaves at the smallest ratio with at most so many multiply-adds."""
    for ratio in np.arange(0.02, 0.98, 0.02):
        network = in_torch()
        last = [module for module in network.modules() if isinstance(module, nn.Linear)]
        pruner = torch_pruning.pruner.BasePruner(
            network,
            SAMPLE,
            importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
            pruning_ratio=float(ratio),
            ignored_layers=last,
            global_pruning=True,
        )
        pruner.step()
        if macs(exported(network)) <= most:
            return network
    raise SystemExit("Torch-Pruning does not get that low.")


def retrained(network: nn.Module) -> nn.Module:
    """The network after training on the labelled images, by its recipe but shorter and more gently."""
    return train(replace(RECIPE, build=lambda: copy.deepcopy(network), **RETRAINING), IMAGES)


def onnxsim_pruned(most: int) -> onnx.ModelProto:
    """What onnxsim leaves at the smallest sparsity with at most so many multiply-adds."""
    plain = onnxsim.simplify(onnx.load(MODEL))[0]
    for sparsity in np.arange(0.02, 0.98, 0.02):
        made = pruning.apply_structured_pruning(plain, float(sparsity))
        if macs(made) <= most:
            return made
    raise SystemExit("onnxsim does not get that low.")


def optimized(**targets: float) -> onnx.ModelProto:
    """What onnxshallow makes with the options beside the network."""
    result = onnxshallow.optimize(MODEL, threads=1, cache=False, **targets)
    if result.model is None:
        raise SystemExit(result.report.verdict.line)
    return result.model


def ways(share: float) -> dict[str, Callable[[], onnx.ModelProto]]:
    """What makes a model, by name."""
    most = int(share * macs(onnx.load(MODEL)))
    pruned = pruned_in_torch(most)
    return {
        "original": lambda: onnx.load(MODEL),
        "onnxslim": lambda: onnxslim.slim(onnx.load(MODEL)),
        "onnxsim": lambda: onnxsim.simplify(onnx.load(MODEL))[0],
        "onnxshallow, no target": lambda: optimized(),
        "onnxsim's pruning": lambda: onnxsim_pruned(most),
        "Torch-Pruning": lambda: exported(pruned),
        "Torch-Pruning, then trained with labels": lambda: exported(retrained(pruned)),
        f"onnxshallow, --target-macs {share:g}": lambda: optimized(target_macs=share),
        "onnxshallow, --target-relus 0.58": lambda: optimized(target_relus=0.58),
    }


def main() -> None:
    """Make, measure, write and print."""
    parser = benchmark_parser(__doc__)
    parser.add_argument("--macs", type=float, default=0.7, help="share of the multiply-adds that pruning leaves")
    parser.add_argument("--seconds", type=float, default=30.0, help="that all models are timed for")
    arguments = parser.parse_args()
    models = {name: make() for name, make in ways(arguments.macs).items()}
    sessions = {name: Session(model, threads=1, in_turns=True) for name, model in models.items()}
    timings = time_models(sessions, {"image": SAMPLE[:1].numpy()}, seconds=arguments.seconds, least=20)
    before, found = onnxshallow.analyze(models["original"]).cost, {}
    for name, model in models.items():
        cost = onnxshallow.analyze(model).cost
        verdict = onnxshallow.validate(MODEL, model, threads=1).verdict
        found[name] = {
            "macs": cost.macs / before.macs,
            "relus": cost.relus / before.relus,
            "depth": cost.depth,
            "points_lost": 100 * (verdict.accuracy_lost or 0.0),
            "p": verdict.mcnemar_p,
            "times_as_fast": float(np.median(timings["original"].turns / timings[name].turns)),
        }
    arguments.results.mkdir(parents=True, exist_ok=True)
    versions = {name: version(name) for name in TOOLS}
    report = {"network": MODEL.name, "versions": versions, "ways": found}
    (arguments.results / "others.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print("| way | MACs | ReLUs | depth | points lost | p | times as fast |\n|---|" + "---:|" * 6)
    for name, one in found.items():
        p = "" if one["p"] is None else f"{one['p']:.2g}"
        print(
            f"| {name} | {one['macs']:.3f} | {one['relus']:.3f} | {one['depth']} | {one['points_lost']:.2f} | {p} "
            f"| {one['times_as_fast']:.2f} |"
        )


if __name__ == "__main__":
    main()
