from tools.mutate import chosen, summary

OUTCOMES = {"b": 1, "a": 0, "d": -24, "c": None, "e": 33}


def test_a_sample_is_the_same_whatever_the_order_of_the_mutants():
    assert chosen(OUTCOMES, 2) == chosen(dict(sorted(OUTCOMES.items())), 2) == ["a", "c", "e"]
    assert chosen(OUTCOMES, 1) == ["a", "b", "c", "d", "e"]


def test_what_ran_out_of_time_was_noticed_and_what_no_test_runs_was_not():
    assert summary(OUTCOMES, list(OUTCOMES)) == "killed 2 of 4 (50.0%), 1 not tried"
    assert summary(OUTCOMES, ["b", "d"]) == "killed 2 of 2 (100.0%)"
    assert summary(OUTCOMES, ["c"]) == "killed 0 of 0, 1 not tried"
