import numpy as np
import pytest

from onnxshallow.convolution import Convolution, averaged, averages_exactly, convolve, flattened


def made(kernel=(1, 1), groups=1, **options):
    random = np.random.default_rng(0)
    return Convolution.of(
        random.normal(size=(6, 4 // groups, *kernel)), random.normal(size=6), groups=groups, **options
    )


def averages(x):
    return x.mean(axis=tuple(range(2, x.ndim)), keepdims=True)


@pytest.mark.parametrize("groups", [1, 2])
def test_the_average_of_a_pointwise_convolution_is_one_of_the_average(groups):
    convolution, x = made(groups=groups), np.random.default_rng(1).normal(size=(2, 4, 5, 7))
    assert averages_exactly(convolution)
    np.testing.assert_allclose(convolve(averaged(convolution), averages(x)), averages(convolve(convolution, x)))
    linear = flattened(averaged(convolution))
    assert linear.rank == 0
    np.testing.assert_allclose(
        convolve(linear, averages(x)[..., 0, 0]), averages(convolve(convolution, x))[..., 0, 0]
    )


@pytest.mark.parametrize(
    "convolution",
    [made((3, 3), pads_begin=(1, 1)), made((2, 1)), made(strides=(2, 1)), made(pads_begin=(1, 0))],
    ids=["taps", "no padding", "a stride", "padding alone"],
)
def test_others_are_so_but_for_the_border(convolution):
    """And where all pixels are alike, with no border among what is read, they are so everywhere."""
    assert not averages_exactly(convolution)
    x = np.random.default_rng(1).normal(size=(2, 4, 5, 7))
    assert not np.allclose(convolve(averaged(convolution), averages(x)), averages(convolve(convolution, x)))
    inside = convolve(convolution, np.ones((1, 4, 9, 9)))[:, :, 3:4, 3:4]
    np.testing.assert_allclose(convolve(averaged(convolution), np.ones((1, 4, 1, 1))), inside)


def test_only_single_taps_are_linear_layers():
    with pytest.raises(ValueError, match=r"shape \(3, 3\) is no linear layer"):
        flattened(made((3, 3)))
