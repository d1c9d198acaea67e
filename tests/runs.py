"""Ways to run commands, and small networks with data to run them on."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from typer.testing import CliRunner, Result

from onnxshallow.cli.main import app
from onnxshallow.model.document import load_document
from onnxshallow.model.session import Session
from onnxshallow.options.config import resolve
from onnxshallow.runtime.progress import Silent, Step
from onnxshallow.search.inputs import Inputs, load_inputs
from onnxshallow.validation.growth import Growth, Range, Stability
from onnxshallow.validation.speed import Speed
from onnxshallow.workflows.result import Result as ModelResult
from tests.graphs import interface
from tests.networks import Array, Weight, assert_near, build, smooth
from tests.short_runs import PATH

DIGITS = ("digits-resnet.onnx", "digits-calibration.npz", "digits-validation.npz", "onnxshallow.toml")

ANY_LOSS = ("--max-error", "1e6")
"""A gate that every model of finite outputs keeps, for runs of untrained networks, which lose much."""

NET = """(float[N,3,6,6] x) => (float[N,6] y) {
    h0 = Conv<pads=[1,1,1,1]>(x, w0, b0)
    r0 = Relu(h0)
    h1 = Conv<pads=[1,1,1,1]>(r0, w1, b1)
    r1 = Relu(h1)
    h2 = Conv<pads=[1,1,1,1]>(r1, w2, b2)
    r2 = Relu(h2)
    p = GlobalAveragePool(r2)
    f = Flatten(p)
    y = Gemm<transB=1>(f, w3, b3)
}"""
NET_WEIGHTS: dict[str, Weight] = {
    "w0": (4, 3, 3, 3),
    "b0": (4,),
    "w1": (4, 4, 3, 3),
    "b1": (4,),
    "w2": (4, 4, 3, 3),
    "b2": (4,),
    "w3": (6, 4),
    "b3": (6,),
}


@dataclass(frozen=True)
class DigitsRun:
    """A run of `optimize` on the digits network.

    Attributes:
        folder: where it ran.
        before: content of the folder's files before the run, by name.
        outcome: how it ended.
    """

    folder: Path
    before: Mapping[str, bytes]
    outcome: Result

    @property
    def model(self) -> Path:
        """The original."""
        return self.folder / "digits-resnet.onnx"

    @property
    def output(self) -> Path:
        """The optimized model."""
        return self.folder / "digits-resnet.shallow.onnx"

    @cached_property
    def report(self) -> dict[str, Any]:
        """The JSON report."""
        return read_json(self.folder / "digits-resnet.shallow.json")


def run(*arguments: object) -> Result:
    """Run a command in this process; an exception that it lets through is raised."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def run_process(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own."""
    command = [sys.executable, "-m", "tests.short_runs", *map(str, arguments)]
    variables = {**os.environ, **PATH, **environment}
    return subprocess.run(command, capture_output=True, text=True, env=variables, check=False)


