import numpy as np
import pytest

from onnxshallow.analysis import analyze
from onnxshallow.model.network import Network
from onnxshallow.training.watch import Watch, watched_tensors
from tests.networks import smooth
from tests.runs import net
from tests.training.cases import squared

torch = pytest.importorskip("torch", reason="torch is not installed; `pip install '.[finetune]'` brings it")

BATCH = {"x": smooth(16, 3, 6)}


def cost_of(watch, taught, learned):
    """What activations cost that a student makes where the original makes others."""
    guard = watch.guard(taught)
    for name, values in learned.items():
        guard(name, values)
    return guard.penalty


def test_the_original_s_sites_are_watched_where_they_still_are():
    assert watched_tensors(analyze(net()), Network(squared())) == ("r0", "r1", "r2")


def test_only_what_is_out_of_bounds_costs_something():
    watch = Watch(Network(net()), ["r0"], [BATCH], [], seed=0, threads=1)
    usual = torch.tensor(np.float32(watch._usual[0]))
    taught = {"r0": usual.reshape(1, 1)}
    assert cost_of(watch, taught, {"r0": 1.2 * taught["r0"]}) is None
    costs = [float(cost_of(watch, taught, {"r0": factor * taught["r0"]})) for factor in (2, 4, 1e9)]
    assert costs == sorted(costs)
    assert costs[0] == pytest.approx(np.log(2 / 1.25) ** 2, rel=1e-4)


def test_each_sample_has_a_limit_of_its_own():
    watch = Watch(Network(net()), ["r0"], [BATCH], [], seed=0, threads=1)
    usual = float(watch._usual[0])
    taught = {"r0": torch.tensor([[100 * usual], [usual], [0.1 * usual]])}
    learned = {"r0": torch.tensor([[100 * usual], [5 * usual], [2.5 * usual]])}
    assert float(cost_of(watch, taught, learned)) == pytest.approx(np.log(4) ** 2 + np.log(2) ** 2, rel=1e-4)


def test_a_batch_of_a_few_samples_is_changed_too():
    watch = Watch(Network(net()), ["r0"], [BATCH], [], seed=0, threads=1)
    for count in (1, 2, 3):
        made = watch.changed({"x": BATCH["x"][:count]}, np.random.default_rng(0))["x"]
        assert made.shape == (count, 3, 6, 6)
        assert not np.array_equal(made[-1], BATCH["x"][count - 1])


def test_where_growth_begins_is_what_counts():
    watch = Watch(Network(net()), ["r0", "r1"], [BATCH], [], seed=0, threads=1)
    limits = [1.25 * float(usual) for usual in watch._usual]
    learned = {"r0": torch.tensor([[3 * limits[0]]]), "r1": torch.tensor([[np.inf]])}
    cost = cost_of(watch, {name: torch.zeros(1, 1) for name in learned}, learned)
    assert float(cost) == pytest.approx(np.log(3) ** 2, rel=1e-4)


def test_what_the_original_does_on_the_same_samples_is_no_growth():
    watch = Watch(Network(net()), ["r0"], [BATCH], [], seed=0, threads=1)
    taught = {"r0": torch.tensor([[1e4]])}
    assert cost_of(watch, taught, taught) is None


def test_the_last_third_of_a_batch_is_changed_or_disturbed():
    watch = Watch(Network(net()), ["r0"], [BATCH], [], seed=0, threads=1)
    made = [watch.changed(BATCH, np.random.default_rng(seed))["x"] for seed in range(6)]
    for one in made:
        np.testing.assert_array_equal(one[:12], BATCH["x"][:12])
        assert not np.array_equal(one[12:], BATCH["x"][12:])
        assert one.dtype == np.float32
    assert len({one.tobytes() for one in made}) > 3


def test_the_last_sixth_are_extreme_samples_where_such_are_known():
    extremes = [{"x": np.full((2, 3, 6, 6), 50.0, np.float32)}, {"x": np.full((1, 3, 6, 6), -50.0, np.float32)}]
    watch = Watch(Network(net()), ["r0"], [{"x": 100 * BATCH["x"]}], extremes, seed=0, threads=1)
    batch = {"x": 0.01 * smooth(24, 3, 6)}
    made = [watch.changed(batch, np.random.default_rng(seed))["x"] for seed in range(12)]
    assert watch.replaced(24) == 4
    last = np.stack([one[-4:].mean(axis=(1, 2, 3)) for one in made])
    assert (last > 20).any()
    assert (last < -20).any()
    assert (np.abs(last) > 1).all()
    assert Watch(Network(net()), ["r0"], [BATCH], [], seed=0, threads=1).replaced(24) == 0


def test_extreme_samples_beyond_white_are_shown_so():
    white = float(BATCH["x"].max())
    watch = Watch(Network(net()), ["r0"], [BATCH], [{"x": 3 * np.abs(BATCH["x"])}], seed=0, threads=1)
    shown = [watch.changed(BATCH, np.random.default_rng(seed))["x"][-2:] for seed in range(6)]
    assert np.median([image.max() for images in shown for image in images]) > 1.5 * white


def test_channels_at_another_scale_count_at_the_original_s():
    scales = {"r0": np.array([4.0, 0.5])}
    watch = Watch(Network(net()), ["r0"], [BATCH], [], 0, 1, scales)
    taught = {"r0": torch.full((2, 2, 3, 3), 1e4)}
    learned = {"r0": taught["r0"] * torch.tensor([4.0, 0.5]).reshape(1, 2, 1, 1)}
    assert cost_of(watch, taught, learned) is None
    grown = (4 * learned["r0"]).requires_grad_()
    cost = cost_of(watch, taught, {"r0": grown})
    assert float(cost.detach()) == pytest.approx(2 * np.log(4 / 1.25) ** 2, rel=1e-4)
    cost.backward()
    assert grown.grad.any()


def test_what_is_beyond_all_bounds_goes_no_further_and_has_no_gradient():
    watch = Watch(Network(net()), ["r0"], [BATCH], [], seed=0, threads=1)
    guard = watch.guard({"r0": torch.ones(4, 2, 3, 3)})
    made = torch.tensor([1.0, np.nan, 1e30, 2.0]).reshape(4, 1, 1, 1).expand(4, 2, 3, 3).clone().requires_grad_()
    passed = guard("r0", made)
    assert guard.stopped(4).tolist() == [False, True, True, False]
    assert passed[[1, 2]].abs().max() == 0
    assert torch.equal(passed[[0, 3]], made[[0, 3]])
    passed.square().sum().backward()
    assert torch.isfinite(made.grad).all()
    assert guard.stopped(8) is None
    assert guard("others", made) is made
