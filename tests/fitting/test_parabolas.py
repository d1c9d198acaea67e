from dataclasses import replace

import numpy as np
import pytest

from onnxshallow.analysis import analyze
from onnxshallow.analysis.partial import Bounds
from onnxshallow.fitting.moments import SWELL, Parabola, SiteStatistics, site_statistics
from onnxshallow.fitting.parabolas import fit_polynomials, inputs_of, trusted
from onnxshallow.runtime.cursor import Cursor
from onnxshallow.runtime.store import ActivationStore
from tests.networks import build, signed
from tests.partials import intermediate, partial


def curves(square=0.25, linear=0.5, constant=0.25, *, left=1.0, quadratic_error=0.5, low=-2.0, high=2.0, most=2.0):
    """What one channel does; as given, a good parabola of a ReLU."""
    arrays = (np.array([value]) for value in (0.5, 0.3, left, quadratic_error, low, high, 0.0, most))
    scale, shift, affine_error, mean, *rest = arrays
    curve = Parabola(*(np.array([value]) for value in (square, linear, constant)))
    return SiteStatistics(scale, shift, affine_error, curve, mean, *rest)


def test_a_parabola_that_explains_more_than_the_line_is_trusted():
    assert trusted(curves()).all()


UNTRUSTED = {
    "it bends downwards": {"square": -0.25},
    "it is a line": {"square": 0.0, "quadratic_error": 0.1},
    "it explains little more than the line": {"quadratic_error": 0.96},
    "it hardly bends": {"square": 1e-4, "linear": 0.9},
}


@pytest.mark.parametrize("reason", UNTRUSTED)
def test_a_parabola_is_not_trusted_where(reason):
    assert not trusted(curves(**UNTRUSTED[reason])).any()


def test_the_parabola_of_a_relu_on_normal_samples_is_trusted_and_that_of_a_flat_channel_is_not():
    z = signed((400, 3, 4))
    z[:, 1] = np.abs(z[:, 1]) + 1  # passes everything: the line is all there is
    z[:, 2] = -np.abs(z[:, 2]) - 1
    assert trusted(site_statistics([(z, np.maximum(z, 0))], 3)).tolist() == [True, False, False]


NET = """(float[N,4,5,5] x) => (float[N,4,5,5] y) {
    h = Conv(x, w)
    r = Relu(h)
    y = Conv(r, v)
}"""


FIRST, LAST = signed((4, 4, 1, 1), 1), signed((4, 4, 1, 1), 2)


def cursors(made, batches):
    """Of the original and of the network in which `r` is what `made` says, whose first layer makes other values."""
    model = build(NET, w=FIRST, v=LAST)
    moved = build(NET, w=0.9 * FIRST + 0.1, v=LAST)
    store = ActivationStore(1 << 30)
    return tuple(
        Cursor.at_inputs(analysis.network, batches, store, threads=1)
        for analysis in (analyze(model), intermediate(moved, [made]))
    )


def batches_of(count):
    return [{"x": signed((16, 4, 5, 5), seed)} for seed in range(count)]


def fitted_over(made, count=3, fit_batches=3):
    """The fitted partial, what the rewritten network reads there, and what the original makes, in all batches."""
    batches = batches_of(count)
    original, rewritten = cursors(made, batches)
    result = fit_polynomials(original, rewritten, made, fit_batches)
    others = cursors(made, batches)
    others[0].advance(["r"])
    others[1].advance(["h"])
    return result, others[1]["h"], others[0]["r"], rewritten


MIXED = partial(
    "h", "r", [1, 0, 0, 0], square=[0, 0.2, 0, 0], linear=[0, 0.5, 0.7, 1], constant=[0, 0.1, 0.2, 0]
)  # kept, squared, affine, passed on


def test_polynomials_are_fitted_to_what_the_original_makes_of_what_the_rewritten_network_reads():
    result, inputs, wanted, _ = fitted_over(MIXED)
    z, y = (np.concatenate(arrays).astype(np.float64) for arrays in (inputs, wanted))
    found = [result.square, result.linear, result.constant]
    np.testing.assert_allclose(
        [values[1] for values in found], np.polyfit(z[:, 1].ravel(), y[:, 1].ravel(), 2), rtol=1e-4, atol=1e-6
    )
    np.testing.assert_allclose(
        [values[2] for values in found[1:]], np.polyfit(z[:, 2].ravel(), y[:, 2].ravel(), 1), rtol=1e-4, atol=1e-6
    )


