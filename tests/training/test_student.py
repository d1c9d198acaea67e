import numpy as np
import onnx
import pytest

from onnxshallow.model.network import Network
from onnxshallow.training.course import Course
from onnxshallow.training.graph import TorchGraph
from onnxshallow.training.student import Student, with_weights
from tests.graphs import frozen, parse
from tests.networks import build, feeds_of
from tests.runs import net

torch = pytest.importorskip("torch", reason="torch is not installed; `pip install '.[finetune]'` brings it")


def student(model):
    network = Network(model)
    return Student(TorchGraph(network, network.output_names, trained=True), Course(20))


def values(model, name):
    return onnx.numpy_helper.to_array(next(t for t in model.graph.initializer if t.name == name))


def test_a_step_goes_down_the_loss():
    learner, feeds = student(net()), feeds_of(net(), 8)
    losses = []
    for _ in range(10):
        loss = learner.graph(feeds)["y"].square().mean()
        assert learner.learn(loss)
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    assert learner.step == 10
    changed = [
        name
        for name in learner.graph.parameters
        if not np.array_equal(values(learner.model(), name), values(net(), name))
    ]
    assert set(changed) == {"w0", "b0", "w1", "b1", "w2", "b2", "w3", "b3"}


def test_a_loss_that_is_not_finite_changes_nothing():
    learner = student(net())
    loss = learner.graph(feeds_of(net()))["y"].sum() * float("nan")
    assert not learner.learn(loss)
    assert frozen(learner.model()) == frozen(net())


def test_elements_that_are_held_stay():
    slope = np.array([0.0, 1.0, 0.2], np.float32).reshape(3, 1, 1)
    learner = student(build("(float[N,3,4,4] x) => (float[N,3,4,4] y) { y = PRelu(x, s) }", s=slope))
    learner.learn(learner.graph(feeds_of(learner.graph.network.model))["y"].sum())
    made = values(learner.model(), "s").ravel()
    assert made[1] == 1
    assert made[0] != 0
    assert made[2] != slope.ravel()[2]


def test_a_restored_student_goes_on_as_if_nothing_had_happened():
    def steps(learner, count):
        for _ in range(count):
            learner.learn(learner.graph(feeds_of(net(), 8))["y"].square().mean())

    whole, first, second = student(net()), student(net()), student(net())
    steps(whole, 6)
    steps(first, 3)
    second.restore(first.state())
    steps(second, 3)
    assert frozen(second.model()) == frozen(whole.model())


def test_values_are_written_in_the_type_of_the_file_and_nothing_else_changes():
    model = parse(
        "(float16[N,3] x) => (float16[N,3] y) { a = Add(x, w) y = Mul(a, v) }", w=np.ones(3, np.float16), v=(3,)
    )
    model.graph.initializer[1].CopyFrom(onnx.numpy_helper.from_array(np.ones(3, np.float16), "v"))
    model.graph.initializer[0].doc_string = "a weight"
    made = with_weights(Network(model), {"w": np.array([0.1, 0.2, 0.3], np.float32)})
    np.testing.assert_array_equal(values(made, "w"), np.array([0.1, 0.2, 0.3], np.float16))
    assert made.graph.initializer[0].doc_string == "a weight"
    assert frozen(with_weights(Network(made), {"w": np.ones(3, np.float32)})) == frozen(
        with_weights(Network(model), {"w": np.ones(3, np.float32)})
    )
    assert made.graph.initializer[1] == model.graph.initializer[1]
    assert list(made.graph.node) == list(model.graph.node)
