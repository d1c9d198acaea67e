from dataclasses import replace

import pytest

from onnxshallow.errors import AccuracyError, ModelError, TargetError, UsageError
from onnxshallow.runtime.progress import Clock, Silent
from onnxshallow.search.attempt import Attempt, carry_out, validate
from onnxshallow.search.candidates import find_every_candidate
from onnxshallow.search.plan import Plan
from onnxshallow.search.run import Run
from onnxshallow.validation.fixed_point import FixedPoint
from onnxshallow.validation.gates import Limits
from onnxshallow.workflows import outcome as outcome_module
from onnxshallow.workflows.apply import apply_plan
from onnxshallow.workflows.optimize import optimize
from onnxshallow.workflows.outcome import outcome, unreached
from onnxshallow.workflows.pareto import pareto
from tests.networks import smooth
from tests.runs import load_case, save_case, speed_of, stability_of


@pytest.fixture
def attempt(inputs, observation):
    """A plan that removes one of three sites, carried out and compared."""
    plan = Plan(tuple(c for c in find_every_candidate(inputs) if c.key == "linearize:h1->r1"), {})
    realized, _ = carry_out(inputs, observation, plan, Silent())
    return Attempt(plan, realized, validate(inputs, realized, Silent()), False, Limits(max_drop=1.0))


def asked(inputs, **options):
    return replace(inputs, config=inputs.config.model_copy(update=options))


def test_what_came_of_an_attempt_is_one_result(inputs, attempt):
    clock = Clock()
    result = outcome(asked(inputs, target_relus=0.7, metadata=False), attempt, ["a remark"], clock)
    assert result.error is None
    assert result.model.graph == attempt.realized.model.graph
    assert (result.plan, result.document) == (attempt.plan, inputs.document)
    verdict = result.report.verdict
    assert (verdict.status, verdict.remarks) == ("met", ["a remark"])
    assert verdict.line.startswith("Goal met: 66.7 % of the ReLUs, ")
    assert " points of agreement with the original lost, of at most 100, " in verdict.line
    assert " as fast as the original in onnxruntime" in verdict.line
    assert (result.report.original.relus, result.report.optimized.relus) == (432, 288)
    assert result.report.original.latency_ms > 0
    assert "latency" in clock.seconds


def remarks_on_rows(inputs, attempt, *names):
    made = replace(attempt, realized=replace(attempt.realized, short=names))
    result = outcome(asked(inputs, target_relus=0.7, metadata=False), made, [], Clock())
    return [remark for remark in result.report.verdict.remarks if "too few rows" in remark]


def test_layers_with_too_few_rows_are_told_of_once(inputs, attempt):
    assert remarks_on_rows(inputs, attempt) == []
    (one,) = remarks_on_rows(inputs, attempt, "c1")
    assert one.startswith("1 layer was not re-fitted, with too few rows of samples: c1; give more")
    (many,) = remarks_on_rows(inputs, attempt, "c1", "c2", "c3", "c4", "c5")
    assert "5 layers were not" in many
    assert ": c1, c2, c3, ...; give more" in many


def test_more_samples_are_asked_for_by_the_option_that_gives_more(inputs, attempt):
    count = inputs.data.calibrated
    for pool, option in ((count, "--calib"), (count + 1, "--calib-samples")):
        held = replace(inputs, data=replace(inputs.data, pool=inputs.data.fit.take([0] * pool)))
        (remark,) = remarks_on_rows(held, attempt, "c1")
        assert remark.endswith(f"give more with {option}")


def test_without_an_attempt_there_is_a_report_alone(inputs):
    error = TargetError("It cannot be reached.")
    result = unreached(inputs, error, Clock())
    assert (result.model, result.plan, result.error) == (None, None, error)
    assert result.report.optimized is None
    assert result.report.verdict.exit_code == 5


def test_a_model_that_is_slower_than_allowed_is_no_success(inputs, attempt, monkeypatch):
    monkeypatch.setattr(outcome_module, "measured_speeds", lambda inputs, models: [speed_of(1.0, 2.0)])
    result = outcome(asked(inputs, target_latency="0.5"), attempt, [], Clock())
    assert isinstance(result.error, TargetError)
    assert "0.50x as fast" in str(result.error)
    assert result.report.optimized.latency_ms == 2


def test_what_is_lost_counts_before_what_is_slow(inputs, attempt, monkeypatch):
    monkeypatch.setattr(outcome_module, "measured_speeds", lambda inputs, models: [speed_of(1.0, 2.0)])
    unstable = replace(attempt, stability=stability_of(7.5))
    result = outcome(asked(inputs, target_latency="0.5"), unstable, [], Clock())
    assert isinstance(result.error, AccuracyError)


def test_how_far_activations_grow_is_a_fact_of_a_network_with_squares(inputs, attempt):
    for stability, said in ((None, False), (stability_of(1.24), True)):
        result = outcome(asked(inputs, target_relus=0.7), replace(attempt, stability=stability), [], Clock())
        assert result.error is None
        assert ("activations up to 1.2x the original's, " in result.report.verdict.line) is said
        assert result.report.stability == stability


def test_more_relus_than_asked_for_are_no_success(inputs, attempt):
    result = outcome(asked(inputs, target_relus=0.5), attempt, [], Clock())
    assert isinstance(result.error, TargetError)
    assert "leaves 288 ReLUs of the 216" in str(result.error)


