import pytest

from onnxshallow.options.quantities import Length
from onnxshallow.training.course import Course, rate_of, steps_of


def test_the_rate_rises_and_falls():
    course = Course(1000)
    rates = [course.rate(step) for step in range(1000)]
    assert rates[0] == pytest.approx(0.002 / 50)
    assert max(rates) == pytest.approx(0.002, rel=0.01)
    assert rates[-1] < 1e-7
    assert rates.index(max(rates)) == 49


def test_looks():
    assert [step for step in range(1, 21) if Course(20).is_look(step)] == [20]
    assert [step for step in range(1, 501) if Course(500).is_look(step)] == list(range(50, 501, 50))
    assert [step for step in range(1, 46) if Course(45).is_look(step)] == [20, 40, 45]


def test_small_weights_move_less():
    assert rate_of(1e-6, True) == 0.01
    assert rate_of(0.05, True) == 0.05
    assert rate_of(3.0, True) == 0.1
    assert rate_of(0.0, False) == 0.1


@pytest.mark.parametrize(
    ("length", "expected"),
    [(Length(500, "steps"), 500), (Length(2, "epochs"), 20), (Length(60, "seconds"), 245), (Length(1, "seconds"), 1)],
)
def test_steps(length, expected):
    assert steps_of(length, 0.2, 1.0, samples=1000, batch=100) == expected
