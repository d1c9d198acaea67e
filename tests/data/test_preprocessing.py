import numpy as np
import pytest
from PIL import Image

from onnxshallow.data.preprocessing import Preprocessing
from onnxshallow.errors import DataError, UsageError
from onnxshallow.options.presets import PRESETS


def test_normalize_scales_then_subtracts_then_divides():
    pixels = np.array([[[[0, 255, 51]]]], dtype=np.uint8)
    values = Preprocessing(mean=(0.5, 0.5, 0.1), std=(0.5, 0.25, 0.1)).normalize(pixels)
    assert values.dtype == np.float32
    np.testing.assert_allclose(values[0, 0, 0], [-1.0, 2.0, 1.0], rtol=1e-6)


def test_one_mean_serves_all_channels():
    pixels = np.full((1, 2, 2, 3), 100, dtype=np.uint8)
    values = Preprocessing(mean=(100.0,), scale=1.0).normalize(pixels)
    assert not values.any()


def test_resize_and_crop_are_those_of_pillow(rng):
    pixels = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    result = Preprocessing(resize=10, crop=8).resized(pixels)
    expected = np.asarray(Image.fromarray(pixels).resize((15, 10), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(result, expected[1:9, 4:12])


@pytest.mark.parametrize(("size", "expected"), [((20, 30), (10, 15)), ((30, 20), (15, 10)), ((7, 7), (10, 10))])
def test_resize_sets_the_shorter_side(size, expected):
    assert Preprocessing(resize=10).final_size(*size) == expected


def test_without_resize_and_crop_an_image_keeps_its_size():
    assert Preprocessing().final_size(5, 7) == (5, 7)


def test_a_crop_that_does_not_fit_is_an_error():
    with pytest.raises(DataError, match="a crop of 9 does not fit into 8x20 pixels; resize first, with --resize 9"):
        Preprocessing(crop=9).final_size(8, 20)


def test_preset_values_can_be_overridden():
    preset = Preprocessing.from_preset("imagenet", crop=160, std=(1.0,), mean=None)
    assert preset == Preprocessing(mean=(0.485, 0.456, 0.406), std=(1.0,), resize=256, crop=160)


def test_no_preset_gives_the_defaults():
    assert Preprocessing.from_preset(None, mean=None) == Preprocessing()


def test_a_preset_follows_the_networks_channel_order():
    preset = Preprocessing.from_preset("cifar10", channels="bgr", std=(1.0, 2.0, 3.0))
    assert preset.mean == (0.4465, 0.4822, 0.4914)
    assert preset.std == (1.0, 2.0, 3.0)


def test_an_unknown_preset_is_named_with_the_known_ones():
    with pytest.raises(UsageError, match="no preset 'svhn'; the presets are imagenet, cifar10, cifar100, mnist"):
        Preprocessing.from_preset("svhn")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"scale": 0.0}, "--scale 0.0 must be a positive number"),
        ({"std": (1.0, 0.0)}, r"--std \(1.0, 0.0\) must be one positive number"),
        ({"mean": ()}, r"--mean \(\) must be one finite number"),
        ({"mean": (float("nan"),)}, r"--mean \(nan,\) must be one finite number"),
        ({"mean": (0.0, 0.0), "std": (1.0, 1.0, 1.0)}, "have different numbers of channels"),
    ],
)
def test_values_that_cannot_work_are_usage_errors(values, message):
    with pytest.raises(UsageError, match=message):
        Preprocessing(**values)


def test_mean_must_fit_the_channels():
    with pytest.raises(UsageError, match="--mean has 3 values, but the network's images have 1 channels"):
        Preprocessing(mean=(0.1, 0.2, 0.3)).check_channels(1)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int8, np.bool_])
def test_whole_numbers_are_not_normalized(dtype):
    with pytest.raises(UsageError, match=r"--mean and --scale cannot be followed: the network takes .* images and"):
        Preprocessing(mean=(0.5,), scale=1.0).check_values("a folder", np.dtype(dtype))


@pytest.mark.parametrize("dtype", [np.int8, np.bool_])
def test_pixels_that_do_not_fit_are_refused(dtype):
    with pytest.raises(DataError, match=r"a folder: pixels from 0 to 255 do not fit into (int8|bool)"):
        Preprocessing().check_values("a folder", np.dtype(dtype))


# Scaling as torchvision and timm do.

LIKE = [("bilinear", (300, 400)), ("bilinear", (97, 61)), ("bicubic", (300, 400)), ("bicubic", (97, 61))]


def photograph(height, width):
    """Edges and shades, on which ways to scale differ most."""
    rows, columns = np.mgrid[:height, :width]
    rings = np.sin((rows - height / 3) ** 2 / 90 + (columns - width / 2) ** 2 / 70)
    noise = np.random.default_rng(0).normal(size=(height, width, 3))
    return np.clip(128 + 90 * rings[..., None] + 20 * noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("interpolation", "size"), LIKE)
def test_images_are_scaled_as_torch_scales_them_with_antialiasing(interpolation, size):
    torch = pytest.importorskip("torch", reason="torch scales images as torchvision does (the zoo extra)")
    pixels = photograph(*size)
    ours = Preprocessing(resize=64, interpolation=interpolation).resized(pixels)
    tensor = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)[None]))
    theirs = torch.nn.functional.interpolate(tensor, ours.shape[:2], mode=interpolation, antialias=True)
    assert np.max(np.abs(ours.astype(int) - theirs.numpy()[0].transpose(1, 2, 0))) <= 1


@pytest.mark.parametrize(("interpolation", "size"), LIKE)
def test_images_are_preprocessed_as_by_torchvision(interpolation, size):
    transforms = pytest.importorskip(
        "torchvision.transforms", reason="compared with torchvision where it is installed"
    )
    pixels = photograph(*size)
    preset = PRESETS["imagenet"]
    mode = transforms.InterpolationMode[interpolation.upper()]
    theirs = transforms.Compose(
        [
            transforms.Resize(72, mode),
            transforms.CenterCrop(64),
            transforms.ToTensor(),
            transforms.Normalize(preset["mean"], preset["std"]),
        ]
    )(Image.fromarray(pixels))
    ours = Preprocessing.from_preset("imagenet", resize=72, crop=64, interpolation=interpolation)
    made = ours.normalize(ours.resized(pixels)).transpose(2, 0, 1)
    assert np.max(np.abs(made - theirs.numpy())) * min(preset["std"]) <= 1 / 255
