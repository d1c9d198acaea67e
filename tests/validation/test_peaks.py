import math
from contextlib import contextmanager

import numpy as np
import pytest

from onnxshallow.analysis import analyze
from onnxshallow.data.changes import Changer
from onnxshallow.data.columns import ArrayColumn
from onnxshallow.data.samples import Samples
from onnxshallow.model.network import Network
from onnxshallow.model.scales import scales_of
from onnxshallow.rewriting.lowering.lower import lower
from onnxshallow.validation import peaks
from onnxshallow.validation.growth import BOUND, bits
from onnxshallow.validation.peaks import Pair, Peaks, Reference, most_extreme
from tests.networks import build, residual, run_exactly, smooth
from tests.partials import intermediate, partial
from tests.properties.cases import with_outputs

MODEL = residual()
ANALYSIS = analyze(MODEL)
SITES = ["r0", "r1", "r2", "r3", "r4"]
OUTPUTS = [output.name for output in MODEL.graph.output]


def with_parabola(site, square, linear=0.5):
    source = {"r0": "s", "r1": "h1", "r2": "s1", "r3": "h3"}[site]
    return intermediate(MODEL, [partial(source, site, (0,) * 6, square=square, linear=linear)]).network


def samples_of(x):
    return Samples({"x": ArrayColumn(x, np.dtype(np.float32))}, "made up")


def largest(network, x):
    runs = run_exactly(with_outputs(network.model, [*SITES, *OUTPUTS]), {"x": x})
    return np.array([np.abs(values).max() for values in runs])


def examined(rewritten, x):
    pair = Pair(Reference(ANALYSIS, 1), rewritten)
    pair.examine("samples", samples_of(x), 16)
    return pair.result


def test_growth_is_the_ratio_of_the_largest_values_of_a_set():
    rewritten, x = with_parabola("r2", 0.3), smooth(24, 3, 8)
    pair = Pair(Reference(ANALYSIS, 1), rewritten)
    pair.look("some", [{"x": x[:10]}, {"x": x[10:]}])
    expected = largest(rewritten, x) / largest(ANALYSIS.network, x)
    (found,) = pair.result.growth
    assert (found.samples, found.count) == ("some", 24)
    assert found.factor == pytest.approx(expected.max(), rel=1e-4)
    assert found.site == [*SITES, *OUTPUTS][int(expected.argmax())]


