import numpy as np
import pytest

from onnxshallow.training.optimizer import Optimizer, is_matrix, orthogonal

torch = pytest.importorskip("torch", reason="torch is not installed; `pip install '.[finetune]'` brings it")


def random(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


@pytest.mark.parametrize("shape", [(4, 4), (4, 30), (30, 4)])
@pytest.mark.parametrize("size", [1e-8, 1.0, 1e8])
def test_singular_values_become_about_one_and_singular_vectors_stay(shape, size):
    left, values, right = torch.linalg.svd(random(*shape), full_matrices=False)
    made = orthogonal(size * (left * values) @ right)
    found = left.T @ made @ right.T
    assert torch.linalg.svdvals(made).min() > 0.6
    assert torch.linalg.svdvals(made).max() < 1.3
    torch.testing.assert_close(found, torch.diag(found.diagonal()), rtol=0, atol=1e-4)


def test_nothing_stays_nothing():
    assert not orthogonal(torch.zeros(3, 5)).any()


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((8, 4, 3, 3), True),
        ((10, 64), True),
        ((8, 1, 3, 3), False),
        ((1, 8, 1, 1), False),
        ((8,), False),
        ((), False),
    ],
)
def test_matrices(shape, expected):
    assert is_matrix(torch.zeros(shape)) == expected


def test_weights_move_by_a_share_of_their_sizes():
    weights = {"kernel": random(8, 4, 3, 3).requires_grad_(), "bias": random(8).requires_grad_()}
    before = {name: weight.detach().clone() for name, weight in weights.items()}
    for name, weight in weights.items():
        weight.grad = random(*weight.shape, seed=1) * (1e-3 if name == "kernel" else 1e3)
    Optimizer(weights, {"kernel": 0.5, "bias": 0.1}, {}).step(0.01)
    moved = {name: weight.detach() - before[name] for name, weight in weights.items()}
    assert float(moved["kernel"].square().mean().sqrt()) == pytest.approx(0.005, rel=0.3)
    torch.testing.assert_close(moved["bias"], -0.004 * weights["bias"].grad.sign())
    assert float((moved["kernel"] * weights["kernel"].grad).sum()) < 0


def test_elements_that_are_not_free_stay_though_others_of_their_matrix_move():
    weight, free = random(4, 6).requires_grad_(), torch.ones(4, 6)
    free[1, 2] = 0
    before = weight.detach().clone()
    weight.grad = random(4, 6, seed=1) * free
    Optimizer({"w": weight}, {"w": 1.0}, {"w": free}).step(0.01)
    assert ((weight.detach() != before) == (free == 1)).all()


def test_weights_without_a_gradient_stay():
    weight = random(4, 6).requires_grad_()
    before = weight.detach().clone()
    Optimizer({"w": weight}, {"w": 1.0}, {}).step(0.01)
    assert torch.equal(weight.detach(), before)
