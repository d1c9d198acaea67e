import math
from dataclasses import replace
from functools import reduce
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxshallow.convolution import (
    Convolution,
    Form,
    balanced,
    compose,
    convolve,
    dense,
    form_of,
    low_rank,
    output_size,
    own_taps,
    spectra,
    split,
)
from tests.convolution.convolution_cases import assert_close, convolutions, few, inputs, many, seeds

TAPS = ("all", "rows", "none", "apart")


@st.composite
def ungrouped(draw):
    """Draw a convolution of one group over none to three axes, with up to eight outputs."""
    shape = draw(convolutions(draw(st.integers(0, 3)), in_channels=draw(st.integers(1, 4))))
    random = np.random.default_rng(draw(seeds))
    outputs = draw(st.integers(1, 8))
    weight = random.normal(size=(outputs, shape.in_channels, *shape.kernel_shape))
    return replace(shape, weight=weight, bias=random.normal(size=outputs), groups=1)


@st.composite
def forms(draw, conv, full=False):
    """Draw a form that a convolution may have, of full rank or any."""
    divisors = [groups for groups in range(1, conv.in_channels + 1) if conv.in_channels % groups == 0]
    taps = draw(st.sampled_from(TAPS))
    groups = 1 if taps == "apart" else draw(st.sampled_from(divisors))
    most = full_rank(conv, groups, taps)
    return Form(most if full else draw(st.integers(1, most)), groups, taps)


def full_rank(conv, groups=1, taps="all"):
    return spectra(conv, groups, taps).shape[1]


def matrix(conv):
    return conv.weight.reshape(conv.out_channels, -1)


def product(parts):
    """The kernel that the parts of a split make together, whatever is padded between them."""
    *first, last = (replace(dense(part), pads_begin=(0,) * part.rank, pads_end=(0,) * part.rank) for part in parts)
    return reduce(compose, [*(replace(part, bias=np.zeros(part.out_channels)) for part in first), last])


def after(parts, x):
    """What the parts make of x, one after the other."""
    return reduce(lambda values, part: convolve(part, values), parts, x)


def conv_2d(outputs=6, channels=4, seed=0, **options):
    random = np.random.default_rng(seed)
    return Convolution.of(random.normal(size=(outputs, channels, 3, 3)), random.normal(size=outputs), **options)


# What the two parts compute.


@many
@given(st.data())
def test_a_split_of_full_rank_changes_nothing_also_at_the_border(data):
    conv = data.draw(ungrouped())
    x = data.draw(inputs(conv))
    assert_close(after(split(conv, data.draw(forms(conv, full=True))), x), convolve(conv, x))


@many
@given(st.data())
def test_the_parts_have_the_form_that_was_asked_for(data):
    conv = data.draw(ungrouped())
    form = data.draw(forms(conv))
    parts = split(conv, form)
    first, second, last = parts[0], parts[1], parts[-1]
    assert len(parts) == form.parts
    assert (first.groups, first.in_channels, last.groups) == (form.groups, conv.in_channels, 1)
    assert first.out_channels == second.in_channels == last.in_channels == form.between == form.rank * form.groups
    assert last.out_channels == conv.out_channels
    assert (math.prod(first.kernel_shape), math.prod(second.kernel_shape)) == own_taps(conv, form.taps)
    found = form_of(*parts)
    assert found is not None  # another may look the same, as for kernels of one tap
    assert (found.rank, found.groups) == (form.rank, form.groups)


@pytest.mark.parametrize(
    ("taps", "first", "second"),
    [("all", (3, 3), (1, 1)), ("rows", (3, 1), (1, 3)), ("none", (1, 1), (3, 3)), ("apart", (1, 1), (3, 3))],
)
def test_taps_strides_and_pads_are_shared_out_axis_by_axis(taps, first, second):
    conv = conv_2d(strides=(2, 3), dilations=(2, 1), pads_begin=(1, 2), pads_end=(0, 1))
    parts = split(conv, Form(2, 1, taps))
    kernels = (first, second, (1, 1))[: len(parts)]
    assert tuple(part.kernel_shape for part in parts) == kernels
    for part, kernel in zip(parts, kernels, strict=True):
        for axis, size in enumerate(kernel):
            names = ("strides", "dilations", "pads_begin", "pads_end")
            found = [getattr(part, name)[axis] for name in names]
            assert found == ([getattr(conv, name)[axis] for name in names] if size > 1 else [1, 1, 0, 0])
    assert form_of(*parts) == Form(2, 1, taps)


