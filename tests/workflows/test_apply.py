import pytest

from onnxshallow.errors import UsageError
from onnxshallow.search.plan import save_plan
from onnxshallow.workflows.apply import apply_plan
from onnxshallow.workflows.optimize import optimize
from tests.conftest import MODELS
from tests.networks import smooth
from tests.runs import net


def test_apply_plan_repeats_a_result(case, tmp_path):
    model, options = case
    first = optimize(model, target_relus=0.7, **options)
    save_plan(first.plan, first.document.sha256, tmp_path / "plan.json")
    again = apply_plan(model, tmp_path / "plan.json", calib=options["calib"])
    assert again.model == first.model


def test_apply_plan_takes_a_plan(case):
    model, options = case
    first = optimize(model, target_relus=0.7, **options)
    again = apply_plan(net(), first.plan, smooth(40, 3, 6))
    assert again.model == first.model
    with pytest.raises(UsageError, match=r"Entry 0 of the plan .* is not possible"):
        apply_plan(MODELS / "digits-resnet.onnx", first.plan, MODELS / "digits-calibration.npz")
