"""What goes from networks without a change, beside what onnxslim and onnxsim leave out of them.

    python benchmarks/lossless.py MODEL.onnx ... --results FOLDER

For each model the nodes, the bytes, the time in onnxruntime (one thread, in turns, the original as 1) and how far the
outputs are off on normal random numbers, by the RMS of the original's. A tool that is not installed is left out, one
that fails on a model is said to. Writes lossless.json.
"""

import argparse
import importlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from arguments import benchmark_parser

from onnxshallow.errors import OnnxshallowError
from onnxshallow.model.document import load_document
from onnxshallow.model.network import Network
from onnxshallow.model.session import Session
from onnxshallow.model.weights import byte_size
from onnxshallow.rewriting.lossless import lossless
from onnxshallow.validation.latency import time_models

Tool = Callable[[onnx.ModelProto], onnx.ModelProto]


def tools() -> dict[str, Tool]:
    """The tools that are here, by name."""
    found: dict[str, Tool] = {"onnxshallow": lambda model: lossless(model)[0]}
    for name, function, made in (("onnxslim", "slim", lambda x: x), ("onnxsim", "simplify", lambda x: x[0])):
        try:
            call = getattr(importlib.import_module(name), function)
        except ImportError:
            continue
        found[name] = lambda model, call=call, made=made: made(call(model))  # type: ignore[misc]
    return found


def feeds_of(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Normal random numbers for each input; open axes are 1, and 64 behind the first."""
    generator, feeds = np.random.default_rng(0), {}
    for info in Network(model).inputs:
        shape = [size if isinstance(size, int) else 64 if axis else 1 for axis, size in enumerate(info.shape or ())]
        feeds[info.name] = generator.normal(size=shape).astype(info.dtype)
    return feeds


def off(first: list[np.ndarray], second: list[np.ndarray]) -> float:
    """The largest difference of any output of numbers, by the RMS of the first's."""
    worst = 0.0
    for one, other in zip(first, second, strict=True):
        if not isinstance(one, np.ndarray) or one.dtype.kind not in "biuf":
            continue
        scale = math.sqrt(float(np.mean(np.square(one.astype(np.float64))))) or 1.0
        worst = max(worst, float(np.max(np.abs(one.astype(np.float64) - other), initial=0.0)) / scale)
    return worst


def row(model: onnx.ModelProto, available: dict[str, Tool], seconds: float) -> dict[str, dict[str, Any]]:
    """Figures by tool, the original's among them."""
    feeds, models, failed = feeds_of(model), {"original": model}, {}
    for name, tool in available.items():
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        try:
            models[name] = tool(copy)
        except Exception as error:  # another tool's failure is a figure here
            failed[name] = {"failed": f"{type(error).__name__}: {error}".splitlines()[0][:80]}
    sessions = dict[str, Session]()
    for name, each in list(models.items()):
        try:
            sessions[name] = Session(each, threads=1)
        except OnnxshallowError as error:
            failed[name] = {"failed": str(error).splitlines()[0][:80]}
            del models[name]
    if "original" in failed:
        return {"original": failed["original"]}
    outputs = {name: session.run(feeds) for name, session in sessions.items()}
    timings = time_models(sessions, feeds, seconds=seconds, least=4)
    figures = {
        name: {
            "nodes": len(each.graph.node),
            "bytes": byte_size(each),
            "times_as_fast": float(np.median(timings["original"].turns / timings[name].turns)),
            "off": off(outputs["original"], outputs[name]),
        }
        for name, each in models.items()
    }
    return {**figures, **failed}


def shown(figures: dict[str, Any]) -> str:
    """One cell of the table."""
    if "failed" in figures:
        return str(figures["failed"])
    size = f"{figures['bytes'] / 1000:.0f} kB"
    return f"{figures['nodes']}, {size}, {figures['times_as_fast']:.2f}x, {figures['off']:.0e}"


def main() -> None:
    """Measure, write and print."""
    parser: argparse.ArgumentParser = benchmark_parser(__doc__)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each model")
    arguments = parser.parse_args()
    available, found = tools(), {}
    print("| model: nodes, bytes, speed, error | original | " + " | ".join(available) + " |")
    print("|---|" + "---|" * (1 + len(available)))
    for path in arguments.models:
        try:
            found[path.stem] = row(load_document(path).model, available, arguments.seconds)
        except OnnxshallowError as error:
            found[path.stem] = {"original": {"failed": str(error).splitlines()[0][:80]}}
        print(f"| {path.stem} | " + " | ".join(shown(each) for each in found[path.stem].values()) + " |", flush=True)
    arguments.results.mkdir(parents=True, exist_ok=True)
    target = arguments.results / "lossless.json"
    target.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