@few
@given(st.data())
def test_the_output_has_the_size_that_it_had(data):
    conv = data.draw(ungrouped())
    spatial = data.draw(inputs(conv)).shape[2:]
    parts = split(conv, data.draw(forms(conv)))
    assert reduce(lambda size, part: output_size(part, size), parts, spatial) == output_size(conv, spatial)


@pytest.mark.parametrize("taps", TAPS)
@pytest.mark.parametrize("rank", [1, 3])
def test_an_input_of_zeros_still_makes_the_bias(rank, taps):
    conv = conv_2d(pads_begin=(1, 1))
    made = after(split(conv, Form(rank, 1, taps)), np.zeros((1, 4, 5, 5)))
    assert_close(made, np.broadcast_to(conv.bias.reshape(1, -1, 1, 1), made.shape).copy())


def test_the_convolution_that_is_split_stays_as_it_is():
    conv = conv_2d()
    weight, bias = conv.weight.copy(), conv.bias.copy()
    split(conv, Form(2, 2))
    np.testing.assert_array_equal(conv.weight, weight)
    np.testing.assert_array_equal(conv.bias, bias)


# How close they are to the convolution (Eckart and Young, 1936).


@many
@given(st.data())
def test_the_error_is_that_of_the_singular_values_left_out(data):
    conv = data.draw(ungrouped())
    form = data.draw(forms(conv))
    squares = spectra(conv, form.groups, form.taps)
    assert squares.sum() == pytest.approx(np.sum(conv.weight**2))
    left = matrix(conv) - matrix(product(split(conv, form)))
    assert np.sum(left**2) == pytest.approx(squares[:, form.rank :].sum(), rel=1e-6, abs=1e-9)


@few
@given(st.data())
def test_no_other_product_of_that_rank_is_closer(data):
    conv = data.draw(ungrouped())
    rank = data.draw(st.integers(1, full_rank(conv)))
    best = np.linalg.norm(matrix(conv) - matrix(product(split(conv, Form(rank)))))
    random = np.random.default_rng(data.draw(seeds))
    directions = np.linalg.qr(random.normal(size=(conv.out_channels, rank)))[0]
    other = directions @ np.linalg.lstsq(directions, matrix(conv), rcond=None)[0]
    assert best <= np.linalg.norm(matrix(conv) - other) + 1e-9


@few
@given(st.data())
def test_weights_of_a_form_lose_nothing_in_it(data):
    conv = data.draw(ungrouped())
    form = data.draw(forms(conv))
    low = replace(conv, weight=product(split(conv, form)).weight)
    x = data.draw(inputs(low))
    assert_close(after(split(low, form), x), convolve(low, x))


@pytest.mark.parametrize("taps", TAPS)
def test_more_rank_is_never_further_off(taps):
    conv = conv_2d(8, 4)
    full = full_rank(conv, 1, taps)
    parts = [split(conv, Form(rank, 1, taps)) for rank in range(1, full + 1)]
    errors = [np.linalg.norm(matrix(conv) - matrix(product(each))) for each in parts]
    assert all(later < earlier for earlier, later in pairwise(errors))
    assert errors[-1] < 1e-12


# What is no split.


