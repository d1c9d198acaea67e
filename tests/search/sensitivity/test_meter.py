import itertools

import pytest

from onnxshallow.errors import TargetError
from onnxshallow.runtime.progress import Silent
from onnxshallow.search.compete import search
from onnxshallow.search.estimates import estimated_damages, first_look
from onnxshallow.search.inputs import observe
from onnxshallow.search.planner import Planner
from onnxshallow.search.sensitivity import meter as meter_module
from onnxshallow.search.sensitivity import sweep as sweep_module
from onnxshallow.search.sensitivity.meter import DamageMeter
from onnxshallow.search.solver import Budget
from tests.networks import build, chain, smooth
from tests.runs import load_case


def test_every_candidate_gets_its_damage(measured):
    assert set(measured.damages) == {candidate.key for candidate in measured.candidates}
    assert all(damage >= 0 for damage in measured.damages.values())


def test_damages_are_the_same_twice_and_from_the_cache(inputs, observation, measured, tmp_path):
    cold = DamageMeter(inputs, observation, Silent(), tmp_path).measure_all()
    warm = DamageMeter(inputs, observation, Silent(), tmp_path).measure_all()
    assert cold.damages == warm.damages == measured.damages
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    "change",
    [{"seed": 1}, {"ridge": 0.5}, {"correction": False}, {"sensitivity": "mse"}, {"calib_samples": 30}],
    ids=lambda change: next(iter(change)),
)
def test_what_damages_depend_on_gives_them_a_cache_of_their_own(inputs, observation, tmp_path, change):
    cache = tmp_path / "cache"
    DamageMeter(inputs, observation, Silent(), cache).measure_all()
    other = load_case(tmp_path, **change)
    DamageMeter(other, observe(other, Silent()), Silent(), cache).measure_all()
    assert len(list(cache.iterdir())) == 2


def test_magnitude_needs_no_sweep(tmp_path):
    inputs = load_case(tmp_path, chain(), arrays={"x": smooth(20, 3, 8)}, sensitivity="magnitude")
    found = DamageMeter(inputs, observe(inputs, Silent()), Silent(), tmp_path / "cache").measure_all()
    assert found.damages
    assert not (tmp_path / "cache").exists()


# Measuring what matters to a budget.

DEPTH = 5


def deep():
    """A chain of five convolutions with ReLUs and a classifier of six classes."""
    nodes, weights = [], {"v": (6, 4), "c": (6,)}
    for layer in range(DEPTH):
        before = f"r{layer - 1}" if layer else "x"
        nodes.append(f"h{layer} = Conv<pads=[1,1,1,1]>({before}, w{layer}, b{layer}) r{layer} = Relu(h{layer})")
        weights |= {f"w{layer}": (4, 4 if layer else 3, 3, 3), f"b{layer}": (4,)}
    text = " ".join(nodes)
    return build(
        f"(float[N,3,6,6] x) => (float[N,6] y) {{ {text} p = GlobalAveragePool(r{DEPTH - 1}) f = Flatten(p) "
        "y = Gemm<transB=1>(f, v, c) }",
        **weights,
    )


def budgets_of(inputs, *shares, macs=1.0):
    cost = inputs.analysis.cost
    return [Budget(int(share * cost.relus), int(macs * cost.macs)) for share in shares]


def counted_measurements(monkeypatch):
    """A list that grows by one with each damage that is measured."""
    measured = []
    damage_of = sweep_module._damage_of

    def counting(*arguments):
        measured.append(1)
        return damage_of(*arguments)

    monkeypatch.setattr(sweep_module, "_damage_of", counting)
    return measured


def only_measured(inputs, measured, candidates, budget):
    """Whether the two best plans contain nothing that was only estimated."""
    planner = Planner(inputs.analysis, candidates, estimated_damages(candidates, measured.damages), budget)
    plans = itertools.islice(planner.proposals(), 2)
    return all(candidate.key in measured.damages for plan in plans for candidate in plan.candidates)