def test_what_is_kept_or_passed_on_stays_as_it_is():
    result, *_ = fitted_over(MIXED)
    for name in ("square", "linear", "constant"):
        np.testing.assert_array_equal(getattr(result, name)[[0, 3]], getattr(MIXED, name)[[0, 3]])
    np.testing.assert_array_equal(result.kept, MIXED.kept)
    assert result.square[2] == 0


def test_the_rewritten_network_goes_on_with_the_new_values():
    result, inputs, _, rewritten = fitted_over(MIXED)
    assert rewritten.partials == {"r": result}
    for z, made in zip(inputs, rewritten["r"], strict=True):
        expected = result.polynomial(z)
        expected[:, 0] = np.maximum(z[:, 0], 0)
        np.testing.assert_array_equal(made, expected)
        np.testing.assert_array_equal(made[:, 3], z[:, 3])
    values = rewritten["r"]
    rewritten.advance(["y"])
    for made, outputs in zip(values, rewritten["y"], strict=True):
        np.testing.assert_allclose(outputs, np.einsum("oc,nchw->nohw", LAST[:, :, 0, 0], made), rtol=1e-4, atol=1e-4)


def test_batches_that_are_held_out_are_not_fitted_on_but_go_on_too():
    first, *_ = fitted_over(MIXED, count=2, fit_batches=2)
    second, *_, rewritten = fitted_over(MIXED, count=4, fit_batches=2)
    np.testing.assert_array_equal(first.linear, second.linear)
    assert len(rewritten["r"]) == 4


def test_a_parabola_that_cannot_be_trusted_becomes_a_line():
    """The original passes everything on, of which a line explains all."""
    batches = [{"x": np.abs(signed((16, 4, 5, 5), seed))} for seed in range(3)]
    made = partial("h", "r", [1, 0, 0, 0], square=0.3, linear=0.5, constant=0.1)
    model = build(NET, w=np.eye(4, dtype=np.float32).reshape(4, 4, 1, 1), v=(4, 4, 1, 1))
    store = ActivationStore(1 << 30)
    original, rewritten = (
        Cursor.at_inputs(analysis.network, batches, store, threads=1)
        for analysis in (analyze(model), intermediate(model, [made]))
    )
    result = fit_polynomials(original, rewritten, made, 3)
    np.testing.assert_array_equal(result.square, 0)
    np.testing.assert_allclose(result.linear, [0, 1, 1, 1], rtol=1e-5)
    np.testing.assert_allclose(result.constant, 0, atol=1e-5)


def test_single_places_have_polynomials_of_their_own():
    kept = np.zeros((4, 5, 5), dtype=bool)
    kept[:, 0] = True
    result, inputs, wanted, rewritten = fitted_over(partial("h", "r", kept, linear=0.5, constant=0.1))
    z, y = (np.concatenate(arrays).astype(np.float64) for arrays in (inputs, wanted))
    assert result.linear.shape == (4, 5, 5)
    np.testing.assert_array_equal(result.linear[:, 0], 0)
    expected = np.polyfit(z[:, 2, 3, 1], y[:, 2, 3, 1], 1)
    np.testing.assert_allclose([result.linear[2, 3, 1], result.constant[2, 3, 1]], expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(rewritten["r"][0][:, :, 0], np.maximum(inputs[0], 0)[:, :, 0])


def test_a_partial_reads_its_source_and_its_activation():
    model = intermediate(build(NET, w=FIRST, v=LAST), [MIXED])
    source, active = inputs_of(model.network, MIXED)
    assert source == "h"
    assert model.network.producer(active).op == "Relu"


def test_a_refitted_parabola_stays_within_what_is_known_of_the_original():
    batches = batches_of(3)
    free = partial("h", "r", (0, 0, 0, 0), square=0.2)
    known = Bounds(np.full(4, -60.0), np.full(4, 60.0), np.full(4, 60.0))
    alone, bounded = (
        fit_polynomials(*cursors(made, batches), made, 3) for made in (free, replace(free, bounds=known))
    )
    assert np.all(bounded.square < alone.square)
    ends = bounded.polynomial(np.array([[[-60.0]] * 4, [[60.0]] * 4]))
    assert np.all(ends <= SWELL * 60 * (1 + 1e-9))
