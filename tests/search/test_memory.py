import pytest

from onnxshallow.analysis import analyze
from onnxshallow.fitting.correction import FitOptions
from onnxshallow.options.config import resolve
from onnxshallow.runtime.store import memory_in_use
from onnxshallow.runtime.waypoints import MOST_BYTES
from onnxshallow.search.memory import Memory, divide_memory
from tests.networks import build, residual
from tests.runs import load_case


def divide(folder, model=None, **options):
    return divide_memory(resolve(options, folder / "net.onnx"), analyze(residual() if model is None else model))


def test_all_parts_and_what_is_held_already_make_the_whole(tmp_path):
    memory = divide(tmp_path, memory="8G")
    parts = memory.activations + 2 * memory.fit + memory.batch + memory_in_use() + MOST_BYTES
    assert parts == pytest.approx(8 << 30, rel=0.01)


def test_what_decides_the_result_is_the_same_on_every_machine(tmp_path, monkeypatch):
    usual = divide(tmp_path)
    assert usual.fit == FitOptions().memory
    monkeypatch.setattr("onnxshallow.search.memory.default_memory", lambda: 1 << 20)
    assert divide(tmp_path) == Memory(1 << 20, usual.fit, usual.batch)
    before = divide(tmp_path, memory="8G")
    monkeypatch.setattr("onnxshallow.search.memory.memory_in_use", lambda: 1 << 30)
    assert divide(tmp_path, memory="8G").fit == before.fit


def test_a_model_that_is_large_itself_leaves_less(tmp_path, monkeypatch):
    monkeypatch.setattr("onnxshallow.search.memory.memory_in_use", lambda: 1 << 30)
    small, large = (
        divide(
            tmp_path,
            build(f"(float[N,3,6,6] x) => (float[N,{n},6,6] y) {{ y = Conv(x, w) }}", w=(n, 3, 1, 1)),
            memory="8G",
        )
        for n in (8, 80_000)
    )
    assert small.activations - large.activations == 6 * 4 * 3 * (80_000 - 8)
    assert small.fit == large.fit


def test_too_little_is_said(tmp_path, caplog):
    memory = divide(tmp_path, memory="100M")
    assert min(memory.activations, memory.fit, memory.batch) == 64 << 20
    assert "--memory 100M is too little; about" in caplog.text


def test_batches_are_as_small_as_the_memory_asks_for(tmp_path):
    analysis = analyze(residual())  # whose sums read two and make one tensor of 6 x 8 x 8 numbers
    sample = 4 * 3 * 4 * 6 * 8 * 8
    for fits, expected in ((1000, 64), (10, 10), (0, 1)):
        assert Memory(0, 0, sample * fits).batch_size(analysis, 64) == expected


def test_runs_use_such_batches(tmp_path, monkeypatch):
    monkeypatch.setattr("onnxshallow.search.memory.FitOptions.memory", 4 * 2 * 4 * 4 * 6 * 6 * 5)
    inputs = load_case(tmp_path)
    assert inputs.data.batch == 5
    assert {len(batch["x"]) for batch in inputs.calibration.batches[:2]} == {5}
