from dataclasses import replace

import numpy as np
import pytest

from onnxshallow.actions.apply import apply_candidates
from onnxshallow.actions.base import FindOptions
from onnxshallow.actions.decompose import Split
from onnxshallow.actions.linearize import Linearize
from onnxshallow.analysis import analyze
from onnxshallow.convolution import compose, project, scale_output
from onnxshallow.fitting.bottleneck import principal_directions
from onnxshallow.fitting.correction import FitOptions, correct, downstream, fit_layer
from onnxshallow.fitting.targets import Target, find_target
from onnxshallow.runtime.cursor import Cursor
from onnxshallow.runtime.store import ActivationStore
from onnxshallow.runtime.whole import run_batches
from onnxshallow.validation.metrics import relative_error
from tests.networks import (
    CHAIN_WEIGHTS,
    assert_near,
    build,
    calibration_of,
    chain,
    error_of,
    residual,
    signed,
    smooth,
    some_statistics,
    statistics_of,
)


def cursor(analysis, batches, goals=()):
    return Cursor.at_inputs(analysis.network, batches, ActivationStore(1 << 30), goals=goals, threads=1)


def layer_of(analysis, output):
    return analysis.layers.by_output[output]


def target_of(model, output, original=None):
    analysis = analyze(model)
    network = analysis.network if original is None else analyze(original).network
    return find_target(network, analysis.network, analysis.layers, layer_of(analysis, output))


def linearized(model, site, calibration):
    """The model's analysis, and the rewritten model with one site linearized."""
    analysis = analyze(model)
    found = Linearize().find(analysis, FindOptions()).candidates
    chosen = [candidate for candidate in found if candidate.output == site]
    return analysis, apply_candidates(analysis, chosen, statistics_of(analysis, calibration))


# What a layer is fitted to.


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


TWO_BRANCHES = """(float[N,3,8,8] x) => (float[N,4,8,8] y) {
    a = Conv<pads=[1,1,1,1]>(x, w1)
    b = Conv<pads=[1,1,1,1]>(x, w2)
    s = Add(a, b)
    y = Relu(s)
}"""


def test_of_two_branches_the_later_one_is_fitted_to_what_the_earlier_one_leaves():
    model = build(TWO_BRANCHES, w1=(4, 3, 3, 3), w2=(4, 3, 3, 3))
    assert target_of(model, "a") == Target("a")
    assert target_of(model, "b") == Target("s", "a")


def test_an_operand_that_is_broadcast_is_not_subtracted():
    model = build(
        """(float[N,3,8,8] x) => (float[N,4,8,8] y) {
            g = GlobalAveragePool(x)
            e = Conv(g, w2)
            k = Conv<pads=[1,1,1,1]>(x, w1)
            s = Add(k, e)
            y = Relu(s)
        }""",
        w1=(4, 3, 3, 3),
        w2=(4, 3, 1, 1),
    )
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


# Which layers come after a change.


def test_downstream_is_what_is_touched_and_what_depends_on_it():
    analysis = analyze(residual())
    found = downstream(analysis.network, analysis.layers, {"h2"})
    assert [layer.output for layer in found] == ["h2", "h3", "h4", "y"]


def test_downstream_leaves_a_batch_normalization_out_unless_it_is_touched():
    model = build(
        """(float[N,3,4,4] x) => (float[N,3,4,4] y) {
            k = Conv(x, w)
            r = Relu(k)
            n = BatchNormalization(r, s, b, m, v)
            y = Relu(n)
        }""",
        w=(3, 3, 1, 1),
        **{name: [1.0, 2.0, 3.0] for name in "sbmv"},
    )
    analysis = analyze(model)
    assert [layer.output for layer in downstream(analysis.network, analysis.layers, {"k"})] == ["k"]
    assert [layer.output for layer in downstream(analysis.network, analysis.layers, {"n"})] == ["n"]


# The fit of one layer.


def test_a_spoilt_layer_is_recovered():
    analysis = analyze(chain())
    layer = layer_of(analysis, "h")
    batches = [{"x": signed((16, 3, 8, 8), seed)} for seed in range(4)]
    before, after = cursor(analysis, batches), cursor(analysis, batches)
    true = analysis.layers.convolution(layer)
    spoilt = scale_output(true, 0.3, 1.0)
    analysis.layers._convolutions["h"] = spoilt
    fitted = fit_layer(before, after, analysis.layers, layer, Target("h"), 4, FitOptions(ridge=1e-8, rounds=0))
    assert fitted is not None
    assert_near(fitted.convolution.weight, true.weight, 1e-3)
    assert_near(fitted.convolution.bias, true.bias, 1e-3)


