import numpy as np
import pytest

from onnxshallow.actions.apply import apply_candidates
from onnxshallow.actions.base import FindOptions
from onnxshallow.actions.fuse import Fuse
from onnxshallow.analysis import NotLinearError, analyze
from onnxshallow.convolution import resize_kernel
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


def find(model, kernel="auto", shapes=None, **options):
    return Fuse().find(analyze(model, shapes), FindOptions(kernel, **options))


def keys(found):
    return [candidate.key for candidate in found.candidates]


def exact(model, output, source=None, shapes=None):
    """The candidate that composes exactly up to `output`."""
    (candidate,) = (
        c for c in find(model, "exact", shapes).candidates if c.output == output and source in (None, c.source)
    )
    return candidate


def fused_and_linearized(model, candidate, shapes=None, samples=3):
    """The fused model, its outputs, and the outputs of the model whose activations alone were replaced."""
    statistics = some_statistics(analyze(model, shapes))
    feeds = feeds_of(model, samples)
    fused = applied(model, [candidate], statistics, shapes)
    wanted = with_affine(model, {name: statistics[name] for name in candidate.sites}, shapes)
    return fused, run_exactly(fused, feeds)[0], run_exactly(wanted, feeds)[0]


INVERTED = """(float[N,4,6,6] x) => (float[N,4,6,6] y) {
    a = Conv(x, w1, b1)
    c1 = Clip(a, zero, six)
    d = Conv<group=8, pads=[1,1,1,1]>(c1, w2, b2)
    c2 = Clip(d, zero, six)
    y = Conv(c2, w3, b3)
}"""
INVERTED_WEIGHTS = {
    "w1": (8, 4, 1, 1),
    "b1": (8,),
    "w2": (8, 1, 3, 3),
    "b2": (8,),
    "w3": (4, 8, 1, 1),
    "b3": (4,),
    "zero": np.float32(0),
    "six": np.float32(6),
}


def inverted(**changes):
    return build(INVERTED, **{**INVERTED_WEIGHTS, **changes})


# Where the action applies.


def narrow():
    """A chain whose 1x1 and 3x3 fits save multiply-adds and whose 5x5 fit costs some."""
    return chain(w1=(4, 3, 3, 3), b1=(4,), w2=(4, 4, 3, 3))


def test_a_chain_is_found_with_three_kernel_sizes():
    assert keys(find(narrow())) == ["fuse:1x1:x->y", "fuse:3x3:x->y", "fuse:5x5:x->y"]
    for candidate in find(narrow()).candidates:
        assert candidate.sites == ("r",)
        assert candidate.nodes == {0, 1, 2}


def test_what_a_candidate_saves_is_counted():
    for candidate, taps in zip(find(narrow()).candidates, (1, 9, 25), strict=True):
        assert candidate.relus == 4 * 64
        assert candidate.macs == 64 * 9 * (3 * 4 + 4 * 4) - 64 * taps * 3 * 4
        assert candidate.depth == 1


def test_a_kernel_that_costs_multiply_adds_is_listed_too():
    assert [np.sign(candidate.macs) for candidate in find(narrow()).candidates] == [1, 1, -1]


def test_kernel_sizes_that_are_equal_are_listed_once():
    model = build(
        "(float[N,3,8,8] x) => (float[N,4,8,8] y) { h = Conv<pads=[1,1,1,1]>(x, w1) r = Relu(h) y = Conv(r, w2) }",
        w1=(5, 3, 3, 3),
        w2=(4, 5, 1, 1),
    )
    assert keys(find(model)) == ["fuse:1x1:x->y", "fuse:3x3:x->y"]


def test_every_kernel_size_is_listed_on_request():
    assert keys(find(chain(), every_size=True)) == [f"fuse:{k}x{k}:x->y" for k in range(1, 6)]


def test_a_kernel_size_can_be_asked_for():
    assert keys(find(chain(), "1")) == ["fuse:1x1:x->y"]


def test_no_kernel_is_larger_than_the_composite():
    assert keys(find(chain(), "9")) == ["fuse:5x5:x->y"]


def test_the_exact_composite_at_padded_borders_is_marked():
    (candidate,) = find(chain(), "exact").candidates
    assert candidate.key == "fuse:5x5:border:x->y"
    assert candidate.macs == 64 * 9 * (3 * 5 + 5 * 4) - 64 * 25 * 3 * 4


def test_a_residual_block_is_found_up_to_its_sum_and_with_its_activation():
    found = {c.output: c for c in find(residual()).candidates if c.source == "r0"}
    assert found["s1"].sites == ("r1",)
    assert found["r2"].sites == ("r1", "r2")


def test_an_inverted_residual_is_found_as_a_whole():
    found = [c for c in find(inverted()).candidates if c.source == "x" and c.output == "y"]
    assert [whole.kernel for whole in found] == [(1, 1), (3, 3)]
    for whole in found:
        assert whole.sites == ("c1", "c2")
        assert whole.depth == 2
        assert whole.relus == 2 * 8 * 36


def test_two_gemms_are_found():
    model = build(
        "(float[N,6] x) => (float[N,3] y) { a = Gemm(x, w1) r = Relu(a) y = Gemm(r, w2) }", w1=(6, 8), w2=(8, 3)
    )
    (candidate,) = find(model).candidates
    assert candidate.kernel == ()
    assert candidate.macs == 6 * 8 + 8 * 3 - 6 * 3


def test_convolutions_of_one_axis_are_found():
    model = build(
        "(float[N,3,12] x) => (float[N,4,12] y) "
        "{ a = Conv<pads=[1,1]>(x, w1) r = Relu(a) y = Conv<pads=[1,1]>(r, w2) }",
        w1=(4, 3, 3),
        w2=(4, 4, 3),
    )
    assert keys(find(model)) == ["fuse:1:x->y", "fuse:3:x->y", "fuse:5:x->y"]


