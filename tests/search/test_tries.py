from dataclasses import replace

from onnxshallow.search import tries as tries_module
from onnxshallow.search.tries import fewest_closely, tries_alone, tries_together


def tries(inputs, **options):
    return tries_alone(replace(inputs, config=inputs.config.model_copy(update=options)))


def test_many_plans_are_compared_of_small_networks_and_a_few_of_large_ones(monkeypatch, inputs):
    assert tries(inputs) == tries_module._MOST_TRIES
    monkeypatch.setattr(tries_module, "_SEARCH_FLOPS", 1.0)
    assert tries(inputs) == min(tries_module._FEWEST_TRIES, tries_module._MOST_TRIES)


def test_few_samples_tell_few_plans_apart(monkeypatch, inputs):
    monkeypatch.setattr(tries_module, "_MOST_TRIES", 24)
    monkeypatch.setattr(tries_module, "_FEWEST_TOLD_APART", 3)
    batches = inputs.reduced.batches[inputs.reduced.selection]
    compared = sum(len(batch["x"]) for batch in batches)
    assert 6 < compared < 48
    assert tries(inputs) == compared // 2
    alone = replace(inputs.reduced, batches=[{"x": batches[0]["x"][:4]}] * 2, fit_batches=1)
    assert tries(replace(inputs, reduced=alone)) == 3


def test_fewer_plans_are_compared_where_each_takes_longer(monkeypatch, inputs):
    assert tries(inputs, granularity="channel") == tries(inputs, polynomials=True) < tries(inputs)
    sizes = [len(batch["x"]) for batch in inputs.rough.batches]
    once = 2.0 * inputs.analysis.cost.macs * sum(sizes)
    monkeypatch.setattr(tries_module, "_fit_flops", lambda *arguments: 0.0)
    monkeypatch.setattr(tries_module, "_FEWEST_TRIES", 2)
    monkeypatch.setattr(tries_module, "_SEARCH_FLOPS", 6 * once)
    watching = replace(inputs, reduced=replace(inputs.reduced, watched=3 * inputs.reduced.batches))
    assert tries(watching, polynomials=True) < tries(inputs, polynomials=True)


def test_where_damages_are_read_off_the_weights_there_is_one_plan(inputs):
    assert tries(inputs, sensitivity="magnitude") == 1


def test_of_few_plans_fewer_are_compared_closely():
    assert [fewest_closely(count) for count in (2, 6, 9, 12, 13, 24)] == [2, 2, 3, 4, 6, 6]


def test_several_budgets_share_more_plans_than_one_gets_but_not_many_times_as_many(monkeypatch, inputs):
    monkeypatch.setattr(tries_module, "_affordable_tries", lambda inputs: 20)
    assert [tries_together(inputs, budgets) for budgets in (1, 2, 10, 40)] == [12, 24, 30, 40]
