import numpy as np
import pytest

from onnxshallow.actions.base import FindOptions
from onnxshallow.actions.linearize import Linearize
from onnxshallow.analysis import analyze
from onnxshallow.fitting.targets import Target, find_target, rectifier_after, scalable_side
from tests.fitting.fitting_cases import (
    TWO_BRANCHES,
    broadcast_sum,
    layer_of,
    linearized,
    split_in_two,
    target_between,
    target_of,
)
from tests.networks import build, calibration_of, chain, residual, smooth
from tests.partials import partial


def test_a_layer_is_fitted_to_its_own_output():
    assert target_of(residual(), "h1") == Target("h1")


def test_a_layer_before_a_residual_sum_is_fitted_to_the_sum_minus_the_other_operand():
    assert target_of(residual(), "h2") == Target("s1", "r0")


def test_a_layer_before_an_activated_sum_that_was_linearized_is_fitted_to_the_activated_one():
    calibration = calibration_of({"x": smooth(16, 3, 8)}, batch=8)
    original, rewritten = linearized(residual(), "r2", calibration)
    layers = rewritten.analysis.layers
    target = find_target(original.network, rewritten.analysis.network, layers, layers.by_output["h2"])
    assert target == Target("r2", "r2_shortcut")


def test_of_two_branches_the_later_one_is_fitted_to_what_the_earlier_one_leaves():
    model = build(TWO_BRANCHES, w1=(4, 3, 3, 3), w2=(4, 3, 3, 3))
    assert target_of(model, "a") == Target("a")
    assert target_of(model, "b") == Target("s", "a")


def test_an_operand_that_is_broadcast_is_not_subtracted():
    model = broadcast_sum()
    assert target_of(model, "k") == Target("k")


def test_a_constant_operand_is_not_subtracted():
    model = build(
        """(float[1,3,4,4] x) => (float[1,2,4,4] y) {
            k = Conv(x, w)
            s = Add(k, map)
            y = Relu(s)
        }""",
        w=(2, 3, 1, 1),
        map=(1, 2, 4, 4),
    )
    assert target_of(model, "k") == Target("k")


def test_a_bias_that_callers_may_override_is_no_residual():
    text = "(float[N,3,4,4] x, float[1,4,4,4] k) => (float[N,4,4,4] y) { h = Conv(x, w) s = Add(h, k) y = Tanh(s) }"
    model = build(text, w=(4, 3, 1, 1), k=(1, 4, 4, 4))
    assert target_of(model, "h") == Target("h")


def test_a_sum_of_a_layer_with_itself_is_no_residual():
    model = build(
        """(float[N,3,4,4] x) => (float[N,2,4,4] y) {
            k = Conv(x, w)
            y = Add(k, k)
        }""",
        w=(2, 3, 1, 1),
    )
    assert target_of(model, "k") == Target("k")


def test_a_layer_whose_tensors_the_original_lacks_has_no_target():
    original = build("(float[N,3,4,4] x) => (float[N,2,4,4] y) { y = Conv(x, w) }", w=(2, 3, 1, 1))
    assert target_of(chain(), "h", original) is None


POINTWISE = """(float[N,3,8,8] x) => (float[N,4,8,8] y) {
    h = Conv<pads=[1,1,1,1]>(x, w1, b1)
    y = Conv(h, w2, b2)
}"""


KNOWS_THREE = """(float[N,3,8,8] x) => (float[N,4,8,8] y) {
    k = Conv<pads=[1,1,1,1]>(x, w)
    l = Relu(k)
    y = Tanh(l)
}"""


def test_the_first_of_two_layers_is_fitted_to_what_the_second_makes():
    rewritten, between = split_in_two(chain(), "h")
    second = layer_of(rewritten, "h")
    assert target_between(chain(), rewritten, between) == Target("h", through=(second,))
    assert find_target(analyze(chain()).network, rewritten.network, rewritten.layers, second) == Target("h")


