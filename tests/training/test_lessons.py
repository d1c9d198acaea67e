import numpy as np
import pytest

from onnxshallow.model.network import Network
from onnxshallow.training.lessons import UNKNOWN, compared_tensors, error, labelled_error, spread
from tests.networks import build

torch = pytest.importorskip("torch", reason="torch is not installed; `pip install '.[finetune]'` brings it")

TEXT = "(float[N,3] x) => (float[N,4] y, int64[N] i) {{ h = Gemm(x, w) {} i = ArgMax<axis=1, keepdims=0>(h) }}"


def test_logits_are_compared_before_a_softmax_that_both_have():
    plain, soft = (Network(build(TEXT.format(end), w=(3, 4))) for end in ("y = Tanh(h)", "y = Softmax(h)"))
    assert compared_tensors(soft, soft) == (("h", "h"),)
    assert compared_tensors(soft, plain) == (("y", "y"),)
    assert compared_tensors(plain, plain) == (("y", "y"),)


def test_the_error_is_measured_by_how_much_the_output_varies():
    taught, learned = {"t": torch.tensor([[0.0, 4.0]])}, {"s": torch.tensor([[1.0, 2.0]])}
    assert float(error([("t", "s")], taught, learned, [5.0])) == pytest.approx((1 + 4) / 2 / 5)
    single = {"t": torch.tensor([1.0, 3.0])}, {"s": torch.tensor([1.5, 3.0])}
    assert float(error([("t", "s")], *single, [1.0])) == pytest.approx(0.125)
    assert float(error([("t", "s")] * 2, taught, learned, [5.0, 2.5])) == pytest.approx(0.5 + 1.0)


def test_a_sample_that_is_far_off_does_not_drown_the_others():
    taught = {"t": torch.zeros(3, 2)}
    learned = {"s": torch.tensor([[0.5, 0.5], [1e15, 1e15], [3.0, 3.0]], requires_grad=True)}
    found = error([("t", "s")], taught, learned, [1.0])
    assert float(found.detach()) == pytest.approx((0.25 + (1 + np.log(1e30)) + (1 + np.log(9.0))) / 3, rel=1e-5)
    found.backward()
    gradient = learned["s"].grad.abs().amax(dim=1)
    assert gradient[1] < 1e-10 < gradient[0]
    assert torch.isfinite(gradient).all()


def test_nothing_is_learned_of_samples_that_were_stopped():
    taught = {"t": torch.zeros(2, 2)}
    learned = {"s": torch.tensor([[0.5, 0.5], [3.0, 3.0]], requires_grad=True)}
    found = error([("t", "s")], taught, learned, [1.0], torch.tensor([False, True]))
    assert float(found.detach()) == pytest.approx(0.25 / 2)
    found.backward()
    assert learned["s"].grad[0].all()
    assert not learned["s"].grad[1].any()


def test_spread():
    values = np.random.default_rng(0).normal(3, 2, size=(400, 5)).astype(np.float32)
    parts = [torch.from_numpy(part) for part in np.split(values, 4)]
    assert spread(parts) == pytest.approx(values.astype(np.float64).var(axis=0).mean())
    assert spread([torch.ones(3, 2)]) > 0


def test_the_error_of_labels_is_what_the_student_finds_surprising():
    scores = torch.log(torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]], dtype=torch.bfloat16))
    found = float(labelled_error(scores, np.array([1, 2])))
    assert found == pytest.approx(-(np.log(0.25) + np.log(0.8)) / 2, rel=0.01)
    assert float(labelled_error(scores, np.array([1, UNKNOWN]))) == pytest.approx(-np.log(0.25), rel=0.01)
