from dataclasses import replace

from onnxshallow.search.reduction import fewer_samples, leading_samples
from tests.networks import calibration_of, signed


def test_a_ranking_uses_fewer_samples_to_fit_on():
    calibration = calibration_of({"x": signed((800, 3))}, batch=100, fit_batches=6)
    small = fewer_samples(calibration, 384, 384)
    assert small.fit_batches == 3
    assert small.batches[:3] == calibration.batches[:3]


def test_what_is_not_fitted_on_is_there_to_measure_on():
    calibration = calibration_of({"x": signed((800, 3))}, batch=100, fit_batches=6)
    held_out, spare = calibration.batches[6:], calibration.batches[3:6]
    assert fewer_samples(calibration, 384, 800).batches[3:] == [*held_out, *spare]
    assert fewer_samples(calibration, 384, 300).batches[3:] == [*held_out, *spare[:1]]
    assert fewer_samples(calibration, 384, 100).batches[3:] == held_out[:1]


def test_nothing_is_measured_on_that_was_fitted_on():
    calibration = calibration_of({"x": signed((800, 3))}, batch=100, fit_batches=6)
    for fit_samples in (1, 100, 250, 800):
        small = fewer_samples(calibration, fit_samples, 800)
        fitted = [id(batch) for batch in small.batches[small.fitting]]
        measured = [id(batch) for batch in small.batches[small.selection]]
        assert not set(fitted) & set(measured)
        assert len(fitted) + len(measured) == 8


def test_one_batch_is_always_left():
    calibration = calibration_of({"x": signed((1200, 3))}, batch=600, fit_batches=1)
    assert fewer_samples(calibration, 384, 384).fit_batches == 1


def test_a_ranking_uses_fewer_rows_and_rounds():
    calibration = calibration_of({"x": signed((8, 3))}, batch=4)
    small = fewer_samples(calibration, 384, 384)
    fewer = ("rows_per_unknown", "least_rows", "rounds", "turns")
    for name in fewer:
        assert getattr(small.fit, name) < getattr(calibration.fit, name)
    assert replace(small.fit, **{name: getattr(calibration.fit, name) for name in fewer}) == calibration.fit


def test_a_rough_look_takes_the_leading_samples_of_both_parts():
    calibration = calibration_of({"x": signed((800, 3))}, batch=100, fit_batches=6)
    reduced = fewer_samples(calibration, 384, 800)
    rough = leading_samples(reduced, 250, 350)
    assert rough.batches[rough.fitting] == reduced.batches[reduced.fitting][:2]
    assert rough.batches[rough.selection] == reduced.batches[reduced.selection][:3]
    assert rough.fit.least_rows < reduced.fit.least_rows


def test_a_rough_look_takes_all_there_is_where_that_is_little():
    calibration = calibration_of({"x": signed((8, 3))}, batch=4)
    reduced = fewer_samples(calibration, 384, 384)
    assert leading_samples(reduced, 96, 192).batches == reduced.batches
