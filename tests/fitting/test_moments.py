import numpy as np
import pytest

from onnxshallow.fitting.moments import Moments, response
from tests.networks import signed


def test_the_map_is_numpys_line_fit_of_every_channel():
    z = signed((40, 3, 4, 4)) * 2 + np.array([1, -1, 0], dtype=np.float32).reshape(1, 3, 1, 1)
    y = np.maximum(z, 0)
    found = response([(z, y)], 3)
    for channel in range(3):
        slope, intercept = np.polyfit(z[:, channel].ravel(), y[:, channel].ravel().astype(np.float64), 1)
        assert found.scale[channel] == pytest.approx(slope, rel=1e-6)
        assert found.shift[channel] == pytest.approx(intercept, rel=1e-6)


def test_the_scale_is_covariance_over_variance():
    z = signed((500, 1))
    y = np.maximum(z, 0)
    covariance = np.cov(z.ravel().astype(np.float64), y.ravel(), ddof=0)
    assert response([(z, y)], 1).scale[0] == pytest.approx(covariance[0, 1] / covariance[0, 0], rel=1e-6)


def test_unexplained_is_the_variance_of_what_is_left():
    z = signed((300, 2, 5))
    y = np.maximum(z, 0)
    found = response([(z, y)], 2)
    rest = y - found.scale.reshape(1, 2, 1) * z - found.shift.reshape(1, 2, 1)
    np.testing.assert_allclose(found.unexplained, rest.var(axis=(0, 2)), rtol=1e-5)


def test_batches_give_what_all_samples_together_give():
    z = signed((30, 3, 4))
    y = np.maximum(z, 0)
    whole = response([(z, y)], 3)
    parts = response([(z[:7], y[:7]), (z[7:8], y[7:8]), (z[8:], y[8:])], 3)
    np.testing.assert_allclose(parts.scale, whole.scale, rtol=1e-9)
    np.testing.assert_allclose(parts.shift, whole.shift, rtol=1e-9)


def test_one_channel_pools_tensors_of_any_shape():
    z = signed((6, 7, 5))
    y = np.maximum(z, 0)
    slope, intercept = np.polyfit(z.ravel().astype(np.float64), y.ravel(), 1)
    found = response([(z, y)], 1)
    assert found.scale.shape == (1,)
    assert (found.scale[0], found.shift[0]) == pytest.approx((slope, intercept), rel=1e-6)


def test_a_channel_that_does_not_vary_becomes_its_mean():
    z = np.full((10, 2, 3), 0.1, dtype=np.float32)
    z[:, 1] = signed((10, 3))
    found = response([(z, np.maximum(z, 0))], 2)
    assert found.scale[0] == 0
    assert found.shift[0] == pytest.approx(0.1)
    assert found.scale[1] > 0.1


def test_an_activation_that_lets_everything_pass_is_the_identity():
    z = np.abs(signed((50, 2, 3))) + 0.5
    found = response([(z, np.maximum(z, 0))], 2)
    np.testing.assert_allclose(found.scale, 1, rtol=1e-9)
    np.testing.assert_allclose(found.shift, 0, atol=1e-9)


def test_half_precision_is_summed_in_double_precision():
    z = np.full((1, 1, 70_000), 2, dtype=np.float16)
    z[..., ::2] = 4
    found = response([(z, z)], 1)
    assert found.scale[0] == pytest.approx(1)


def test_no_rows_give_zeros():
    found = Moments(2).affine()
    np.testing.assert_array_equal(found.linear, 0)
    np.testing.assert_array_equal(found.constant, 0)
