from dataclasses import replace
from functools import reduce
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxshallow.convolution import Convolution, Form, compose, convolve, split
from onnxshallow.fitting.bottleneck import fit_bottleneck
from onnxshallow.fitting.patches import gather_outputs, gather_patches
from onnxshallow.fitting.regression import Rows
from tests.convolution.convolution_cases import assert_close, few, seeds
from tests.networks import signed, smooth


def linear(outputs, unknowns, seed=5):
    random = np.random.default_rng(seed)
    return Convolution.of(random.normal(size=(outputs, unknowns)), random.normal(size=outputs))


def uneven(rows, columns, seed=0):
    """Rows whose directions differ in variance by a factor of two from one to the next, about a mean of three."""
    random = np.random.default_rng(seed)
    mixed = random.normal(size=(rows, columns)) * 2.0 ** -np.arange(columns) @ random.normal(size=(columns, columns))
    return (mixed + 3).astype(np.float32)


def rows_of(conv, x):
    """The rows on which `conv` is fitted to what it makes of `x`."""
    return Rows(gather_patches(x, conv, None), gather_outputs(convolve(conv, x).astype(np.float32), 1, None))


def predicted(rows, parts):
    """What two linear layers make of the rows."""
    both = compose(*parts)
    return rows.patches[0].astype(np.float64) @ both.weight.T + both.bias


def squared_error(rows, parts):
    return float(np.sum((predicted(rows, parts) - rows.residual_targets()[0]) ** 2))


def image_error(conv, parts, x):
    """The squared error of the two parts over the variance of what `conv` makes."""
    wanted = convolve(conv, x)
    made = reduce(lambda values, part: convolve(part, values), parts, x)
    return float(np.mean((made - wanted) ** 2) / wanted.var())


def matrix(conv):
    """The weights (outputs, unknowns)."""
    return conv.weight.reshape(conv.out_channels, -1)


def fitted(whole, rank, rows, ridge, few=False, groups=1, taps="all"):
    """The fit of the parts of a form, which begin with other weights."""
    parts = split(whole, Form(rank, groups, taps))
    blank = tuple(replace(part, weight=np.ones_like(part.weight)) for part in parts)
    return fit_bottleneck(whole, blank, rows, ridge, few=few)


def low_rank(outputs, unknowns, rank):
    return replace(whole := linear(outputs, unknowns), weight=compose(*split(whole, Form(rank))).weight)


# Where rows are few, the whole is what it was, seen through what it reads.


@few
@given(st.data())
def test_of_full_rank_the_layer_stays_what_it_was(data):
    outputs, unknowns = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 6))
    whole = linear(outputs, unknowns, data.draw(seeds))
    count = data.draw(st.integers(2, 20))
    rows = Rows(signed((1, count, unknowns), 1), signed((1, count, outputs), 2))
    both = compose(*fitted(whole, min(outputs, unknowns), rows, 1e-3, few=True))
    assert_close(both.weight, whole.weight, 1e-5)
    assert_close(both.bias, whole.bias, 1e-5)


def test_a_layer_that_explains_its_targets_loses_the_variance_left_out_and_no_more():
    whole = linear(6, 8)
    patches = uneven(300, 8)
    rows = Rows(patches[np.newaxis], (patches @ whole.weight.T + whole.bias).astype(np.float32)[np.newaxis])
    centred = rows.targets[0] - rows.targets[0].mean(axis=0, dtype=np.float64)
    variances = np.linalg.eigvalsh(centred.T @ centred)
    for rank in (1, 2, 3):
        error = squared_error(rows, fitted(whole, rank, rows, 1e-3, few=True))
        assert variances[: 6 - rank].sum() * 0.999 <= error <= variances[: 6 - rank].sum() * 1.05


@pytest.mark.parametrize("count", [2, 6])
def test_fewer_rows_than_rank_do_no_harm(count):
    whole = low_rank(24, 32, 12)
    unseen = rows_of(whole, signed((500, 32), 1))
    assert squared_error(unseen, split(whole, Form(12))) < 1e-3
    assert squared_error(unseen, fitted(whole, 12, rows_of(whole, signed((count, 32))), 1e-3, few=True)) < 1e-2


