"""In which order layers can do without channels."""

import numpy as np
import pytest

from onnxshallow.convolution import Convolution
from onnxshallow.fitting.elimination import Reader, elimination_order
from onnxshallow.fitting.normal_equations import System
from onnxshallow.fitting.patches import gather_patches
from tests.networks import signed, smooth


def reader(convolution, x, channels=None, ridge=1e-9):
    patches = gather_patches(x, convolution, None)
    sums = System.of(patches, np.zeros((1, patches.shape[1], 0), np.float32))
    return Reader.of(convolution, sums, channels or convolution.in_channels, ridge)


def left_error(convolution, x, kept):
    """What is left of the squared error when some channels are fitted to what all made."""
    patches = gather_patches(x, convolution, None)[0].astype(np.float64)
    each = patches.shape[1] // convolution.in_channels
    columns = patches.reshape(len(patches), each, -1)
    weight = convolution.weight.reshape(len(convolution.weight), convolution.in_channels, each)
    made = np.einsum("rec,oce->ro", columns, weight)
    some = columns[:, :, list(kept)].reshape(len(patches), -1)
    some, made = some - some.mean(0), made - made.mean(0)
    found = np.linalg.lstsq(some, made, rcond=None)[0]
    return float(np.sum((made - some @ found) ** 2))


@pytest.mark.parametrize("kernel", [1, 3])
def test_the_first_to_go_costs_least_of_all(kernel):
    convolution = Convolution.of(signed((5, 6, kernel, kernel)), pads_begin=(kernel // 2,) * 2)
    x = smooth(40, 6, 8) * np.linspace(0.5, 2, 6).reshape(1, -1, 1, 1).astype(np.float32)
    order = elimination_order([reader(convolution, x)])
    errors = [left_error(convolution, x, [c for c in range(6) if c != gone]) for gone in range(6)]
    assert order[0] == np.argmin(errors)
    kept = [c for c in range(6) if c != order[0]]
    errors = {gone: left_error(convolution, x, [c for c in kept if c != gone]) for gone in kept}
    assert order[1] == min(errors, key=errors.get)


def test_what_others_make_up_for_goes_first():
    x = smooth(40, 8, 8)
    x[:, 3] = 2 * x[:, 5] - x[:, 1]
    order = elimination_order([reader(Convolution.of(signed((4, 8, 3, 3))), x, ridge=1e-7)])
    assert order[0] in (1, 3, 5)
    assert sorted(order) == list(range(8))


def test_every_reader_counts_whatever_its_scale():
    x = smooth(40, 4, 8)
    weight = np.zeros((2, 4, 1, 1))
    weight[:, :2] = 1.0
    weight[1, 1] = -1.0
    first, second = Convolution.of(weight), Convolution.of(1e-3 * weight[:, ::-1])
    assert set(elimination_order([reader(first, x)])[:2]) == {2, 3}
    assert set(elimination_order([reader(second, x)])[:2]) == {0, 1}
    both = [
        elimination_order([reader(first, x), reader(Convolution.of(scale * second.weight), x)]) for scale in (1, 99)
    ]
    np.testing.assert_array_equal(*both)


def test_few_rows_go_by_the_weights():
    weight = signed((4, 8, 3, 3)) * np.linspace(1, 8, 8).reshape(1, -1, 1, 1)
    order = elimination_order([reader(Convolution.of(weight), smooth(1, 8, 4))])
    np.testing.assert_array_equal(order, np.argsort(np.square(weight).sum((0, 2, 3))))


def test_a_flattened_input_has_a_run_of_elements_for_each_channel():
    random = np.random.default_rng(0)
    x = random.normal(size=(200, 12)).astype(np.float32)
    x[:, 4:8] *= 1e-3
    order = elimination_order([reader(Convolution.of(random.normal(size=(3, 12))), x, channels=3)])
    assert order[0] == 1


def test_many_channels_go_a_few_at_a_time():
    random = np.random.default_rng(0)
    x = random.normal(size=(2000, 256)).astype(np.float32)
    weight = random.normal(size=(3, 256)) * np.linspace(1, 64, 256)
    order = elimination_order([reader(Convolution.of(weight), x)])
    assert sorted(order) == list(range(256))
    assert np.mean(order[:64]) < np.mean(order[-64:])
    np.testing.assert_array_equal(order, elimination_order([reader(Convolution.of(weight), x)]))


def test_channels_that_do_not_vary_go_first():
    x = smooth(40, 4, 8)
    x[:, 2] = 7.0
    assert elimination_order([reader(Convolution.of(signed((3, 4, 3, 3))), x)])[0] == 2
    x[:] = 7.0
    assert sorted(elimination_order([reader(Convolution.of(signed((3, 4, 3, 3))), x)])) == [0, 1, 2, 3]
    x[:] = 0.0
    assert sorted(elimination_order([reader(Convolution.of(signed((3, 4, 3, 3))), x)])) == [0, 1, 2, 3]
