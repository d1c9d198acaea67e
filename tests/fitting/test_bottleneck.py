from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxshallow.convolution import Convolution, compose, convolve, project, split
from onnxshallow.fitting.bottleneck import fit_bottleneck, principal_directions
from onnxshallow.fitting.patches import gather_outputs, gather_patches
from onnxshallow.fitting.regression import Rows, regress
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
    return float(np.mean((convolve(parts[1], convolve(parts[0], x)) - wanted) ** 2) / wanted.var())


def matrix(conv):
    """The weights (outputs, unknowns)."""
    return conv.weight.reshape(conv.out_channels, -1)


# Principal directions.


@few
@given(st.data())
def test_where_the_weights_favour_none_the_directions_are_those_of_the_singular_value_decomposition(data):
    values = uneven(data.draw(st.integers(20, 60)), 6, data.draw(seeds))
    rank = data.draw(st.integers(1, 6))
    turned = np.linalg.qr(np.random.default_rng(data.draw(seeds)).normal(size=(8, 6)))[0].T
    mean, directions = principal_directions(values, rank, turned)
    expected = np.linalg.svd(values - values.mean(axis=0, dtype=np.float64), full_matrices=False)[2][:rank].T
    np.testing.assert_allclose(mean, values.mean(axis=0, dtype=np.float64))
    np.testing.assert_allclose(directions.T @ directions, np.eye(rank), atol=1e-12)
    np.testing.assert_allclose(directions @ directions.T, expected @ expected.T, atol=1e-3)


def test_the_direction_of_largest_variance_comes_first():
    values = signed((500, 4)) * np.array([1, 5, 0.1, 2], dtype=np.float32)
    _, directions = principal_directions(values, 4, np.eye(4))
    assert np.argmax(np.abs(directions), axis=0).tolist() == [1, 3, 0, 2]


def test_what_the_directions_leave_is_the_variance_of_the_others():
    values = uneven(200, 5)
    mean, directions = principal_directions(values, 2, np.eye(5))
    centred = values - mean
    variances = np.linalg.eigvalsh(centred.T @ centred)
    left = np.sum((centred - centred @ directions @ directions.T) ** 2)
    assert left == pytest.approx(variances[:3].sum(), rel=1e-4)


def test_a_large_mean_hides_no_direction():
    values = signed((1000, 3)) * np.array([0.1, 1, 0.3], dtype=np.float32)
    mean, directions = principal_directions(values + np.float32(3000), 1, np.eye(3))
    np.testing.assert_allclose(mean, 3000, atol=0.2)
    np.testing.assert_allclose(np.abs(directions[:, 0]), [0, 1, 0], atol=0.02)


# What the weights say of directions, where rows are few.


def of_variances(rows, *variances):
    """Values (rows, N) with these variances, up to a factor, and no covariance."""
    steps = (np.arange(rows)[:, np.newaxis] + 0.5) * np.arange(1, len(variances) + 1)
    return (np.sqrt(variances) * np.cos(np.pi * steps / rows)).astype(np.float32)


@pytest.mark.parametrize(("rows", "expected"), [(3, 1), (4, 0)])
def test_the_weights_count_with_the_square_of_outputs_over_rows(rows, expected):
    weight = np.diag([0.0, 9.0])  # 0.7 + 0 and 0.3 + (2 / rows)^2 are equal at 3.2 rows
    _, directions = principal_directions(of_variances(rows, 0.7, 0.3), 1, weight)
    assert np.argmax(np.abs(directions[:, 0])) == expected


@few
@given(st.data())
def test_the_more_rows_the_less_the_weights_count(data):
    values, weight = uneven(12, 4, data.draw(seeds)), linear(4, 5, data.draw(seeds)).weight
    expected = principal_directions(values, 2, np.eye(4))[1]
    angles = []
    for copies in (1, 10, 1000):
        _, directions = principal_directions(np.tile(values, (copies, 1)), 2, weight)
        angles.append(np.sum((directions @ directions.T - expected @ expected.T) ** 2))
    assert angles[2] < 1e-3
    assert angles[2] <= angles[1] + 1e-6
    assert angles[1] <= angles[0] + 1e-6


@few
@given(st.data())
def test_neither_the_scale_of_the_weights_nor_that_of_the_values_counts(data):
    values, weight = uneven(5, 4, data.draw(seeds)), linear(4, 5, data.draw(seeds)).weight
    spans = [
        directions @ directions.T
        for directions in (
            principal_directions(values, 2, weight)[1],
            principal_directions(values, 2, 1e3 * weight)[1],
            principal_directions(np.float32(64) * values, 2, weight)[1],
        )
    ]
    np.testing.assert_allclose(spans[1], spans[0], atol=1e-4)
    np.testing.assert_allclose(spans[2], spans[0], atol=1e-4)


