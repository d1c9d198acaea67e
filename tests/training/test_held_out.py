import pytest

from onnxshallow.analysis import analyze
from onnxshallow.training.held_out import HeldOut, Look, better
from tests.networks import smooth
from tests.runs import net
from tests.training.cases import CLASSES, damaged, squared


def exam(squares=False):
    images = smooth(32, 3, 6)
    batches = [{"x": images[:16]}, {"x": images[16:]}]
    return HeldOut(analyze(net()), batches, CLASSES, squares=squares, seed=0, threads=1)


def test_looks_tell_what_a_student_is_worth():
    held_out = exam()
    same = held_out.look(net(), 0)
    worse = held_out.look(damaged(net()), 20, 0.5)
    assert (same.step, same.loss, same.damage, same.agreement, same.growth) == (0, None, 0, 1, None)
    assert (worse.step, worse.loss) == (20, 0.5)
    assert worse.damage > 0
    assert worse.error > same.error == 0
    assert better(same, worse)
    assert not better(worse, same)


def test_growth_is_looked_at_where_something_is_squared():
    look = exam(squares=True).look(squared(), 0)
    assert look.growth is not None
    assert look.growth > 0
    assert look.usable == (look.growth <= 3)


def look(error, growth=None, usable=True):
    return Look(1, None, error, 1 / (1 + error), None, growth, usable)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (look(0.1), look(0.2), True),
        (look(0.2), look(0.2), False),
        (look(0.1, 9, usable=False), look(0.2, 1), False),
        (look(0.3, 1), look(0.2, 9, usable=False), True),
        (look(0.3, 8, usable=False), look(0.2, 9, usable=False), True),
        (look(float("inf"), usable=False), look(0.2), False),
    ],
)
def test_better(one, other, expected):
    assert better(one, other) is expected
