"""Fits of two layers that one was split into."""

import numpy as np
import pytest

from onnxshallow.actions.base import FindOptions
from onnxshallow.actions.linearize import Linearize
from onnxshallow.analysis import analyze
from onnxshallow.convolution import Form, compose, convolve, split
from onnxshallow.fitting.correction import FitOptions, correct
from onnxshallow.validation.metrics import relative_error
from tests.fitting.fitting_cases import TWO_BRANCHES, cursor, split_in_two
from tests.networks import assert_near, build, chain, residual, signed, smooth


def split_corrected(original, rewritten, batches, *, chosen=None, known=True, fit_batches=None, options=None, **more):
    """The two cursors after `correct` has fitted layers of the rewritten network, and what it returned."""
    analysis = analyze(original)
    before, after = cursor(analysis, batches), cursor(rewritten, batches, rewritten.network.output_names)
    fitted = correct(
        before,
        after,
        rewritten.layers,
        [layer for layer in rewritten.layers if chosen is None or layer.output in chosen],
        fit_batches or len(batches),
        options or FitOptions(),
        known=analysis.layers if known else None,
        **more,
    )
    return before, after, fitted


def low_rank_chain():
    """A chain whose first layer has a rank of two."""
    weight = np.einsum("or,rchw->ochw", signed((5, 2)), signed((2, 3, 3, 3), 1)) / 4
    return chain(w1=weight.astype(np.float32))


@pytest.mark.parametrize("known", [True, False])
def test_a_layer_of_low_rank_is_recovered_from_spoilt_parts(known):
    spoilt, between = split_in_two(chain(w1=signed((5, 3, 3, 3), 7), b1=signed((5,), 8)), "h", 2)
    batches = [{"x": signed((16, 3, 8, 8), seed)} for seed in range(4)]
    options = FitOptions(ridge=1e-8, rounds=0)
    _, _, fitted = split_corrected(low_rank_chain(), spoilt, batches, known=known, options=options)
    true = analyze(low_rank_chain()).layers
    both = compose(fitted[between], fitted["h"])
    assert_near(both.weight, true.convolution(true.by_output["h"]).weight, 1e-3)
    assert_near(both.bias, true.convolution(true.by_output["h"]).bias, 1e-3)


def split_with_few_rows(known):
    """The composite of two layers fitted with 27 unknowns and 32 rows, after another layer than the original's."""
    rewritten, between = split_in_two(chain(w1=signed((5, 3, 3, 3), 7), b1=signed((5,), 8)), "h", 2)
    _, _, fitted = split_corrected(chain(), rewritten, [{"x": smooth(2, 3, 4)}], chosen={between}, known=known)
    assert list(fitted) == [between, "h"]
    parts = (rewritten.layers.convolution(layer) for layer in rewritten.layers.all[:2])
    return compose(fitted[between], fitted["h"]), compose(*parts)


def test_with_few_rows_the_two_come_as_close_to_the_layer_that_was_split_as_these_let_them():
    both, _ = split_with_few_rows(known=True)
    layers = analyze(chain()).layers
    whole, x = layers.convolution(layers.by_output["h"]), smooth(2, 3, 4)
    expected = convolve(whole, x)
    closest = compose(*split(whole, Form(2)))
    assert relative_error(expected, convolve(both, x)) < relative_error(expected, convolve(closest, x))


def test_where_that_is_not_known_they_are_their_composite():
    both, composite = split_with_few_rows(known=False)
    assert_near(both.weight, composite.weight, 1e-3)
    assert_near(both.bias, composite.bias, 1e-3)


@pytest.mark.parametrize("changed", [True, False])
def test_the_second_is_fitted_after_the_first_however_few_the_rows_where_it_is_new(changed):
    rewritten, between = split_in_two(chain(), "h")
    batch = {"x": smooth(1, 3, 4)}  # 16 rows, and the second has 3 unknowns
    outputs = {between, "h"}
    _, _, first = split_corrected(chain(), rewritten, [batch], chosen={between})
    _, _, both = split_corrected(chain(), rewritten, [batch], chosen=outputs, changed=outputs if changed else ())
    np.testing.assert_array_equal(both[between].weight, first[between].weight)
    assert np.array_equal(both["h"].weight, first["h"].weight) is not changed