@pytest.mark.parametrize("rows", [1, 50])
def test_values_that_do_not_vary_leave_the_directions_of_the_weights(rows):
    weight = linear(5, 7).weight
    mean, directions = principal_directions(np.full((rows, 5), 2.5, np.float32), 3, weight)
    expected = np.linalg.svd(weight)[0][:, :3]
    np.testing.assert_array_equal(mean, 2.5)
    np.testing.assert_allclose(directions @ directions.T, expected @ expected.T, atol=1e-9)


def test_weights_of_zero_leave_the_directions_of_the_values():
    values = uneven(8, 5)
    found, expected = (principal_directions(values, 2, weight)[1] for weight in (np.zeros((5, 7)), np.eye(5)))
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-6)


@few
@given(st.data())
def test_the_directions_are_always_orthonormal(data):
    count, outputs = data.draw(st.integers(1, 8)), data.draw(st.integers(1, 8))
    values = signed((count, outputs), data.draw(seeds))
    rank = data.draw(st.integers(1, outputs))
    _, directions = principal_directions(values, rank, linear(outputs, 3, data.draw(seeds)).weight)
    assert directions.shape == (outputs, rank)
    np.testing.assert_allclose(directions.T @ directions, np.eye(rank), atol=1e-9)


# Projection alone, where rows are few.


@few
@given(st.data())
def test_with_all_directions_the_layer_stays_what_it_was(data):
    outputs, unknowns = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 6))
    whole = linear(outputs, unknowns, data.draw(seeds))
    count = data.draw(st.integers(2, 20))
    rows = Rows(signed((1, count, unknowns), 1), signed((1, count, outputs), 2))
    both = compose(*fit_bottleneck(whole, outputs, rows, 1e-3, few=True))
    assert_close(both.weight, whole.weight)
    assert_close(both.bias, whole.bias, 1e-6)


@pytest.mark.parametrize("rank", [1, 2, 4])
def test_with_few_rows_the_layer_is_projected_on_the_principal_directions(rank):
    whole = linear(5, 7)
    rows = Rows(signed((1, 30, 7)), uneven(30, 5)[np.newaxis])
    mean, directions = principal_directions(rows.targets[0], rank, matrix(whole))
    for made, expected in zip(
        fit_bottleneck(whole, rank, rows, 1e-3, few=True), project(whole, directions, mean), strict=True
    ):
        np.testing.assert_array_equal(made.weight, expected.weight)
        np.testing.assert_array_equal(made.bias, expected.bias)


def test_a_layer_that_explains_its_targets_loses_the_variance_left_out_and_no_more():
    whole = linear(6, 8)
    patches = uneven(300, 8)
    rows = Rows(patches[np.newaxis], (patches @ whole.weight.T + whole.bias).astype(np.float32)[np.newaxis])
    centred = rows.targets[0] - rows.targets[0].mean(axis=0, dtype=np.float64)
    variances = np.linalg.eigvalsh(centred.T @ centred)
    for rank in (1, 2, 3):
        projected = squared_error(rows, fit_bottleneck(whole, rank, rows, 1e-3, few=True))
        assert projected == pytest.approx(variances[: 6 - rank].sum(), rel=1e-3)


@few
@given(st.data())
def test_no_other_two_layers_of_that_rank_explain_more(data):
    seed, rank = data.draw(seeds), data.draw(st.integers(1, 5))
    whole, patches = linear(6, 8, seed), uneven(200, 8, seed)
    rows = Rows(patches[np.newaxis], (patches @ whole.weight.T + whole.bias).astype(np.float32)[np.newaxis])
    least = squared_error(rows, fit_bottleneck(whole, rank, rows, 1e-3, few=True))
    turned = np.linalg.qr(np.random.default_rng(seed).normal(size=(6, rank)))[0]
    scale = float(np.sum((rows.targets[0] - rows.targets[0].mean(axis=0)) ** 2))
    for other in (split(whole, rank), project(whole, turned, rows.targets[0].mean(axis=0, dtype=np.float64))):
        assert least <= squared_error(rows, other) + 1e-6 * scale


# The fit.


def low_rank(outputs, unknowns, rank):
    return replace(whole := linear(outputs, unknowns), weight=compose(*split(whole, rank)).weight)