def test_ranges_are_those_over_all_sets_with_the_bits_that_they_need():
    rewritten, x = with_parabola("r1", 0.3), smooth(24, 3, 8)
    pair = Pair(Reference(ANALYSIS, 1), rewritten)
    pair.look("some", [{"x": x}])
    pair.look("small", [{"x": 0.01 * x}])
    before, after = largest(ANALYSIS.network, x), largest(rewritten, x)
    for found, first, second in zip(pair.result.ranges, before, after, strict=True):
        assert (found.original, found.optimized) == pytest.approx((first, second), rel=1e-4)
        assert 2.0 ** (found.bits - 2) <= max(second, 0.5) <= 2.0 ** (found.bits - 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_no_number_has_grown_without_bounds(bad):
    x = smooth(8, 3, 8)
    x[3, 0, 0, 0] = bad
    peaks = Peaks(ANALYSIS.network, SITES, 1)({"x": x})
    assert np.isinf(peaks[3]).any()
    assert np.isfinite(np.delete(peaks, 3, axis=0)).all()


def test_the_original_itself_does_not_grow():
    found = examined(ANALYSIS.network, smooth(32, 3, 8))
    assert found.worst.factor == found.growth[0].factor == 1.0
    assert found.why_unstable is None


def test_everything_is_looked_at_once():
    found = examined(ANALYSIS.network, smooth(32, 3, 8))
    names = [each.samples for each in found.growth]
    changer = Changer.of(ANALYSIS.network.inputs, [{"x": smooth(2, 3, 8)}])
    expected = [f"samples, {name}" for name in (*changer.changes, "in plain colours", "provoked")]
    assert names == ["samples", *expected]
    assert all(each.count > 0 for each in found.growth)


@pytest.mark.parametrize("site", ["r0", "r1", "r2", "r3"])
def test_a_steep_parabola_is_refused_with_the_name_of_a_site_after_it(site):
    found = examined(with_parabola(site, 30.0), smooth(32, 3, 8))
    assert found.worst.factor > BOUND
    assert [*SITES, *OUTPUTS].index(found.worst.site) >= SITES.index(site)
    assert f"the activations of {found.worst.site!r} grow to {found.worst.factor:.3g} times" in found.why_unstable


def test_one_wild_sample_in_many_is_met():
    """It need not be among those that are changed or provoked."""
    x = np.concatenate([smooth(200, 3, 8), 40 * smooth(1, 3, 8, seed=7), smooth(99, 3, 8, seed=3)])
    gentle = with_parabola("r1", 0.05)
    assert examined(gentle, np.delete(x, 200, axis=0)).growth[0].factor < BOUND
    found = examined(gentle, x).growth[0]
    assert (found.samples, found.factor > BOUND) == ("samples", True)


def grown(samples):
    pair = Pair(Reference(ANALYSIS, 1), with_parabola("r1", 0.12))
    pair.examine("samples", samples, 16)
    return {each.samples: each for each in pair.result.growth}


def test_what_was_suspect_once_is_looked_at_again():
    gentle = with_parabola("r1", 0.01)
    for suspects in set(), {("samples", "blur")}:
        pair = Pair(Reference(ANALYSIS, 1), gentle, suspects)
        pair.examine("samples", samples_of(smooth(600, 3, 8)), 16)
        assert pair.suspects == suspects
        more = {each.samples: each.count for each in pair.result.growth if each.samples.startswith("more ")}
        assert more == dict.fromkeys((f"more {name}, {change}" for name, change in suspects), 600)


def test_all_samples_are_changed_in_the_ways_in_which_a_few_grow(monkeypatch):
    monkeypatch.setattr(peaks, "_SUSPECT_PASSES", 9)
    found = grown(samples_of(smooth(600, 3, 8)))
    everything = {name: each for name, each in found.items() if name.startswith("more samples, ")}
    few = {name: found[name.removeprefix("more ")] for name in everything}
    assert 0 < len(everything) < len(found) // 2
    assert all(each.count == 600 and few[name].count < 600 for name, each in everything.items())
    assert all(each.factor > 2 for each in few.values())


@pytest.mark.parametrize(("afforded", "passes", "looked_at"), [(550, 9, {550}), (300, 9, set()), (550, 2, {400})])
def test_as_many_are_changed_as_can_be_afforded_in_all_ways_together(monkeypatch, afforded, passes, looked_at):
    samples = samples_of(smooth(600, 3, 8))
    monkeypatch.setattr(peaks, "_SUSPECT_PASSES", 9)
    ways = sum(name.startswith("more ") for name in grown(samples))
    assert ways > 1
    monkeypatch.setattr(peaks, "_SUSPECT_MACS", afforded * ways * ANALYSIS.cost.macs)
    monkeypatch.setattr(peaks, "_SUSPECT_PASSES", passes)
    found = grown(samples)
    assert {each.count for name, each in found.items() if name.startswith("more ")} == looked_at


def test_what_was_read_for_another_purpose_is_not_run_again(monkeypatch):
    x, reference = smooth(24, 3, 8), Reference(ANALYSIS, 1)
    batches = [{"x": x[:10]}, {"x": x[10:]}]
    values = [z for _, (z,) in reference.read("some", batches, ["h1"])]
    (expected,) = run_exactly(with_outputs(MODEL, ["h1"]), {"x": x})
    np.testing.assert_allclose(np.concatenate(values), expected, rtol=1e-5, atol=1e-6)
    fresh = Reference(ANALYSIS, 1).on("some", batches)
    monkeypatch.setattr(reference, "peaks", None)  # which would fail if it were called
    np.testing.assert_array_equal(reference.on("some", batches), fresh)


def test_offenders_are_the_samples_that_grew():
    x = smooth(32, 3, 8)
    x[5] *= 40
    pair = Pair(Reference(ANALYSIS, 1), with_parabola("r1", 0.05))
    pair.look("samples", [{"x": x}])
    (batch,) = pair.offenders
    np.testing.assert_array_equal(batch["x"], x[5:6])


def test_provoking_makes_it_grow_further_than_the_samples_do():
    x = smooth(64, 3, 8)
    found = {each.samples: each.factor for each in examined(with_parabola("r1", 0.12), x).growth}
    assert found["samples, provoked"] > found["samples"]


def test_the_most_extreme_are_those_that_go_beyond_what_is_usual_anywhere():
    peaks = np.ones((100, 3))
    peaks[40, 1], peaks[7, 2], peaks[90, 0] = 9.0, 5.0, 2.0
    assert most_extreme(peaks, 2).tolist() == [7, 40]
    assert most_extreme(peaks, 3).tolist() == [7, 40, 90]


def test_outputs_and_activations_that_only_the_original_has_are_left_out():
    rewritten = with_parabola("r2", 30.0)
    rewritten.model.graph.output[0].name = "r2"
    del rewritten.model.graph.node[[n.output[0] for n in rewritten.model.graph.node].index("r2") + 1 :]
    pair = Pair(Reference(ANALYSIS, 1), analyze(rewritten.model).network)
    pair.look("some", [{"x": smooth(8, 3, 8)}])
    assert [each.site for each in pair.result.ranges] == ["r0", "r1", "r2"]
    assert not math.isinf(pair.result.worst.factor)


def test_changed_copies_are_measured_by_what_is_usual_and_each_source_by_itself():
    x = smooth(8, 3, 8)
    pair = Pair(Reference(ANALYSIS, 1), with_parabola("r1", 0.3))
    for number, (usual, batch) in enumerate([(True, 9 * x), (False, x), (True, x), (False, 0.1 * x)]):
        pair.look(f"set {number}", [{"x": batch}], usual=usual)
    _, by_others, alone, dark = (each.factor for each in pair.result.growth)
    assert by_others < alone
    fresh = Pair(Reference(ANALYSIS, 1), with_parabola("r1", 0.3))
    fresh.look("some", [{"x": x}])
    assert alone == fresh.result.growth[0].factor
    assert dark < alone


def test_what_channels_were_multiplied_by_is_no_growth_but_counts_for_bits():
    rewritten, x = with_parabola("r2", 0.3), smooth(24, 3, 8)
    partials = [partial("s1", "r2", (0,) * 6, square=0.3, linear=0.5)]
    written = Network(lower(intermediate(MODEL, partials), partials, "split"))
    scale = scales_of(written.model)["r2"]
    assert np.all(scale == scale[0])
    assert scale[0] != 1
    results = []
    for network in (rewritten, written):
        pair = Pair(Reference(ANALYSIS, 1), network)
        pair.look("some", [{"x": x}])
        results.append(pair.result)
    first, second = (result.growth[0].factor for result in results)
    assert first == pytest.approx(second, rel=1e-4)
    stored = largest(written, x)[SITES.index("r2")]
    (found,) = (each for each in results[1].ranges if each.site == "r2")
    assert found.optimized == pytest.approx(stored / scale[0], rel=1e-4)
    assert found.bits == bits(stored)


def test_values_that_overflow_by_their_scales_are_infinite_without_a_warning(recwarn):
    model = build("(float[N,2,1,1] x) => (float[N,2,1,1] y) { y = Relu(x) }")
    looked_at = Peaks(Network(model), ["y"], 1)
    looked_at._scales = {"y": np.array([1e-30, 1.0])}
    peaks = looked_at({"x": np.full((3, 2, 1, 1), 1e20, np.float32)})
    assert np.isposinf(peaks).all()
    assert not recwarn.list


def test_what_the_original_does_is_found_out_once_for_each_set(monkeypatch):
    x, reference = smooth(32, 3, 8), Reference(ANALYSIS, 1)
    calls = []
    run = reference.peaks
    monkeypatch.setattr(reference, "peaks", lambda batch: calls.append(len(batch["x"])) or run(batch))
    results, counts = [], []
    for _ in range(2):
        pair = Pair(reference, with_parabola("r1", 0.12))
        pair.examine("samples", samples_of(x), 16)
        results.append(pair.result)
        counts.append(len(calls))
    assert results[0] == results[1]
    provoked = 1 + 6 * 4  # a start and its tries, in each of two batches
    assert counts[1] - counts[0] == 2 * provoked < counts[0]


def test_a_brief_look_leaves_out_all_samples_where_others_already_grew():
    x = smooth(64, 3, 8)
    sets = []
    for square in (30.0, 0.05):
        pair = Pair(Reference(ANALYSIS, 1), with_parabola("r1", square))
        pair.examine("samples", samples_of(x), 16, briefly=True)
        sets.append({each.samples for each in pair.result.growth})
        assert bool(pair.offenders) == (pair.result.worst.factor > BOUND)
    assert "samples" not in sets[0]
    assert sets[1] == sets[0] | {"samples"}


def test_a_brief_look_finds_what_a_long_one_finds():
    x, reference = smooth(64, 3, 8), Reference(ANALYSIS, 1)
    results = []
    for briefly in (True, False):
        pair = Pair(reference, with_parabola("r1", 0.12))
        pair.examine("samples", samples_of(x), 16, briefly=briefly)
        results.append(pair.result)
    assert {each.samples: each for each in results[0].growth} == {each.samples: each for each in results[1].growth}


@pytest.mark.parametrize(("briefly", "looked_at"), [(True, 1), (False, 2)])
def test_a_brief_look_at_suspects_ends_with_the_first_that_offend(briefly, looked_at):
    class Offending(Pair):
        def look(self, name, batches, *, usual=False):
            super().look(name, batches, usual=usual)
            self.offenders += [{}] if name.startswith("more ") else []

    suspects = {("samples", "blur"), ("samples", "noise 0.1")}
    pair = Offending(Reference(ANALYSIS, 1), with_parabola("r1", 0.01), suspects)
    pair.examine("samples", samples_of(smooth(600, 3, 8)), 16, briefly=briefly)
    assert len(pair.offenders) == looked_at


@pytest.mark.parametrize("briefly", [False, True])
@pytest.mark.parametrize("square", [0.12, 30.0])
def test_every_stage_ends_where_it_said_it_would(square, briefly):
    stages = Stages()
    pair = Pair(Reference(ANALYSIS, 1), with_parabola("r1", square))
    pair.examine("samples", samples_of(smooth(600, 3, 8)), 16, briefly=briefly, progress=stages)
    assert len(stages.seen) == (4 if square < 1 else 3)
    assert all(steps == total > 0 for _, total, steps in stages.seen)


class Stages:
    def __init__(self):
        self.seen = []

    @contextmanager
    def stage(self, name, total):
        self.seen.append([name, total, 0])

        def step():
            self.seen[-1][2] += 1

        yield step

    def note(self, text):
        raise AssertionError(text)
