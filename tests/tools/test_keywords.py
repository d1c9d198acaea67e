"""The keyword arguments of the Python functions are those that Config has, and type checkers know them."""

import inspect
import subprocess
import sys
from typing import Unpack

import pytest

import onnxshallow
from onnxshallow.options.keywords import Options
from tools import keywords

SNIPPET = """
import onnxshallow
onnxshallow.optimize("a.onnx", target_relus="320k", mean=[0.5], kernel=3, providers="cuda", calib=[1], seed=None)
onnxshallow.plan("a.onnx", input_shape={"x": (1, 3, 8, 8)}, memory="4G", preset="mnist", validate="b.npz")
onnxshallow.optimize("a.onnx", target_relu=0.5)
onnxshallow.pareto("a.onnx", batch_size="many")
onnxshallow.validate("a.onnx", "b.onnx", granularity="row")
onnxshallow.optimize("m", target_relus=0.5, calib_samples="many")
"""
WRONG = {
    5: 'argument "target_relu"',
    6: 'Argument "batch_size"',
    7: 'Argument "granularity"',
    8: 'Argument "calib_samples"',
}


def test_the_module_is_up_to_date():
    assert keywords.MODULE.read_text(encoding="utf-8") == keywords.module(), "run: python -m tools.keywords"


def test_what_is_written_is_replaced(tmp_path, monkeypatch):
    stale = tmp_path / "keywords.py"
    stale.write_text(keywords.module().replace("    seed: int | None\n", "    sead: str | None\n"), encoding="utf-8")
    monkeypatch.setattr(keywords, "MODULE", stale)
    keywords.main()
    assert stale.read_text(encoding="utf-8") == keywords.module()
    assert "sead" not in keywords.module()


@pytest.mark.parametrize(
    "name", ["apply_plan", "bench", "measure_sensitivity", "optimize", "pareto", "plan", "validate"]
)
def test_every_function_takes_them(name):
    assert inspect.signature(getattr(onnxshallow, name)).parameters["options"].annotation == Unpack[Options]


def test_a_type_checker_finds_wrong_names_and_wrong_types(tmp_path):
    pytest.importorskip("mypy", reason="types are checked with mypy (the dev extra)")
    (tmp_path / "snippet.py").write_text(SNIPPET, encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--follow-imports=silent", "--cache-dir", str(tmp_path / "cache")]
    done = subprocess.run([*command, "snippet.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    found = [line for line in done.stdout.splitlines() if ": error: " in line]
    assert len(found) == len(WRONG), done.stdout + done.stderr
    for line, (number, words) in zip(found, WRONG.items(), strict=True):
        assert line.startswith(f"snippet.py:{number}: ")
        assert words in line
