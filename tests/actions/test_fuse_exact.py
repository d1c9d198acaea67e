"""Exact composition equals the network whose activations alone were replaced; fitted kernels start from it."""

import numpy as np
import pytest

from onnxshallow.actions.apply import apply_candidates
from onnxshallow.analysis import NotLinearError, analyze
from onnxshallow.convolution import resize_kernel
from tests.actions.fuse_cases import INVERTED, INVERTED_WEIGHTS, exact, find, fused_and_linearized, inverted
from tests.networks import (
    CHAIN_WEIGHTS,
    applied,
    assert_near,
    build,
    chain,
    feeds_of,
    operators,
    residual,
    run_exactly,
    signed,
    some_statistics,
    with_affine,
)

EVERYWHERE = {
    "an unpadded second convolution": (
        "(float[N,3,9,9] x) => (float[N,4,H,W] y) "
        "{ a = Conv<pads=[1,2,0,1]>(x, w1, b1) r = Relu(a) y = Conv(r, w2, b2) }",
        {"w1": (5, 3, 3, 3), "b1": (5,), "w2": (4, 5, 3, 3), "b2": (4,)},
        (5, 5),
    ),
    "strides and dilations": (
        "(float[N,3,15,15] x) => (float[N,4,H,W] y) { a = Conv<strides=[2,2], pads=[1,1,1,1]>(x, w1, b1) "
        "r = Relu(a) y = Conv<dilations=[2,1], strides=[1,2]>(r, w2) }",
        {"w1": (5, 3, 3, 3), "b1": (5,), "w2": (4, 5, 3, 3)},
        (11, 7),
    ),
    "a pointwise second convolution": (
        "(float[N,3,8,8] x) => (float[N,4,8,8] y) "
        "{ a = Conv<pads=[1,1,1,1]>(x, w1, b1) r = Relu(a) y = Conv(r, w2) }",
        {"w1": (5, 3, 3, 3), "b1": (5,), "w2": (4, 5, 1, 1)},
        (3, 3),
    ),
    "equal groups": (
        "(float[N,4,8,8] x) => (float[N,4,H,W] y) "
        "{ a = Conv<group=2>(x, w1, b1) r = Relu(a) y = Conv<group=2>(r, w2) }",
        {"w1": (6, 2, 3, 3), "b1": (6,), "w2": (4, 3, 3, 3)},
        (5, 5),
    ),
    "gemm": (
        "(float[N,6] x) => (float[N,3] y) { a = Gemm(x, w1, b1) r = Relu(a) y = Gemm(r, w2, b2) }",
        {"w1": (6, 8), "b1": (8,), "w2": (8, 3), "b2": (3,)},
        (),
    ),
    "one axis": (
        "(float[N,3,12] x) => (float[N,4,L] y) { a = Conv<pads=[2,0]>(x, w1, b1) r = LeakyRelu(a) y = Conv(r, w2) }",
        {"w1": (5, 3, 3), "b1": (5,), "w2": (4, 5, 4)},
        (6,),
    ),
    "a normalization between": (
        "(float[N,3,8,8] x) => (float[N,4,H,W] y) "
        "{ a = Conv(x, w1) n = BatchNormalization(a, s, b, m, v) r = Relu(n) y = Conv(r, w2) }",
        {"w1": (4, 3, 3, 3), "w2": (4, 4, 3, 3), **{name: [1.0, 2.0, 3.0, 4.0] for name in "sbmv"}},
        (5, 5),
    ),
}


@pytest.mark.parametrize("name", EVERYWHERE)
def test_an_exact_composite_equals_the_linearized_network(name):
    text, weights, kernel = EVERYWHERE[name]
    model = build(text, **weights)
    candidate = exact(model, "y")
    assert candidate.exactness == "exact"
    assert candidate.kernel == kernel
    fused, actual, expected = fused_and_linearized(model, candidate)
    assert operators(fused) in (["Conv"], ["Gemm"])
    assert_near(actual, expected, 1e-4)


def test_an_unpadded_inverted_residual_becomes_one_dense_convolution():
    text = INVERTED.replace(", pads=[1,1,1,1]", "").replace("[N,4,6,6] y", "[N,4,4,4] y")
    model = build(text, **INVERTED_WEIGHTS)
    candidate = exact(model, "y", "x")
    assert candidate.exactness == "exact"
    fused, actual, expected = fused_and_linearized(model, candidate)
    assert operators(fused) == ["Conv"]
    assert_near(actual, expected, 1e-4)


