import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxshallow.data.splits import split, subset
from onnxshallow.errors import DataError


@given(
    count=st.integers(5, 300),
    weights=st.lists(st.floats(0.01, 1), min_size=1, max_size=5),
    unused=st.floats(0, 1),
    seed=st.integers(0, 3),
)
def test_parts_are_disjoint_sorted_and_never_empty(count, weights, unused, seed):
    fractions = [weight / (sum(weights) + unused) for weight in weights]
    parts = split(count, fractions, seed)
    together = np.concatenate(parts)
    assert len(set(together.tolist())) == len(together)
    assert set(together.tolist()) <= set(range(count))
    for part in parts:
        assert len(part) > 0
        assert (np.diff(part) > 0).all()


def test_sizes_are_rounded_and_cover_all():
    assert [len(part) for part in split(1024, (0.75, 0.25), 0)] == [768, 256]
    assert [len(part) for part in split(10, (1 / 3, 1 / 3, 1 / 3), 0)] == [3, 4, 3]


def test_the_seed_decides():
    first, again, other = (split(100, (0.5, 0.5), seed)[0].tolist() for seed in (0, 0, 1))
    assert first == again != other


def test_too_few_samples_are_an_error():
    with pytest.raises(DataError, match="1 samples cannot be divided into 2 parts of at least one sample; give more"):
        split(1, (0.5, 0.5), 0)


@pytest.mark.parametrize("fractions", [(), (0.5, 0.6), (0.5, 0.0), (-0.1,)])
def test_fractions_must_be_shares(fractions):
    with pytest.raises(ValueError, match="must be positive and add up to at most 1"):
        split(10, fractions, 0)


def test_a_subset_is_sorted_and_distinct():
    chosen = subset(100, 10, 0)
    assert len(set(chosen.tolist())) == 10
    assert (np.diff(chosen) > 0).all()
    assert subset(5, 10, 0).tolist() == [0, 1, 2, 3, 4]
