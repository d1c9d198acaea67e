"""Every kind of damage, once each; `python -m tests.damage` tries many files of each."""

import pickle
import random
import signal
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from onnxshallow.model.guard import trial
from tests.damage.content import trap
from tests.damage.generator import ARCHIVES, MODELS, damaged_archive, damaged_model, every_kind
from tests.damage.runner import LONGEST, MOST, Outcome, measured, runs_of


@pytest.fixture(scope="module")
def clean():
    """Processes with the imports done and no threads: what is forked from one with threads may wait for ever."""
    pool = ProcessPoolExecutor(2, mp_context=get_context("spawn"), initializer=_be_impatient)
    yield pool
    pool.shutdown(cancel_futures=True)


def _be_impatient() -> None:
    trial.MAX_SECONDS = 1.0  # the children inherit it


@pytest.fixture(scope="module")
def damaged_runs(request, clean):
    """What becomes of each kind that a test is to look at, two at a time."""
    items = [item for item in request.session.items if "damaged_runs" in getattr(item, "fixturenames", ())]
    kinds = [item.callspec.params["kind"] for item in items]
    return {kind: clean.submit(runs_of, 0, kind, commands=1) for kind in kinds}


@pytest.mark.parametrize("kind", every_kind())
def test_damaged_files_are_refused(damaged_runs, kind):
    for run in damaged_runs[kind].result():
        assert run.outcome.problem() is None, run.outcome.errors


@pytest.mark.parametrize("kind", ["constant_of_shape", "nan_weight", "cyclic", "recursive_function", "no_outputs"])
def test_analyze_refuses_what_shows_without_data(clean, kind):
    runs = clean.submit(runs_of, 0, kind).result()
    assert [run.command for run in runs] == ["optimize", "analyze"]
    assert [run.outcome.problem() for run in runs] == [None, None]


def test_the_same_seed_damages_in_the_same_way():
    for draw, kinds in ((damaged_model, MODELS), (damaged_archive, ARCHIVES)):
        for kind in kinds:
            assert draw(random.Random(7), kind) == draw(random.Random(7), kind)


def test_kinds_are_drawn():
    assert len({damaged_model(random.Random(seed))[0] for seed in range(60)}) > 30
    assert len({damaged_archive(random.Random(seed))[0] for seed in range(30)}) > 10


def test_the_trap_works():
    assert measured(lambda: pickle.loads(trap()) or 0).code == 77


def test_memory_and_time_are_measured():
    outcome = measured(lambda: len(bytearray(300 << 20)) * 0)
    assert outcome.code == 0
    assert 300 < outcome.mebibytes < 700
    assert outcome.seconds < 5


def test_waiting_is_no_computing():
    assert measured(lambda: time.sleep(1) or 0).seconds < 1


def test_what_computes_without_end_is_killed():
    outcome = measured(lambda: sum(iter(int, 1)), kill_after=1)
    assert outcome.code == -signal.SIGXCPU
    assert 0.5 < outcome.seconds < 5


@pytest.mark.parametrize(
    ("outcome", "problem"),
    [
        (Outcome(3, "WARNING: so.\nerror: The file is damaged.\n", 1.0, 200.0), None),
        (Outcome(3, "This will take about 39 s.\nerror: The file is damaged.\n", 1.0, 200.0), None),
        (Outcome(0, "", 1.0, 200.0), "exit 0"),
        (Outcome(-11, "", 1.0, 200.0), "exit -11"),
        (Outcome(3, "", 1.0, 200.0), "no single sentence"),
        (Outcome(3, "error: One.\nerror: Two.\n", 1.0, 200.0), "no single sentence"),
        (Outcome(3, "error: No full stop\n", 1.0, 200.0), "no single sentence"),
        (Outcome(3, "error: A name \x1b[2J.\n", 1.0, 200.0), "control characters"),
        (Outcome(3, "error: Slow.\n", LONGEST + 1, 200.0), "11.0 s"),
        (Outcome(3, "error: Large.\n", 1.0, MOST + 1), "1025 MiB"),
    ],
)
def test_what_counts_as_a_refusal(outcome, problem):
    assert outcome.problem() == problem