def test_a_layer_beyond_the_memory_budget_is_left():
    analysis = analyze(chain())
    batches = [{"x": signed((4, 3, 8, 8))}]
    fitted = fit_layer(
        cursor(analysis, batches),
        cursor(analysis, batches),
        analysis.layers,
        layer_of(analysis, "h"),
        Target("h"),
        1,
        FitOptions(memory=1000),
    )
    assert fitted is None


def test_the_held_out_batches_do_not_count():
    analysis = analyze(chain())
    layer = layer_of(analysis, "h")
    options = FitOptions(rounds=0)
    batches = [{"x": signed((8, 3, 8, 8), seed)} for seed in range(2)]
    fits = []
    for held_out in (signed((8, 3, 8, 8), 7), 100 * signed((8, 3, 8, 8), 8)):
        everything = [*batches, {"x": held_out}]
        before, after = cursor(analysis, everything), cursor(analysis, everything)
        fits.append(fit_layer(before, after, analysis.layers, layer, Target("h"), 2, options))
    np.testing.assert_array_equal(fits[0].convolution.weight, fits[1].convolution.weight)


def test_sampling_positions_depends_on_the_seed_alone():
    analysis = analyze(chain(w2=signed((4, 5, 3, 3))))
    layer = layer_of(analysis, "y")
    batches = [{"x": signed((16, 3, 8, 8))}]

    def fit(seed):
        options = FitOptions(rows_per_unknown=4, least_rows=100, seed=seed)
        target = Target("h2")
        before = cursor(analyze(shifted), batches)
        after = cursor(analysis, batches)
        return fit_layer(before, after, analysis.layers, layer, target, 1, options).convolution

    shifted = build(
        """(float[N,3,8,8] x) => (float[N,4,8,8] y) {
            h = Conv<pads=[1,1,1,1]>(x, w1, b1)
            r = Tanh(h)
            h2 = Conv<pads=[1,1,1,1]>(r, w2, b2)
            y = Relu(h2)
        }""",
        **CHAIN_WEIGHTS,
    )
    np.testing.assert_array_equal(fit(1).weight, fit(1).weight)
    assert np.any(fit(1).weight != fit(2).weight)


@pytest.mark.parametrize(
    ("rows_per_unknown", "least_rows", "rows"),
    [(1, 0, 32), (1, 256, 256), (20, 256, 544), (1, 10_000, 1024), (1000, 0, 1024)],
    ids=["by unknowns", "the least", "more by unknowns", "no more than there are", "all of them"],
)
def test_rows_are_as_many_as_the_unknowns_ask_for_and_the_least_at_least(
    monkeypatch, rows_per_unknown, least_rows, rows
):
    seen = []

    def record(convolution, rows, ridge, **options):
        seen.append(rows.patches.shape[1])

    monkeypatch.setattr("onnxshallow.fitting.correction.regress", record)
    analysis = analyze(chain())
    batches = [{"x": signed((16, 3, 8, 8))}]  # 1024 pixels; the layer has 27 unknowns an output
    options = FitOptions(rows_per_unknown=rows_per_unknown, least_rows=least_rows, fewest_rows=0)
    before, after = cursor(analysis, batches), cursor(analysis, batches)
    fit_layer(before, after, analysis.layers, layer_of(analysis, "h"), Target("h"), 1, options)
    assert seen == [rows]  # the same number of pixels from each of 16 images


@pytest.mark.parametrize(
    ("text", "rectified"),
    [
        ("y = Relu(h)", True),
        ("z = Constant<value_float=0.0>() u = Constant<value_float=6.0>() y = Clip(h, z, u)", True),
        ("y = LeakyRelu(h)", False),
        ("z = Relu(h) y = Add(z, h)", False),
    ],
    ids=["relu", "clip", "leaky", "read twice"],
)
def test_a_layer_is_fitted_through_the_activation_that_alone_follows(monkeypatch, text, rectified):
    model = build(f"(float[N,3,4,4] x) => (float[N,2,4,4] y) {{ h = Conv(x, w) {text} }}", w=(2, 3, 1, 1))
    seen = []

    def record(convolution, rows, ridge, *, rectifier, rounds):
        seen.append(rectifier)
        return convolution

    monkeypatch.setattr("onnxshallow.fitting.correction.regress", record)
    analysis = analyze(model)
    batches = [{"x": signed((4, 3, 4, 4))}]
    before, after = cursor(analysis, batches), cursor(analysis, batches)
    fit_layer(before, after, analysis.layers, layer_of(analysis, "h"), Target("h"), 1, FitOptions())
    assert [rectifier is not None for rectifier in seen] == [rectified]


# Sequential correction.