@pytest.fixture(scope="module", autouse=True)
def measures_every_split():
    """No split is told by others, but where a test has it so."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(meter_module, "_SPLITS_TELL", 100)
        yield


@pytest.fixture(scope="module", params=[{}, {"target_macs": "0.6"}], ids=["relus", "macs"])
def chosen_by_estimates(request, tmp_path_factory):
    """A deep chain's inputs and observation, three budgets, and what was measured for these together."""
    inputs = load_case(tmp_path_factory.mktemp("deep"), deep(), **request.param)
    observation = observe(inputs, Silent())
    budgets = budgets_of(inputs, 0.9, 0.6, 0.3, macs=0.7 if request.param else 1.0)
    return inputs, observation, budgets, DamageMeter(inputs, observation, Silent(), None).measure_for(budgets)


def test_what_is_measured_for_a_budget_does_not_depend_on_the_others(chosen_by_estimates):
    inputs, observation, budgets, found = chosen_by_estimates
    assert len({frozenset(measured.damages) for measured in found}) > 1
    for budget, measured in zip(budgets, found, strict=True):
        (alone,) = DamageMeter(inputs, observation, Silent(), None).measure_for([budget])
        assert alone.damages == measured.damages
    backwards = DamageMeter(inputs, observation, Silent(), None).measure_for(budgets[::-1])
    assert [s.damages for s in backwards[::-1]] == [s.damages for s in found]


def test_damages_are_those_of_the_whole_sweep(chosen_by_estimates):
    inputs, observation, _, found = chosen_by_estimates
    every = DamageMeter(inputs, observation, Silent(), None).measure_all()
    for measured in found:
        assert measured.damages.items() <= every.damages.items()
        assert measured.candidates == every.candidates
        assert measured.refusals == every.refusals


def test_far_fewer_candidates_are_measured_than_there_are(chosen_by_estimates):
    *_, found = chosen_by_estimates
    for measured in found:
        assert {c.key for c in first_look(measured.candidates)} <= set(measured.damages)
        assert len(measured.damages) < len(measured.candidates) / 2


def test_plans_from_what_was_measured_reach_the_budget(chosen_by_estimates):
    inputs, observation, budgets, found = chosen_by_estimates
    cost = inputs.analysis.cost
    for budget, measured in zip(budgets, found, strict=True):
        (plans,) = search(inputs, observation, [measured], [budget], Silent(), 8)
        for plan in plans:
            assert cost.relus - sum(c.relus for c in plan.candidates) <= budget.relus
            assert cost.macs - sum(c.macs for c in plan.candidates) <= budget.macs
        assert len(plans) > 1


def test_the_best_plans_contain_nothing_that_was_only_estimated(chosen_by_estimates):
    inputs, _, budgets, found = chosen_by_estimates
    for budget, measured in zip(budgets, found, strict=True):
        assert only_measured(inputs, measured, measured.candidates, budget)


def test_two_splits_of_a_layer_tell_what_the_others_do(chosen_by_estimates, monkeypatch):
    inputs, observation, (*_, budget), _ = chosen_by_estimates
    if inputs.config.target_macs is None:
        pytest.skip("layers are split only where less work is asked for")
    monkeypatch.setattr(meter_module, "_SPLITS_TELL", 1)
    measured = counted_measurements(monkeypatch)
    meter = DamageMeter(inputs, observation, Silent(), None)
    (found,) = meter.measure_for([budget])
    splits = {c.key for c in found.candidates if c.kind == "split"}
    known = meter.measured.damages
    told = found.damages.keys() - known.keys()
    assert len(measured) == len(known)
    assert told
    assert told <= splits
    assert splits <= found.damages.keys()
    estimates = estimated_damages([c for c in found.candidates if c.key in found.damages], known)
    assert {key: found.damages[key] for key in told} == {key: estimates[key] for key in told}


