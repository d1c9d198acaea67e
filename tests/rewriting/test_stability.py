from dataclasses import replace

import numpy as np
import pytest

from onnxshallow.analysis import analyze
from onnxshallow.rewriting.site_statistics import collect_statistics, perturb
from onnxshallow.rewriting.stability import growth, why_unstable
from tests.networks import calibration_of, residual, run_exactly, smooth
from tests.partials import intermediate, partial
from tests.properties.cases import with_outputs

MODEL = residual()
ANALYSIS = analyze(MODEL)
SITES = ["r0", "r1", "r2", "r3", "r4"]


def calibration(count=96):
    return calibration_of({"x": smooth(count, 3, 8)}, batch=16)


def with_parabola(site, square, linear=0.5, kept=(0, 0, 0, 0, 0, 0)):
    source = {"r0": "s", "r1": "h1", "r2": "s1", "r3": "h3", "r4": "s2"}[site]
    return intermediate(MODEL, [partial(source, site, kept, square=square, linear=linear, constant=0.1)]).network


def reason(rewritten, chosen=None):
    """Why `rewritten` is refused."""
    chosen = chosen or calibration()
    statistics = collect_statistics(ANALYSIS, ANALYSIS.sites, chosen, perturbed=True)
    return why_unstable(ANALYSIS, statistics, rewritten, chosen)


def largest(network, batches):
    runs = [run_exactly(with_outputs(network.model, SITES), batch) for batch in batches]
    return np.max([[np.abs(values).max() for values in run] for run in runs], axis=0)


def test_growth_is_the_ratio_of_the_largest_activations():
    rewritten, batches = with_parabola("r2", 0.3), calibration().batches[:1]
    peaks = dict(zip(SITES, largest(ANALYSIS.network, perturb(batches)), strict=True))
    found = growth(peaks, rewritten, batches, 1)
    expected = largest(rewritten, perturb(batches)) / list(peaks.values())
    assert list(found) == SITES
    np.testing.assert_allclose(list(found.values()), expected, rtol=1e-4)


def test_what_hardly_does_anything_in_the_original_may_do_a_little():
    values = dict(zip(SITES, largest(ANALYSIS.network, perturb(calibration().batches[:1])), strict=True))
    found = growth({**values, "r1": 0.0}, ANALYSIS.network, calibration().batches[:1], 1)
    assert found["r1"] == pytest.approx(values["r1"] / (1e-3 * max(values.values())), rel=1e-4)


def test_the_original_does_not_grow():
    assert reason(ANALYSIS.network) is None


@pytest.mark.parametrize("site", ["r0", "r1", "r2", "r3"])
def test_a_steep_parabola_is_found(site):
    held_out = calibration().batches[-2:]
    before, after = (largest(network, perturb(held_out)) for network in (ANALYSIS.network, with_parabola(site, 30.0)))
    worst = int(np.argmax(after / before))
    assert worst >= SITES.index(site)
    text = reason(with_parabola(site, 30.0))
    assert text.startswith(
        f"on calibration samples scaled and shifted by a fifth, the activations of {SITES[worst]!r} grow to "
    )
    factor = float(text.split("grow to ")[1].split()[0])
    assert factor == pytest.approx((after / before)[worst], rel=0.1)
    assert text.endswith(" times the original's")


def test_a_gentle_parabola_is_no_reason():
    assert reason(with_parabola("r1", 0.05)) is None


def test_what_is_no_number_any_more_has_grown_without_bounds():
    text = reason(with_parabola("r0", 3e38))
    assert "grow to inf times" in text


def test_without_held_out_samples_the_others_are_looked_at():
    few = calibration_of({"x": smooth(16, 3, 8)}, batch=16, fit_batches=1)
    assert reason(with_parabola("r0", 30.0), few) is not None


def test_sites_that_only_the_original_has_are_left_out():
    rewritten = with_parabola("r2", 30.0)
    rewritten.model.graph.output[0].name = "r2"
    del rewritten.model.graph.node[[n.output[0] for n in rewritten.model.graph.node].index("r2") + 1 :]
    assert "'r2' grow to" in reason(analyze(rewritten.model).network)


def test_the_network_to_be_written_is_looked_at_with_all_samples():
    """The first batch, which is fitted on, holds what makes it blow up."""
    calm = calibration()
    wild = replace(calm, batches=[{"x": 4000 * calm.batches[0]["x"]}, *calm.batches[1:]])
    rewritten = with_parabola("r1", 0.15)
    assert reason(rewritten, wild) is None
    assert reason(rewritten, replace(wild, everything=True)) is not None
