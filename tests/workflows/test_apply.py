import pytest

from onnxshallow.actions.base import FindOptions
from onnxshallow.actions.prune import Prune
from onnxshallow.analysis import analyze
from onnxshallow.errors import UsageError
from onnxshallow.search.plan import Plan, save_plan
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


def test_a_plan_that_leaves_channels_out_is_carried_out_alike_every_time(case, tmp_path):
    model, options = case
    narrower = Prune().find(analyze(net()), FindOptions(narrower=True)).candidates[0]
    save_plan(Plan((narrower,), {}), "", tmp_path / "plan.json")
    first, again = (apply_plan(model, tmp_path / "plan.json", calib=options["calib"], max_drop=1.0) for _ in range(2))
    assert first.model == again.model
    before, after = first.report.original, first.report.optimized
    assert before.macs - after.macs == narrower.macs
    assert before.relus - after.relus == narrower.relus
    assert [change.short for change in first.report.changes] == [narrower.short]
    (decision,) = (d for d in first.report.decisions if d.name == narrower.sites[0])
    assert (decision.action, decision.kept, decision.kept_unit) == ("prune", narrower.kept, "channels")