def test_before_a_residual_sum_the_first_is_fitted_to_the_sum_minus_the_other_operand():
    rewritten, between = split_in_two(residual(), "h2")
    second = layer_of(rewritten, "h2")
    assert target_between(residual(), rewritten, between) == Target("s1", "r0", (second,))


def test_where_the_activation_is_removed_as_well_the_first_is_fitted_to_that():
    (removal,) = (c for c in Linearize().find(analyze(chain()), FindOptions()).candidates if c.output == "r")
    rewritten, between = split_in_two(chain(), "h", others=[removal])
    assert target_between(chain(), rewritten, between) == Target("r", through=(layer_of(rewritten, "r"),))


def test_of_two_split_branches_the_later_one_is_fitted_to_what_the_earlier_one_leaves():
    model = build(TWO_BRANCHES, w1=(4, 3, 3, 3), w2=(4, 3, 3, 3))
    for output, expected in (("a", ("a", None)), ("b", ("s", "a"))):
        rewritten, between = split_in_two(model, output)
        target = target_between(model, rewritten, between)
        assert (target.tensor, target.minus) == expected
        assert target.through == (layer_of(rewritten, output),)


def test_a_layer_that_the_original_has_is_not_taken_for_the_first_of_two():
    model = build(POINTWISE, w1=(5, 3, 3, 3), b1=(5,), w2=(4, 5, 1, 1), b2=(4,))
    assert target_of(model, "h") == Target("h")


THREE = "(float[N,3,8,8] x) => (float[N,4,8,8] y) {{ h = Conv(x, w1) k = {} y = {} }}"
KERNELS, LAST = "Conv<pads=[1,1,1,1], group=5>(h, w2)", "Conv(k, w3)"
WEIGHTS = {"w1": (5, 3, 1, 1), "w2": (5, 1, 3, 3), "w3": (4, 5, 1, 1)}


def test_the_first_of_three_layers_is_fitted_to_what_the_third_makes():
    target = target_of(build(THREE.format(KERNELS, LAST), **WEIGHTS), "h", build(KNOWS_THREE, w=(4, 3, 3, 3)))
    assert target is not None
    assert (target.tensor, [part.output for part in target.through]) == ("y", ["k", "y"])


@pytest.mark.parametrize(
    ("kernels", "last", "weights"),
    [
        ("Conv<pads=[1,1,1,1], group=5>(h, w2)", "Conv(k, w3)", {"w2": (10, 1, 3, 3), "w3": (4, 10, 1, 1)}),
        (KERNELS, "Add(k, h)", {"w1": (4, 3, 1, 1), "w2": (4, 1, 3, 3)}),
        (KERNELS, "Conv<pads=[1,1,1,1]>(k, w3)", {"w3": (4, 5, 3, 3)}),
        (KERNELS, "Conv<group=2>(k, w3)", {"w1": (4, 3, 1, 1), "w2": (4, 1, 3, 3), "w3": (4, 2, 1, 1)}),
    ],
    ids=["two kernels a channel", "no third", "a third of more than one pixel", "a third of groups"],
)
def test_a_layer_before_other_kernels_is_not_the_first_of_three(kernels, last, weights):
    kernels = kernels.replace("group=5", f"group={(WEIGHTS | weights)['w1'][0]}")
    text = THREE.format(kernels, last)
    used = {name: shape for name, shape in (WEIGHTS | weights).items() if name in text}
    assert target_of(build(text, **used), "h", build(KNOWS_THREE, w=(4, 3, 3, 3))) is None


