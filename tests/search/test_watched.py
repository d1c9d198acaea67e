import weakref

import numpy as np
import pytest

from onnxshallow.analysis import analyze
from onnxshallow.data.changes import Changer
from onnxshallow.runtime.progress import Silent
from onnxshallow.search.watched import Watching, affordable_pool, extremes, with_watched
from onnxshallow.validation.peaks import Reference
from tests.networks import build, residual, run_exactly, smooth
from tests.properties.cases import with_outputs
from tests.runs import NET, NET_WEIGHTS, load_case


def furthest(analysis, batches):
    return extremes(Reference(analysis, 1).read("some", batches, [site.source for site in analysis.sites]))


def test_each_end_of_each_channel_has_the_sample_that_reaches_furthest():
    model, x = residual(), smooth(30, 3, 8)
    analysis = analyze(model)
    found = furthest(analysis, [{"x": x[:11]}, {"x": x[11:]}])
    sources = [site.source for site in analysis.sites]
    expected = set()
    for z in run_exactly(with_outputs(model, sources), {"x": x}):
        flat = z.reshape(*z.shape[:2], -1)
        expected |= set(flat.max(2).argmax(0)) | set(flat.min(2).argmin(0))
    assert set(found.tolist()) == expected


def test_those_that_reach_furthest_often_come_first():
    model, x = residual(), smooth(30, 3, 8)
    x[17] *= 50
    analysis = analyze(model)
    assert furthest(analysis, [{"x": x}])[0] == 17


@pytest.fixture
def wild(tmp_path):
    """A source of which a part is used, and one of the others is like no other."""
    x = smooth(96, 3, 6)
    x[50] *= 30
    inputs = load_case(tmp_path, arrays={"x": x}, calib_samples=40, polynomials=True, seed=4)
    used = np.concatenate([batch["x"] for batch in inputs.calibration.batches])
    assert np.abs(used).max() < np.abs(x).max() / 5
    return inputs, x


def test_everything_in_the_source_is_looked_at_and_the_extreme_is_watched(wild):
    inputs, x = wild
    watched = np.concatenate([batch["x"] for batch in with_watched(inputs, Silent()).calibration.watched])
    assert (watched == x[50]).all(axis=(1, 2, 3)).any()


def test_how_much_is_watched_is_known_about_before(tmp_path, monkeypatch):
    inputs = load_case(tmp_path, arrays={"x": smooth(900, 3, 6)}, calib_samples=600, polynomials=True)
    expected = Watching.of(inputs)
    run = []
    monkeypatch.setattr("onnxshallow.search.watched.counted", lambda batches, step: count(batches, run))
    found = with_watched(inputs, Silent())
    counts = [sum(len(one["x"]) for one in each.watched) for each in (found.calibration, found.reduced)]
    assert expected.watched / 3 < counts[0] < 2 * expected.watched
    assert expected.compared / 3 < counts[1] < 2 * expected.compared
    assert expected.run / 3 < sum(run) < 2 * expected.run


def count(batches, found):
    for batch in batches:
        found.append(len(batch["x"]))
        yield batch


def test_nothing_else_of_the_calibration_changes(wild):
    inputs, _ = wild
    found = with_watched(inputs, Silent())
    for name in ("calibration", "reduced"):
        before, after = getattr(inputs, name), getattr(found, name)
        assert (before.batches, before.fit_batches) == (after.batches, after.fit_batches)
        assert after.watched
    assert len(found.reduced.watched) < len(found.calibration.watched)


def test_changed_copies_are_watched_too(wild):
    inputs, x = wild
    watched = np.concatenate([batch["x"] for batch in with_watched(inputs, Silent()).calibration.watched])
    copies = [not (one == x).all(axis=(1, 2, 3)).any() for one in watched]
    assert sum(copies) >= len(watched) // 3


def test_one_batch_of_changed_copies_is_held_at_a_time(tmp_path, monkeypatch):
    inputs = load_case(tmp_path, arrays={"x": smooth(96, 3, 6)}, calib_samples=40, polynomials=True, batch_size=8)
    change, made, held = Changer.changed, [], []

    def changed(self, batch, name):
        held.append(sum(copy() is not None for copy in made))
        copies = change(self, batch, name)
        made.append(weakref.ref(copies["x"]))
        return copies

    monkeypatch.setattr(Changer, "changed", changed)
    with_watched(inputs, Silent())
    assert len(held) > 50
    assert max(held) <= 1


def test_of_a_very_large_source_a_part_is_taken(wild, monkeypatch):
    inputs, _ = wild
    assert len(affordable_pool(inputs)) == 96 - len(inputs.data.report)
    monkeypatch.setattr("onnxshallow.search.watched._POOL_MACS", 60 * inputs.analysis.cost.macs)
    assert len(affordable_pool(inputs)) == 60


def test_a_model_that_fixes_its_batch_sees_full_batches_only(tmp_path):
    text = NET.replace("[N,", "[8,")
    arrays = {"x": smooth(61, 3, 6)}
    inputs = load_case(tmp_path, build(text, **NET_WEIGHTS), arrays=arrays, calib_samples=40, polynomials=True)
    watched = with_watched(inputs, Silent()).calibration.watched
    assert {len(batch["x"]) for batch in watched} == {8}


def test_samples_kept_apart_for_the_report_are_never_watched(tmp_path):
    x = smooth(40, 3, 6)
    inputs = load_case(tmp_path, arrays={"x": x}, polynomials=True)
    report = [inputs.data.report.position(index) for index in range(len(inputs.data.report))]
    x[report[0]] *= 30  # so that it would be watched if it could be
    inputs = load_case(tmp_path, arrays={"x": x}, polynomials=True)
    watched = np.concatenate([batch["x"] for batch in with_watched(inputs, Silent()).calibration.watched])
    assert len(inputs.data.pool) == 40 - len(report)
    for position in report:
        assert not (watched == x[position]).all(axis=(1, 2, 3)).any()


def test_without_activations_nothing_is_watched(tmp_path):
    model = build("(float[N,3,6,6] x) => (float[N,4,6,6] y) { y = Conv(x, w) }", w=(4, 3, 1, 1))
    inputs = load_case(tmp_path, model, polynomials=True, target_macs=0.5)
    assert with_watched(inputs, Silent()) is inputs


def test_an_activation_may_read_what_the_network_reads():
    model = build("(float[N,3,8,8] x) => (float[N,4,8,8] y) { r = Relu(x) y = Conv(r, w) }", w=(4, 3, 1, 1))
    analysis, x = analyze(model), smooth(12, 3, 8)
    found = furthest(analysis, [{"x": x}])
    flat = x.reshape(12, 3, -1)
    assert set(found.tolist()) == set(flat.max(2).argmax(0)) | set(flat.min(2).argmin(0))
