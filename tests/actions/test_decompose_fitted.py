"""Splits carried out: fitted and corrected."""

import numpy as np
import onnx
import pytest

from onnxshallow.actions.apply import apply_candidates
from onnxshallow.analysis import analyze
from onnxshallow.rewriting.realize import realize
from onnxshallow.runtime.whole import run_batches
from onnxshallow.validation.metrics import relative_error
from tests.actions.decompose_cases import (
    assert_costs_as_promised,
    best,
    find,
    initializers,
    others,
    plain,
    splits_of,
    wide_conv,
)
from tests.networks import (
    assert_near,
    build,
    calibration_of,
    chain,
    operators,
    residual,
    run_exactly,
    signed,
    smooth,
    statistics_of,
)


def carried_out(model, chosen, feeds, **options):
    """The error of the realized plan on the held-out samples, and what was realized."""
    analysis, calibration = analyze(model), calibration_of(feeds, batch=32)
    result = realize(analysis, chosen, statistics_of(analysis, calibration), calibration, **options)
    onnx.checker.check_model(result.model, full_check=True)
    expected = run_batches(model, calibration.batches[calibration.selection], 1)
    return relative_error(expected[0], result.outputs[0]), result


def plain_error(model, chosen, feeds):
    """The error of what is written before anything is fitted."""
    analysis, calibration = analyze(model), calibration_of(feeds, batch=32)
    plain = apply_candidates(analysis, chosen, statistics_of(analysis, calibration)).model
    expected, outputs = (run_batches(m, calibration.batches[calibration.selection], 1)[0] for m in (model, plain))
    return relative_error(expected, outputs)


@pytest.mark.parametrize("output", ["h1", "h2", "h3"])
def test_a_fitted_split_is_closer_than_the_split_of_the_weights(output):
    model, feeds = residual(1), {"x": smooth(256, 3, 8)}
    chosen = [best(model, output)]
    fitted, result = carried_out(model, chosen, feeds, correction=False)
    assert fitted < 0.8 * plain_error(model, chosen, feeds)
    assert_costs_as_promised(model, result.model, chosen)


def test_with_few_samples_a_split_is_still_closer_than_that_of_the_weights():
    model, unseen = wide_conv(), {"x": smooth(64, 4, 6, seed=1)}
    analysis, chosen = analyze(model), [splits_of(wide_conv(), "h")[-1]]
    calibration = calibration_of({"x": smooth(8, 4, 6)}, batch=1)
    assert calibration.fit.fewest_rows * 36 > calibration.fit_batches * 36  # unknowns of the layer, and pixels
    fitted = realize(analysis, chosen, {}, calibration).model
    plain = apply_candidates(analysis, chosen, {}).model
    expected, *made = (run_batches(m, [unseen], 1)[0] for m in (model, fitted, plain))
    errors = [relative_error(expected, outputs) for outputs in made]
    assert errors[0] < 0.9 * errors[1]


def test_the_correction_of_later_layers_lowers_the_error_further():
    model, feeds = residual(1), {"x": smooth(256, 3, 8)}
    chosen = [best(model, "h1"), best(model, "h3")]
    uncorrected, _ = carried_out(model, chosen, feeds, correction=False)
    corrected, _ = carried_out(model, chosen, feeds)
    assert corrected < 0.95 * uncorrected


def test_a_split_of_low_rank_is_recovered():
    weight = np.einsum("or,rchw->ochw", signed((16, 4)), signed((4, 4, 3, 3), 1)).astype(np.float32)
    model = build(
        "(float[N,4,6,6] x) => (float[N,16,6,6] y) { h = Conv<pads=[1,1,1,1]>(x, w) y = Relu(h) }", w=weight
    )
    chosen = [candidate for candidate in plain(model, "h") if candidate.rank == 4]
    error, result = carried_out(model, chosen, {"x": smooth(64, 4, 6)})
    assert error < 1e-3
    assert operators(result.model) == ["Conv", "Conv", "Relu"]


def test_the_first_layer_is_a_step_and_the_second_another():
    steps = []
    carried_out(
        chain(), [best(chain(), "h")], {"x": smooth(64, 3, 8)}, correction=False, step=lambda: steps.append(1)
    )
    assert len(steps) == 2


def test_a_plan_of_all_actions_is_carried_out():
    model, feeds = residual(1), {"x": smooth(256, 3, 8)}
    found = others(model)
    chosen = [found["fuse:3x3:r0->s1"], best(model, "h3"), found["linearize:h3->r3"], best(model, "y")]
    error, result = carried_out(model, chosen, feeds)
    assert error < 0.3 * plain_error(model, chosen, feeds)
    assert_costs_as_promised(model, result.model, chosen)
    same = {"x": smooth(4, 3, 8, seed=9)}
    assert_near(run_exactly(result.model, same)[0], run_batches(result.model, [same], 1)[0])


@pytest.mark.parametrize("output", ["s", "h3"])
def test_a_split_goes_with_an_exact_merger(output):
    model, feeds = residual(1), {"x": smooth(256, 3, 8)}
    chosen = [others(model, "exact")["fuse:5x5:border:r0->s1"], best(model, output)]
    uncorrected, _ = carried_out(model, chosen, feeds, correction=False)
    error, result = carried_out(model, chosen, feeds)
    assert operators(result.model).count("Conv") == 5
    assert result.composition_error is not None
    assert error < 0.85 * uncorrected


def test_the_same_inputs_give_the_same_model():
    made = [
        carried_out(residual(), [best(residual(), "h1")], {"x": smooth(64, 3, 8)})[1].model.SerializeToString(
            deterministic=True
        )
        for _ in range(2)
    ]
    assert made[0] == made[1]


def test_a_network_that_was_split_before_is_split_and_fitted_again():
    model, feeds = residual(1), {"x": smooth(256, 3, 8)}
    once = carried_out(model, [best(model, output) for output in ("h1", "h2", "h3")], feeds)[1].model
    again = {c.output: c for c in find(once).candidates}
    assert {"h1", "h2", "h3"} & set(again)
    chosen = [best(once, output) for output in again]
    error, result = carried_out(once, chosen, feeds)
    assert error < 0.8 * plain_error(once, chosen, feeds)
    assert_costs_as_promised(once, result.model, chosen)


def test_half_precision_is_carried_out():
    model = build(
        "(float16[N,4,6,6] x) => (float16[N,16,6,6] y) { h = Conv<pads=[1,1,1,1]>(x, w) y = Relu(h) }",
        w=(signed((16, 4, 3, 3)) / 6).astype(np.float16),
    )
    feeds = {"x": smooth(64, 4, 6).astype(np.float16)}
    chosen = [best(model, "h")]
    error, result = carried_out(model, chosen, feeds)
    assert {array.dtype for array in initializers(result.model).values()} == {np.dtype(np.float16)}
    assert error < 0.9 * plain_error(model, chosen, feeds)
