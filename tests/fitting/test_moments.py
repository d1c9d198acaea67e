import numpy as np
import pytest

from onnxshallow.fitting.moments import SWELL, Lines, Moments, Ranges, site_statistics
from tests.networks import signed


def test_the_map_is_numpys_line_fit_of_every_channel():
    z = signed((40, 3, 4, 4)) * 2 + np.array([1, -1, 0], dtype=np.float32).reshape(1, 3, 1, 1)
    y = np.maximum(z, 0)
    found = site_statistics([(z, y)], 3)
    for channel in range(3):
        slope, intercept = np.polyfit(z[:, channel].ravel(), y[:, channel].ravel().astype(np.float64), 1)
        assert found.scale[channel] == pytest.approx(slope, rel=1e-6)
        assert found.shift[channel] == pytest.approx(intercept, rel=1e-6)


def test_the_scale_is_covariance_over_variance():
    z = signed((500, 1))
    y = np.maximum(z, 0)
    covariance = np.cov(z.ravel().astype(np.float64), y.ravel(), ddof=0)
    assert site_statistics([(z, y)], 1).scale[0] == pytest.approx(covariance[0, 1] / covariance[0, 0], rel=1e-6)


def test_unexplained_is_the_variance_of_what_is_left():
    z = signed((300, 2, 5))
    y = np.maximum(z, 0)
    found = site_statistics([(z, y)], 2)
    rest = y - found.scale.reshape(1, 2, 1) * z - found.shift.reshape(1, 2, 1)
    np.testing.assert_allclose(found.affine_error, rest.var(axis=(0, 2)), rtol=1e-5)


def test_batches_give_what_all_samples_together_give():
    z = signed((30, 3, 4))
    y = np.maximum(z, 0)
    whole = site_statistics([(z, y)], 3)
    parts = site_statistics([(z[:7], y[:7]), (z[7:8], y[7:8]), (z[8:], y[8:])], 3)
    np.testing.assert_allclose(parts.scale, whole.scale, rtol=1e-9)
    np.testing.assert_allclose(parts.shift, whole.shift, rtol=1e-9)


def test_one_channel_pools_tensors_of_any_shape():
    z = signed((6, 7, 5))
    y = np.maximum(z, 0)
    slope, intercept = np.polyfit(z.ravel().astype(np.float64), y.ravel(), 1)
    found = site_statistics([(z, y)], 1)
    assert found.scale.shape == (1,)
    assert (found.scale[0], found.shift[0]) == pytest.approx((slope, intercept), rel=1e-6)


def test_a_channel_that_does_not_vary_becomes_its_mean():
    z = np.full((10, 2, 3), 0.1, dtype=np.float32)
    z[:, 1] = signed((10, 3))
    found = site_statistics([(z, np.maximum(z, 0))], 2)
    assert found.scale[0] == 0
    assert found.shift[0] == pytest.approx(0.1)
    assert found.scale[1] > 0.1


def test_an_activation_that_lets_everything_pass_is_the_identity():
    z = np.abs(signed((50, 2, 3))) + 0.5
    found = site_statistics([(z, np.maximum(z, 0))], 2)
    np.testing.assert_allclose(found.scale, 1, rtol=1e-9)
    np.testing.assert_allclose(found.shift, 0, atol=1e-9)


def test_half_precision_is_summed_in_double_precision():
    z = np.full((1, 1, 70_000), 2, dtype=np.float16)
    z[..., ::2] = 4
    found = site_statistics([(z, z)], 1)
    assert found.scale[0] == pytest.approx(1)


def test_no_rows_give_zeros():
    found = Moments(2).affine()
    np.testing.assert_array_equal(found.linear, 0)
    np.testing.assert_array_equal(found.constant, 0)


# Sums that tell lines alone.


