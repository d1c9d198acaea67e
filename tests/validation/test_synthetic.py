import math

import pytest

from onnxshallow.validation.synthetic import SortFidelity, synthetic_findings


def sort(error=0.1, agreement: float | None = 0.9, name="noise"):
    return SortFidelity(name, 64, agreement, {"y": error})


@pytest.mark.parametrize(
    ("sorts", "said"),
    [
        ([], None),
        ([sort(), sort(0.6), sort(None)], None),
        ([sort(agreement=0.5), sort(agreement=None)], None),
        ([sort(), sort(0.61)], "the relative error of 'y' is 0.61 on noise, more than 0.6"),
        ([sort(math.inf)], "the relative error of 'y' is inf on noise"),
        ([sort(math.nan)], "the relative error of 'y' is nan on noise"),
        ([sort(agreement=0.4, name="waves")], "60 % of waves get another class"),
        ([sort(0.9), sort(agreement=0.25)], ": the relative error of 'y' is 0.9 on noise, more than 0.6."),
        ([sort(0.7), sort(agreement=0.25), sort(0.8)], ": 75 % of noise get another class."),
    ],
)
def test_a_model_is_refused_where_one_sort_of_samples_does_not_vouch_for_it(sorts, said):
    found = synthetic_findings(sorts)
    assert [finding.refuses for finding in found] == ([] if said is None else [True])
    for finding in found:
        assert finding.about == "data"
        assert said in finding.text
        assert "Give real samples with --calib or --validate" in finding.text


def test_the_largest_error_over_outputs_counts():
    assert SortFidelity("noise", 4, None, {"a": 0.1, "b": 0.3, "c": None}).error == 0.3
    assert SortFidelity("noise", 4, None, {}).error is None
