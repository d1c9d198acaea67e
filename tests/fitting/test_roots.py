import numpy as np

from onnxshallow.fitting.roots import root
from tests.networks import signed


def test_the_root_times_itself_is_the_covariance():
    values = signed((40, 6))
    lower = root(values.T @ values)
    np.testing.assert_allclose(lower @ lower.T, values.T @ values, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(lower, np.tril(lower))


def test_inputs_that_do_not_vary_are_borne():
    """A covariance that is zero but for rounding has no root of its own."""
    spread = np.full((4, 4), 1e-9)
    spread[0, 0] = -1e-9
    lower = root(spread)
    assert np.all(np.isfinite(lower))
    assert np.all(np.diag(lower) > 0)
