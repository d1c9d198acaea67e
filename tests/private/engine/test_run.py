import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from onnxshallow.private.engine import run as running
from onnxshallow.private.engine.lowering import lower
from onnxshallow.private.engine.program import Step
from onnxshallow.private.engine.run import EngineError, Link, run_program
from tests.networks import build
from tests.private.engine.spu import PYTHON, needs_spu

MODEL = "(float[1,2,8,8] x) => (float[1,2,8,8] y) { y = Relu(x) }"
X = np.linspace(-1, 1, 128, dtype=np.float32).reshape(1, 2, 8, 8)
# Answers as the engine's process does, from files and to files.
CHILD = """
import json, sys
from pathlib import Path
import numpy as np
folder = Path(sys.argv[1])
order, feeds = json.loads((folder / "order.json").read_text()), np.load(folder / "feeds.npz")
assert (order["protocol"], order["weights"], order["link"]) == ("semi2k", "public", {"rtt": 0.01, "bandwidth": 1e6})
party = {"seconds": 0.5, "work": 0.1, "sent": 10, "messages": 3}
other = {"seconds": 0.4, "work": 0.2, "sent": 30, "messages": 2}
np.savez(folder / "outputs.npz", **{f"{i} {order['outputs'][0]}": np.maximum(feeds[f"{i} x"], 0) for i in range(2)})
(folder / "answer.json").write_text(json.dumps({"runs": [[party, other]] * order["runs"]}))
"""


def with_child(monkeypatch, tmp_path, text):
    script = tmp_path / "child.py"
    script.write_text(text, encoding="utf-8")
    monkeypatch.setattr(running, "_PARTY", script)


def test_every_run_is_read_from_the_parties(monkeypatch, tmp_path):
    with_child(monkeypatch, tmp_path, CHILD)
    feeds = [{"x": X}, {"x": -X}]
    runs = run_program(Path(sys.executable), lower(build(MODEL)), feeds, "semi2k", "public", Link(0.01, 1e6))
    assert [(run.bytes, run.sent, run.messages, run.seconds, run.work) for run in runs] == [
        (40, (10, 30), 3, 0.5, 0.2)
    ] * 2
    np.testing.assert_array_equal(runs[1].outputs[0], np.maximum(-X, 0))


@pytest.mark.parametrize("text", ["raise SystemExit('much\\nno more memory.')", "pass"])
def test_a_failure_is_told_in_the_engines_words(monkeypatch, tmp_path, text):
    with_child(monkeypatch, tmp_path, text)
    with pytest.raises(EngineError, match="no more memory" if "memory" in text else "ended with 0"):
        run_program(Path(sys.executable), lower(build(MODEL)), [{"x": X}], "aby3")
    with pytest.raises(EngineError, match="Cannot start"):
        run_program(tmp_path / "none", lower(build(MODEL)), [{"x": X}], "aby3")


@needs_spu
def test_spu_counts_what_the_estimate_does():
    (made,) = run_program(PYTHON, lower(build(MODEL)), [{"x": X}], "semi2k", link=Link(0.02, 1e8))
    assert (made.bytes, made.messages) == (144 * 128, 8)
    assert made.seconds > 8 * 0.01
    np.testing.assert_allclose(made.outputs[0], np.maximum(X, 0), atol=1e-3)


@needs_spu
def test_a_failure_of_spu_is_told():
    unknown = replace(lower(build(MODEL)), steps=(Step("unheard", ("x",), "step 0"),))
    with pytest.raises(EngineError, match="SPU failed with semi2k: KeyError: 'unheard'"):
        run_program(PYTHON, unknown, [{"x": X}], "semi2k")