def test_a_padded_inverted_residual_is_exact_with_the_map_of_its_biases():
    fused, actual, expected = fused_and_linearized(inverted(), exact(inverted(), "y", "x"))
    assert operators(fused) == ["Conv", "Add"]
    assert_near(actual, expected, 1e-4)


@pytest.mark.parametrize("end", ["y = Add(c, x)", "s = Add(c, x) y = Relu(s)"], ids=["alone", "before an activation"])
def test_a_shortcut_is_folded_into_the_kernel(end):
    model = build(
        f"""(float[N,4,6,6] x) => (float[N,4,6,6] y) {{
            a = Conv<pads=[1,1,1,1]>(x, w1, b1)
            r = Relu(a)
            c = Conv(r, w2)
            {end}
        }}""",
        w1=(5, 4, 3, 3),
        b1=(5,),
        w2=(4, 5, 1, 1),
    )
    fused, actual, expected = fused_and_linearized(model, exact(model, "y"))
    assert operators(fused) == ["Conv"]
    assert_near(actual, expected, 1e-4)


def test_a_padded_composite_is_right_in_the_interior():
    _, actual, expected = fused_and_linearized(chain(), exact(chain(), "y"))
    inner = (slice(None), slice(None), slice(1, -1), slice(1, -1))
    assert_near(actual[inner], expected[inner], 1e-4)
    assert np.max(np.abs(actual - expected)) > 1e-2


def test_where_only_biases_are_wrong_at_the_border_the_map_makes_it_exact():
    model = build(
        "(float[N,3,8,8] x) => (float[N,4,8,8] y) "
        "{ a = Conv(x, w1, b1) r = Relu(a) y = Conv<pads=[1,1,1,1]>(r, w2, b2) }",
        **CHAIN_WEIGHTS | {"w1": (5, 3, 1, 1)},
    )
    candidate = exact(model, "y")
    assert candidate.exactness == "border"
    fused, actual, expected = fused_and_linearized(model, candidate)
    assert operators(fused) == ["Conv", "Add"]
    assert_near(actual, expected, 1e-4)


def test_a_bias_free_pointwise_convolution_counts_the_shift_of_its_activation():
    model = build(
        "(float[N,3,8,8] x) => (float[N,4,8,8] y) { a = Conv(x, w1) r = Relu(a) y = Conv<pads=[1,1,1,1]>(r, w2) }",
        w1=(5, 3, 1, 1),
        w2=(4, 5, 3, 3),
    )
    candidate = exact(model, "y")
    assert candidate.exactness == "border"
    _, actual, expected = fused_and_linearized(model, candidate)
    assert_near(actual, expected, 1e-4)


def test_the_border_map_is_left_out_where_sizes_are_open():
    model = build(
        "(float[N,3,H,W] x) => (float[N,4,H,W] y) "
        "{ a = Conv(x, w1, b1) r = Relu(a) y = Conv<pads=[1,1,1,1]>(r, w2) }",
        w1=(5, 3, 1, 1),
        b1=(5,),
        w2=(4, 5, 3, 3),
    )
    shapes = {"x": (1, 3, 8, 8)}
    statistics = some_statistics(analyze(model, shapes))
    fused = applied(model, [exact(model, "y", shapes=shapes)], statistics, shapes)
    assert operators(fused) == ["Conv"]
    feeds = {"x": signed((2, 3, 11, 7))}
    inner = (slice(None), slice(None), slice(1, -1), slice(1, -1))
    expected = run_exactly(with_affine(model, statistics, shapes), feeds)[0]
    assert_near(run_exactly(fused, feeds)[0][inner], expected[inner], 1e-4)


def test_a_fitted_kernel_starts_as_the_centre_of_the_composite():
    statistics = some_statistics(analyze(chain()))
    small = applied(chain(), find(chain(), "3").candidates, statistics)
    full = applied(chain(), find(chain(), "5").candidates, statistics)
    (one,), (other,) = (list(map(analyze(m).layers.convolution, analyze(m).layers)) for m in (small, full))
    assert_near(one.weight, resize_kernel(other, (3, 3)).weight, 1e-6)
    assert one.pads_begin == (1, 1)


def test_a_fitted_kernel_is_to_be_fitted():
    analysis = analyze(chain())
    for candidate in find(chain()).candidates:
        rewritten = apply_candidates(analysis, [candidate], some_statistics(analysis))
        assert rewritten.fit == {"y"}
        assert rewritten.frozen == frozenset()


def test_a_composite_is_not_to_be_fitted():
    analysis = analyze(inverted())
    rewritten = apply_candidates(analysis, [exact(inverted(), "y", "x")], some_statistics(analysis))
    assert rewritten.fit == frozenset()
    assert len(rewritten.frozen) == 1


