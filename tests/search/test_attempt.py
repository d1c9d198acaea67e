from dataclasses import replace

import numpy as np
import onnx
import pytest

from onnxshallow.actions.base import FindOptions
from onnxshallow.analysis import analyze
from onnxshallow.model.network import Network
from onnxshallow.model.session import Session
from onnxshallow.model.weights import value_of
from onnxshallow.runtime.progress import Silent
from onnxshallow.search import attempt as attempt_module
from onnxshallow.search.attempt import Attempt, carry_out, examined, realize_with, validate
from onnxshallow.search.candidates import find_candidates, find_every_candidate
from onnxshallow.search.inputs import observe
from onnxshallow.search.plan import Plan
from onnxshallow.validation.compare import Accuracy
from onnxshallow.validation.gates import Limits
from onnxshallow.validation.peaks import Pair
from tests.networks import build, smooth
from tests.runs import NET, NET_WEIGHTS, flipped, load_case, net, stability_of


@pytest.fixture
def plan(inputs):
    found = {c.key: c for c in find_candidates(inputs.analysis, FindOptions())[0]}
    return Plan((found["fuse:3x3:x->h1"], found["linearize:h1->r1"]), {})


def test_a_plan_is_carried_out_and_validated(inputs, observation, plan):
    realized, _ = carry_out(inputs, observation, plan, Silent())
    assert analyze(realized.model).cost.relus <= 144
    comparison = validate(inputs, realized, Silent())
    assert comparison.fidelity.samples == 8
    assert 0 < comparison.fidelity.relative_error["y"] < 1


def test_an_empty_plan_is_the_original(inputs, observation):
    realized, _ = carry_out(inputs, observation, Plan((), {}), Silent())
    assert realized.model == net()
    assert validate(inputs, realized, Silent()).loss.value == 0


def test_a_plan_is_carried_out_on_all_samples_and_tried_on_those_for_fitting(inputs, observation, plan):
    fitted, _ = carry_out(inputs, observation, plan, Silent())
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
        realized, _ = carry_out(inputs, observation, plan, Silent())
        changed.append(not np.array_equal(last_weight(realized.model), last_weight(net())))
    assert changed == [True, False]


def test_the_original_may_be_given_as_what_runs_it(inputs, observation):
    realized, _ = carry_out(inputs, observation, Plan((), {}), Silent())
    against = validate(inputs, realized, Silent(), Session(flipped(net(), "w3"), threads=1))
    assert against.fidelity.relative_error["y"] > 0.5


def test_samples_that_fill_no_batch_are_left_out(tmp_path):
    inputs = load_case(tmp_path, build(NET.replace("[N,", "[5,"), **NET_WEIGHTS), arrays={"x": smooth(32, 3, 6)})
    steps = []

    class Counted(Silent):
        def stage(self, name, total):
            steps.append((name, total))
            return super().stage(name, total)

    realized, _ = carry_out(inputs, observe(inputs, Silent()), Plan((), {}), Silent())
    assert validate(inputs, realized, Counted()).fidelity.samples == 5
    assert steps == [("Validating", 1)]


def squaring(inputs, key="quadratic:kept0:h1->r1"):
    """A plan of one candidate, which makes parabolas of an activation."""
    return Plan(tuple(c for c in find_every_candidate(inputs) if c.key == key), {})


@pytest.fixture
def observation_with_parabolas(inputs):
    """What the original does, as far as squares need it."""
    return observe(inputs, Silent(), squaring(inputs))


def test_only_networks_with_squares_are_looked_at(inputs, observation_with_parabolas):
    """Nothing else grows by itself, and looking takes time."""
    _, nothing = carry_out(inputs, observation_with_parabolas, squaring(inputs, "linearize:h1->r1"), Silent())
    _, stability = carry_out(inputs, observation_with_parabolas, squaring(inputs), Silent())
    assert nothing is None
    assert {range_.site for range_ in stability.ranges} == {"r0", "r1", "r2", "y"}
    sets = [growth.samples for growth in stability.growth]
    assert {"calibration samples", "validation samples, provoked"} < set(sets)
    assert len(sets) == len(set(sets))


