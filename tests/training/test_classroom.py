import numpy as np
import pytest

from onnxshallow.errors import ModelError
from onnxshallow.training.classroom import Classroom
from tests.graphs import parse
from tests.networks import build, smooth
from tests.training.cases import lesson, squared

torch = pytest.importorskip("torch", reason="torch is not installed; `pip install '.[finetune]'` brings it")


def test_the_loss_depends_on_the_step_and_the_seed_alone():
    first, second, other = (Classroom(lesson(augment="crop", seed=seed)) for seed in (0, 0, 1))
    losses = [[float(room.loss(step).detach()) for step in (0, 5)] for room in (first, second, other)]
    assert losses[0] == losses[1]
    assert losses[0][0] != losses[0][1]
    assert losses[0] != losses[2]


def test_labels_are_learned_from_where_they_are_given():
    labels = np.arange(64) % 2
    plain, right, wrong = (
        float(Classroom(lesson(labels=given)).loss(0).detach()) for given in (None, labels, 1 - labels)
    )
    assert plain < right != wrong > plain


def test_squares_are_watched():
    assert Classroom(lesson())._watch is None
    room = Classroom(lesson(squared()))
    assert room._watch is not None
    assert float(room.loss(0).detach()) > 0


def test_samples_that_explode_teach_where_growth_begins():
    far = [{"x": 1e25 * smooth(4, 3, 6, seed=5)}]
    room = Classroom(lesson(squared(), extremes=far))
    loss = room.loss(0)
    assert torch.isfinite(loss)
    loss.backward()
    gradients = [weight.grad for weight in room.graph.parameters.values()]
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert any(gradient.any() for gradient in gradients)


def test_extreme_samples_have_no_label():
    extremes = [{"x": smooth(4, 3, 6, seed=5)}]
    labels = np.arange(64) % 2
    wrong = labels.copy()
    first = Classroom(lesson(squared(), extremes=extremes, labels=labels))
    _, rows = next(iter(first._views.rows(0, 16)))
    wrong[rows[-2:]] = 1 - wrong[rows[-2:]]
    losses = [
        float(Classroom(lesson(squared(), extremes=extremes, labels=given)).loss(0).detach())
        for given in (labels, wrong, 1 - labels)
    ]
    assert losses[0] == losses[1] != losses[2]


def test_trial_steps_change_no_weight():
    room = Classroom(lesson())
    before = {name: weight.detach().clone() for name, weight in room.graph.parameters.items()}
    assert room.pace() > 0
    assert all(torch.equal(weight.detach(), before[name]) for name, weight in room.graph.parameters.items())
    assert all(weight.grad is None for weight in room.graph.parameters.values())


def test_a_network_without_anything_to_train_says_why():
    text = "(float[N,3,6,6] x) => (float[N,3,6,6] y) {{ {} }}"
    plain = build(text.format("y = Relu(x)"))
    with pytest.raises(ModelError, match="no weight of the network leads to an output of floats"):
        Classroom(lesson(plain, original=plain))
    last = build(text.format("a = Conv(x, w) y = Hardmax(a)"), w=(3, 3, 1, 1))
    with pytest.raises(ModelError, match="Hardmax is not known to the training, and all weights come before it"):
        Classroom(lesson(last, original=last))


def test_weights_that_a_caller_may_replace_are_not_trained():
    model = parse("(float[N,3,6,6] x) => (float[N,3,6,6] y) { y = Conv(x, w) }", as_inputs=True, w=(3, 3, 1, 1))
    with pytest.raises(ModelError, match="inputs of the network, which a caller may replace"):
        Classroom(lesson(model, original=model))


def test_purposes_differ_where_something_decisive_does():
    first = lesson()
    assert first.purpose == lesson().purpose
    for change in ({"seed": 1}, {"length": "31steps"}, {"augment": "flip"}, {"threads": 2}, {"batch": 8}):
        assert lesson(**change).purpose != first.purpose
    assert lesson(labels=np.zeros(64, np.int64)).purpose not in (first.purpose, lesson(labels=np.arange(64)).purpose)
    assert lesson(extremes=[{"x": smooth(4, 3, 6)}]).purpose != first.purpose
    assert lesson(held_out=[{"x": smooth(16, 3, 6, seed=9)}]).purpose != first.purpose