@pytest.mark.parametrize("offset", [0.0, 300.0], ids=["about zero", "far from zero"])
def test_lines_alone_are_those_that_sums_for_parabolas_tell(offset):
    z = signed((40, 3, 4, 4)) * np.array([2, 1, 0.1], np.float32).reshape(1, 3, 1, 1) + np.float32(offset)
    y = np.maximum(z - offset, 0)
    batches, others = [(z[:10], y[:10]), (z[10:30], y[10:30])], [(z[30:], y[30:])]
    found, both = (site_statistics(batches, 3, others, curved=curved) for curved in (False, True))
    for name in ("scale", "shift", "affine_error"):
        np.testing.assert_allclose(getattr(found, name), getattr(both, name), rtol=1e-3)
    for name in ("low", "high", "least", "most"):
        np.testing.assert_array_equal(getattr(found, name), getattr(both, name))
    np.testing.assert_array_equal(found.parabola.square, 0)
    np.testing.assert_array_equal(found.quadratic_error, found.affine_error)


def test_lines_alone_keep_what_does_not_vary_and_what_passes_everything():
    z = np.full((10, 2, 3), 0.1, np.float32)
    z[:, 1] = np.abs(signed((10, 3)))
    found = site_statistics([(z, np.maximum(z, 0))], 2, curved=False)
    assert found.scale.tolist() == [0, 1]
    np.testing.assert_allclose(found.shift, [0.1, 0], atol=1e-7)
    np.testing.assert_allclose(found.affine_error, 0, atol=1e-12)


def test_no_rows_tell_no_line():
    found = Lines(2).affine()
    np.testing.assert_array_equal((found.linear, found.constant), 0)


# Parabolas, and errors on other samples.


def square_fit(z, y):
    """numpy's parabola of one channel: square, linear, constant."""
    return np.polyfit(z.astype(np.float64).ravel(), y.astype(np.float64).ravel(), 2)


def coefficients(curve, channel):
    return curve.square[channel], curve.linear[channel], curve.constant[channel]


def made_by(curve, z):
    """A polynomial of z (N, C, S), by numpy."""
    q, a, b = (values.reshape(1, -1, 1) for values in (curve.square, curve.linear, curve.constant))
    return q * z.astype(np.float64) ** 2 + a * z + b


def moments_of(z, y, channels):
    moments = Moments(channels)
    moments.add(z, y)
    return moments


def test_the_parabola_is_numpys_of_every_channel():
    z = signed((40, 3, 4, 4)) * np.array([2, 1, 0.1], dtype=np.float32).reshape(1, 3, 1, 1)
    z += np.array([1, -1, 0.05], dtype=np.float32).reshape(1, 3, 1, 1)
    y = np.maximum(z, 0)
    moments = moments_of(z, y, 3)
    found = moments.parabola()
    for channel in range(3):
        expected = square_fit(z[:, channel], y[:, channel])
        np.testing.assert_allclose(coefficients(found, channel), expected, rtol=1e-4)
        rest = y[:, channel] - np.polyval(expected, z[:, channel].astype(np.float64))
        assert moments.error(found)[channel] == pytest.approx(np.mean(rest**2), rel=1e-4)