def test_correcting_an_unchanged_network_changes_nothing():
    analysis = analyze(residual())
    batches = [{"x": smooth(16, 3, 8, seed)} for seed in range(4)]
    before, after = cursor(analysis, batches), cursor(analysis, batches)
    fitted = correct(before, after, analysis.layers, list(analysis.layers), 4, FitOptions())
    assert list(fitted) == ["s", "h1", "h2", "h3", "h4", "y"]
    for output, convolution in fitted.items():
        assert error_of(convolution.weight, analysis.layers.convolution(layer_of(analysis, output)).weight) < 1e-2


@pytest.mark.parametrize("site", ["r0", "r1", "r2", "r3"])
def test_correction_lowers_the_error_that_a_removal_leaves(site):
    model = residual(seed=1)
    calibration = calibration_of({"x": smooth(256, 3, 8)}, batch=64)
    original, rewritten = linearized(model, site, calibration)
    layers, network = rewritten.analysis.layers, rewritten.analysis.network
    (expected,) = run_batches(model, calibration.batches[calibration.selection], 1)

    def error_after_fitting(chosen):
        before, after = (
            cursor(original, calibration.batches),
            cursor(rewritten.analysis, calibration.batches, "y"),
        )
        correct(before, after, layers, chosen, calibration.fit_batches, calibration.fit)
        after.restrict(calibration.selection)
        return relative_error(expected, np.concatenate(after.outputs()[0]))

    touched = [layer for layer in layers if layer.output in rewritten.fit]
    corrected = error_after_fitting(downstream(network, layers, rewritten.fit))
    assert corrected < 0.95 * error_after_fitting(touched)


def test_every_layer_is_a_step_also_one_without_a_target():
    original = analyze(build("(float[N,3,8,8] x) => (float[N,4,8,8] y) { y = Conv(x, w) }", w=(4, 3, 1, 1)))
    analysis = analyze(chain())
    batches = [{"x": signed((4, 3, 8, 8))}]
    steps = []
    fitted = correct(
        cursor(original, batches),
        cursor(analysis, batches),
        analysis.layers,
        list(analysis.layers),
        1,
        FitOptions(fewest_rows=0),
        lambda: steps.append(1),
    )
    assert len(steps) == 2
    assert list(fitted) == ["y"]


def test_the_goals_of_both_frontiers_are_as_before():
    analysis = analyze(residual())
    batches = [{"x": smooth(8, 3, 8)}]
    before, after = cursor(analysis, batches), cursor(analysis, batches, ["y"])
    correct(before, after, analysis.layers, list(analysis.layers), 1, replace(FitOptions(), rounds=1))
    assert before.goals == set()
    assert after.goals == {"y"}


def test_a_network_with_a_broadcast_sum_is_corrected():
    model = build(
        """(float[N,3,8,8] x) => (float[N,4,8,8] y) {
            g = GlobalAveragePool(x)
            e = Conv(g, w2)
            k = Conv<pads=[1,1,1,1]>(x, w1)
            s = Add(k, e)
            y = Relu(s)
        }""",
        w1=(4, 3, 3, 3),
        w2=(4, 3, 1, 1),
    )
    analysis = analyze(model)
    batches = [{"x": signed((16, 3, 8, 8))}]
    before, after = cursor(analysis, batches), cursor(analysis, batches)
    fitted = correct(before, after, analysis.layers, list(analysis.layers), 1, FitOptions(fewest_rows=0))
    assert set(fitted) == {"e", "k"}


# Layers that have few rows.


def fitted_with_few_rows(changed):
    """What is fitted of a chain whose layers have 28 and 19 unknowns and 16 rows each."""
    analysis = analyze(chain())
    batches = [{"x": smooth(1, 3, 4)}]
    before, after = cursor(analysis, batches), cursor(analysis, batches)
    return correct(before, after, analysis.layers, list(analysis.layers), 1, FitOptions(), changed=changed)


def test_a_layer_that_does_what_it_did_is_left_alone_where_rows_are_few():
    assert fitted_with_few_rows(()) == {}


def test_a_new_layer_is_fitted_however_few_its_rows_are():
    assert set(fitted_with_few_rows({"y"})) == {"y"}


# Layers split in two.

POINTWISE = """(float[N,3,8,8] x) => (float[N,4,8,8] y) {
    h = Conv<pads=[1,1,1,1]>(x, w1, b1)
    y = Conv(h, w2, b2)
}"""
KNOWS_THREE = """(float[N,3,8,8] x) => (float[N,4,8,8] y) {
    k = Conv<pads=[1,1,1,1]>(x, w)
    l = Relu(k)
    y = Tanh(l)
}"""


