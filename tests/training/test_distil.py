import os
import signal

import numpy as np
import onnx
import pytest

from onnxshallow.model.session import Session
from onnxshallow.runtime.progress import Silent
from onnxshallow.training import distil as module
from onnxshallow.training.distil import distil
from onnxshallow.training.held_out import Look
from tests.graphs import frozen, interface
from tests.networks import smooth
from tests.runs import files, net
from tests.training.cases import damaged, lesson, squared

pytest.importorskip("torch", reason="torch is not installed; `pip install '.[finetune]'` brings it")


class Stopping(Silent):
    """Does something after so many steps."""

    def __init__(self, after, act):
        self.after, self.act, self.notes = after, act, []

    def stage(self, name, total):
        return _Stage(self)

    def note(self, text):
        self.notes.append(text)


class _Stage:
    def __init__(self, owner):
        self.owner, self.steps = owner, 0

    def __enter__(self):
        return self.step

    def __exit__(self, *error):
        return None

    def step(self):
        self.steps += 1
        if self.steps == self.owner.after:
            self.owner.act()


def test_a_student_learns_and_only_its_weights_change():
    start = damaged(net())
    found = distil(lesson(start, "60steps"), Silent())
    assert found.looks[0].step == 0
    assert [look.step for look in found.looks] == [0, 20, 40, 60]
    assert found.best.damage < 0.5 * found.looks[0].damage
    assert interface(found.model) == interface(start)
    assert list(found.model.graph.node) == list(start.graph.node)
    assert list(found.model.metadata_props) == list(start.metadata_props)
    assert (found.steps, found.done, found.interrupted, found.lacks) == (60, 60, False, ())
    images = smooth(64, 3, 6, seed=3)
    runs = [Session(model, threads=1).run({"x": images})[0] for model in (net(), start, found.model)]
    assert np.square(runs[2] - runs[0]).mean() < np.square(runs[1] - runs[0]).mean()


def test_the_same_again_gives_the_same_bytes():
    first, second = (distil(lesson(length="25steps", augment="mixup"), Silent()) for _ in range(2))
    assert frozen(first.model) == frozen(second.model)
    assert first.looks == second.looks


def test_it_is_never_worse_than_the_start():
    start = net()
    found = distil(lesson(start, "20steps"), Silent())
    assert found.model is start
    assert found.best.step == 0


def test_squares_learn_within_bounds():
    found = distil(lesson(squared(), "40steps"), Silent())
    assert all(look.growth is not None for look in found.looks)
    assert found.best.growth <= found.looks[0].growth or found.best.usable


def test_a_time_becomes_steps():
    found = distil(lesson(length="0.001s"), Silent())
    assert (found.steps, found.done) == (1, 1)


def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_BETWEEN", 0.0)  # a checkpoint after every step
    path = tmp_path / "a.checkpoint"
    task = lesson(length="45steps")

    def kill():
        raise MemoryError  # ends the run wherever it is

    with pytest.raises(MemoryError):
        distil(task, Stopping(31, kill), path)
    assert files(tmp_path) == {"a.checkpoint"}
    going_on = Stopping(-1, kill)
    resumed = distil(lesson(length="45steps"), going_on, path, resume=True)
    assert going_on.notes[0] == "Going on after step 30 of 45."
    assert files(tmp_path) == set()
    whole = distil(lesson(length="45steps"), Silent())
    assert frozen(resumed.model) == frozen(whole.model)
    assert resumed.looks == whole.looks


def test_sigint_keeps_the_best_so_far_and_lets_it_go_on(tmp_path):
    path = tmp_path / "a.checkpoint"
    stopping = Stopping(25, lambda: os.kill(os.getpid(), signal.SIGINT))
    found = distil(lesson(length="60steps"), stopping, path)
    assert found.interrupted
    assert (found.done, found.steps) == (25, 60)
    assert [look.step for look in found.looks] == [0, 20, 25]
    assert found.best.damage < found.looks[0].damage
    onnx.checker.check_model(found.model)
    resumed = distil(lesson(length="60steps"), Silent(), path, resume=True)
    assert frozen(resumed.model) == frozen(distil(lesson(length="60steps"), Silent()).model)


def test_the_start_is_kept_where_nothing_is_better(monkeypatch):
    looks = iter(range(100))

    def look(self, model, step, loss=None):
        return Look(step, loss, 1.0 + next(looks), 0.0, None, None, True)

    monkeypatch.setattr(module.HeldOut, "look", look)
    given = lesson(length="60steps")
    found = distil(given, Silent())
    assert (found.done, found.best.step) == (60, 0)
    assert found.model is given.optimized.model
