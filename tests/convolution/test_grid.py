import numpy as np
import pytest

from onnxshallow.convolution.grid import common_dilation, grid_shape, grid_window, progression, spatial_index


@pytest.mark.parametrize(("start", "count", "step"), [(0, 1, 1), (2, 3, 4), (5, 1, 9)])
def test_progression_picks_exactly_its_entries(start, count, step):
    assert np.arange(50)[progression(start, count, step)].tolist() == [start + i * step for i in range(count)]


@pytest.mark.parametrize(("distances", "expected"), [((4, 6), 2), ((0, 3), 3), ((0, 0), 1), ((), 1)])
def test_common_dilation(distances, expected):
    assert common_dilation(*distances) == expected


def test_a_kernel_is_laid_into_a_finer_grid():
    assert grid_shape([9, 1], [2, 1]) == (5, 1)
    larger = np.zeros((1, 1, 5, 1))
    larger[grid_window([4, 0], [2, 1], [4, 7], [2, 1])] += 1
    assert larger.ravel().tolist() == [0, 0, 1, 0, 1]


def test_spatial_index_leaves_leading_axes_alone():
    values = np.arange(24).reshape(2, 3, 4)
    assert np.array_equal(values[spatial_index([1])], values[:, :, 1])
