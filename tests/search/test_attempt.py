from dataclasses import replace

import numpy as np
import pytest

from onnxshallow.actions.base import FindOptions
from onnxshallow.analysis import analyze
from onnxshallow.model.session import Session
from onnxshallow.model.weights import value_of
from onnxshallow.runtime.progress import Silent
from onnxshallow.search.attempt import Attempt, carry_out, realize_with, validate
from onnxshallow.search.candidates import find_candidates
from onnxshallow.search.inputs import observe
from onnxshallow.search.plan import Plan
from onnxshallow.validation.compare import Accuracy
from onnxshallow.validation.gates import Limits
from tests.networks import build, smooth
from tests.runs import NET, NET_WEIGHTS, flipped, load_case, net


@pytest.fixture
def plan(inputs):
    found = {c.key: c for c in find_candidates(inputs.analysis, FindOptions())[0]}
    return Plan((found["fuse:3x3:x->h1"], found["linearize:h1->r1"]), {})


def test_a_plan_is_carried_out_and_validated(inputs, observation, plan):
    realized = carry_out(inputs, observation, plan, Silent())
    assert analyze(realized.model).cost.relus <= 144
    comparison = validate(inputs, realized, Silent())
    assert comparison.fidelity.samples == 8
    assert 0 < comparison.fidelity.relative_error["y"] < 1


def test_an_empty_plan_is_the_original(inputs, observation):
    realized = carry_out(inputs, observation, Plan((), {}), Silent())
    assert realized.model == net()
    assert validate(inputs, realized, Silent()).loss.value == 0


def test_a_plan_is_carried_out_on_all_samples_and_tried_on_those_for_fitting(inputs, observation, plan):
    fitted = carry_out(inputs, observation, plan, Silent())
    tried = realize_with(inputs.calibration, inputs, observation, plan, Silent())
    assert fitted.model != tried.model
    everything = replace(inputs.calibration, everything=True)
    assert realize_with(everything, inputs, observation, plan, Silent()).model == fitted.model


def last_weight(model):
    """The weight of the classifier, which only a correction of later layers touches."""
    (node,) = (node for node in model.graph.node if node.op_type == "Gemm")
    return next(value_of(tensor) for tensor in model.graph.initializer if tensor.name == node.input[1])


def test_later_layers_are_corrected_where_that_is_asked_for(tmp_path, observation, plan):
    changed = []
    for correction in (True, False):
        inputs = load_case(tmp_path, correction=correction)
        model = carry_out(inputs, observation, plan, Silent()).model
        changed.append(not np.array_equal(last_weight(model), last_weight(net())))
    assert changed == [True, False]


def test_the_original_may_be_given_as_what_runs_it(inputs, observation):
    realized = carry_out(inputs, observation, Plan((), {}), Silent())
    against = validate(inputs, realized, Silent(), Session(flipped(net(), "w3"), threads=1))
    assert against.fidelity.relative_error["y"] > 0.5


def test_samples_that_fill_no_batch_are_left_out(tmp_path):
    inputs = load_case(tmp_path, build(NET.replace("[N,", "[5,"), **NET_WEIGHTS), arrays={"x": smooth(32, 3, 6)})
    steps = []

    class Counted(Silent):
        def stage(self, name, total):
            steps.append((name, total))
            return super().stage(name, total)

    realized = carry_out(inputs, observe(inputs, Silent()), Plan((), {}), Silent())
    assert validate(inputs, realized, Counted()).fidelity.samples == 5
    assert steps == [("Validating", 1)]


@pytest.fixture
def attempt(inputs, observation, plan):
    """A plan carried out, whose answers differ for a tenth of a thousand samples, more of which were right before."""
    realized = carry_out(inputs, observation, plan, Silent())
    found = validate(inputs, realized, Silent())
    first, second = (Accuracy(top1, None, (0.0, 1.0), 1000) for top1 in (0.9, 0.5))
    fidelity = replace(found.fidelity, samples=1000, agreement=0.9)
    return Attempt(plan, realized, replace(found, first=first, second=second, fidelity=fidelity), True, Limits())


@pytest.mark.parametrize(("decide", "lost"), [(True, 0.4), (False, 0.1)])
def test_labels_count_only_where_they_decide(attempt, decide, lost):
    attempt = replace(attempt, labels_decide=decide)
    (gate,) = attempt.gates
    assert gate.value == attempt.loss.value == pytest.approx(lost)
    assert attempt.judged.accuracy_lost == (pytest.approx(0.4) if decide else None)


def test_what_is_known_of_an_attempt_is_its_stability_and_its_gates(attempt):
    grows = replace(attempt, realized=replace(attempt.realized, unstable="it grows"))
    stability, accuracy = grows.findings
    assert (stability.about, accuracy.about) == ("stability", "accuracy")
    assert stability.text.startswith("The best plan is refused: it grows. Leave out --polynomials")
    assert "40.00 points of accuracy are lost" in accuracy.text
    assert accuracy.text.endswith("Allow more, raise the target, or give more calibration samples.")


def test_without_real_samples_nothing_is_said_of_accuracy(attempt):
    blind = replace(attempt, limits=None)
    assert (blind.gates, blind.findings, blind.usable) == ([], [], True)
    assert not attempt.usable


def test_doubts_do_not_make_an_attempt_unusable(attempt):
    doubtful = replace(attempt, labels_decide=False, limits=Limits(max_drop=0.1))
    assert [finding.refuses for finding in doubtful.findings] == [False]
    assert doubtful.usable


def test_the_samples_are_looked_at_too(inputs, attempt):
    assert attempt.against_the_data(inputs) == []
    again = replace(inputs, data=replace(inputs.data, report=inputs.data.fit))
    seen = validate(again, attempt.realized, Silent())
    (finding,) = replace(attempt, comparison=seen).against_the_data(again)
    assert "are calibration samples, too" in finding.text


def test_growth_is_looked_for_only_where_something_is_squared_that_the_original_does_not_square(tmp_path):
    own = build(NET.replace("Relu(h1)", "Mul(h1, h1)"), **NET_WEIGHTS)
    inputs = load_case(tmp_path, own)
    realized, stability = carry_out(inputs, observe(inputs, Silent()), Plan((), {}), Silent())
    assert realized.analysis.cost.squares == inputs.analysis.cost.squares > 0
    assert stability is None
