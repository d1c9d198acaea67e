import numpy as np
import pytest

from onnxshallow.data import Preprocessing, synthesize
from onnxshallow.data.unlike import synthesize_unlike
from onnxshallow.model.tensors import TensorInfo


def tensor(*shape, dtype=np.float32, name="x"):
    return TensorInfo(name, np.dtype(dtype), shape)


def others(*inputs, count=30, seed=0, preprocessing=None):
    made = synthesize(inputs, 40, seed, preprocessing or Preprocessing())
    return made, synthesize_unlike(made, count, seed)


@pytest.mark.parametrize(
    ("shape", "named"),
    [(("N", 3, 16, 16), "strokes on a plain ground"), (("N", 2, 64), "pulses"), (("N", 9), "mostly zeros")],
)
def test_every_form_of_input_has_four_other_sorts(shape, named):
    _, found = others(tensor(*shape))
    assert len(found) == 4
    assert named in found
    for name, samples in found.items():
        assert (len(samples), samples.synthetic, samples.source) == (30, True, f"synthetic {name}")
        values = samples.batch(range(30))["x"]
        assert (values.shape, values.dtype) == ((30, *shape[1:]), np.float32)
        assert np.isfinite(values).all()


@pytest.mark.parametrize("shape", [("N", 2, 64), ("N", 9), ("N", 1, 4, 5, 6)])
def test_what_is_no_image_is_standardized(shape):
    _, found = others(tensor(*shape), count=200)
    for samples in found.values():
        values = samples.batch(range(200))["x"]
        assert abs(values.mean()) < 1e-3
        assert values.std() == pytest.approx(1, abs=1e-3)


def test_the_sorts_are_unlike_each_other():
    _, found = others(tensor("N", 1, 400), count=50)
    steps = {name: np.diff(samples.batch(range(50))["x"]).ravel() for name, samples in found.items()}
    still = {name: np.mean(np.abs(step) < 0.02) for name, step in steps.items()}
    assert still["steps"] > 0.9 > 0.1 > still["white noise"]
    assert np.abs(steps["waves"]).max() < np.abs(steps["pulses"]).max()


def test_images_are_preprocessed_as_those_that_are_fitted_to():
    made, found = others(tensor("N", 3, 8, 8))
    for samples in found.values():
        assert samples.columns["x"].preprocessing == made.columns["x"].preprocessing
        assert 0.2 < samples.batch(range(30))["x"].std() < 2.5


def test_several_inputs_are_named_after_the_images():
    _, found = others(tensor("N", 4, name="z"), tensor("N", 1, 8, 8), tensor("N", 5, dtype=np.int64, name="n"))
    assert "strokes on a plain ground" in found
    for samples in found.values():
        batch = samples.batch(range(30))
        assert (batch["z"].shape, batch["x"].shape) == ((30, 4), (30, 1, 8, 8))
        assert set(batch["n"].ravel().tolist()) == {0, 1}


def test_the_seed_decides():
    inputs = tensor("N", 3, 8, 8), tensor("N", 4, name="z")
    digests = [[s.fingerprint() for s in others(*inputs, seed=seed)[1].values()] for seed in (0, 0, 1)]
    assert digests[0] == digests[1]
    assert not set(digests[0]) & set(digests[2])