def strict_json(text: str) -> Any:
    """The value of a JSON text, which must hold neither NaN nor infinities."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def read_json(path: Path) -> Any:
    """The value of a JSON file."""
    return strict_json(path.read_text(encoding="utf-8"))


def net() -> onnx.ModelProto:
    """Three convolutions with ReLUs and a classifier of six classes, with metadata."""
    model = build(NET, **NET_WEIGHTS)
    model.producer_name, model.model_version, model.doc_string = "a trainer", 7, "for the tests"
    model.metadata_props.add(key="license", value="none")
    return model


def save_case(
    folder: Path, model: onnx.ModelProto | None = None, labels: Array | None = None, **arrays: Array
) -> tuple[Path, Path]:
    """Write a network (default: `net()`) as net.onnx and data for it as data.npz; both paths."""
    path, data = folder / "net.onnx", folder / "data.npz"
    onnx.save(model if model is not None else net(), path)
    arrays = arrays or {"x": smooth(40, 3, 6)}
    np.savez(data, **arrays, **({} if labels is None else {"y": labels}))  # type: ignore[arg-type]
    return path, data


def load_case(
    folder: Path,
    model: onnx.ModelProto | None = None,
    labels: Array | None = None,
    arrays: Mapping[str, Array] | None = None,
    **options: Any,
) -> Inputs:
    """What the stages begin with, of a network and data as `save_case` writes them, calibrated on that data."""
    path, data = save_case(folder, model, labels, **(arrays or {}))
    return load_inputs(load_document(path), resolve({"calib": str(data), **options}, path))


def speed_of(original_ms: float = 1.0, optimized_ms: float = 1.0, off: float = 0.0) -> Speed:
    """What was measured of a model, made up; the intervals reach `off` of each value to either side."""
    ratio = original_ms / optimized_ms
    return Speed(
        original_ms=original_ms,
        optimized_ms=optimized_ms,
        optimized_interval=(optimized_ms * (1 - off), optimized_ms * (1 + off)),
        speedup=ratio,
        speedup_interval=(ratio * (1 - off), ratio * (1 + off)),
        batch_size=1,
        threads=None,
        runs=60,
    )


def stability_of(factor: float, site: str = "r2") -> Stability:
    """What was seen of the activations of a network with squares, made up; they grow by a factor at one site."""
    return Stability((Growth("some samples", 40, factor, site),), (Range(site, 1.0, factor, 4),))


def assert_error(outcome: Result, code: int, *words: str) -> None:
    """Fail unless a command ended with `code` and one sentence on stderr that holds `words`."""
    assert outcome.exit_code == code, outcome.stderr
    lines = [line for line in outcome.stderr.splitlines() if not line.startswith("WARNING: ")]
    assert len(lines) == 1, outcome.stderr
    assert lines[0].startswith("error: ")
    assert lines[0].endswith(".")
    for word in words:
        assert word in lines[0]


def made(result: ModelResult) -> ModelResult:
    """A result that has a model, made without data, as if these had vouched for it.

    Synthetic samples need not vouch for what becomes of a network that nobody trained; nothing else may refuse it.
    """
    assert result.model is not None
    assert result.error is None or "Synthetic samples do not vouch for the model" in str(result.error), result.error
    return replace(result, error=None)


def assert_usable(optimized: onnx.ModelProto, original: onnx.ModelProto, feeds: Mapping[str, np.ndarray]) -> None:
    """Fail unless a model is valid, runs in every way, and looks from outside as the original does."""
    onnx.checker.check_model(optimized, full_check=True)
    assert interface(optimized) == interface(original)
    for name in ("producer_name", "model_version", "doc_string", "domain"):
        assert getattr(optimized, name) == getattr(original, name)
    own = [entry for entry in optimized.metadata_props if not entry.key.startswith("onnxshallow.")]
    assert own == list(original.metadata_props)
    assert optimized.graph.name == original.graph.name
    plain, fast = (Session(optimized, threads=1, optimize=optimize).run(feeds) for optimize in (False, True))
    reference = Session(original, threads=1).run(feeds)
    for a, b, expected in zip(plain, fast, reference, strict=True):
        assert a.shape == b.shape == expected.shape
        assert a.dtype == expected.dtype
        assert_near(b, a, 2e-2 if a.dtype == np.float16 else 1e-4)


def flipped(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """A copy of a model with the sign of one initializer turned."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    tensor = next(t for t in result.graph.initializer if t.name == name)
    tensor.CopyFrom(onnx.numpy_helper.from_array(-onnx.numpy_helper.to_array(tensor), name))
    return result


def files(folder: Path) -> set[str]:
    """Names of what a folder holds, hidden files too."""
    return {path.name for path in folder.iterdir()}


class Noted(Silent):
    """Progress that keeps the names of the stages."""

    def __init__(self) -> None:
        self.stages: list[str] = []

    def stage(self, name: str, total: int) -> AbstractContextManager[Step]:
        """Note a stage."""
        self.stages.append(name)
        return super().stage(name, total)
