from dataclasses import replace

import numpy as np
import pytest

from onnxshallow.analysis import analyze
from onnxshallow.rewriting.site_statistics import collect_statistics
from onnxshallow.rewriting.stability import why_unstable
from tests.networks import calibration_of, residual, run_exactly, smooth
from tests.partials import intermediate, partial
from tests.properties.cases import with_outputs

MODEL = residual()
ANALYSIS = analyze(MODEL)
SITES = ["r0", "r1", "r2", "r3", "r4"]
CALIBRATION = calibration_of({"x": smooth(96, 3, 8)}, batch=16)
WATCHED = replace(CALIBRATION, watched=[{"x": 3 * smooth(16, 3, 8, seed=9)}])


def with_parabola(site, square, linear=0.5, kept=(0, 0, 0, 0, 0, 0)):
    source = {"r0": "s", "r1": "h1", "r2": "s1", "r3": "h3", "r4": "s2"}[site]
    return intermediate(MODEL, [partial(source, site, kept, square=square, linear=linear, constant=0.1)]).network


def reason(rewritten, chosen=WATCHED):
    """Why `rewritten` is refused."""
    return why_unstable(ANALYSIS, collect_statistics(ANALYSIS, ANALYSIS.sites, chosen), rewritten, chosen)


def largest(network, x):
    return np.array([np.abs(values).max() for values in run_exactly(with_outputs(network.model, SITES), {"x": x})])


def test_the_original_does_not_grow():
    assert reason(ANALYSIS.network) is None


@pytest.mark.parametrize("site", ["r0", "r1", "r2", "r3"])
def test_a_steep_parabola_is_found_on_what_is_watched(site):
    rewritten = with_parabola(site, 30.0)
    everything = np.concatenate([batch["x"] for batch in (*WATCHED.batches, *WATCHED.watched)])
    after, before = largest(rewritten, WATCHED.watched[0]["x"]), largest(ANALYSIS.network, everything)
    worst = int(np.argmax(after / before))
    assert worst >= SITES.index(site)
    factor = (after / before)[worst]
    assert reason(rewritten) == (
        f"on samples that were watched the activations of {SITES[worst]!r} grow to {factor:.3g} times the original's"
    )


def test_a_gentle_parabola_is_no_reason():
    assert reason(with_parabola("r1", 0.05)) is None


def test_what_is_no_number_any_more_has_grown_without_bounds():
    assert "grow to inf times" in reason(with_parabola("r0", 3e38))


def test_where_nothing_is_watched_the_samples_held_out_are_looked_at():
    assert reason(with_parabola("r0", 30.0), CALIBRATION) is not None


def test_sites_that_only_the_original_has_are_left_out():
    rewritten = with_parabola("r2", 30.0)
    rewritten.model.graph.output[0].name = "r2"
    del rewritten.model.graph.node[[n.output[0] for n in rewritten.model.graph.node].index("r2") + 1 :]
    assert "'r2' grow to" in reason(analyze(rewritten.model).network)


def test_nothing_is_compared_where_no_site_is_left():
    rewritten = with_parabola("r2", 30.0)
    kept = rewritten.model.graph.node[0]
    del rewritten.model.graph.node[1:]
    rewritten.model.graph.output[0].name = kept.output[0]
    assert reason(analyze(rewritten.model).network) is None
