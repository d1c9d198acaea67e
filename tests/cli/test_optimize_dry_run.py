"""Planning without carrying out."""

from tests.cli.commands import quick
from tests.runs import assert_error, files, read_json, run, strict_json


def test_a_dry_run_prints_the_plan_and_writes_nothing(case):
    model, data = case
    before = files(model.parent)
    outcome = quick(model, data, "--target-relus", "0.7", "--dry-run")
    assert outcome.exit_code == 0
    for words in ("predicted", "Nothing was carried out", "288"):
        assert words in outcome.stdout
    assert files(model.parent) == before


def test_a_dry_run_keeps_what_an_earlier_run_left(case):
    model, data = case
    assert quick(model, data, "--target-relus", "0.7").exit_code == 0
    before = {path.name: path.read_bytes() for path in model.parent.iterdir()}
    assert quick(model, data, "--target-relus", "0.4", "--dry-run").exit_code == 0
    assert_error(quick(model, data, "--target-relus", "0.01", "--dry-run"), 5, "144 ReLUs")
    assert {path.name: path.read_bytes() for path in model.parent.iterdir()} == before


def test_the_plan_of_a_dry_run_can_be_applied_and_saves_what_it_said(case, tmp_path):
    model, data = case
    plan = tmp_path / "plan.json"
    outcome = quick(model, data, "--target-relus", "0.7", "--dry-run", "--plan-out", plan, "--json", "-")
    report = strict_json(outcome.stdout)
    assert set(report) >= {"schema_version", "model", "original", "predicted", "damage", "decisions", "plan", "seed"}
    assert report["plan"] == read_json(plan)
    assert run("apply", model, plan, "--calib", data).exit_code == 0
    optimized = read_json(model.with_suffix(".shallow.json"))["optimized"]
    for name in ("relus", "macs", "depth", "params"):
        assert optimized[name] == report["predicted"][name]


def test_a_dry_run_measures_into_the_cache_of_the_run(case, own_cache):
    model, data = case
    assert run("optimize", model, "--calib", data, "--target-relus", "0.7", "--dry-run").exit_code == 0
    (sweep,) = own_cache.iterdir()
    before = sweep.read_bytes()
    assert before
    assert run("optimize", model, "--calib", data, "--target-relus", "0.7").exit_code == 0
    assert [path.read_bytes() for path in own_cache.iterdir() if not path.name.startswith("plans-")] == [before]


def test_a_dry_run_needs_a_target(case):
    model, data = case
    assert_error(quick(model, data, "--max-drop", "0.1", "--dry-run"), 2, "--target-relus 0.58")
