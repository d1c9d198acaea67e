from dataclasses import replace

import numpy as np
import pytest

from onnxshallow.actions.base import FindOptions
from onnxshallow.analysis import analyze
from onnxshallow.model.session import Session
from onnxshallow.model.weights import value_of
from onnxshallow.runtime.progress import Silent
from onnxshallow.search.attempt import carry_out, realize_with, validate
from onnxshallow.search.candidates import find_candidates
from onnxshallow.search.inputs import observe
from onnxshallow.search.plan import Plan
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
