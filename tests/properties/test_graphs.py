"""Random networks through every exact rewrite, every action and whole runs; see `python -m tests.properties`."""

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.properties.cases import Counts
from tests.properties.features import PROMISED, features
from tests.properties.generator import random_model
from tests.properties.run import check_model, check_seed

SEEDS = range(150)
GROUP = 10
# So many of them are checked here; the command checks as many as it is told to.
CHECKED = 30
# Whole runs take most of the time; here one of so many models is made shallower, in the command all are.
WHOLE = 8


@pytest.mark.parametrize("first", SEEDS[:CHECKED:GROUP])
def test_random_networks_keep_what_they_compute(first):
    for seed in range(first, first + GROUP):
        try:
            check_seed(seed, whole=seed % WHOLE == 0)
        except AssertionError as error:
            raise AssertionError(f"seed {seed} (python -m tests.properties --seed {seed}): {error}") from error


@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False))
def test_networks_that_hypothesis_draws_keep_what_they_compute(randoms):
    check_model(random_model(randoms), random.Random(0), whole=False)


def test_the_seeds_cover_what_the_generator_promises():
    seen = Counts()
    for seed in SEEDS:
        seen.update(features(random_model(random.Random(seed))))
    assert [name for name in PROMISED if not seen[name]] == []


def test_a_seed_names_a_model():
    assert random_model(random.Random(7)) == random_model(random.Random(7))
    assert random_model(random.Random(7)) != random_model(random.Random(8))
