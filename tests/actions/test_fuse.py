import numpy as np
import pytest

from tests.actions.fuse_cases import find, inverted, keys, narrow
from tests.networks import build, chain, residual

# Where the action applies.


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
    "Exp node 'g' is no convolution": build(
        "(float[N,3,8,8] x) => (float[N,4,8,8] y) "
        "{ h = Conv(x, w1) g = Exp(h) s = Add(h, g) r = Relu(s) y = Conv(r, w2) }",
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


# Where the second convolution is padded.


# Fitted kernels.