def test_growth_is_looked_at_in_the_network_that_is_written(inputs, observation_with_parabolas, monkeypatch):
    seen = []

    class Noted(Pair):
        def __init__(self, reference, rewritten, suspects):
            seen.append(rewritten.model)
            super().__init__(reference, rewritten, suspects)

    monkeypatch.setattr(attempt_module, "Pair", Noted)
    realized, _ = carry_out(inputs, observation_with_parabolas, squaring(inputs), Silent())
    assert seen == [realized.model]


def test_what_was_suspect_in_one_fit_is_so_in_the_next(inputs, observation_with_parabolas, monkeypatch):
    given = []

    class Noted(Pair):
        def __init__(self, reference, rewritten, suspects):
            given.append(set(suspects))
            super().__init__(reference, rewritten, suspects)

        def examine(self, name, *arguments, **options):
            super().examine(name, *arguments, **options)
            self.suspects.add((name, len(given)))

    monkeypatch.setattr(attempt_module, "Pair", Noted)
    monkeypatch.setattr("onnxshallow.validation.growth.BOUND", 0.0)
    carry_out(inputs, observation_with_parabolas, squaring(inputs), Silent())
    assert [{fit for _, fit in suspects if isinstance(fit, int)} for suspects in given[:3]] == [set(), {1}, {1, 2}]


def test_validation_samples_are_looked_at_last(inputs, observation_with_parabolas, monkeypatch):
    looked = []

    class Noted(Pair):
        def examine(self, name, samples, batch, seed, *, briefly, progress):
            looked.append(name)
            self.offenders.append({})

    realized, _ = carry_out(inputs, observation_with_parabolas, squaring(inputs), Silent())
    monkeypatch.setattr(attempt_module, "Pair", Noted)
    examined(inputs, realized, Silent(), briefly=True)
    assert looked == ["calibration samples"]
    examined(inputs, realized, Silent())
    assert looked[1:] == ["calibration samples", "validation samples"]


def test_where_activations_grow_too_far_the_plan_is_fitted_again_with_these_samples_watched(
    inputs, observation_with_parabolas, monkeypatch
):
    watched = []

    def steep(calibration, inputs, observation, plan, progress):
        watched.append(sum(len(batch["x"]) for batch in calibration.watched))
        realized = realize_with(calibration, inputs, observation, plan, progress)
        return replace(realized, network=Network(scaled(realized.model, 40.0 if len(watched) < 3 else 1.0)))

    monkeypatch.setattr(attempt_module, "realize_with", steep)
    _, stability = carry_out(inputs, observation_with_parabolas, squaring(inputs), Silent())
    assert watched[0] == 0 < watched[1] < watched[2]
    assert stability.why_unstable is None


def scaled(model, factor):
    """A copy of a model, whose classifier's weights are multiplied."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    (node,) = (node for node in result.graph.node if node.op_type == "Gemm")
    tensor = next(tensor for tensor in result.graph.initializer if tensor.name == node.input[1])
    tensor.CopyFrom(onnx.numpy_helper.from_array(np.float32(factor) * value_of(tensor), tensor.name))
    return result


@pytest.fixture
def attempt(inputs, observation, plan):
    """A plan carried out, whose answers differ for a tenth of a thousand samples, more of which were right before."""
    realized, _ = carry_out(inputs, observation, plan, Silent())
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
    grows = replace(attempt, stability=stability_of(7.5))
    stability, accuracy = grows.findings
    assert (stability.about, accuracy.about) == ("stability", "accuracy")
    assert stability.text == (
        "It is not stable: on some samples, the activations of 'r2' grow to 7.5 times the original's, more than 6. "
        "Leave out --polynomials, raise the target, or give more calibration samples."
    )
    assert replace(attempt, stability=stability_of(3.9)).findings == [accuracy]
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
