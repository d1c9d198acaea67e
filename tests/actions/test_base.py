"""What every action's candidates have in common."""

import pytest

from onnxshallow.actions.base import FindOptions
from onnxshallow.analysis import analyze
from onnxshallow.search.candidates import find_candidates
from tests.networks import chain, residual

OPTIONS = (
    FindOptions(),
    FindOptions("exact"),
    FindOptions(deeper=True, every_size=True, granularity="channel", polynomials=True),
    FindOptions(granularity="pixel"),
)


@pytest.fixture(scope="module", params=[chain, residual], ids=["a chain", "residual blocks"])
def found(request):
    """All candidates of a network, of all options, each once."""
    analysis = analyze(request.param())
    return analysis, list({c for options in OPTIONS for c in find_candidates(analysis, options)[0]})


def test_no_two_candidates_have_one_key(found):
    _, candidates = found
    assert len({c.key for c in candidates}) == len(candidates) > 20


def test_candidates_at_one_place_exclude_each_other(found):
    _, candidates = found
    for one in candidates:
        for other in candidates:
            if one.place == other.place:
                assert one.nodes & other.nodes


def test_a_key_says_the_place(found):
    analysis, candidates = found
    for candidate in candidates:
        assert candidate.key.startswith(candidate.action)
        assert candidate.key.endswith(f":{candidate.source}->{candidate.output}")
        assert analysis.network.producer(candidate.output) is not None


def test_what_is_saved_is_no_more_than_there_is(found):
    analysis, candidates = found
    for candidate in candidates:
        sites = [analysis.site_by_name[name] for name in candidate.sites]
        assert 0 <= candidate.relus <= sum(site.size for site in sites)
        assert candidate.removed in (0, len(sites))
