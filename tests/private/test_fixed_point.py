"""Networks computed in multiples of 2^-f."""

import numpy as np
import pytest

from onnxshallow.analysis import analyze
from onnxshallow.errors import ModelError
from onnxshallow.private.fixed_point import FRACTION_BITS, in_fixed_point, largest_value
from onnxshallow.runtime.whole import run_batches
from tests.graphs import feeds, frozen, ops, parse, run_plain, signed

UNIT = 2.0**FRACTION_BITS
SMALL = "(float[N,3,6,6] x) => (float[N,2,6,6] y) { a = Conv(x, w) s = Mul(a, a) y = Relu(s) }"


def computed(model, bits=FRACTION_BITS, values=None):
    values = feeds(model) if values is None else values
    return run_plain(in_fixed_point(analyze(model), bits), values)[0]


def test_all_results_are_multiples_of_the_unit():
    made = computed(parse(SMALL, w=(2, 3, 1, 1)), 10)
    assert np.array_equal(made * 2**10, np.round(made * 2**10))
    assert not np.array_equal(made * 2**9, np.round(made * 2**9))


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_the_error_falls_with_the_bits(bits):
    model = parse(SMALL, w=(2, 3, 1, 1))
    error = np.abs(computed(model, bits) - run_plain(model, feeds(model))[0]).max()
    assert 2.0**-bits / 4 < error < 40 * 2.0**-bits


def test_a_product_is_rounded_up_or_down_and_never_further():
    model = parse("(float[N,400] x) => (float[N,400] y) { y = Mul(x, x) }")
    x = {"x": np.round(signed("x", (4, 400)) * UNIT).astype(np.float32) / np.float32(UNIT)}
    read = np.float64(run_plain(in_fixed_point(analyze(model)), x)[0]) - np.float64(x["x"]) ** 2
    assert np.abs(read).max() < 40 / UNIT
    assert len(np.unique(np.round(read * UNIT))) > 2


def test_weights_below_half_a_unit_vanish():
    weight = signed("w", (2, 3, 1, 1))
    weight[0] = 0.4 / UNIT
    made = computed(parse(SMALL, w=weight))
    assert np.abs(made[:, 0]).max() <= 2 / UNIT
    assert np.abs(made[:, 1]).max() > 0.1


def test_large_factors_show_what_was_lost():
    text = "(float[N,3,6,6] x) => (float[N,3,6,6] y) { a = Conv(x, w) r = Relu(a) y = Mul(r, f) }"
    model = parse(text, w=signed("w", (3, 3, 1, 1)) * np.float32(1e-5), f=np.full((3, 1, 1), 1e5, np.float32))
    assert np.abs(computed(model) - run_plain(model, feeds(model))[0]).max() > 0.1


def test_batch_normalizations_are_folded_first():
    text = (
        "(float[N,3,6,6] x) => (float[N,2,6,6] y) { c = Conv(x, w) n = BatchNormalization(c, s, b, m, v) y = Relu(n)}"
    )
    tiny = np.full(2, 1e-9, np.float32)  # which would vanish by itself
    model = parse(text, w=signed("w", (2, 3, 1, 1)) * np.float32(1e-4), s=(2,), b=(2,), m=(2,), v=tiny)
    assert "BatchNormalization" not in ops(in_fixed_point(analyze(model)))
    expected = run_plain(model, feeds(model))[0]
    np.testing.assert_allclose(computed(model), expected, atol=1e-4)


def test_constants_and_whole_numbers():
    text = """(float[N,4] x, int64[N,1] i) => (float[N,4] y, int64[N,1] j) {
        c = Constant<value = float[4] {0.1, 0.2, 0.3, 0.4}>() y = Add(x, c) j = Add(i, i) }"""
    model = parse(text)
    y, j = run_plain(in_fixed_point(analyze(model), 4), values := feeds(model))
    assert np.array_equal(y * 16, np.round(y * 16))
    assert np.array_equal(j, 2 * values["i"])


def test_the_same_each_time_and_the_model_is_left_alone():
    model = parse(SMALL, w=(2, 3, 1, 1))
    before = frozen(model)
    first, second = (run_batches(in_fixed_point(analyze(model)), [feeds(model)])[0] for _ in range(2))
    assert np.array_equal(first, second)
    assert frozen(model) == before


def test_old_operator_sets_are_refused():
    with pytest.raises(ModelError, match="Opset 6"):
        in_fixed_point(analyze(parse(SMALL, opset=6, w=(2, 3, 1, 1))))


def test_where_products_wrap_around():
    assert largest_value() == 2.0**27
    assert largest_value(26) == 2.0**11