def split_in_two(model, output, rank=3, others=()):
    """The analysis of the model with the layer that makes `output` split, and the outputs of the two."""
    analysis = analyze(model)
    layer = layer_of(analysis, output)
    candidate = Split("decompose", (), layer.source, output, rank=rank, nodes=frozenset(layer.nodes))
    rewritten = apply_candidates(analysis, [candidate, *others], some_statistics(analysis))
    (between,) = (name for name in rewritten.fit if analysis.network.producer(name) is None)
    return rewritten.analysis, between


def target_between(original, rewritten, between):
    layers = rewritten.layers
    return find_target(analyze(original).network, rewritten.network, layers, layers.by_output[between])


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


def test_the_first_of_two_layers_is_fitted_to_what_the_second_makes():
    rewritten, between = split_in_two(chain(), "h")
    second = layer_of(rewritten, "h")
    assert target_between(chain(), rewritten, between) == Target("h", through=second)
    assert find_target(analyze(chain()).network, rewritten.network, rewritten.layers, second) == Target("h")


def test_before_a_residual_sum_the_first_is_fitted_to_the_sum_minus_the_other_operand():
    rewritten, between = split_in_two(residual(), "h2")
    second = layer_of(rewritten, "h2")
    assert target_between(residual(), rewritten, between) == Target("s1", "r0", second)


def test_where_the_activation_is_removed_as_well_the_first_is_fitted_to_that():
    (removal,) = (c for c in Linearize().find(analyze(chain()), FindOptions()).candidates if c.output == "r")
    rewritten, between = split_in_two(chain(), "h", others=[removal])
    assert target_between(chain(), rewritten, between) == Target("r", through=layer_of(rewritten, "r"))


def test_of_two_split_branches_the_later_one_is_fitted_to_what_the_earlier_one_leaves():
    model = build(TWO_BRANCHES, w1=(4, 3, 3, 3), w2=(4, 3, 3, 3))
    for output, expected in (("a", ("a", None)), ("b", ("s", "a"))):
        rewritten, between = split_in_two(model, output)
        target = target_between(model, rewritten, between)
        assert (target.tensor, target.minus) == expected
        assert target.through == layer_of(rewritten, output)


def test_a_layer_that_the_original_has_is_not_taken_for_the_first_of_two():
    model = build(POINTWISE, w1=(5, 3, 3, 3), b1=(5,), w2=(4, 5, 1, 1), b2=(4,))
    assert target_of(model, "h") == Target("h")


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
    assert (target.tensor, target.through.output) == ("y", "y")


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
    """The composite of two layers fitted with 27 unknowns and 32 rows, after another layer than the original's.

    Also what they start from, and the mean and the principal directions of what they are fitted to.
    """
    batch = {"x": smooth(2, 3, 4)}
    rewritten, between = split_in_two(chain(w1=signed((5, 3, 3, 3), 7), b1=signed((5,), 8)), "h", 2)
    _, _, fitted = split_corrected(chain(), rewritten, [batch], chosen={between}, known=known)
    assert list(fitted) == [between, "h"]
    before = cursor(analyze(chain()), [batch])
    before.advance(["h"])
    wanted = np.moveaxis(before["h"][0], 1, -1).reshape(-1, 5)
    true, layers = analyze(chain()).layers, rewritten.layers
    parts = (layers.convolution(layer) for layer in layers.all[:2])
    start = true.convolution(true.by_output["h"]) if known else compose(*parts)
    directions = principal_directions(wanted, 2, start.weight.reshape(5, -1))
    return compose(fitted[between], fitted["h"]), start, directions


def test_with_few_rows_the_two_are_the_layer_that_was_split_projected():
    both, whole, (mean, directions) = split_with_few_rows(known=True)
    expected = compose(*project(whole, directions, mean))
    assert_near(both.weight, expected.weight)
    assert_near(both.bias, expected.bias)


def test_where_that_is_not_known_they_are_their_composite_projected():
    both, composite, (mean, directions) = split_with_few_rows(known=False)
    expected = compose(*project(composite, directions, mean))
    assert_near(both.weight, expected.weight)
    assert_near(both.bias, expected.bias)


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
    batch = {"x": smooth(2, 3, 4)}
    _, _, fitted = split_corrected(original, rewritten, [batch], chosen={between})
    assert list(fitted) == [between, "b"]
    network = cursor(analyze(original), [batch], ["s"])
    network.advance(["s"])
    after = cursor(rewritten, [batch])
    after.advance(["a"])
    left = network["s"][0] - after["a"][0]
    np.testing.assert_allclose(fitted["b"].bias, left.mean(axis=(0, 2, 3)), rtol=1e-4, atol=1e-6)


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