@pytest.mark.parametrize("rank", [1, 3])
def test_a_layer_of_low_rank_is_recovered_from_what_it_makes(rank):
    true = low_rank(6, 8, rank)
    x = signed((600, 8))
    spoilt = linear(6, 8, seed=9)
    both = compose(*fit_bottleneck(spoilt, rank, rows_of(true, x), 1e-8))
    assert_close(both.weight, true.weight, 1e-3)
    assert_close(both.bias, true.bias, 1e-3)


def test_the_second_layer_turns_the_scores_back_into_outputs():
    rows = Rows(signed((1, 500, 7)), uneven(500, 5)[np.newaxis])
    narrow, wide = fit_bottleneck(linear(5, 7), 2, rows, 1e-3)
    mean, directions = principal_directions(rows.targets[0], 2, matrix(linear(5, 7)))
    np.testing.assert_array_equal(wide.weight, directions)
    np.testing.assert_array_equal(wide.bias, mean)
    scores = (rows.targets[0] - mean) @ directions
    start = project(linear(5, 7), directions, mean)[0]
    expected = regress(start, Rows(rows.patches, scores.astype(np.float32)[np.newaxis]), 1e-3).convolution
    assert_close(narrow.weight, expected.weight, 1e-4)
    assert_close(narrow.bias, expected.bias, 1e-4)


def test_a_strong_ridge_falls_back_to_the_layer_projected():
    whole = linear(5, 7)
    rows = Rows(signed((1, 500, 7)), uneven(500, 5)[np.newaxis])
    fitted, projected = (fit_bottleneck(whole, 2, rows, 1e6, few=few_rows)[0] for few_rows in (False, True))
    assert_close(fitted.weight, projected.weight, 1e-3)


def test_what_the_input_lost_is_made_up_for():
    whole = linear(6, 8)
    x = uneven(800, 8)
    rows = replace(rows_of(whole, x), patches=(0.5 * x - 1)[np.newaxis])
    fitted, projected = (squared_error(rows, fit_bottleneck(whole, 3, rows, 1e-6, few=few)) for few in (False, True))
    assert fitted < 0.05 * projected


def test_offsets_are_taken_off_the_targets():
    patches, targets, offsets = signed((1, 400, 7)), uneven(400, 5)[np.newaxis], signed((1, 400, 5), 3)
    whole = linear(5, 7)
    for few_rows in (False, True):
        made = fit_bottleneck(whole, 2, Rows(patches, targets, offsets, free_scale=True), 1e-3, few=few_rows)
        expected = fit_bottleneck(whole, 2, Rows(patches, targets - offsets), 1e-3, few=few_rows)
        for one, other in zip(made, expected, strict=True):
            assert_close(one.weight, other.weight, 1e-6)
            assert_close(one.bias, other.bias, 1e-6)


def test_the_rows_stay_as_they_are():
    rows = Rows(signed((1, 400, 7)), uneven(400, 5)[np.newaxis], signed((1, 400, 5), 3))
    before = [array.copy() for array in (rows.patches, rows.targets, rows.offsets)]
    fit_bottleneck(linear(5, 7), 2, rows, 1e-3)
    for array, earlier in zip((rows.patches, rows.targets, rows.offsets), before, strict=True):
        np.testing.assert_array_equal(array, earlier)


def test_outputs_that_do_not_vary_are_made_by_the_bias():
    rows = Rows(signed((1, 400, 7)), np.full((1, 400, 5), 2.5, np.float32))
    made = predicted(rows, fit_bottleneck(linear(5, 7), 2, rows, 1e-8))
    np.testing.assert_allclose(made, 2.5, atol=1e-3)


def test_an_input_that_does_not_vary_leaves_the_layer_projected():
    rows = Rows(np.full((1, 400, 7), 3, np.float32), uneven(400, 5)[np.newaxis])
    fitted, projected = (fit_bottleneck(linear(5, 7), 2, rows, 1e-3, few=few_rows) for few_rows in (False, True))
    np.testing.assert_array_equal(fitted[0].weight, projected[0].weight)


# On images.

GEOMETRIES = {
    "padded": dict(pads_begin=(1, 1)),
    "strided": dict(strides=(2, 2), pads_begin=(1, 1)),
    "dilated and padded unevenly": dict(dilations=(2, 1), pads_begin=(2, 0), pads_end=(1, 1)),
}