NO_SECOND = {
    "a kernel of more than one pixel": ("y = Conv<pads=[1,1,1,1]>(h, w2)", {"w2": (4, 4, 3, 3)}),
    "a padded pixel": ("k = Conv<pads=[1,0,0,0]>(h, w2) y = Slice(k, one, nine, two)", {"w2": (4, 4, 1, 1)}),
    "groups": ("y = Conv<group=2>(h, w2)", {"w2": (4, 2, 1, 1)}),
    "a second reader": ("k = Conv(h, w2) y = Add(k, h)", {"w2": (4, 4, 1, 1)}),
    "two of them": ("k = Conv(h, w2) l = Conv(h, w3) y = Mul(k, l)", {"w2": (4, 4, 1, 1), "w3": (4, 4, 1, 1)}),
    "an activation": ("r = Relu(h) y = Conv(r, w2)", {"w2": (4, 4, 1, 1)}),
    "a second that makes nothing known": ("m = Conv(h, w2) y = Relu(m)", {"w2": (4, 4, 1, 1)}),
}


def test_a_layer_before_one_that_reads_a_pixel_is_the_first_of_two():
    model = build(POINTWISE, w1=(5, 3, 3, 3), b1=(5,), w2=(4, 5, 1, 1), b2=(4,))
    target = target_of(model, "h", build(KNOWS_THREE, w=(4, 3, 3, 3)))
    assert target is not None
    assert (target.tensor, [part.output for part in target.through]) == ("y", ["y"])


@pytest.mark.parametrize("name", NO_SECOND)
def test_a_layer_before_something_else_is_not_the_first_of_two(name):
    text, weights = NO_SECOND[name]
    limits = {"one": np.array([1]), "nine": np.array([9]), "two": np.array([2])}
    model = build(
        f"(float[N,3,8,8] x) => (float[N,4,8,8] y) {{ h = Conv<pads=[1,1,1,1]>(x, w) {text} }}",
        w=(4, 3, 3, 3),
        **weights,
        **{key: value for key, value in limits.items() if key in text},
    )
    assert target_of(model, "h", build(KNOWS_THREE, w=(4, 3, 3, 3))) is None


def test_a_layer_whose_output_the_model_returns_is_not_the_first_of_two():
    text = POINTWISE.replace("(float[N,4,8,8] y)", "(float[N,4,8,8] y, float[N,5,8,8] h)")
    model = build(text, w1=(5, 3, 3, 3), b1=(5,), w2=(4, 5, 1, 1), b2=(4,))
    assert target_of(model, "h", build(KNOWS_THREE, w=(4, 3, 3, 3))) is None


def test_a_multiplication_is_not_the_first_of_two():
    model = build(
        "(float[N,3,8,8] x) => (float[N,4,8,8] y) { h = Mul(x, s) y = Conv(h, w) }",
        s=np.array([1, 2, 3], dtype=np.float32).reshape(1, 3, 1, 1),
        w=(4, 3, 1, 1),
    )
    assert layer_of(analyze(model), "h").kind == "affine"
    assert target_of(model, "h", build(KNOWS_THREE, w=(4, 3, 3, 3))) is None


# What may be scaled on the other side of a sum.


def side_of(text, chosen, **weights):
    analysis = analyze(build(f"(float[N,3,8,8] x) => (float[N,4,8,8] y) {{ {text} }}", **weights))
    layers = [analysis.layers.by_output[name] for name in chosen]
    side = scalable_side(analysis.network, analysis.layers, Target("s", "a"), layers)
    return None if side is None else side.output


@pytest.mark.parametrize(
    ("text", "chosen", "expected"),
    [
        ("a = Conv(x, v) b = Conv(x, w) s = Add(a, b) y = Relu(s)", ("a", "b"), "a"),
        ("a = Conv(x, v) b = Conv(x, w) s = Add(a, b) y = Relu(s)", ("b",), None),
        ("a = Conv(x, v) b = Conv(x, w) s = Add(a, b) y = Add(s, a)", ("a", "b"), None),
        ("c = Conv(x, v) t = Tanh(c) a = Mul(t, k) b = Conv(x, w) s = Add(a, b) y = Relu(s)", ("b",), "a"),
        ("c = Conv(x, v) a = Tanh(c) b = Conv(x, w) s = Add(a, b) y = Relu(s)", ("b", "c"), None),
    ],
    ids=["fitted as well", "not fitted", "read elsewhere", "a scale", "no layer"],
)
def test_a_layer_on_the_other_side_may_be_scaled_where_nothing_else_reads_it(text, chosen, expected):
    weights = {"v": (4, 3, 1, 1), "w": (4, 3, 1, 1)} | ({"k": (1, 4, 1, 1)} if "k)" in text else {})
    assert side_of(text, chosen, **weights) == expected