# Why it does not apply elsewhere: one model a reason.


def conv_pair(middle, weights=None, inputs="float[N,3,8,8] x", outputs="float[N,4,8,8] y", **options):
    text = f"({inputs}) => ({outputs}) {{ h = Conv<pads=[1,1,1,1]>(x, w1) r = Relu(h) {middle} }}"
    return build(text, **{"w1": (5, 3, 3, 3), **(weights or {})}, **options)


PAIR = "y = Conv<pads=[1,1,1,1]>(r, w2)"
W2 = {"w2": (4, 5, 3, 3)}
REFUSED = {
    "is no convolution": conv_pair("y = MaxPool<kernel_shape=[1,1]>(r)", outputs="float[N,5,8,8] y"),
    "Sigmoid node 'g' is no convolution": build(
        "(float[N,3,8,8] x) => (float[N,4,8,8] y) "
        "{ h = Conv(x, w1) g = Sigmoid(h) s = Add(h, g) r = Relu(s) y = Conv(r, w2) }",
        w1=(5, 3, 1, 1),
        w2=(4, 5, 1, 1),
    ),
    "inside is also read by Sigmoid": conv_pair(
        PAIR + " z = Sigmoid(r)", W2, outputs="float[N,4,8,8] y, float[N,5,8,8] z"
    ),
    "inside is an output of the model": conv_pair(PAIR, W2, outputs="float[N,4,8,8] y, float[N,5,8,8] r"),
    "cannot be removed": build(
        "(float[N,3,8,8] x, float top) => (float[N,4,8,8] y) "
        "{ h = Conv(x, w1) r = Clip(h, zero, top) y = Conv(r, w2) }",
        w1=(5, 3, 1, 1),
        w2=(4, 5, 1, 1),
        zero=np.float32(0),
    ),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_a_site_is_refused_for_a_reason(reason):
    found = find(REFUSED[reason])
    assert found.candidates == ()
    assert [reason in given or given for given in found.refusals.values()] == [True]


def test_weights_that_the_caller_may_give_cannot_be_fused():
    model = build(
        "(float[N,3,8,8] x, float[4,5,1,1] w2) => (float[N,4,8,8] y) { h = Conv(x, w1) r = Relu(h) y = Conv(r, w2) }",
        w1=(5, 3, 1, 1),
    )
    assert find(model).candidates == ()
    assert list(find(model).refusals) == ["r"]


def test_a_composite_that_crops_its_input_is_refused():
    model = build(
        "(float[N,3,8,8] x) => (float[N,4,4,4] y) { h = Conv(x, w1) r = Relu(h) y = Conv(r, w2) }",
        w1=(5, 3, 3, 3),
        w2=(4, 5, 3, 3),
    )
    found = find(model, "3")
    assert found.candidates == ()
    assert "crops its input" in found.refusals["r"]


def test_a_fit_beyond_the_memory_is_refused():
    found = find(chain(), memory=100)
    assert found.candidates == ()
    assert "--memory" in found.refusals["r"]


def test_kernel_sizes_within_the_memory_are_offered():
    found = find(chain(), memory=1000)
    assert keys(found) == ["fuse:1x1:x->y"]
    assert found.refusals == {}


def test_an_exact_composite_of_very_large_kernel_is_refused():
    model = build(
        "(float[N,3,32,32] x) => (float[N,4,H,W] y) { h = Conv(x, w1) r = Relu(h) y = Conv<dilations=[4,4]>(r, w2) }",
        w1=(5, 3, 3, 3),
        w2=(4, 5, 5, 5),
    )
    found = find(model, "exact")
    assert found.candidates == ()
    assert "kernel of 19" in found.refusals["r"]


def test_a_broadcast_sum_is_no_shortcut():
    model = build(
        """(float[N,3,8,8] x) => (float[N,4,8,8] y) {
            h = Conv<pads=[1,1,1,1]>(x, w1)
            r = Relu(h)
            g = GlobalAveragePool(r)
            k = Conv<pads=[1,1,1,1]>(r, w2)
            y = Add(k, g)
        }""",
        w1=(4, 3, 3, 3),
        w2=(4, 4, 3, 3),
    )
    assert "y" not in {candidate.output for candidate in find(model).candidates}


# Exact composition equals the network whose activations alone were replaced.

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


def test_a_shortcut_is_folded_into_the_kernel():
    model = build(
        """(float[N,4,6,6] x) => (float[N,4,6,6] y) {
            a = Conv<pads=[1,1,1,1]>(x, w1, b1)
            r = Relu(a)
            c = Conv(r, w2)
            y = Add(c, x)
        }""",
        w1=(5, 4, 3, 3),
        b1=(5,),
        w2=(4, 5, 1, 1),
    )
    fused, actual, expected = fused_and_linearized(model, exact(model, "y"))
    assert operators(fused) == ["Conv"]
    assert_near(actual, expected, 1e-4)


def test_an_activation_after_the_sum_is_melted_too():
    model = build(
        """(float[N,4,6,6] x) => (float[N,4,6,6] y) {
            a = Conv<pads=[1,1,1,1]>(x, w1, b1)
            r = Relu(a)
            c = Conv(r, w2)
            s = Add(c, x)
            y = Relu(s)
        }""",
        w1=(5, 4, 3, 3),
        b1=(5,),
        w2=(4, 5, 1, 1),
    )
    fused, actual, expected = fused_and_linearized(model, exact(model, "y"))
    assert operators(fused) == ["Conv"]
    assert_near(actual, expected, 1e-4)


# Where the second convolution is padded.


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


# Fitted kernels.


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
