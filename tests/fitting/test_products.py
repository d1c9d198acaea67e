import numpy as np
import pytest

from onnxshallow.fitting.products import cross_product, gram, predict
from tests.networks import assert_near, signed

# Few unknowns go through numpy, many through scipy's BLAS; many rows are cut into blocks.
SIZES = [(1, 50, 5), (3, 50, 5), (1, 40, 80), (2, 40, 80), (1, 20_000, 4), (1, 20_000, 66)]


@pytest.mark.parametrize("shape", SIZES)
def test_gram_is_the_product_of_the_transpose_with_itself(shape):
    x = signed(shape)
    expected = x.astype(np.float64).transpose(0, 2, 1) @ x.astype(np.float64)
    assert_near(np.tril(gram(x)), np.tril(expected), 1e-5)


@pytest.mark.parametrize("shape", SIZES)
def test_cross_product_is_the_product_of_the_transpose_with_the_outputs(shape):
    x, y = signed(shape), signed((*shape[:2], 3), seed=1)
    expected = x.astype(np.float64).transpose(0, 2, 1) @ y.astype(np.float64)
    assert_near(cross_product(x, y), expected, 1e-5)


@pytest.mark.parametrize("shape", SIZES)
def test_predict_multiplies_by_the_weights_and_adds_the_bias(shape):
    groups, _, unknowns = shape
    x = signed(shape)
    weight = signed((groups, 3, unknowns), seed=1).astype(np.float64)
    bias = signed((groups, 3), seed=2).astype(np.float64)
    assert_near(predict(x, weight, bias), x @ weight.transpose(0, 2, 1) + bias[:, np.newaxis], 1e-5)


def test_sums_of_many_rows_keep_more_digits_than_float32():
    x = np.full((1, 300_000, 1), 1.1, dtype=np.float32)
    exact = 300_000 * float(np.float32(1.1)) ** 2
    assert gram(x)[0, 0, 0] == pytest.approx(exact, rel=2e-6)


@pytest.mark.parametrize("unknowns", [5, 80])
def test_what_varies_little_about_a_large_mean_is_kept(unknowns):
    """Covariances are as exact as those of the same numbers about zero, however the BLAS adds up."""
    x = signed((1, 20_000, unknowns)) + np.float32(60)
    y = np.float32(7) * x[:, :, :3] + np.float32(1000)
    mean_x, mean_y = (values.mean(axis=1, dtype=np.float64)[0] for values in (x, y))
    centred = x[0].astype(np.float64) - mean_x
    variance = gram(x)[0] / x.shape[1] - np.outer(mean_x, mean_x)
    assert_near(np.tril(variance), np.tril(centred.T @ centred) / x.shape[1], 1e-5)
    covariance = cross_product(x, y)[0] / x.shape[1] - np.outer(mean_x, mean_y)
    assert_near(covariance, centred.T @ (y[0] - mean_y) / x.shape[1], 1e-5)