def test_a_second_call_measures_nothing(chosen_by_estimates, monkeypatch, tmp_path):
    inputs, observation, budgets, found = chosen_by_estimates
    measured = counted_measurements(monkeypatch)
    for _ in range(2):
        again = DamageMeter(inputs, observation, Silent(), tmp_path).measure_for(budgets)
        assert [s.damages for s in again] == [s.damages for s in found]
        assert len(measured) == len({key for s in found for key in s.damages})


def test_what_was_measured_for_a_budget_is_not_measured_again_for_all(chosen_by_estimates, monkeypatch, tmp_path):
    inputs, observation, budgets, _ = chosen_by_estimates
    (known,) = DamageMeter(inputs, observation, Silent(), tmp_path).measure_for(budgets[:1])
    measured = counted_measurements(monkeypatch)
    every = DamageMeter(inputs, observation, Silent(), tmp_path).measure_all()
    assert len(measured) == len(every.damages) - len(known.damages)


def test_a_budget_out_of_reach_costs_a_first_look_and_is_an_error_later(chosen_by_estimates):
    inputs, observation, budgets, found = chosen_by_estimates
    beyond, within = DamageMeter(inputs, observation, Silent(), None).measure_for([Budget(1), budgets[0]])
    assert set(beyond.damages) == {c.key for c in first_look(beyond.candidates)}
    assert within.damages == found[0].damages
    (error,) = search(inputs, observation, [beyond], [Budget(1)], Silent(), 8)
    assert isinstance(error, TargetError)


def test_without_budgets_nothing_is_measured(chosen_by_estimates, monkeypatch):
    inputs, observation, *_ = chosen_by_estimates
    measured = counted_measurements(monkeypatch)
    assert DamageMeter(inputs, observation, Silent(), None).measure_for([]) == []
    assert measured == []


def test_what_does_not_apply_after_all_is_asked_once_and_in_no_plan(chosen_by_estimates, monkeypatch):
    inputs, observation, budgets, found = chosen_by_estimates
    looked = {c.key for c in first_look(found[-1].candidates)}
    broken = set(found[-1].damages) - looked  # all that was measured because plans would contain it
    asked, sweep = [], meter_module.sweep

    def leaving_out(analysis, candidates, *rest):
        asked.extend(c.key for c in candidates)
        return {key: value for key, value in sweep(analysis, candidates, *rest).items() if key not in broken}

    monkeypatch.setattr(meter_module, "sweep", leaving_out)
    (measured,) = DamageMeter(inputs, observation, Silent(), None).measure_for(budgets[-1:])
    assert len(asked) == len(set(asked))
    assert broken & set(asked)
    assert not broken & set(measured.damages)
    (plans,) = search(inputs, observation, [measured], budgets[-1:], Silent(), 8)
    for plan in plans:
        assert not broken & {c.key for c in plan.candidates}
    others = [c for c in measured.candidates if c.key not in broken]
    assert only_measured(inputs, measured, others, budgets[-1])


def test_magnitude_needs_no_sweep_for_a_budget_either(tmp_path):
    inputs = load_case(tmp_path, deep(), sensitivity="magnitude")
    observation, budgets = observe(inputs, Silent()), budgets_of(inputs, 0.6)
    (found,) = DamageMeter(inputs, observation, Silent(), tmp_path / "cache").measure_for(budgets)
    every = DamageMeter(inputs, observation, Silent(), None).measure_all()
    assert found.damages
    assert found.damages.items() <= every.damages.items()
    assert not (tmp_path / "cache").exists()


def test_damages_of_other_kinds_of_outputs_are_kept_apart(tmp_path):
    for kind in ("classes", "regression", "classes"):
        inputs = load_case(tmp_path, arrays={"x": smooth(40, 3, 6)}, output_kind=f"y={kind}")
        DamageMeter(inputs, observe(inputs, Silent()), Silent(), tmp_path / "cache").measure_all()
    assert len(list((tmp_path / "cache").iterdir())) == 2
