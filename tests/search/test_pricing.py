"""What candidates save of the price of private inference, and which plans keep it."""

from dataclasses import replace

import pytest

from onnxshallow.analysis import analyze
from onnxshallow.errors import TargetError
from onnxshallow.private.tariff import Tariff
from onnxshallow.rewriting.realize import unfitted
from onnxshallow.runtime.progress import Silent
from onnxshallow.search.candidates import possible_candidates
from onnxshallow.search.inputs import observe
from onnxshallow.search.plan import Plan
from onnxshallow.search.planner import Planner, read_budget
from onnxshallow.search.pricing import kept_in_budget, priced


def asking(inputs, **options):
    return replace(inputs, config=inputs.config.model_copy(update={"target_relus": None, **options}))


@pytest.fixture
def bytes_of(inputs):
    """The inputs of a run that limits bytes, and the tariff."""
    asked = asking(inputs, target_bytes=0.6)
    return asked, Tariff.from_config(asked.config)


@pytest.fixture
def observation(bytes_of):
    """What the original does, as far as squares need it, which lower a price."""
    return observe(bytes_of[0], Silent())


def charged(inputs, observation, tariff, candidates):
    made = unfitted(inputs.analysis, candidates, observation.statistics)
    return tariff.charge(analyze(made))


def test_a_candidate_saves_what_the_network_with_it_is_cheaper(bytes_of, observation):
    inputs, tariff = bytes_of
    candidates, _ = possible_candidates(inputs, observation.statistics)
    whole = tariff.charge(inputs.analysis)
    assert candidates
    for candidate in candidates:
        assert candidate.price == pytest.approx(whole - charged(inputs, observation, tariff, [candidate]))
    assert max(candidate.price for candidate in candidates) > 0


def test_candidates_have_no_price_where_none_is_limited_or_nothing_was_seen(inputs, bytes_of, observation):
    for asked, statistics in ((inputs, observation.statistics), (bytes_of[0], None)):
        candidates, _ = possible_candidates(asked, statistics)
        assert {candidate.price for candidate in candidates} == {0.0}


def test_a_price_lets_activations_become_squares(inputs, bytes_of, observation):
    def squares(asked):
        return any(c.squares for c in possible_candidates(asked, observation.statistics)[0])

    assert squares(bytes_of[0])
    assert not squares(inputs)


def test_the_plan_keeps_the_price_and_does_the_least_damage_for_it(bytes_of, observation):
    inputs, tariff = bytes_of
    candidates, _ = possible_candidates(inputs, observation.statistics)
    damages = {candidate.key: 1.0 + number / 100 for number, candidate in enumerate(candidates)}
    budget = read_budget(inputs.config, inputs.analysis)
    assert budget.price_saved == pytest.approx(0.4 * tariff.charge(inputs.analysis), abs=1)
    assert (budget.relus, budget.macs, budget.shallower) == (None, None, False)
    plan = next(Planner(inputs.analysis, candidates, damages, budget).proposals())
    assert sum(candidate.price for candidate in plan.candidates) >= budget.price_saved
    kept = sum(candidate.price for candidate in plan.candidates)
    assert all(kept - candidate.price < budget.price_saved for candidate in plan.candidates)  # none is for nothing


def test_a_price_out_of_reach_says_how_much_can_be_saved(bytes_of, observation):
    inputs = asking(bytes_of[0], target_bytes=0.001)
    candidates, _ = possible_candidates(inputs, observation.statistics)
    budget = read_budget(inputs.config, inputs.analysis)
    with pytest.raises(TargetError, match=r"the lowest possible on this model is \S+ less of that price") as caught:
        next(Planner(inputs.analysis, candidates, {c.key: 0.0 for c in candidates}, budget).proposals())
    assert f"{budget.price_saved:.4g} less of the price of private inference" in str(caught.value)


def test_prices_nearly_add_up(bytes_of, observation):
    inputs, tariff = bytes_of
    candidates, _ = possible_candidates(inputs, observation.statistics)
    chosen = {c.sites: c for c in candidates if len(c.sites) == 1 and c.action == "linearize"}.values()
    saved = tariff.charge(inputs.analysis) - charged(inputs, observation, tariff, list(chosen))
    assert saved == pytest.approx(sum(candidate.price for candidate in chosen), rel=0.05)


def test_a_candidate_that_cannot_be_carried_out_saves_nothing(bytes_of, observation):
    inputs, _ = bytes_of
    first = possible_candidates(inputs, observation.statistics)[0][0]
    gone = replace(first, source="nowhere", output="nowhere")
    (found,) = priced(inputs.analysis, [gone], observation.statistics, inputs.config)
    assert found.price == 0


def test_plans_that_cost_more_are_left_out_unless_all_do(inputs, bytes_of, observation):
    candidates, _ = possible_candidates(bytes_of[0], observation.statistics)
    most = max(candidates, key=lambda candidate: candidate.price)
    cheap, dear = Plan((most,), {}), Plan((), {})
    needed = 1 - most.price / bytes_of[1].charge(inputs.analysis)

    def kept(**options):
        asked = asking(inputs, **options)
        return kept_in_budget(asked, observation, read_budget(asked.config, asked.analysis), [dear, cheap])

    assert kept(target_bytes=needed + 0.01) == [cheap]
    assert kept(target_bytes=0.001) == [dear, cheap]
    assert kept() == [dear, cheap]


def test_candidates_save_the_weights_and_bytes_that_their_models_lack(inputs, observation):
    asked = asking(inputs, target_size=0.8)
    candidates, _ = possible_candidates(asked, observation.statistics)
    splits = [c for c in candidates if c.kind == "split"]
    assert splits
    for candidate in candidates:
        made = analyze(unfitted(inputs.analysis, [candidate], observation.statistics)).cost
        assert candidate.params == inputs.analysis.cost.params - made.params
        assert candidate.size_bytes < inputs.analysis.cost.size_bytes - made.size_bytes  # the file says what was done
    assert {c.price for c in candidates} == {0.0}
    assert max(c.params for c in candidates) > 0


def test_plans_that_keep_too_many_weights_are_left_out(inputs, observation):
    asked = asking(inputs, target_params=0.8)
    candidates, _ = possible_candidates(asked, observation.statistics)
    light, heavy = Plan((max(candidates, key=lambda c: c.params),), {}), Plan((), {})
    left = inputs.analysis.cost.params - light.candidates[0].params

    def kept(params):
        budget = replace(read_budget(asked.config, asked.analysis), params=params)
        return kept_in_budget(asked, observation, budget, [heavy, light])

    assert kept(left) == [light]
    assert kept(left - 1) == [heavy, light]
