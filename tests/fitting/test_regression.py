import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxshallow.convolution import Convolution, compose, convolve, resize_kernel
from onnxshallow.fitting.patches import gather_outputs, gather_patches
from onnxshallow.fitting.rectifier import Rectifier
from onnxshallow.fitting.regression import Rows, bytes_needed, bytes_of_row, regress
from tests.convolution.convolution_cases import assert_close, many, seeds
from tests.networks import signed


def refit(*arguments, **options):
    return regress(*arguments, **options).convolution


def closed_form(patches, targets, start, ridge):
    """Ridge regression of one group, centred on `start` (outputs x unknowns), bias unpenalised, in plain numpy."""
    x, t = patches.astype(np.float64), targets.astype(np.float64)
    x_mean, t_mean = x.mean(axis=0), t.mean(axis=0)
    x, t = x - x_mean, t - t_mean
    gram = x.T @ x
    strength = ridge * np.trace(gram) / len(gram)
    weight = start + np.linalg.solve(gram + strength * np.eye(len(gram)), x.T @ (t - x @ start.T)).T
    return weight, t_mean - weight @ x_mean


def linear(outputs, unknowns, seed=5, groups=1):
    random = np.random.default_rng(seed)
    return Convolution.of(
        random.normal(size=(outputs, unknowns // groups)), random.normal(size=outputs), groups=groups
    )


def rectified_error(rows, fitted, upper=np.inf):
    z = rows.patches[0].astype(np.float64) @ fitted.weight.T + fitted.bias
    if rows.offsets is not None:
        z = z + rows.offsets[0]
    return float(np.sum((np.clip(rows.targets[0], 0, upper) - np.clip(z, 0, upper)) ** 2))


@pytest.mark.parametrize("ridge", [1e-6, 1e-3, 1.0, 100.0])
@pytest.mark.parametrize("unknowns", [7, 90])
def test_the_fit_is_the_closed_form_ridge_solution_centred_on_the_given_weights(ridge, unknowns):
    rows = Rows(signed((1, 4000, unknowns)) + 0.5, signed((1, 4000, 3), seed=1) + 2)
    conv = linear(3, unknowns)
    fitted = refit(conv, rows, ridge)
    weight, bias = closed_form(rows.patches[0], rows.targets[0], conv.weight, ridge)
    assert_close(fitted.weight, weight, 1e-4)
    assert_close(fitted.bias, bias, 1e-4)


def test_the_bias_is_not_penalised():
    rows = Rows(signed((1, 300, 4)), signed((1, 300, 2), seed=1) + 50)
    conv = replace(linear(2, 4), weight=np.zeros((2, 4)))
    fitted = refit(conv, rows, 1e5)
    np.testing.assert_allclose(fitted.weight, 0, atol=1e-3)
    np.testing.assert_allclose(fitted.bias, rows.targets[0].mean(axis=0), rtol=1e-4)


def test_a_strong_ridge_falls_back_to_the_given_weights():
    conv = linear(2, 4)
    rows = Rows(signed((1, 300, 4)), signed((1, 300, 2), seed=1))
    assert_close(refit(conv, rows, 1e5).weight, conv.weight, 1e-3)


def test_each_group_is_a_regression_of_its_own():
    rows = Rows(signed((3, 200, 4)), signed((3, 200, 2), seed=1))
    conv = linear(6, 12, groups=3)
    fitted = refit(conv, rows, 1e-2)
    for group in range(3):
        part = slice(2 * group, 2 * group + 2)
        weight, bias = closed_form(rows.patches[group], rows.targets[group], conv.weight[part], 1e-2)
        assert_close(fitted.weight[part], weight, 1e-4)
        assert_close(fitted.bias[part], bias, 1e-4)


def test_a_depthwise_convolution_is_recovered_from_what_it_makes():
    random = np.random.default_rng(0)
    true = Convolution.of(random.normal(size=(4, 1, 3, 3)), random.normal(size=4), groups=4, pads_begin=(1, 1))
    x = signed((20, 4, 6, 6))
    rows = Rows(gather_patches(x, true, None), gather_outputs(convolve(true, x), 4, None))
    fitted = refit(replace(true, weight=np.zeros((4, 1, 3, 3))), rows, 1e-8)
    assert_close(fitted.weight, true.weight, 1e-4)


def test_offsets_count_as_part_of_what_is_made():
    rows = Rows(signed((1, 200, 4)), signed((1, 200, 2), seed=1), signed((1, 200, 2), seed=2))
    moved = Rows(rows.patches, rows.targets - rows.offsets)
    conv = linear(2, 4)
    assert_close(refit(conv, rows, 1e-3).weight, refit(conv, moved, 1e-3).weight, 1e-6)


def test_rank_deficient_input_raises_the_ridge_and_stays_finite():
    base = signed((1, 500, 3))
    patches = np.concatenate([base, base, np.zeros_like(base)], axis=2)
    target = base @ np.array([[1.0], [-2.0], [3.0]], dtype=np.float32)
    fitted = refit(linear(1, 9), Rows(patches, target), 0.0)
    assert np.all(np.isfinite(fitted.weight))
    assert_close(patches[0] @ fitted.weight.T + fitted.bias, target[0].astype(np.float64), 1e-3)


def test_fewer_rows_than_unknowns_stay_finite():
    fitted = refit(linear(2, 50), Rows(signed((1, 10, 50)), signed((1, 10, 2))), 0.0)
    assert np.all(np.isfinite(fitted.weight))


@pytest.mark.parametrize("value", [0.0, 0.1, -1000.0, 1e-6])
@pytest.mark.parametrize("unknowns", [9, 100])
def test_a_constant_input_returns_the_given_convolution(value, unknowns):
    conv = linear(2, unknowns)
    rows = Rows(np.full((1, 40_000, unknowns), value, dtype=np.float32), signed((1, 40_000, 2)))
    assert refit(conv, rows, 1e-3) is conv


def test_a_group_with_a_constant_input_stays_as_it_is_and_the_others_are_fitted():
    patches, targets = signed((3, 200, 4)), signed((3, 200, 2), seed=1)
    patches[1] = 0
    conv = linear(6, 12, groups=3)
    fitted = refit(conv, Rows(patches, targets), 1e-3, rectifier=Rectifier())
    np.testing.assert_array_equal(fitted.weight[2:4], conv.weight[2:4])
    np.testing.assert_array_equal(fitted.bias[2:4], conv.bias[2:4])
    assert np.all(fitted.weight[[0, 1, 4, 5]] != conv.weight[[0, 1, 4, 5]])


@pytest.mark.parametrize("rectifier", [None, Rectifier(), Rectifier(6.0)])
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["patches", "targets"])
def test_values_that_are_not_finite_return_the_given_convolution(where, value, rectifier):
    arrays = {"patches": signed((1, 100, 4)), "targets": signed((1, 100, 2), seed=1)}
    arrays[where][0, 17, 1] = value
    conv = linear(2, 4)
    assert refit(conv, Rows(**arrays), 1e-3, rectifier=rectifier) is conv


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_large_values_warn_of_nothing():
    rows = Rows(signed((1, 100, 4)) * 1e4, signed((1, 100, 2), seed=1) * 1e4)
    assert np.all(np.isfinite(refit(linear(2, 4), rows, 1e-3, rectifier=Rectifier()).weight))


def test_with_few_rows_the_ridge_that_predicts_held_out_rows_best_is_used():
    rows = Rows(signed((1, 120, 8)), signed((1, 120, 1), seed=1))  # nothing to learn but the mean
    conv = replace(linear(1, 8), weight=np.zeros((1, 8)))
    weights = [closed_form(rows.patches[0], rows.targets[0], conv.weight, 1e-3 * 10**power)[0] for power in range(5)]
    (chosen,) = (p for p in range(5) if np.allclose(refit(conv, rows, 1e-3).weight, weights[p], rtol=1e-3))
    held_out = []
    for power in range(5):
        weight, bias = closed_form(rows.patches[0, :90], rows.targets[0, :90], conv.weight, 1e-3 * 10**power)
        held_out.append(np.sum((rows.patches[0, 90:] @ weight.T + bias - rows.targets[0, 90:]) ** 2))
    assert chosen == np.argmin(held_out)
    assert chosen > 0


@pytest.mark.parametrize(("noise", "power"), [(0.0, 0), (1e3, 4)], ids=["no noise", "noise alone"])
def test_the_ridge_may_be_the_weakest_or_the_strongest_of_all(noise, power):
    conv = linear(2, 60)
    patches = signed((1, 120, 60))
    made = patches[0] @ conv.weight.T + noise * signed((120, 2), seed=1)
    rows, start = Rows(patches, made[np.newaxis].astype(np.float32)), replace(conv, weight=0 * conv.weight)
    weight, _ = closed_form(rows.patches[0], rows.targets[0], start.weight, 1e-3 * 10**power)
    assert_close(refit(start, rows, 1e-3).weight, weight, 1e-4)


def test_parts_of_the_rows_keep_their_offsets():
    rows = Rows(signed((2, 10, 4)), signed((2, 10, 3), 1), signed((2, 10, 3), 2), free_scale=True)
    part, outputs = rows.part(slice(2, 5)), rows.outputs(slice(None, None, 2))
    np.testing.assert_array_equal(part.patches, rows.patches[:, 2:5])
    np.testing.assert_array_equal(part.residual_targets(), (rows.targets - rows.offsets)[:, 2:5])
    np.testing.assert_array_equal(outputs.patches, rows.patches)
    np.testing.assert_array_equal(outputs.residual_targets(), (rows.targets - rows.offsets)[:, :, ::2])
    assert part.free_scale
    assert outputs.free_scale
    plain = replace(rows, offsets=None)
    assert plain.part(slice(2)).offsets is plain.outputs(slice(1)).offsets is None


def test_the_geometry_stays():
    conv = Convolution.of(np.ones((2, 3, 3, 3)), strides=(2, 1), dilations=(1, 2), pads_begin=(1, 0), pads_end=(0, 2))
    x = signed((8, 3, 9, 9))
    rows = Rows(gather_patches(x, conv, None), gather_outputs(convolve(conv, x), 1, None))
    fitted = refit(conv, rows, 1e-3)
    assert fitted.weight.shape == conv.weight.shape
    for name in ("strides", "dilations", "pads_begin", "pads_end", "groups"):
        assert getattr(fitted, name) == getattr(conv, name)


def draw_rows(seed):
    """A regression that a line does not fit: squared, shifted, noisy targets, sometimes with offsets."""
    random = np.random.default_rng(seed)
    count, unknowns, outputs = (int(random.integers(low, high)) for low, high in ((20, 400), (1, 6), (1, 3)))
    patches = random.normal(size=(1, count, unknowns))
    squared = 3 * np.tanh(patches @ random.normal(size=(unknowns, outputs)))
    noise = random.normal(size=squared.shape) * random.choice([0, 1])
    offsets = random.normal(size=squared.shape).astype(np.float32) if random.integers(2) else None
    targets = squared + random.normal(size=outputs) + noise
    return Rows(patches.astype(np.float32), targets.astype(np.float32), offsets), linear(outputs, unknowns, seed)


@many
@given(seeds, st.sampled_from([np.inf, 1.0, 2.5]), st.sampled_from([1e-6, 1e-3, 1.0]), st.integers(1, 5))
def test_rounds_through_the_activation_never_raise_the_error(seed, upper, ridge, rounds):
    rows, conv = draw_rows(seed)
    before = refit(conv, rows, ridge, rectifier=Rectifier(upper), rounds=rounds - 1)
    after = refit(conv, rows, ridge, rectifier=Rectifier(upper), rounds=rounds)
    assert rectified_error(rows, after, upper) <= rectified_error(rows, before, upper) * (1 + 1e-4) + 1e-6


def test_no_rounds_are_the_plain_fit():
    rows, conv = draw_rows(3)
    plain, fitted = (
        refit(conv, rows, 1e-3),
        refit(conv, rows, 1e-3, rectifier=Rectifier(), rounds=0),
    )
    np.testing.assert_array_equal(fitted.weight, plain.weight)


def test_a_fit_through_relu_ignores_how_negative_the_target_is():
    z = np.linspace(-3, 3, 601, dtype=np.float32).reshape(1, -1, 1)
    rows = Rows(z, np.where(z > 0, z, 50 * z))
    conv = linear(1, 1)
    plain = refit(conv, rows, 1e-6)
    fitted = refit(conv, rows, 1e-6, rectifier=Rectifier(), rounds=30)
    assert rectified_error(rows, fitted) < 0.05 * rectified_error(rows, plain)


def test_a_fit_through_clip_ignores_how_far_the_target_is_above_the_bound():
    z = np.linspace(-3, 3, 601, dtype=np.float32).reshape(1, -1, 1)
    rows = Rows(z, np.where(z < 1, z, 40 * z))
    conv = linear(1, 1)
    relu_only = refit(conv, rows, 1e-6, rectifier=Rectifier(), rounds=30)
    fitted = refit(conv, rows, 1e-6, rectifier=Rectifier(1.0), rounds=30)
    assert rectified_error(rows, fitted, 1.0) < 0.7 * rectified_error(rows, relu_only, 1.0)


def test_two_convolutions_are_recovered_as_one_of_full_size_inside():
    random = np.random.default_rng(0)
    first = Convolution.of(random.normal(size=(4, 3, 3, 3)), random.normal(size=4))
    second = Convolution.of(random.normal(size=(2, 4, 3, 3)), random.normal(size=2))
    x = signed((30, 3, 9, 9))
    composite = compose(first, second)
    rows = Rows(gather_patches(x, composite, None), gather_outputs(convolve(second, convolve(first, x)), 1, None))
    fitted = refit(replace(composite, weight=np.zeros_like(composite.weight)), rows, 1e-9)
    assert_close(convolve(fitted, x), convolve(second, convolve(first, x)), 1e-3)


def test_a_padded_pointwise_chain_is_recovered_with_its_borders():
    random = np.random.default_rng(0)
    first = Convolution.of(random.normal(size=(4, 3, 1, 1)))
    second = Convolution.of(random.normal(size=(2, 4, 3, 3)), random.normal(size=2), pads_begin=(1, 1))
    x = signed((30, 3, 6, 6))
    composite = compose(first, second)
    target = convolve(second, convolve(first, x))
    rows = Rows(gather_patches(x, composite, None), gather_outputs(target, 1, None))
    fitted = refit(replace(composite, weight=np.zeros_like(composite.weight)), rows, 1e-9)
    assert_close(convolve(fitted, x), target, 1e-3)


def test_a_fit_repairs_a_part_of_the_border_that_composition_spoils():
    random = np.random.default_rng(0)
    first = Convolution.of(random.normal(size=(4, 3, 3, 3)), random.normal(size=4), pads_begin=(1, 1))
    second = Convolution.of(random.normal(size=(2, 4, 3, 3)), random.normal(size=2), pads_begin=(1, 1))
    x = signed((100, 3, 4, 4))
    composite = compose(first, second)
    target = convolve(second, convolve(first, x))
    rows = Rows(gather_patches(x, composite, None), gather_outputs(target, 1, None))
    errors = [np.mean((convolve(conv, x) - target) ** 2) for conv in (composite, refit(composite, rows, 1e-6))]
    assert errors[1] < 0.8 * errors[0]


def test_a_kernel_cropped_to_what_matters_is_recovered():
    random = np.random.default_rng(0)
    true = Convolution.of(random.normal(size=(2, 3, 3, 3)), random.normal(size=2), pads_begin=(1, 1))
    larger = resize_kernel(true, (5, 5))
    x = signed((30, 3, 6, 6))
    start = resize_kernel(larger, (3, 3))
    rows = Rows(gather_patches(x, start, None), gather_outputs(convolve(true, x), 1, None))
    assert_close(refit(replace(start, weight=0 * start.weight), rows, 1e-9).weight, true.weight, 1e-4)


def test_memory_grows_with_the_square_of_the_unknowns():
    assert bytes_needed(2000, 1, 1) > 3.9 * bytes_needed(1000, 1, 1)
    assert bytes_needed(1000, 64, 1) >= 8 * 2 * 1000 * 1000


@pytest.mark.parametrize("rectifier", [None, Rectifier()])
@given(seed=seeds)
def test_a_free_scale_is_found_along_with_the_weights(rectifier, seed):
    random = np.random.default_rng(seed)
    conv, patches = linear(3, 5, seed), random.normal(size=(1, 4000, 5))
    offsets = patches[..., :3] + random.normal(size=(1, 4000, 3))  # tells something of the patches
    scale = random.uniform(-1, 2, 3)
    targets = patches @ conv.weight.T + conv.bias + scale * offsets
    rows = Rows(*(a.astype(np.float32) for a in (patches, targets, offsets)), free_scale=True)
    fit = regress(replace(conv, weight=0 * conv.weight), rows, 1e-9, rectifier=rectifier)
    assert_close(fit.convolution.weight, conv.weight, 1e-4)
    assert_close(fit.convolution.bias, conv.bias, 1e-4)
    assert_close(fit.scale, scale, 1e-4)


@pytest.mark.parametrize("size", [1e-4, 1e4])
def test_a_free_scale_has_no_units(size):
    conv, patches, offsets = linear(2, 4), signed((1, 400, 4)), signed((1, 400, 2), 1)
    targets = patches @ conv.weight.T.astype(np.float32) + 0.5 * offsets
    fit = regress(conv, Rows(patches, targets, offsets * np.float32(size), free_scale=True), 1e-6)
    assert_close(fit.scale * size, np.full(2, 0.5), 1e-4)


def test_a_free_scale_stays_within_its_limits_and_the_weights_fit_it():
    conv, patches, offsets = linear(3, 4), signed((1, 4000, 4)), signed((1, 4000, 3), 1)
    offsets += patches[..., :3]
    true = np.array([-1.0, 0.5, 20.0], np.float32)
    targets = patches @ conv.weight.T.astype(np.float32) + true * offsets
    rows = Rows(patches, targets, offsets, free_scale=True, scales=(0.25, 4.0))
    fit = regress(conv, rows, 1e-6)
    assert_close(fit.scale, np.array([0.25, 0.5, 4.0]), 1e-4)
    left = rows.targets - fit.scale.astype(np.float32) * offsets
    alone = regress(conv, Rows(patches, left), 1e-6)
    assert_close(fit.convolution.weight, alone.convolution.weight, 1e-3)


def test_a_free_scale_is_none_where_it_is_not_asked_for():
    rows = Rows(signed((1, 200, 4)), signed((1, 200, 2), seed=1), signed((1, 200, 2), seed=2))
    assert regress(linear(2, 4), rows, 1e-3).scale is None


def zeros(outputs, inputs):
    weight, bias = np.zeros((outputs, inputs, 1, 1)), np.zeros(outputs)
    return Convolution(weight, bias, (1, 1), (1, 1), (0, 0), (0, 0), 1)


def test_bounds_may_differ_from_output_to_output():
    """The first output is fitted through a ReLU, the second through a Clip, the third through nothing."""
    random = np.random.default_rng(0)
    patches = random.normal(size=(1, 400, 5)).astype(np.float32)
    targets = (patches @ random.normal(size=(5, 3)) + random.normal(size=(1, 400, 3))).astype(np.float32)
    start = zeros(3, 5)
    lower = np.array([0, 0, -np.inf], dtype=np.float32).reshape(1, 1, 3)
    upper = np.array([np.inf, 1, np.inf], dtype=np.float32).reshape(1, 1, 3)
    together = regress(start, Rows(patches, targets), 1e-6, rectifier=Rectifier(upper, lower), rounds=1).convolution
    for output, alone in enumerate((Rectifier(), Rectifier(1.0), None)):
        single = Rows(patches, targets[:, :, output : output + 1])
        one = zeros(1, 5)
        expected = regress(one, single, 1e-6, rectifier=alone, rounds=1).convolution
        np.testing.assert_allclose(together.weight[output], expected.weight[0], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(together.bias[output], expected.bias[0], rtol=1e-4, atol=1e-6)


def test_few_rows_and_bounds_by_output_choose_a_ridge_on_part_of_the_outputs():
    """There are more outputs than are looked at for that."""
    random = np.random.default_rng(1)
    patches = random.normal(size=(1, 60, 20)).astype(np.float32)
    targets = random.normal(size=(1, 60, 130)).astype(np.float32)
    lower = np.where(np.arange(130) % 2, 0, -np.inf).astype(np.float32).reshape(1, 1, 130)
    start = zeros(130, 20)
    fitted = regress(start, Rows(patches, targets), 1e-3, rectifier=Rectifier(lower=lower), rounds=2).convolution
    assert np.all(np.isfinite(fitted.weight))
    assert np.any(fitted.weight)


def test_a_ridge_that_is_not_searched_for_is_a_hundred_times_as_strong_where_rows_are_few():
    conv, patches = linear(3, 8), signed((1, 40, 8))
    rows = Rows(patches, signed((1, 40, 3), 1))
    strong = refit(conv, rows, 1e-1, enough=1)
    assert_close(refit(conv, rows, 1e-3, enough=10, held_out=False).weight, strong.weight, 1e-9)
    assert_close(refit(conv, rows, 1e-1, enough=5, held_out=False).weight, strong.weight, 1e-9)


@pytest.mark.parametrize("offsets", [True, False])
def test_the_rows_of_a_fit_take_what_is_said_of_them(offsets):
    count, unknowns, outputs = 60_000, 9, 64
    tracemalloc.start()
    try:
        added = signed((1, count, outputs), seed=2) if offsets else None
        rows = Rows(signed((1, count, unknowns)), signed((1, count, outputs), seed=1), added, free_scale=offsets)
        tracemalloc.reset_peak()
        regress(linear(outputs, unknowns), rows, 1e-3, rectifier=Rectifier())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    told = count * bytes_of_row(unknowns, outputs, 1, offsets=offsets)
    assert 0.9 * told < peak < 1.15 * told