@pytest.mark.parametrize("groups", [2, 4])
def test_a_convolution_of_groups_is_refused(groups):
    conv = Convolution.of(np.ones((4, 4 // groups, 3)), groups=groups)
    with pytest.raises(ValueError, match=f"of {groups} groups is not split"):
        split(conv, Form(1))


@pytest.mark.parametrize("groups", [0, 3, 8])
def test_groups_that_do_not_divide_the_channels_are_refused(groups):
    with pytest.raises(ValueError, match=f"4 input channels cannot be split into {groups} groups"):
        split(conv_2d(), Form(1, groups))


@pytest.mark.parametrize("rank", [-1, 0, 7])
def test_a_rank_that_is_none_is_refused(rank):
    with pytest.raises(ValueError, match=f"A rank of {rank} is not between 1 and 6"):
        split(conv_2d(6), Form(rank))


@pytest.mark.parametrize("shape", [(6, 4), (6, 2, 2), (6, 1, 2, 2), (6, 4, 1, 1, 1)])
def test_a_rank_beyond_the_inputs_under_the_kernel_is_refused(shape):
    conv = Convolution.of(np.random.default_rng(0).normal(size=shape))
    assert split(conv, Form(4))[0].out_channels == 4
    with pytest.raises(ValueError, match="A rank of 5 is not between 1 and 4"):
        split(conv, Form(5))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (conv_2d(), conv_2d(6, 6)),
        (conv_2d(), Convolution.of(np.ones((6, 3, 1, 1)), groups=2)),
        (conv_2d(), Convolution.of(np.ones((6, 6)))),
        (conv_2d(), Convolution.of(np.ones((6, 6, 1, 1)), strides=(2, 1))),
        (conv_2d(), Convolution.of(np.ones((6, 6, 1, 1)), pads_begin=(1, 0))),
    ],
)
def test_two_convolutions_that_share_an_axis_are_no_split(first, second):
    assert form_of(first, second) is None


@pytest.mark.parametrize(
    "changed",
    [
        {0: conv_2d(6, 4)},
        {0: Convolution.of(np.ones((6, 4, 1, 1)), strides=(2, 1))},
        {1: conv_2d(6, 6)},
        {1: Convolution.of(np.ones((12, 1, 3, 3)), groups=6)},
        {2: Convolution.of(np.ones((8, 3, 1, 1)), groups=2)},
        {2: Convolution.of(np.ones((8, 6, 1, 1)), pads_begin=(1, 0))},
        {2: Convolution.of(np.ones((8, 6)))},
    ],
)
def test_three_convolutions_whose_kernels_are_not_apart_are_no_split(changed):
    parts = dict(enumerate(split(conv_2d(8), Form(6, 1, "apart"))))
    assert form_of(*parts.values()) == Form(6, 1, "apart")
    assert form_of(*(parts | changed).values()) is None


@pytest.mark.parametrize("shape", [(2, 5, 9), (2, 9, 5), (1, 4, 4)])
def test_low_rank_is_the_truncated_singular_value_decomposition(shape):
    matrices = np.random.default_rng(0).normal(size=shape)
    directions, values, rows = np.linalg.svd(matrices, full_matrices=False)
    left, right = low_rank(matrices, 3)
    assert_close(left @ right, (directions[:, :, :3] * values[:, np.newaxis, :3]) @ rows[:, :3], 1e-9)
    assert_close(np.linalg.norm(left, axis=1), np.sqrt(values[:, :3]), 1e-9)
    assert_close(np.linalg.norm(right, axis=2), np.sqrt(values[:, :3]), 1e-9)


def test_low_rank_of_fewer_directions_than_asked_for_is_finite():
    matrix = np.outer([1.0, 2.0, 0.0], [0.0, 3.0, 1.0, 1.0])[np.newaxis]
    left, right = low_rank(matrix, 3)
    assert np.isfinite(left).all()
    assert np.isfinite(right).all()
    assert_close(left @ right, matrix, 1e-9)


def sizes_of(parts):
    """The largest weight of each part for each channel between them, (parts, channels)."""
    *others, last = parts
    by_channel = (*(part.weight for part in others), last.weight.swapaxes(0, 1))
    return np.stack([np.abs(weight.reshape(parts[0].out_channels, -1)).max(axis=1) for weight in by_channel])


@given(data=st.data(), sizes=st.lists(st.sampled_from([0.0, 1e-13, 1.0, 3e7]), min_size=256, max_size=256))
def test_balanced_parts_compute_the_same_with_weights_of_one_size(data, sizes):
    conv = data.draw(ungrouped())
    first, *others = split(conv, data.draw(forms(conv)))
    scales = np.array(sizes).reshape(2, 128)[:, : first.out_channels]
    parts = [replace(first, weight=first.weight * scales[0].reshape(-1, *(1,) * (conv.rank + 1)))]
    parts += [replace(part, weight=part.weight * scales[1].max()) for part in others]
    found = balanced(parts)
    np.testing.assert_allclose(
        reduce(compose, map(dense, found)).weight, reduce(compose, map(dense, parts)).weight, rtol=1e-9, atol=1e-300
    )
    made, left_out = sizes_of(found), ~np.all(sizes_of(parts) > 0, axis=0)
    assert np.all(made.max(axis=0) <= 4 * np.where(left_out, 1.0, made.min(axis=0)))