def smoother(count, seed=0):
    """Images (count, 4, 10, 10) that are smoother yet."""
    windows = np.lib.stride_tricks.sliding_window_view(smooth(count, 4, 14, seed), (5, 5), axis=(2, 3))
    return windows.mean(axis=(-1, -2))


def image_layer(rank=None, **geometry):
    random = np.random.default_rng(1)
    conv = Convolution.of(random.normal(size=(8, 4, 3, 3)), random.normal(size=8), **geometry)
    return conv if rank is None else replace(conv, weight=compose(*split(conv, rank)).weight)


@pytest.mark.parametrize("rank", [2, 4])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_the_fit_beats_the_split_of_the_weights_on_images_that_were_not_seen(name, rank):
    conv = image_layer(**GEOMETRIES[name])
    fitted = fit_bottleneck(conv, rank, rows_of(conv, smoother(32)), 1e-3)
    unseen = smoother(16, seed=1)
    assert image_error(conv, fitted, unseen) < 0.8 * image_error(conv, split(conv, rank), unseen)


@pytest.mark.parametrize("name", GEOMETRIES)
def test_the_first_layer_has_the_geometry_and_the_second_is_pointwise(name):
    conv = image_layer(**GEOMETRIES[name])
    narrow, wide = fit_bottleneck(conv, 3, rows_of(conv, smooth(8, 4, 10)), 1e-3)
    for attribute in ("kernel_shape", "strides", "dilations", "pads_begin", "pads_end", "in_channels", "groups"):
        assert getattr(narrow, attribute) == getattr(conv, attribute)
    assert (narrow.out_channels, wide.out_channels) == (3, 8)
    assert wide.is_pointwise


@pytest.mark.parametrize("name", GEOMETRIES)
def test_a_convolution_of_low_rank_is_recovered(name):
    true = image_layer(rank=2, **GEOMETRIES[name])
    spoilt = replace(true, weight=true.weight[::-1].copy())
    x = signed((24, 4, 10, 10))
    assert image_error(true, fit_bottleneck(spoilt, 2, rows_of(true, x), 1e-8), x) < 1e-6


def test_more_rank_is_never_further_off():
    conv, x = image_layer(pads_begin=(1, 1)), smooth(24, 4, 8)
    errors = [image_error(conv, fit_bottleneck(conv, rank, rows_of(conv, x), 1e-4), x) for rank in range(1, 9)]
    assert all(later < earlier for earlier, later in pairwise(errors))
    assert errors[-1] < 1e-6


# Rows that say little.


@pytest.mark.parametrize("count", [2, 6])
def test_fewer_rows_than_rank_do_no_harm(count):
    whole = low_rank(24, 32, 12)
    rows = rows_of(whole, signed((count, 32)))
    unseen = rows_of(whole, signed((500, 32), 1))
    assert squared_error(unseen, split(whole, 12)) < 1e-3
    assert squared_error(unseen, fit_bottleneck(whole, 12, rows, 1e-3, few=True)) < 1e-3


@pytest.mark.parametrize("few_rows", [False, True])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_targets_that_are_not_finite_leave_the_split_of_the_weights(value, few_rows):
    rows = Rows(signed((1, 100, 7)), signed((1, 100, 5), seed=1))
    rows.targets[0, 17, 1] = value
    made = fit_bottleneck(linear(5, 7), 2, rows, 1e-3, few=few_rows)
    for part, expected in zip(made, split(linear(5, 7), 2), strict=True):
        np.testing.assert_array_equal(part.weight, expected.weight)
        np.testing.assert_array_equal(part.bias, expected.bias)
        assert np.all(np.isfinite(part.weight))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_offsets_that_are_not_finite_leave_the_split_of_the_weights(value):
    rows = Rows(signed((1, 100, 7)), signed((1, 100, 5), seed=1), signed((1, 100, 5), seed=2))
    rows.offsets[0, 17, 1] = value
    for part, expected in zip(fit_bottleneck(linear(5, 7), 2, rows, 1e-3), split(linear(5, 7), 2), strict=True):
        np.testing.assert_array_equal(part.weight, expected.weight)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_inputs_that_are_not_finite_leave_the_layer_projected(value):
    rows = Rows(signed((1, 100, 7)), signed((1, 100, 5), seed=1))
    rows.patches[0, 17, 1] = value
    fitted, projected = (fit_bottleneck(linear(5, 7), 2, rows, 1e-3, few=few_rows) for few_rows in (False, True))
    np.testing.assert_array_equal(fitted[0].weight, projected[0].weight)
