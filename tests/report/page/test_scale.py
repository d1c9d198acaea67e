import math

import pytest

from onnxshallow.report.page.scale import LEVELS, level, levels_of
from onnxshallow.validation.compare import Fidelity
from tests.report.pages import REPORT


def report(agreement, **config):
    fidelity = Fidelity(samples=4, agreement=agreement, kl=None, relative_error={})
    return REPORT.model_copy(update={"fidelity": fidelity, "config": config})


@pytest.mark.parametrize(
    ("damage", "name"), [(0.0, "tiny"), (0.0099, "tiny"), (0.01, "small"), (0.1, "large"), (math.inf, "large")]
)  # fmt: skip
def test_every_damage_has_a_name(damage, name):
    assert level(LEVELS, damage) == name


def test_what_is_not_known_has_none():
    assert level(LEVELS, None) is None
    assert level({}, 0.1) is None


def test_the_levels_follow_each_other_without_a_gap():
    bounds = list(LEVELS.values())
    assert bounds[0][0] == 0
    assert [high for _, high in bounds] == [*(low for low, _ in bounds[1:]), math.inf]


def test_only_damage_to_class_scores_by_the_usual_measure_has_levels():
    assert levels_of(report(0.9)) == LEVELS
    assert levels_of(report(0.9, sensitivity="mse")) == {}
    assert levels_of(report(None)) == {}
    assert levels_of(REPORT.model_copy(update={"fidelity": None})) == {}