def test_a_parabola_that_is_one_is_found_with_an_unsymmetric_input():
    z = np.random.default_rng(0).exponential(size=(200, 2, 3))
    y = np.stack([0.3 * z[:, 0] ** 2 - 2 * z[:, 0] + 1, 5 - 0.1 * z[:, 1] ** 2], axis=1)
    moments = moments_of(z, y, 2)
    found = moments.parabola()
    np.testing.assert_allclose(coefficients(found, 0), (0.3, -2, 1), rtol=1e-6)
    np.testing.assert_allclose(coefficients(found, 1), (-0.1, 0, 5), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(moments.error(found), 0, atol=1e-9)


# Bounds.


def heavy_tailed(seed=0):
    """Values most of which are small, with single ones far out on either side."""
    return np.random.default_rng(seed).standard_t(3, size=(400, 2, 9))


def bounded(z, *further):
    y, ranges = np.maximum(z, 0), Ranges(2)
    for values in (z, *further):
        ranges.add(values, np.maximum(values, 0))
    return moments_of(z, y, 2), ranges


def test_a_bounded_parabola_makes_at_the_ends_what_it_may_and_no_more():
    moments, ranges = bounded(heavy_tailed(), 4 * heavy_tailed(1))
    free, found = moments.parabola(), moments.parabola(ranges)
    assert np.all(found.square > 0)
    assert np.all(found.square < free.square)
    reached = [max(made_by_channel(found, c, end) for end in (ranges.low[c], ranges.high[c])) for c in range(2)]
    np.testing.assert_allclose(reached, SWELL * ranges.most, rtol=1e-9)


def made_by_channel(curve, channel, z):
    q, a, b = coefficients(curve, channel)
    return q * z * z + a * z + b


def test_no_other_parabola_with_the_same_bend_fits_better():
    z = heavy_tailed()
    moments, ranges = bounded(z, 4 * z)
    found = moments.parabola(ranges)
    for channel in range(2):
        values = z[:, channel].ravel()
        rest = np.maximum(values, 0) - found.square[channel] * values**2
        np.testing.assert_allclose(coefficients(found, channel)[1:], np.polyfit(values, rest, 1), rtol=1e-6)


def test_what_was_only_watched_bounds_a_parabola_too():
    z = signed((400, 2, 9)).astype(np.float64)
    alone, ranges = bounded(z)
    watched, wider = bounded(z, 20 * z)
    first, second = alone.parabola(ranges), watched.parabola(wider)
    assert np.all(second.square < first.square)
    assert np.all(second.square * wider.high < SWELL)


def test_a_parabola_that_would_have_to_bend_down_is_the_affine_map():
    z = signed((400, 2, 9)).astype(np.float64)
    y = np.stack([np.maximum(z[:, 0], 0), -np.abs(z[:, 1])], axis=1)
    ranges = Ranges(2)
    ranges.add(z, y)
    moments = moments_of(z, y, 2)
    found, line = moments.parabola(ranges), moments.affine()
    assert found.square[0] > 0
    assert coefficients(found, 1) == pytest.approx(coefficients(line, 1), abs=1e-12)


def test_errors_and_ranges_are_those_on_held_out_samples_and_the_fit_is_not():
    z, other = signed((60, 2, 5)), 1.5 * signed((30, 2, 5), 1) + 0.5
    y, made = np.maximum(z, 0), np.maximum(other, 0)
    alone, judged = (
        site_statistics([(z, y)], 2),
        site_statistics([(z, y)], 2, [(other[:9], made[:9]), (other[9:], made[9:])]),
    )
    for name in ("scale", "shift"):
        np.testing.assert_array_equal(getattr(judged, name), getattr(alone, name))
    for name in ("square", "linear", "constant"):
        np.testing.assert_array_equal(getattr(judged.parabola, name), getattr(alone.parabola, name))
    line = judged.scale.reshape(1, 2, 1) * other + judged.shift.reshape(1, 2, 1)
    np.testing.assert_allclose(judged.affine_error, np.mean((made - line) ** 2, axis=(0, 2)), rtol=1e-5)
    curve = made_by(judged.parabola, other)
    np.testing.assert_allclose(judged.quadratic_error, np.mean((made - curve) ** 2, axis=(0, 2)), rtol=1e-5)
    everything = np.concatenate([z, other])
    np.testing.assert_allclose(judged.low, everything.min((0, 2)))
    np.testing.assert_allclose(judged.high, everything.max((0, 2)))
    np.testing.assert_allclose(judged.least, 0)
    np.testing.assert_allclose(judged.most, np.maximum(everything, 0).max((0, 2)))


def test_a_channel_without_variance_has_a_constant_for_a_parabola():
    z = np.full((10, 2, 3), 0.1, dtype=np.float32)
    z[:, 1] = signed((10, 3))
    found = site_statistics([(z, np.maximum(z, 0))], 2)
    np.testing.assert_allclose(coefficients(found.parabola, 0), (0, 0, 0.1), atol=1e-6)
    assert found.parabola.square[1] > 0


def test_two_values_tell_a_line_and_no_parabola():
    z = np.where(signed((50, 2, 3)) > 0, 2, -1).astype(np.float32)
    found = site_statistics([(z, np.maximum(z, 0))], 2)
    np.testing.assert_array_equal(found.parabola.square, 0)
    np.testing.assert_allclose(found.parabola.linear, 2 / 3, rtol=1e-6)
    np.testing.assert_allclose(found.parabola.constant, 2 / 3, rtol=1e-6)
    np.testing.assert_allclose(found.quadratic_error, found.affine_error)


def test_half_precision_gives_the_parabola_of_its_values():
    z = (signed((50, 2, 9)) * 30).astype(np.float16)
    found = site_statistics([(z, np.maximum(z, 0))], 2)
    for channel in range(2):
        expected = square_fit(z[:, channel], np.maximum(z[:, channel], 0))
        np.testing.assert_allclose(coefficients(found.parabola, channel), expected, rtol=1e-5)


def test_many_elements_are_summed_in_pieces(monkeypatch):
    z = signed((30, 3, 4))
    whole = site_statistics([(z, np.maximum(z, 0))], 3)
    monkeypatch.setattr("onnxshallow.fitting.moments._PIECE", 50)
    parts = site_statistics([(z, np.maximum(z, 0))], 3)
    np.testing.assert_allclose(parts.parabola.square, whole.parabola.square, rtol=1e-9)
    np.testing.assert_array_equal(parts.low, whole.low)


def test_no_held_out_samples_leave_the_errors_of_the_fit():
    z = signed((30, 2, 4))
    one, other = site_statistics([(z, z)], 2), site_statistics([(z, z)], 2, [])
    np.testing.assert_array_equal(one.affine_error, other.affine_error)


# Ranges and shapes.


def test_further_values_widen_the_ranges_and_fit_nothing():
    z = signed((30, 2, 4, 4))
    far = np.zeros((3, 2, 4, 4), dtype=np.float16)
    far[1, 0, 2, 3], far[2, 1, 0, 0] = 9, -7
    nothing = np.zeros((1, 2, 4, 4))
    pairs = [(z, np.maximum(z, 0))]
    found = site_statistics(pairs, 2)
    wide = site_statistics(pairs, 2, further=[(far, np.maximum(far, -2)), (nothing, nothing)])
    np.testing.assert_allclose(wide.high, [9, z[:, 1].max()])
    np.testing.assert_allclose(wide.low, [z[:, 0].min(), -7])
    np.testing.assert_allclose((wide.least, wide.most), ([0, -2], [9, found.most[1]]))
    for name in ("scale", "shift", "affine_error"):
        np.testing.assert_array_equal(getattr(wide, name), getattr(found, name))
    assert (found.peak, wide.peak) == (found.most.max(), 9)


def test_a_pooled_range_is_that_of_any_shape():
    z = signed((6, 7, 5))
    further = [
        (np.full(shape, value), np.full(shape, value)) for shape, value in (((2, 3), 50.0), ((2, 2, 2), -60.0))
    ]
    found = site_statistics([(z, z)], 1, further=further)
    assert (found.low[0], found.high[0], found.peak) == (-60, 50, 60)


def test_elements_take_another_shape():
    z = signed((30, 12))
    found = site_statistics([(z, np.maximum(z, 0))], 12)
    shaped = found.reshaped((3, 2, 2))
    for name in ("scale", "shift", "affine_error", "quadratic_error", "low", "high", "least", "most"):
        np.testing.assert_array_equal(getattr(shaped, name), getattr(found, name).reshape(3, 2, 2))
    np.testing.assert_array_equal(shaped.parabola.square, found.parabola.square.reshape(3, 2, 2))
    np.testing.assert_array_equal(shaped.parabola.constant, found.parabola.constant.reshape(3, 2, 2))