# The fit.


@pytest.mark.parametrize("rank", [1, 3])
def test_a_layer_of_low_rank_is_recovered_from_what_it_makes(rank):
    true = low_rank(6, 8, rank)
    x = signed((600, 8))
    both = compose(*fitted(linear(6, 8, seed=9), rank, rows_of(true, x), 1e-8))
    assert_close(both.weight, true.weight, 1e-3)
    assert_close(both.bias, true.bias, 1e-3)


def test_what_the_input_lost_is_made_up_for():
    whole = linear(6, 8)
    x = uneven(800, 8)
    rows = replace(rows_of(whole, x), patches=(0.5 * x - 1)[np.newaxis])
    anew, as_before = (squared_error(rows, fitted(whole, 3, rows, 1e-6, few)) for few in (False, True))
    assert anew < 0.05 * as_before


def test_a_strong_ridge_falls_back_to_the_layer_as_it_was():
    whole = linear(5, 7)
    rows = Rows(signed((1, 500, 7)), uneven(500, 5)[np.newaxis])
    strong, unfitted = (fitted(whole, 2, rows, 1e6, few) for few in (False, True))
    assert_close(compose(*strong).weight, compose(*unfitted).weight, 1e-3)


def test_offsets_are_taken_off_the_targets():
    patches, targets, offsets = signed((1, 400, 7)), uneven(400, 5)[np.newaxis], signed((1, 400, 5), 3)
    whole = linear(5, 7)
    made = fitted(whole, 2, Rows(patches, targets, offsets, free_scale=True), 1e-3)
    expected = fitted(whole, 2, Rows(patches, targets - offsets), 1e-3)
    for one, other in zip(made, expected, strict=True):
        assert_close(one.weight, other.weight, 1e-6)
        assert_close(one.bias, other.bias, 1e-6)


def test_the_rows_stay_as_they_are():
    rows = Rows(signed((1, 400, 7)), uneven(400, 5)[np.newaxis], signed((1, 400, 5), 3))
    before = [array.copy() for array in (rows.patches, rows.targets, rows.offsets)]
    fitted(linear(5, 7), 2, rows, 1e-3)
    for array, earlier in zip((rows.patches, rows.targets, rows.offsets), before, strict=True):
        np.testing.assert_array_equal(array, earlier)


def test_outputs_that_do_not_vary_are_made_by_the_bias():
    rows = Rows(signed((1, 400, 7)), np.full((1, 400, 5), 2.5, np.float32))
    made = predicted(rows, fitted(linear(5, 7), 2, rows, 1e-8))
    np.testing.assert_allclose(made, 2.5, atol=1e-3)


def test_the_mean_of_the_outputs_is_hit_whatever_the_rank():
    rows = Rows(uneven(400, 7)[np.newaxis], uneven(400, 5, 1)[np.newaxis])
    made = predicted(rows, fitted(linear(5, 7), 1, rows, 1e-8))
    np.testing.assert_allclose(made.mean(axis=0), rows.targets[0].mean(axis=0), atol=1e-3)


# On images.

GEOMETRIES = {
    "padded": dict(pads_begin=(1, 1)),
    "strided": dict(strides=(2, 2), pads_begin=(1, 1)),
    "dilated and padded unevenly": dict(dilations=(2, 1), pads_begin=(2, 0), pads_end=(1, 1)),
}
FORMS = {
    "one group": Form(2),
    "two groups": Form(2, 2),
    "rows": Form(3, 1, "rows"),
    "none": Form(2, 1, "none"),
    "apart": Form(6, 1, "apart"),
}


def smoother(count, seed=0):
    """Images (count, 4, 10, 10) that are smoother yet."""
    windows = np.lib.stride_tricks.sliding_window_view(smooth(count, 4, 14, seed), (5, 5), axis=(2, 3))
    return windows.mean(axis=(-1, -2))


