from dataclasses import replace

import pytest

from onnxshallow.options.quantities import Length
from onnxshallow.runtime.progress import Clock, Silent
from onnxshallow.search import learners
from onnxshallow.search.choose import choose
from onnxshallow.search.run import Run
from onnxshallow.training.held_out import Look
from tests.networks import smooth
from tests.runs import load_case

pytest.importorskip("torch", reason="torch is not installed; `pip install '.[finetune]'` brings it")


def run_of(folder, **options):
    options = {"target_relus": 0.6, "granularity": "channel", "finetune": "200steps", "threads": 1, **options}
    return Run.begin(load_case(folder, arrays={"x": smooth(200, 3, 6)}, **options), Silent(), Clock())


@pytest.fixture
def chosen(tmp_path):
    """The plan that is kept without training, its run, and what competes with it."""
    run = run_of(tmp_path)
    without = replace(run, inputs=replace(run.inputs, config=run.inputs.config.model_copy(update={"finetune": None})))
    _, best, _ = choose(without, run.inputs.budget)
    return run, best


def learned(monkeypatch, damages, usable=True):
    """Let the courses end so, one after the other; gives how long they were to be."""
    lengths, left = [], iter(damages)

    class Course:
        def __init__(self, lesson):
            lengths.append(lesson.length)
            self.best = Look(1, 0.1, next(left), 9.0, None, None, usable)

    monkeypatch.setattr(learners, "distil", lambda lesson, progress: Course(lesson))
    return lengths


def others(best, *damages):
    return [replace(best.plan, damage=best.plan.damage * damage) for damage in damages]


def test_the_plan_that_is_best_after_a_short_course_is_kept(chosen, monkeypatch):
    run, best = chosen
    plans = others(best, 1.1, 1.2, 1.3)
    lengths = learned(monkeypatch, [0.3, 0.2, 0.25])
    found, remarks = learners.best_learner(run, best, [best.plan, *plans])
    assert found.plan is plans[0]
    assert lengths == [Length(10, "steps")] * 3
    assert remarks == [
        "of 3 plans another than that of the least damage is taken, since after a short course its error is "
        "less (0.2 for 0.3)"
    ]


def test_where_no_other_learns_more_it_stays(chosen, monkeypatch):
    run, best = chosen
    learned(monkeypatch, [0.2, 0.2])
    assert learners.best_learner(run, best, others(best, 1.1)) == (best, [])
    learned(monkeypatch, [0.2, 0.1], usable=False)
    assert learners.best_learner(run, best, others(best, 1.1)) == (best, [])


def test_what_does_much_more_damage_does_not_compete(chosen, monkeypatch):
    run, best = chosen
    assert learned(monkeypatch, []) == []
    assert learners.best_learner(run, best, [best.plan, *others(best, 1.6)]) == (best, [])


def test_plans_compete_where_weights_are_trained(tmp_path):
    run = run_of(tmp_path, finetune="40steps")
    choose(run, run.inputs.budget)
    assert run.clock.seconds["compete"] > 0


@pytest.mark.parametrize(
    ("length", "part"),
    [
        (Length(5, "steps"), Length(1, "steps")),
        (Length(1000, "steps"), Length(50, "steps")),
        (Length(600, "seconds"), Length(30, "seconds")),
        (Length(2, "epochs"), Length(0.1, "epochs")),
    ],
)
def test_a_short_course_is_a_part_of_the_whole(length, part):
    assert learners._short(length) == part