def test_nothing_is_scaled_where_nothing_is_subtracted():
    analysis = analyze(chain())
    assert scalable_side(analysis.network, analysis.layers, Target("h"), list(analysis.layers)) is None


# The activation to fit through.

CLIP = "z = Constant<value_float=0.0>() u = Constant<value_float=6.0>() y = Clip(h, z, u)"


def reading(text):
    model = build(f"(float[N,3,4,4] x) => (float[N,4,4,4] y) {{ h = Conv(x, w) {text} }}", w=(4, 3, 1, 1))
    return analyze(model).network


@pytest.mark.parametrize(
    ("original", "rewritten", "upper"),
    [
        ("y = Relu(h)", "y = Relu(h)", np.inf),
        (CLIP, CLIP, 6.0),
        (CLIP, "y = Relu(h)", None),
        ("y = Relu(h)", "y = Tanh(h)", None),
        ("y = Tanh(h)", "y = Relu(h)", None),
        ("r = Relu(h) y = Add(r, h)", "y = Relu(h)", None),
        ("y = Relu(h)", "r = Relu(h) y = Add(r, h)", None),
    ],
)
def test_the_fit_looks_through_an_activation_that_is_the_same_in_both_networks(original, rewritten, upper):
    found = rectifier_after(reading(original), reading(rewritten), Target("h"), 1)
    if upper is None:
        assert found is None
    else:
        assert (found.upper, found.lower, found.curves) == (upper, 0, None)


@pytest.mark.parametrize("groups", [1, 2])
def test_of_an_activation_that_is_kept_in_part_each_output_has_its_own(groups):
    made = partial("h", "y", [1, 0, 0, 0], square=[0, 0.5, 0, 0], linear=[0, 0.25, 0.6, 1], constant=[0, 0.1, 0.2, 0])
    found = rectifier_after(reading(CLIP), reading("y = Tanh(h)"), Target("h", partial=made), groups)
    shape = (groups, 1, 4 // groups)
    assert found.upper.shape == found.lower.shape == found.curves.squared.shape == found.curves.square.shape == shape
    assert found.upper.ravel().tolist() == [6, 6, np.inf, np.inf]
    assert found.lower.ravel().tolist() == [0, 0, -np.inf, -np.inf]
    assert found.curves.squared.ravel().tolist() == [False, True, False, False]
    for name in ("square", "linear", "constant"):
        values = getattr(found.curves, name)
        np.testing.assert_array_equal(values, getattr(made, name).reshape(shape).astype(np.float32))


def test_without_parabolas_there_are_bounds_alone():
    made = partial("h", "y", [1, 0, 1, 0], linear=0.5)
    found = rectifier_after(reading("y = Relu(h)"), reading("y = Relu(h)"), Target("h", partial=made), 1)
    assert found.curves is None
    assert found.lower.ravel().tolist() == [0, -np.inf, 0, -np.inf]


def test_where_elements_of_a_channel_differ_or_there_is_no_bound_the_fit_looks_through_nothing():
    places, channels = (partial("h", "y", kept) for kept in (np.eye(16).reshape(16, 4, 4)[:4], [1, 0, 1, 0]))
    relu, tanh = reading("y = Relu(h)"), reading("y = Tanh(h)")
    assert rectifier_after(relu, relu, Target("h", partial=places), 1) is None
    assert rectifier_after(tanh, tanh, Target("h", partial=channels), 1) is None
