import numpy as np
import pytest

from onnxshallow.actions.base import FindOptions
from onnxshallow.analysis import analyze
from onnxshallow.config import resolve
from onnxshallow.errors import ModelError, TargetError
from onnxshallow.model.document import load_document
from onnxshallow.planning.plan import Plan
from onnxshallow.planning.solver import Budget
from onnxshallow.progress import Silent
from onnxshallow.stages import (
    carry_out,
    find_candidates,
    find_every_candidate,
    load_inputs,
    measure,
    observe,
    search,
    validate,
)
from tests.networks import build, chain, smooth
from tests.runs import NET, NET_WEIGHTS, net, save_case


def loaded(folder, model=None, labels=None, arrays=None, **options):
    path, data = save_case(folder, model, labels, **(arrays or {}))
    if "calib" not in options:
        options["calib"] = str(data)
    return load_inputs(load_document(path), resolve(options, path))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return loaded(tmp_path_factory.mktemp("stages"))


@pytest.fixture(scope="module")
def observation(inputs):
    return observe(inputs, Silent())


@pytest.fixture(scope="module")
def sensitivity(inputs, observation):
    return measure(inputs, observation, Silent(), None)


def test_samples_are_batched_for_fitting_and_choosing(inputs):
    calibration = inputs.calibration
    sizes = [len(batch["x"]) for batch in calibration.batches]
    assert sizes == [24, 8]
    assert calibration.fit_batches == 1
    assert len(inputs.data.report) == 8
    assert not inputs.fixed_batch


def test_a_fixed_batch_leaves_out_what_does_not_fill_one(tmp_path):
    inputs = loaded(tmp_path, build(NET.replace("[N,", "[5,"), **NET_WEIGHTS), arrays={"x": smooth(32, 3, 6)})
    assert inputs.fixed_batch
    assert {len(batch["x"]) for batch in inputs.calibration.batches} == {5}
    assert inputs.calibration.fit_batches == len(inputs.data.fit) // 5
    comparison = validate(inputs, carry_out(inputs, observe(inputs, Silent()), Plan((), {}), Silent()), Silent())
    assert comparison.fidelity.samples == 5


def test_the_ridge_is_strong_where_data_are_made_up(tmp_path):
    assert loaded(tmp_path).calibration.fit.ridge == 1e-3
    assert loaded(tmp_path, calib=None, calib_samples=20).calibration.fit.ridge == 10
    assert loaded(tmp_path, calib=None, calib_samples=20, ridge=0.5).calibration.fit.ridge == 0.5


def test_memory_threads_and_seed_are_passed_on(tmp_path):
    calibration = loaded(tmp_path, memory="4G", threads=2, seed=9).calibration
    assert calibration.fit.memory == 1 << 30
    assert (calibration.threads, calibration.fit.seed) == (2, 9)


def test_candidates_and_refusals_divide_the_sites(inputs):
    analysis = inputs.analysis
    candidates, refusals = find_candidates(analysis, FindOptions())
    covered = {name for candidate in candidates for name in candidate.sites}
    assert covered | set(refusals) == {site.name for site in analysis.sites}
    assert not covered & set(refusals)


def test_a_site_that_nothing_applies_to_has_a_reason():
    model = build("(float[N,3,6,6] x) => (float[N,3,6,6] y) { y = Relu(x) }")
    candidates, refusals = find_candidates(analyze(model), FindOptions())
    assert set(refusals) == {"y"} - {name for candidate in candidates for name in candidate.sites}
    assert all(refusals.values())


def test_for_plans_by_hand_every_kernel_is_there(inputs):
    keys = {candidate.key for candidate in find_every_candidate(inputs)}
    assert keys > {candidate.key for candidate in find_candidates(inputs.analysis, FindOptions())[0]}
    assert {"fuse:3x3:x->h1", "fuse:5x5:x->h1", "fuse:5x5:border:x->h1"} <= keys


def test_observing_runs_the_original_on_the_selection_samples(inputs, observation):
    assert set(observation.evidence) == {"r0", "r1", "r2"}
    assert [output.shape for output in observation.reference] == [(8, 6)]


def test_a_network_that_computes_no_numbers_is_refused(tmp_path):
    weights = {**NET_WEIGHTS, "w0": np.full((4, 3, 3, 3), 1e38, np.float32)}
    inputs = loaded(tmp_path, build(NET, **weights), arrays={"x": np.full((20, 3, 6, 6), 1e3, np.float32)})
    with pytest.raises(ModelError, match="not finite"):
        observe(inputs, Silent())


def test_every_candidate_gets_its_damage(sensitivity):
    assert set(sensitivity.damages) == {candidate.key for candidate in sensitivity.candidates}
    assert all(damage >= 0 for damage in sensitivity.damages.values())


def test_damages_are_the_same_twice_and_from_the_cache(inputs, observation, sensitivity, tmp_path):
    cold = measure(inputs, observation, Silent(), tmp_path)
    warm = measure(inputs, observation, Silent(), tmp_path)
    assert cold.damages == warm.damages == sensitivity.damages
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    "change",
    [{"seed": 1}, {"ridge": 0.5}, {"correction": False}, {"sensitivity": "mse"}, {"calib_samples": 30}],
    ids=lambda change: next(iter(change)),
)
def test_what_damages_depend_on_gives_them_a_cache_of_their_own(inputs, observation, tmp_path, change):
    cache = tmp_path / "cache"
    measure(inputs, observation, Silent(), cache)
    other = loaded(tmp_path, **change)
    measure(other, observe(other, Silent()), Silent(), cache)
    assert len(list(cache.iterdir())) == 2


def test_labels_do_not_change_what_is_fitted_or_chosen(inputs, tmp_path):
    labelled = loaded(tmp_path, labels=np.arange(40) % 6)
    assert labelled.data.fingerprint() == inputs.data.fingerprint()
    assert labelled.data.report.labels is not None
    assert labelled.data.fit.labels is labelled.data.selection.labels is None


def test_plans_are_tried_out_and_measured(inputs, sensitivity):
    cost = inputs.analysis.cost
    plans = search(inputs, sensitivity, Budget(cost.relus // 2, cost.macs), Silent())
    assert len({frozenset(c.key for c in plan.candidates) for plan in plans}) == len(plans) > 1
    assert all(plan.damage is not None and plan.damage >= 0 for plan in plans)
    assert all(sum(c.relus for c in plan.candidates) >= cost.relus / 2 for plan in plans)


def test_a_budget_out_of_reach_is_an_error(inputs, sensitivity):
    with pytest.raises(TargetError):
        search(inputs, sensitivity, Budget(1), Silent())


def test_a_plan_is_carried_out_and_validated(inputs, observation, sensitivity):
    plan = search(inputs, sensitivity, Budget(144, inputs.analysis.cost.macs), Silent())[0]
    realized = carry_out(inputs, observation, plan, Silent())
    assert analyze(realized.model).cost.relus <= 144
    comparison = validate(inputs, realized, Silent())
    assert comparison.fidelity.samples == 8
    assert 0 < comparison.fidelity.relative_error["y"] < 1


def test_an_empty_plan_is_the_original(inputs, observation):
    realized = carry_out(inputs, observation, Plan((), {}), Silent())
    assert realized.model == net()
    assert validate(inputs, realized, Silent()).drop == 0


def test_magnitude_needs_no_sweep(tmp_path):
    inputs = loaded(tmp_path, chain(), arrays={"x": smooth(20, 3, 8)}, sensitivity="magnitude")
    found = measure(inputs, observe(inputs, Silent()), Silent(), tmp_path / "cache")
    assert found.damages
    assert not (tmp_path / "cache").exists()