def image_layer(form=None, **geometry):
    random = np.random.default_rng(1)
    conv = Convolution.of(random.normal(size=(8, 4, 3, 3)), random.normal(size=8), **geometry)
    if form is None:
        return conv
    parts = split(replace(conv, pads_begin=(0, 0), pads_end=(0, 0)), form)
    return replace(conv, weight=reduce(compose, parts).weight)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("name", GEOMETRIES)
def test_the_fit_beats_the_split_of_the_weights(name, form):
    conv, x = image_layer(**GEOMETRIES[name]), smoother(32)
    made = fitted(conv, form.rank, rows_of(conv, x), 1e-3, False, form.groups, form.taps)
    assert image_error(conv, made, x) < 0.9 * image_error(conv, split(conv, form), x)


@pytest.mark.parametrize("rank", [2, 4])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_so_it_does_on_images_that_were_not_seen(name, rank):
    conv = image_layer(**GEOMETRIES[name])
    made = fitted(conv, rank, rows_of(conv, smoother(32)), 1e-3)
    unseen = smoother(16, seed=1)
    assert image_error(conv, made, unseen) < 0.8 * image_error(conv, split(conv, Form(rank)), unseen)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("name", GEOMETRIES)
def test_the_parts_move_as_those_of_the_weights_do(name, form):
    conv = image_layer(**GEOMETRIES[name])
    made = fitted(conv, form.rank, rows_of(conv, smooth(8, 4, 10)), 1e-3, False, form.groups, form.taps)
    for one, other in zip(made, split(conv, form), strict=True):
        assert one.weight.shape == other.weight.shape
        for attribute in ("strides", "dilations", "pads_begin", "pads_end", "groups"):
            assert getattr(one, attribute) == getattr(other, attribute)
    for part in made[:-1]:
        np.testing.assert_array_equal(part.bias, 0)  # the next pads with zeros


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("name", GEOMETRIES)
def test_a_convolution_of_that_form_is_nearly_recovered(name, form):
    true = image_layer(form, **GEOMETRIES[name])
    spoilt = replace(true, weight=true.weight[::-1].copy())
    x = signed((24, 4, 10, 10))
    made = fitted(spoilt, form.rank, rows_of(true, x), 1e-8, False, form.groups, form.taps)
    assert image_error(true, made, x) < 1e-3


def test_more_rank_is_never_further_off():
    conv, x = image_layer(pads_begin=(1, 1)), smooth(24, 4, 8)
    errors = [image_error(conv, fitted(conv, rank, rows_of(conv, x), 1e-4), x) for rank in range(1, 9)]
    assert all(later < earlier for earlier, later in pairwise(errors))
    assert errors[-1] < 1e-4


# Rows that say nothing.


@pytest.mark.parametrize("part", ["targets", "patches", "offsets"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_leave_the_split_of_the_weights(value, part):
    rows = Rows(signed((1, 100, 7)), signed((1, 100, 5), seed=1), signed((1, 100, 5), seed=2))
    getattr(rows, part)[0, 17, 1] = value
    for found, expected in zip(fitted(linear(5, 7), 2, rows, 1e-3), split(linear(5, 7), Form(2)), strict=True):
        np.testing.assert_array_equal(found.weight, expected.weight)
        np.testing.assert_array_equal(found.bias, expected.bias)


@pytest.mark.parametrize("few_rows", [False, True])
def test_an_input_that_does_not_vary_leaves_finite_weights(few_rows):
    rows = Rows(np.full((1, 400, 7), 3, np.float32), uneven(400, 5)[np.newaxis])
    both = compose(*fitted(linear(5, 7), 2, rows, 1e-3, few=few_rows))
    assert np.all(np.isfinite(both.weight))
    expected = linear(5, 7).weight @ np.full(7, 3.0) + linear(5, 7).bias
    np.testing.assert_allclose(both.weight @ np.full(7, 3.0) + both.bias, expected, atol=1e-4)


def test_two_convolutions_that_are_no_split_are_refused():
    conv = image_layer()
    with pytest.raises(ValueError, match="no split of one"):
        fit_bottleneck(conv, (conv, image_layer()), rows_of(conv, smooth(8, 4, 10)), 1e-3)
