import pytest

from onnxshallow.search.candidates import find_every_candidate


@pytest.fixture(scope="session")
def candidates(inputs):
    """The candidates of a small network, by key."""
    return {candidate.key: candidate for candidate in find_every_candidate(inputs)}
