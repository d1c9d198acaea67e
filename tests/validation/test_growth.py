import numpy as np

from onnxshallow.validation.growth import growth


def test_a_site_that_hardly_does_anything_in_the_original_may_do_a_little():
    before, after = np.array([10.0, 1e-9, 0.0]), np.array([10.0, 0.009, 0.02])
    np.testing.assert_allclose(growth(before, after), [1.0, 0.9, 2.0])


def test_nothing_at_all_in_the_original_divides_by_nothing():
    np.testing.assert_allclose(growth(np.zeros(2), np.array([0.0, 3.0])), [0.0, 3.0])