def test_where_the_activation_is_removed_as_well_they_start_from_their_composite():
    (removal,) = (c for c in Linearize().find(analyze(chain()), FindOptions()).candidates if c.output == "r")
    rewritten, _ = split_in_two(chain(), "h", others=[removal])
    batches = [{"x": smooth(16, 3, 8)}]
    with_known, without = (split_corrected(chain(), rewritten, batches, known=known)[2] for known in (True, False))
    assert list(with_known) == list(without)
    for output, convolution in with_known.items():
        np.testing.assert_array_equal(convolution.weight, without[output].weight)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("output", ["s", "h1", "h2", "y"])
def test_correction_lowers_the_error_that_a_split_leaves(output, known):
    model = residual(seed=1)
    batches = [{"x": smooth(64, 3, 8, seed)} for seed in range(4)]
    rewritten, _ = split_in_two(model, output, 2)
    _, after, _ = split_corrected(model, rewritten, batches, known=known, fit_batches=3)
    plain, exact = cursor(rewritten, batches, ["y"]), cursor(analyze(model), batches, ["y"])
    unfitted, expected, made = (network.outputs()[0][3] for network in (plain, exact, after))
    assert relative_error(expected, made) < 0.6 * relative_error(expected, unfitted)


def test_what_the_rewritten_network_has_on_the_other_side_of_a_sum_is_taken_off():
    branch = signed((4, 3, 3, 3), 5)
    original = build(TWO_BRANCHES, w1=branch, w2=(4, 3, 3, 3))
    rewritten, between = split_in_two(build(TWO_BRANCHES, w1=branch / 2, w2=(4, 3, 3, 3)), "b", 2)
    batch = {"x": smooth(64, 3, 8)}
    _, _, fitted = split_corrected(original, rewritten, [batch], chosen={between})
    assert list(fitted) == [between, "b"]
    network = cursor(analyze(original), [batch], ["s"])
    network.advance(["s"])
    before = cursor(rewritten, [batch], ["a", "x"])
    before.advance(["a"])
    made = convolve(fitted["b"], convolve(fitted[between], batch["x"]))
    left = network["s"][0] - before["a"][0]
    np.testing.assert_allclose(made.mean(axis=(0, 2, 3)), left.mean(axis=(0, 2, 3)), rtol=1e-3, atol=1e-4)


def test_the_branch_on_the_other_side_is_scaled_along_with_the_second_of_the_two():
    model = build(TWO_BRANCHES, w1=(4, 3, 3, 3), w2=(4, 3, 3, 3))
    batches = [{"x": smooth(64, 3, 8)}]
    rewritten, between = split_in_two(model, "b", 1)
    exact = cursor(analyze(model), batches, ["y"])
    (expected,) = exact.outputs()[0]
    errors = []
    for chosen, fitted in (({between, "b"}, [between, "b"]), ({"a", between, "b"}, ["a", between, "b"])):
        _, after, made = split_corrected(model, rewritten, batches, chosen=chosen)
        assert list(made) == fitted
        errors.append(relative_error(expected, after.outputs()[0][0]))
    assert errors[1] < 0.95 * errors[0]


def test_each_of_the_two_is_a_step_and_the_goals_are_as_before():
    rewritten, _ = split_in_two(residual(), "h2")
    steps = []
    before, after, fitted = split_corrected(
        residual(), rewritten, [{"x": smooth(64, 3, 8)}], step=lambda: steps.append(1)
    )
    assert len(steps) == len(fitted) == 7
    assert before.goals == set()
    assert after.goals == {"y"}


def test_the_held_out_batches_do_not_count_for_the_two():
    rewritten, _ = split_in_two(chain(), "h", 2)
    batches = [{"x": signed((8, 3, 8, 8), seed)} for seed in range(2)]
    fits = [
        split_corrected(chain(), rewritten, [*batches, {"x": held_out}], fit_batches=2)[2]
        for held_out in (signed((8, 3, 8, 8), 7), 100 * signed((8, 3, 8, 8), 8))
    ]
    for output, convolution in fits[0].items():
        np.testing.assert_array_equal(convolution.weight, fits[1][output].weight)
