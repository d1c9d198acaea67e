import pytest

from onnxshallow.search.identity import identity, identity_of_plans
from tests.runs import load_case


@pytest.mark.parametrize("change", [{"seed": 1}, {"ridge": 0.5}, {"correction": False}, {"calib_samples": 30}])
def test_damages_depend_on_the_samples_and_the_fit(inputs, tmp_path, change):
    other = load_case(tmp_path, **change)
    assert identity(other, other.swept) != identity(inputs, inputs.swept)


def test_damages_depend_on_how_many_samples_are_looked_at(inputs):
    assert identity(inputs, inputs.swept) != identity(inputs, inputs.calibration)


def test_those_of_plans_depend_on_what_is_written_too(inputs, tmp_path):
    other = load_case(tmp_path, mask_form="max")
    assert identity(other, other.rough) == identity(inputs, inputs.rough)
    assert identity_of_plans(other, other.rough) != identity_of_plans(inputs, inputs.rough)
