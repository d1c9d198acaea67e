from pathlib import Path

import numpy as np
import pytest

from onnxshallow.options.config import Config
from onnxshallow.private.engine.environment import ENVIRONMENT, SetupError
from onnxshallow.private.engine.run import EngineRun
from onnxshallow.private.protocols import PROTOCOLS
from onnxshallow.workflows import engine as measuring
from onnxshallow.workflows.bench import BenchOptions, bench
from tests.private.engine.interpreter import interpret
from tests.private.engine.spu import needs_spu
from tests.runs import save_case

SEMI2K, CHEETAH = PROTOCOLS["semi2k"], PROTOCOLS["cheetah"]


def benched(path, config=None, **options):
    measure = BenchOptions(runs=1, memory=False, rtt=0.02, bandwidth=1e8, **options)
    return bench(path, path, measure=measure, config=config or Config(threads=1)).engine


@pytest.fixture
def asked(monkeypatch):
    """What a program that stands for the engine was asked to run; it computes with numpy, off by 0.01."""
    asked = []

    def run(python, program, feeds, protocol, weights, link=None):
        asked.append((protocol, weights, link, [len(feed["x"]) for feed in feeds]))
        return [
            EngineRun(1000, (600, 400), 7, 0.5, 0.1, tuple(y + 0.01 for y in interpret(program, feed)))
            for feed in feeds
        ]

    monkeypatch.setattr(measuring, "engine_python", lambda: Path("python"))
    monkeypatch.setattr(measuring, "run_program", run)
    return asked


def test_models_run_over_the_link_once_and_beside_onnxruntime(tmp_path, asked):
    model, _ = save_case(tmp_path)
    first, second = benched(model, engine=(SEMI2K,), weights="public")
    link = measuring.Link(0.02, 1e8)
    assert asked[:2] == [("semi2k", "public", link, [1]), ("semi2k", "public", None, [8, 8])]
    assert (first.model, second.model) == (0, 1)
    assert (first.bytes, first.messages, first.seconds, first.sent_bytes) == (1000, 7, 0.5, [600, 400])
    assert (first.samples, first.agreed, first.synthetic) == (16, 16, True)
    assert first.largest_error == pytest.approx(0.01, abs=1e-4)
    assert first.largest_output > 0
    assert first.bytes_estimated > 0
    assert first.seconds_estimated > first.messages_estimated * 0.01


def test_cheetahs_first_run_is_not_counted(tmp_path, asked):
    model, _ = save_case(tmp_path)
    benched(model, engine=(CHEETAH,))
    assert asked[0] == ("cheetah", "secret", measuring.Link(0.02, 1e8), [1, 1])


def test_samples_may_be_real(tmp_path, asked):
    model, data = save_case(tmp_path)
    config = Config(threads=1, validate_data=str(data), validate_samples=5)
    assert [(run.samples, run.synthetic) for run in benched(model, config, engine=(SEMI2K,))] == [(5, False)] * 2


def test_without_an_engine_nothing_is_measured(tmp_path, monkeypatch):
    model, _ = save_case(tmp_path)
    assert benched(model) == []
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path))
    with pytest.raises(SetupError, match="private-setup"):
        benched(model, engine=(SEMI2K,))


@needs_spu
def test_the_estimate_is_what_spu_counts(tmp_path):
    model, _ = save_case(tmp_path)
    for run in benched(model, engine=(SEMI2K,)):
        assert run.bytes_estimated == pytest.approx(run.bytes, rel=0.01)
        assert run.messages_estimated == run.messages
        assert run.agreed == run.samples
        assert np.isfinite(run.largest_error)
