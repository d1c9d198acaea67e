import numpy as np
import pytest

from onnxshallow.data import Preprocessing, synthesize
from onnxshallow.errors import DataError, UsageError
from onnxshallow.model.tensors import TensorInfo


def tensor(*shape, dtype=np.float32, name="x"):
    return TensorInfo(name, np.dtype(dtype), shape)


def draw(*shape, dtype=np.float32, preprocessing=None, count=50):
    samples = synthesize([tensor(*shape, dtype=dtype)], count, 0, preprocessing or Preprocessing())
    return samples.batch(range(count))["x"]


def test_the_samples_say_what_they_are(image_input):
    samples = synthesize([image_input], 3, 0, Preprocessing())
    assert (len(samples), samples.synthetic, samples.source) == (3, True, "synthetic dead-leaves images")
    assert samples.labels is None


def test_images_are_standardized_when_nothing_is_known():
    images = draw("N", 3, 16, 16)
    assert (images.shape, images.dtype) == ((50, 3, 16, 16), np.float32)
    np.testing.assert_allclose(images.mean(axis=(0, 2, 3)), 0, atol=1e-4)
    np.testing.assert_allclose(images.std(axis=(0, 2, 3)), 1, atol=1e-4)


def test_images_are_preprocessed_when_mean_and_std_are_known():
    images = draw("N", 1, 16, 16, preprocessing=Preprocessing(mean=(0.5,), std=(0.25,), resize=256, crop=224))
    assert images.shape == (50, 1, 16, 16)
    assert -2 <= images.min() < -1 < 1 < images.max() <= 2


def test_an_integer_image_input_gets_pixels():
    images = draw("N", 8, 8, 3, dtype=np.uint8)
    assert (images.dtype, images.shape) == (np.uint8, (50, 8, 8, 3))
    assert images.max() > 100


def test_signals_are_standardized_and_smooth():
    signals = draw("N", 2, 128)
    assert abs(signals.mean()) < 1e-4
    assert abs(signals.std() - 1) < 1e-4
    neighbours = (signals[..., 1:] * signals[..., :-1]).mean()
    assert neighbours > 0.8


def test_other_inputs_get_signed_noise():
    noise = draw(1, 500)
    assert abs(noise.mean()) < 0.05
    assert abs(noise.std() - 1) < 0.05


@pytest.mark.parametrize("dtype", [np.int64, np.bool_])
def test_integer_inputs_get_zeros_and_ones(dtype):
    values = draw("N", 20, dtype=dtype)
    assert values.dtype == dtype
    assert set(values.ravel().tolist()) == {0, 1}


def test_several_inputs_and_the_seed():
    inputs = [tensor("N", 3, 8, 8), tensor("N", 4, name="z")]
    first, again, other = (synthesize(inputs, 4, seed, Preprocessing()).fingerprint() for seed in (0, 0, 1))
    assert first == again != other


@pytest.mark.parametrize(
    ("shape", "example"),
    [
        (("N", 3, "H", 8), "1,3,224,224"),
        (("N", 3, None, 8), "1,3,224,224"),
        (None, "1,3,224,224"),
        (("N", 3, "L"), "1,3,224"),
        (("N", "C"), "1,16"),
    ],
)
def test_open_sizes_must_be_given(shape, example):
    with pytest.raises(DataError, match=rf"input 'x' is .*; give its sizes, like --input-shape x:{example},"):
        synthesize([TensorInfo("x", None, shape)], 4, 0, Preprocessing())


def test_a_single_number_is_no_sample():
    with pytest.raises(DataError, match=r"Input 'x' is a single number.*Make the number a constant"):
        synthesize([TensorInfo("x", None, ())], 4, 0, Preprocessing())


def test_mean_must_fit_the_channels():
    with pytest.raises(UsageError, match="--mean has 3 values, but the network's images have 1 channels"):
        draw("N", 1, 8, 8, preprocessing=Preprocessing.from_preset("imagenet"))


def test_no_more_is_made_than_the_limit():
    huge = TensorInfo("x", np.dtype(np.float32), (None, 3, 4000, 4000))
    with pytest.raises(DataError, match=r"1024 synthetic samples .* would take 45.8 GiB, .* 16.0 GiB; .* --max-data"):
        synthesize([huge], 1024, 0, Preprocessing())
    small = TensorInfo("x", np.dtype(np.float32), (None, 10))
    assert len(synthesize([small], 100, 0, Preprocessing(), 8000)) == 100
    with pytest.raises(DataError, match="--calib-samples"):
        synthesize([small], 101, 0, Preprocessing(), 8000)


@pytest.mark.parametrize(("dtype", "low", "high"), [(np.uint8, 0, 255), (np.int8, -128, 127), (np.bool_, 0, 1)])
def test_made_up_pixels_are_what_the_type_holds(dtype, low, high):
    values = (
        synthesize([tensor("N", 3, 16, 16, dtype=dtype)], 20, 0, Preprocessing()).batch(range(20))["x"].astype(int)
    )
    assert values.min() < low + 0.2 * (high - low) + 1
    assert values.max() > high - 0.2 * (high - low) - 1
    smooth = np.abs(np.diff(values, axis=-1)).mean() / (high - low)
    assert smooth < 0.2  # neighbours are alike, as in images


def test_options_that_a_network_of_whole_numbers_cannot_follow_are_refused():
    with pytest.raises(UsageError, match=r"--mean cannot be followed: .* synthetic images"):
        synthesize([tensor("N", 3, 16, 16, dtype=np.uint8)], 4, 0, Preprocessing(mean=(0.5,)))


@pytest.mark.parametrize(("shape", "axis"), [((2, 1, 128), -1), ((1, 128, 3), -2)])
def test_images_of_one_row_are_signals(shape, axis):
    values = synthesize([tensor("N", *shape)], 30, 0, Preprocessing()).batch(range(30))["x"]
    assert values.shape == (30, *shape)
    assert values.std() == pytest.approx(1, abs=0.05)
    assert np.abs(np.diff(values, axis=axis)).mean() < 0.6  # white noise of this deviation has 1.13
