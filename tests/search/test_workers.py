"""Work on several processes: the same results, also where one of them is lost."""

import multiprocessing
import os
import pickle
import sys
import time
from contextlib import contextmanager

import numpy as np
import pytest

from onnxshallow.errors import ExitCode, UsageError, WorkersError
from onnxshallow.fitting import threads
from onnxshallow.model.providers import CPU, Provider, current_providers
from onnxshallow.model.session import usable_cores
from onnxshallow.options.config import Config
from onnxshallow.runtime.store import ActivationStore
from onnxshallow.search import workers as module
from onnxshallow.search.workers import run_all, worker_count, working
from onnxshallow.workflows.optimize import optimize
from tests.runs import run, save_case


def times(context, item):
    """Something to be worked out."""
    return os.getpid(), context * item


def settings(context, item):
    """What a worker was told."""
    return threads._threads.get(), usable_cores(), current_providers()


def lost_once(flag, item):
    """End the worker's process the first time."""
    if item == 2 and not os.path.exists(flag):
        open(flag, "x").close()
        os._exit(9)
    return item * item


def lost(context, item):
    """End the worker's process, unless it is this one."""
    if multiprocessing.parent_process() is None:
        raise AssertionError("this is no worker")
    os._exit(9)


def slow(context, item):
    """What takes an hour, but for the first item."""
    time.sleep(3600 * (item > 0))


def counted(context, item):
    """How often a context was read in this process, which adds to what it holds."""
    context.append(item)
    return os.getpid(), list(context)


def refused(context, item):
    """What cannot be done."""
    raise UsageError("It cannot be done.")


def test_without_workers_all_is_done_here_when_it_is_asked_for():
    assert worker_count() == 1
    assert list(run_all(times, 3, [1, 2])) == [(os.getpid(), 3), (os.getpid(), 6)]
    with working(Config(workers=1)):
        assert worker_count() == 1


def test_processes_give_the_same_in_the_same_order():
    context = np.arange(5)
    with working(Config(workers=2)):
        assert worker_count() == 2
        found = list(run_all(times, context, range(8)))
        again = list(run_all(times, 2 * context, range(3)))
        np.testing.assert_array_equal([value for _, value in found], np.outer(range(8), context))
        np.testing.assert_array_equal([value for _, value in again], np.outer(range(3), 2 * context))
        assert os.getpid() not in {process for process, _ in (*found, *again)}
        assert set(run_all(settings, None, range(3))) == {(1, 1, (Provider(CPU),))}
        with pytest.raises(UsageError, match="It cannot be done"):
            list(run_all(refused, None, range(2)))
    assert worker_count() == 1


def test_what_all_need_is_sent_once(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "spill_folder", lambda: str(tmp_path))
    context = []
    with working(Config(workers=2)):
        seen = [*run_all(counted, context, range(4)), *run_all(counted, context, range(4, 8))]
        (folder,) = tmp_path.iterdir()
        assert len(list(folder.iterdir())) == 1
        list(run_all(counted, [], range(2)))
        assert len(list(folder.iterdir())) == 1
    assert not list(tmp_path.iterdir())
    assert context == []
    for process in {process for process, _ in seen}:  # each read it once, and added all that it did
        last = max((held for worker, held in seen if worker == process), key=len)
        assert len(last) == sum(worker == process for worker, _ in seen)


def test_what_a_lost_worker_did_is_done_again(tmp_path):
    with working(Config(workers=2)):
        assert list(run_all(lost_once, str(tmp_path / "flag"), range(6))) == [n * n for n in range(6)]
    assert (tmp_path / "flag").exists()


def test_workers_that_are_lost_again_and_again_end_the_run():
    with working(Config(workers=2)), pytest.raises(WorkersError, match=r"lost 4 times .* fewer --workers .* under"):
        list(run_all(lost, None, range(2)))


@pytest.mark.parametrize("what", ["numpy", "the code of onnxshallow"])
def test_other_versions_would_give_other_results(what):
    part = module._Part(times, 2, 1, (CPU,), {**module._computing(), what: "0.1"})
    with pytest.raises(WorkersError, match=rf"A worker has {what} \w.*, and this process 0\.1"):
        part.done(3)


def test_a_store_of_activations_begins_empty_in_another_process():
    store = ActivationStore(1000)
    store.hold(np.zeros(10))
    other = pickle.loads(pickle.dumps(store))
    assert (other.budget, other.used) == (1000, 0)


def test_an_interruption_does_not_wait_for_what_is_being_done():
    processes = []

    def interrupted():
        with working(Config(workers=2)):
            for _ in run_all(slow, None, range(4)):
                processes.extend(multiprocessing.active_children())
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(processes) == 2
    assert not any(process.is_alive() for process in processes)


class _Killing:
    """A progress that kills a worker when the first part of the sweep is done."""

    def __init__(self):
        self.killed = 0

    def note(self, text):
        pass

    @contextmanager
    def stage(self, name, total):
        def step():
            if name == "Measuring sensitivity" and not self.killed:
                victim = multiprocessing.active_children()[0]
                victim.kill()
                victim.join()
                self.killed = victim.pid

        yield step


def test_the_same_bytes_with_two_processes_and_where_one_is_killed(tmp_path):
    path, data = save_case(tmp_path)
    options = {"target_relus": 0.6, "calib": str(data), "cache": False}
    progress = _Killing()
    models = [
        optimize(path, **options, **given).model.SerializeToString(deterministic=True)
        for given in ({}, {"workers": 2}, {"workers": 2, "progress": progress})
    ]
    assert progress.killed
    assert models[0] == models[1] == models[2]


def test_two_kinds_of_workers_are_one_too_many(tmp_path):
    path, data = save_case(tmp_path)
    result = run(
        "optimize", path, "--target-relus", "0.7", "--calib", data, "--workers", "2", "--cluster", "tcp://a:1"
    )
    assert result.exit_code == ExitCode.USAGE
    assert "--workers and --cluster are two kinds of workers; give one of them." in result.stderr


def test_without_dask_a_cluster_is_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UsageError, match=r"pip install 'onnxshallow\[distributed\]'"), working(Config(cluster="a")):
        pass


@pytest.fixture
def cluster():
    """A dask cluster of two processes, by its address."""
    distributed = pytest.importorskip("distributed", reason="dask is not installed: pip install 'dask[distributed]'")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        yield cluster


def test_the_same_bytes_on_a_cluster(cluster, tmp_path):
    path, data = save_case(tmp_path)
    options = {"target_relus": 0.6, "calib": str(data), "cache": False}
    alone = optimize(path, **options).model
    shared = optimize(path, **options, cluster=cluster.scheduler_address).model
    assert alone.SerializeToString(deterministic=True) == shared.SerializeToString(deterministic=True)


def test_a_cluster_that_goes_away_ends_the_run_with_a_sentence(cluster):
    with working(Config(cluster=cluster.scheduler_address)):
        assert worker_count() == 2
        found = run_all(times, 2, range(4))
        assert next(found)[1] == 0
        cluster.close()
        with pytest.raises(WorkersError, match=r"cluster at tcp://.* went away"):
            list(run_all(times, 2, range(4)))


def test_a_cluster_that_is_not_there(monkeypatch):
    pytest.importorskip("distributed", reason="dask is not installed: pip install 'dask[distributed]'")
    monkeypatch.setattr(module, "_PATIENCE", 1)
    with pytest.raises(WorkersError, match="No dask scheduler answers at"):  # noqa: SIM117
        with working(Config(cluster="tcp://127.0.0.1:9")):
            pass
