import pytest

from onnxshallow.errors import UsageError
from onnxshallow.workflows.optimize import optimize
from onnxshallow.workflows.pareto import pareto
from onnxshallow.workflows.plot import plot
from tests.report.pages import REPORT
from tests.runs import save_case


def test_a_result_draws_its_plans(tmp_path):
    model, data = save_case(tmp_path)
    chart = optimize(model, str(data), target_relus=0.7).plot()
    assert chart.startswith("<svg ")
    assert chart._repr_svg_() == chart
    assert "the plan chosen" in chart


def test_targets_are_drawn(case):
    model, options = case
    chart = plot(pareto(model, targets=[0.7], **options))
    assert "What is lost" in chart


def test_what_cannot_be_drawn_is_said(case):
    model, options = case
    with pytest.raises(UsageError, match="No plans competed"):
        plot(REPORT)
    with pytest.raises(UsageError, match="No target was reached"):
        plot(pareto(model, targets=[0.001], **options))