def test_the_size_of_the_output_stays_whatever_the_kernel():
    model = build(
        "(float[N,3,13,10] x) => (float[N,4,H,W] y) { a = Conv<strides=[2,2], pads=[1,1,1,1]>(x, w1) r = Relu(a) "
        "y = Conv<pads=[1,1,1,1]>(r, w2) }",
        w1=(5, 3, 3, 3),
        w2=(4, 5, 3, 3),
    )
    feeds = feeds_of(model)
    for candidate in find(model, every_size=True).candidates:
        result = applied(model, [candidate], some_statistics(analyze(model)))
        assert run_exactly(result, feeds)[0].shape == (2, 4, 7, 5)


def test_a_region_that_is_gone_cannot_be_fused_again():
    analysis = analyze(residual())
    statistics = some_statistics(analysis)
    block = next(c for c in find(residual()).candidates if (c.source, c.output) == ("r0", "r2"))
    part = next(c for c in find(residual()).candidates if (c.source, c.output) == ("r0", "s1"))
    once = apply_candidates(analysis, [block], statistics)
    with pytest.raises(NotLinearError):
        apply_candidates(once.analysis, [part], statistics)


FIRE = """(float[N,3,7,7] x) => (float[N,3,7,7] y) {{ s = Conv(x, w0, b0)
    a = Conv(s, w1, b1) ra = Relu(a) b = Conv<pads=[1,1,1,1]>(s, w2, b2) rb = Relu(b)
    j = Concat<axis={axis}>(ra, rb) y = Conv(j, w3, b3) }}"""
FIRE_WEIGHTS = dict(
    w0=(4, 3, 1, 1), b0=(4,), w1=(5, 4, 1, 1), b1=(5,), w2=(3, 4, 3, 3), b2=(3,), w3=(3, 8, 1, 1), b3=(3,)
)  # fmt: skip


@pytest.mark.parametrize("axis", [1, -3])
def test_branches_that_are_joined_become_one_with_the_layer_behind(axis):
    """As in SqueezeNet: both activations go, and three layers are one."""
    model = build(FIRE.format(axis=axis), **FIRE_WEIGHTS)
    candidate = exact(model, "y", "s")
    assert set(candidate.sites) == {"ra", "rb"}
    fused, merged, linearized = fused_and_linearized(model, candidate)
    assert operators(fused) == ["Conv", "Conv"]
    assert_near(merged, linearized, 1e-5)


AVERAGED = {
    "gemm": "m = GlobalAveragePool(r) f = Flatten(m) y = Gemm<transB=1>(f, w2, b2)",
    "mean without axes left": "f = ReduceMean<axes=[-1,-2], keepdims=0>(r) y = Gemm<transB=1>(f, w2, b2)",
}


@pytest.mark.parametrize("name", AVERAGED)
def test_a_chain_over_an_average_becomes_one_layer_of_the_average(name):
    text = f"(float[N,3,7,6] x) => (float[N,4] y) {{ a = Conv(x, w1, b1) r = Relu(a) {AVERAGED[name]} }}"
    model = build(text, w1=(5, 3, 1, 1), b1=(5,), w2=(4, 5), b2=(4,))
    candidate = exact(model, "y")
    assert (candidate.macs, candidate.depth) == (5 * 3 * 42 + 5 * 4 - 3 * 4, 1)
    fused, actual, expected = fused_and_linearized(model, candidate)
    assert operators(fused) == ["GlobalAveragePool", "Flatten", "Gemm"]
    assert_near(actual, expected)


def test_a_chain_that_ends_in_an_average_is_averaged_first():
    text = "(float[N,3,7,6] x) => (float[N,5,1,1] y) { a = Conv(x, w1, b1) r = Relu(a) y = GlobalAveragePool(r) }"
    model = build(text, w1=(5, 3, 1, 1), b1=(5,))
    fused, actual, expected = fused_and_linearized(model, exact(model, "y"))
    assert operators(fused) == ["GlobalAveragePool", "Conv"]
    assert_near(actual, expected)


def test_the_average_of_more_than_one_tap_is_not_composed_exactly():
    text = "(float[N,3,7,6] x) => (float[N,5,1,1] y) { a = Conv(x, w1) r = Relu(a) y = GlobalAveragePool(r) }"
    model = build(text, w1=(5, 3, 3, 3))
    found = find(model, "exact")
    assert found.candidates == ()
    assert "more than one tap is not exactly one of the average" in found.refusals["r"]
    assert [candidate.kernel for candidate in find(model).candidates] == [(1, 1)]
