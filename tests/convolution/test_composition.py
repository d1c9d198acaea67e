import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxshallow.convolution import Convolution, compose, composes_exactly, convolve, identity, output_size
from tests.convolution.convolution_cases import assert_close, chains, convolutions, inputs, many, signed_input


def random_conv(*shape, **options):
    random = np.random.default_rng(sum(shape))
    return Convolution.of(random.normal(size=shape), random.normal(size=shape[0]), **options)


@many
@given(st.data())
def test_exact_without_padding_between(data):
    first, second = data.draw(chains(pads=st.integers(-2, 0)))
    x = data.draw(inputs(first, second))
    assert_close(convolve(compose(first, second), x), convolve(second, convolve(first, x)))


@many
@given(st.data())
def test_output_size_and_groups_always_agree(data):
    first, second = data.draw(chains())
    spatial = data.draw(inputs(first, second)).shape[2:]
    composite = compose(first, second)
    assert output_size(composite, spatial) == output_size(second, output_size(first, spatial))
    assert composite.groups == math.gcd(first.groups, second.groups)


@many
@given(st.data())
def test_order_of_composition_does_not_matter(data):
    first, second = data.draw(chains())
    third = data.draw(convolutions(first.rank, in_channels=second.out_channels))
    left, right = compose(compose(first, second), third), compose(first, compose(second, third))
    for name in ("strides", "dilations", "pads_begin", "pads_end", "groups"):
        assert getattr(left, name) == getattr(right, name)
    assert_close(left.weight, right.weight)
    assert_close(left.bias, right.bias)


@many
@given(st.data())
def test_identity_is_neutral(data):
    conv = data.draw(st.integers(0, 2).flatmap(convolutions))
    for composite in (
        compose(identity(conv.in_channels, conv.rank), conv),
        compose(conv, identity(conv.out_channels, conv.rank)),
    ):
        assert composite.groups == conv.groups
        assert (composite.pads_begin, composite.pads_end) == (conv.pads_begin, conv.pads_end)
        assert composite.extent == conv.extent
        assert np.array_equal(composite.weight, conv.weight)
        assert np.array_equal(composite.bias, conv.bias)


def test_three_by_three_with_stride_two_then_three_by_three():
    composite = compose(
        random_conv(4, 2, 3, 3, strides=(2, 2), pads_begin=(1, 1)), random_conv(3, 4, 3, 3, pads_begin=(1, 1))
    )
    assert composite.weight.shape == (3, 2, 7, 7)
    assert (composite.strides, composite.dilations) == ((2, 2), (1, 1))
    assert composite.pads_begin == composite.pads_end == (3, 3)


@pytest.mark.parametrize(
    ("first", "second", "kernel", "dilation"),
    [
        ({"kernel": 3, "dilation": 2}, {"kernel": 3, "dilation": 2}, 5, 2),
        ({"kernel": 1, "dilation": 5}, {"kernel": 3, "dilation": 2}, 3, 2),
        ({"kernel": 1, "stride": 2}, {"kernel": 3}, 3, 2),
        ({"kernel": 3, "dilation": 4}, {"kernel": 1, "dilation": 7}, 3, 4),
        ({"kernel": 1, "dilation": 3}, {"kernel": 1, "dilation": 7}, 1, 1),
        ({"kernel": 2, "stride": 2}, {"kernel": 2}, 4, 1),
        ({"kernel": 2, "dilation": 4}, {"kernel": 2, "dilation": 6}, 6, 2),
    ],
)
def test_taps_lie_on_the_widest_common_grid(first, second, kernel, dilation):
    convs = [
        random_conv(1, 1, c["kernel"], dilations=[c.get("dilation", 1)], strides=[c.get("stride", 1)])
        for c in (first, second)
    ]
    composite = compose(*convs)
    assert (composite.kernel_shape, composite.dilations) == ((kernel,), (dilation,))


@pytest.mark.parametrize(("g1", "g2", "groups"), [(4, 4, 4), (8, 8, 8), (1, 8, 1), (8, 1, 1), (8, 4, 4), (2, 8, 2)])
def test_common_groups_stay(g1, g2, groups):
    first, second = random_conv(8, 8 // g1, 3, groups=g1), random_conv(8, 8 // g2, 3, groups=g2)
    composite = compose(first, second)
    x = signed_input(first, (9,))
    assert composite.groups == groups
    assert_close(convolve(composite, x), convolve(second, convolve(first, x)))


def test_three_dimensions():
    first = random_conv(4, 2, 2, 1, 3, strides=(1, 2, 1), pads_begin=(1, 0, 2))
    second = random_conv(3, 4, 2, 3, 1, dilations=(1, 1, 2))
    x = signed_input(first, (4, 7, 3))
    assert composes_exactly(first, second)
    assert_close(convolve(compose(first, second), x), convolve(second, convolve(first, x)))


@pytest.mark.parametrize(
    ("second", "message"), [((2, 5, 3), "reads 5"), ((2, 4, 3, 3), "the second 2"), ((2, 4), "the second 0")]
)
def test_layers_that_do_not_chain_are_refused(second, message):
    with pytest.raises(ValueError, match=message):
        compose(random_conv(4, 2, 3), random_conv(*second))