@pytest.mark.parametrize(
    ("key", "options", "samples", "words"),
    [
        ("linearize:h1->r1", {}, 40, []),
        ("quadratic:kept0:h1->r1", {}, 40, ["fitted to 32 samples only"]),
        ("quadratic:kept0:h1->r1", {}, 320, []),
        ("quadratic:kept0:h1->r1", {"calib": None, "calib_samples": 40}, 40, ["fitted to synthetic images"]),
    ],
    ids=["no squares", "few", "enough", "synthetic"],
)
def test_squares_that_were_fitted_to_little_are_told_to_be_a_risk(tmp_path, attempt, key, options, samples, words):
    inputs = load_case(tmp_path, arrays={"x": smooth(samples, 3, 6)}, **options)
    plan = Plan(tuple(c for c in find_every_candidate(inputs) if c.key == key), {})
    assert len(plan.candidates) == 1
    stability = stability_of(1.0) if "quadratic" in key else None
    said = outcome(inputs, replace(attempt, plan=plan, stability=stability), [], Clock()).report.verdict.remarks
    said = [reason for reason in said if "squares" in reason]
    assert len(said) == len(words)
    assert all(word in reason for word, reason in zip(words, said, strict=True))


def test_what_is_lost_beyond_the_gate_is_no_success(inputs, attempt):
    lost = replace(attempt.comparison.fidelity, agreement=0.9)
    attempt = replace(attempt, comparison=replace(attempt.comparison, fidelity=lost), limits=Limits())
    result = outcome(asked(inputs, target_relus=0.7), attempt, [], Clock())
    assert isinstance(result.error, AccuracyError)
    verdict = result.report.verdict
    assert (verdict.status, verdict.exit_code, verdict.overridden) == ("accuracy", 4, [])
    assert verdict.line == f"Not met: {result.error}"
    assert "10.00 points of agreement with the original are lost on " in verdict.line
    assert "more than --max-drop 0.05, the default, allows" in verdict.line
    assert [(gate.name, gate.met) for gate in result.report.gates] == [("max-drop", False)]


def test_what_is_forced_is_written_and_says_what_was_overridden(inputs, attempt, tmp_path):
    unstable = replace(attempt, stability=stability_of(7.5))
    result = outcome(asked(inputs, target_relus=0.5), unstable, [], Clock(), force=True)
    assert result.error is None
    result.save(tmp_path / "forced.onnx")
    verdict = result.report.verdict
    assert (verdict.status, verdict.exit_code) == ("forced", 0)
    assert [
        words in text for words, text in zip(("'r2' grow to 7.5 times", "288 ReLUs"), verdict.overridden, strict=True)
    ] == [True] * 2
    assert verdict.line.startswith(
        "Forced, though refused: It is not stable: on some samples, the activations of 'r2' grow"
    )


def test_samples_that_were_fitted_to_prove_nothing(tmp_path, attempt):
    inputs = load_case(tmp_path, validate=str(tmp_path / "data.npz"), target_relus=0.7)
    run = Run.begin(inputs, Silent(), Clock())
    result = outcome(inputs, run.attempt(attempt.plan), [], Clock())
    assert result.report.verdict.status == "accuracy"
    assert "are calibration samples, too" in result.report.verdict.line


def test_a_gate_needs_data_also_when_a_plan_is_applied(tmp_path):
    path, _ = save_case(tmp_path)
    for start in (
        lambda: optimize(path, max_drop=0.1, target_relus=0.5),
        lambda: apply_plan(path, tmp_path / "plan.json", max_drop=0.1),
        lambda: pareto(path, max_drop=0.1),
    ):
        with pytest.raises(UsageError, match="--max-drop needs real inputs"):
            start()
    with pytest.raises(UsageError, match="--max-error needs real inputs"):
        optimize(path, max_error=0.1, target_relus=0.5)


def in_fixed_point(monkeypatch, inputs, *, made, original):
    """Let fixed point move the outputs of the model and of the original by so much."""

    def found(analysis, batches, threads):
        error = original if analysis is inputs.analysis else made
        return FixedPoint(6, 18, 64, 1.0, error, 10.0, (), ())

    monkeypatch.setattr(outcome_module, "fixed_point", found)


def test_fixed_point_is_looked_at_where_private_inference_is_what_it_is_for(inputs, attempt):
    assert outcome(asked(inputs), attempt, [], Clock()).report.fixed_point is None
    result = outcome(asked(inputs, target_bytes=0.9), attempt, [], Clock())
    assert result.report.fixed_point.samples > 0
    assert result.report.fixed_point.why_lost is None
    assert result.error is None


@pytest.mark.parametrize(("original", "code"), [(0.001, 4), (5.0, 0)])
def test_a_model_that_fixed_point_loses_is_refused_unless_it_loses_the_original(
    inputs, attempt, monkeypatch, original, code
):
    in_fixed_point(monkeypatch, inputs, made=5.0, original=original)
    verdict = outcome(asked(inputs, private_model="aby3"), attempt, [], Clock()).report.verdict
    assert verdict.exit_code == code
    assert "In fixed point with 18 bits after the point it is lost: outputs are off by up to 5 of 10" in " ".join(
        verdict.reasons
    )


def test_a_model_that_cannot_be_run_in_fixed_point_is_told(inputs, attempt, monkeypatch, caplog):
    def fails(analysis, batches, threads):
        raise ModelError("It is too old.")

    monkeypatch.setattr(outcome_module, "fixed_point", fails)
    assert outcome(asked(inputs, private_model="aby3"), attempt, [], Clock()).report.fixed_point is None
    assert "What fixed point makes of the model is not known: It is too old." in caplog.text
