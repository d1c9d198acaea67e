import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxshallow.convolution import Convolution, convolve, dense, regroup
from onnxshallow.convolution.grouping import interior_response
from tests.convolution.convolution_cases import assert_close, convolutions, few, inputs, ranks


@few
@given(st.data())
def test_regrouping_changes_nothing(data):
    conv = data.draw(ranks.flatmap(convolutions))
    groups = data.draw(st.sampled_from([g for g in (1, 2, 4) if conv.groups % g == 0]))
    x = data.draw(inputs(conv))
    regrouped = regroup(conv, groups)
    assert regrouped.groups == groups
    assert regrouped.weight.shape[1] == conv.in_channels // groups
    assert_close(convolve(regrouped, x), convolve(conv, x))


def test_dense_is_block_diagonal():
    conv = dense(Convolution.of(np.array([[1, 2], [3, 4], [5, 6], [7, 8]]), groups=2))
    assert conv.groups == 1
    assert conv.weight.tolist() == [[1, 2, 0, 0], [3, 4, 0, 0], [0, 0, 5, 6], [0, 0, 7, 8]]


@pytest.mark.parametrize("groups", [0, 3, 8])
def test_groups_can_only_be_joined(groups):
    with pytest.raises(ValueError, match="cannot be written"):
        regroup(Convolution.of(np.ones((4, 1, 3)), groups=4), groups)


@few
@given(st.data())
def test_the_interior_response_is_that_to_a_constant_image(data):
    conv = data.draw(convolutions(2, pads=st.just(0), bias=False))
    vector = np.random.default_rng(data.draw(st.integers(0, 99))).normal(size=conv.in_channels)
    image = np.broadcast_to(vector.reshape(1, -1, 1, 1), (1, conv.in_channels, *conv.extent))
    assert_close(interior_response(conv, vector), convolve(conv, image).ravel())
