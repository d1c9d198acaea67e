import numpy as np
import pytest
from PIL import Image

from onnxshallow.data.images import ImageInput, channels_last, decode_image, describe_shape
from onnxshallow.data.preprocessing import Preprocessing
from onnxshallow.errors import DataError
from onnxshallow.model.tensors import TensorInfo


def image(*shape, dtype=np.float32):
    result = ImageInput.from_tensor(TensorInfo("input", np.dtype(dtype), shape))
    assert result is not None
    return result


def test_only_rank_four_is_an_image():
    assert ImageInput.from_tensor(TensorInfo("x", None, ("N", 3, 8))) is None
    assert ImageInput.from_tensor(TensorInfo("x", None, None)) is None


def test_sizes_are_read_and_symbols_are_open():
    assert (image(1, 3, "H", 8).channels, image(1, 3, "H", 8).height, image(1, 3, "H", 8).width) == (
        3,
        None,
        8,
    )


def test_a_channels_last_network_is_recognized():
    found = image("N", 16, 8, 3)
    assert (found.channels_last, found.channels, found.height, found.width) == (True, 3, 16, 8)


def test_feed_puts_channels_first(rng):
    pixels = rng.integers(0, 256, (2, 4, 5, 3), dtype=np.uint8)
    fed = image("N", 3, 4, 5).feed(pixels, Preprocessing(scale=1.0))
    assert (fed.shape, fed.dtype, fed.flags.c_contiguous) == ((2, 3, 4, 5), np.float32, True)
    np.testing.assert_array_equal(fed[1, 2], pixels[1, :, :, 2])


def test_feed_keeps_channels_last_where_the_network_wants_it(rng):
    pixels = rng.integers(0, 256, (2, 4, 5, 3), dtype=np.uint8)
    np.testing.assert_array_equal(image("N", 4, 5, 3).feed(pixels, Preprocessing(scale=1.0)), pixels)


def test_feed_reverses_channels_before_subtracting_the_mean():
    pixels = np.array([[[[1, 2, 3]]]], dtype=np.uint8)
    fed = image("N", 3, 1, 1).feed(pixels, Preprocessing(scale=1.0, mean=(3.0, 2.0, 0.0), channels="bgr"))
    assert fed.ravel().tolist() == [0.0, 0.0, 1.0]


def test_feed_gives_an_integer_input_raw_pixels():
    pixels = np.array([[[[1, 2, 3]]]], dtype=np.uint8)
    fed = image("N", 3, 1, 1, dtype=np.uint8).feed(pixels, Preprocessing(mean=(0.5,)))
    assert (fed.dtype, fed.ravel().tolist()) == (np.uint8, [1, 2, 3])


def test_feed_casts_to_half_precision():
    assert (
        image("N", 1, 1, 1, dtype=np.float16).feed(np.ones((1, 1, 1, 1), np.uint8), Preprocessing()).dtype
        == np.float16
    )


def test_check_size_names_place_sizes_and_options():
    message = (
        r"a.png has 10x12 pixels, 10x12 after resize and crop, but input 'input' wants \(batch, 3, 8, 8\); "
        "set --resize and --crop"
    )
    with pytest.raises(DataError, match=message):
        image("N", 3, 8, 8).check_size(10, 12, Preprocessing(), "a.png")
    with pytest.raises(DataError, match=r"^a.png: a crop of 11 does not fit"):
        image("N", 3, 8, 8).check_size(10, 12, Preprocessing(crop=11), "a.png")


def test_check_size_lets_open_sizes_be_anything():
    image("N", 3, "H", "W").check_size(10, 12, Preprocessing(), "a.png")


@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        ((2, 3, 8, 9), None),
        ((2, 8, 9, 3), None),
        ((2, 3, 8, 9), "nchw"),
        ((2, 8, 9, 3), "nhwc"),
        ((2, 3, 9, 3), "nhwc"),
    ],
)
def test_layout_is_inferred_or_taken(shape, layout):
    assert channels_last(np.zeros(shape, np.uint8), image("N", 3, 8, 9), layout, "f").shape[3] == 3


def test_grey_images_need_no_channel_axis():
    assert channels_last(np.zeros((5, 8, 9), np.uint8), image("N", 1, 8, 9), None, "f").shape == (5, 8, 9, 1)


@pytest.mark.parametrize(
    ("shape", "layout", "message"),
    [
        ((2, 8, 8, 3), "nchw", "f has shape .* wants .*: that is not nchw; give --layout nhwc"),
        ((2, 3, 8, 3), None, "the channel axis is ambiguous; give --layout nchw or --layout nhwc"),
        (
            (2, 8, 8, 4),
            None,
            r"f has shape \(2, 8, 8, 4\), but input 'input' wants .*: no axis has its 3 channels",
        ),
        ((2, 8, 8), None, "no axis has its 3 channels"),
        ((2, 8), None, "no axis has its 3 channels"),
    ],
)
def test_layouts_that_do_not_fit(shape, layout, message):
    with pytest.raises(DataError, match=message):
        channels_last(np.zeros(shape, np.uint8), image("N", 3, 8, 8), layout, "f")


def test_describe_shape_shows_the_batch_axis():
    assert describe_shape(TensorInfo("x", None, (4, 3, None, "W"))) == "(batch, 3, ?, W)"
    assert describe_shape(TensorInfo("x", None, None)) == "of any shape"
    assert "has no batch axis" in describe_shape(TensorInfo("x", None, ()))


def test_decode_makes_grey_or_rgb(tmp_path):
    Image.new("RGBA", (4, 3), (255, 0, 0, 255)).save(tmp_path / "a.png")
    assert decode_image(tmp_path / "a.png", 3)[0, 0].tolist() == [255, 0, 0]
    assert decode_image(tmp_path / "a.png", 1).shape == (3, 4, 1)


def test_a_broken_image_is_named(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG not really")
    with pytest.raises(DataError, match=r"a.png: cannot be read as an image .*; remove or replace it"):
        decode_image(tmp_path / "a.png", 3)


def test_an_image_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="decompression bomb"):
        decode_image(tmp_path / "a.png", 1)


@pytest.mark.parametrize(("name", "dtype"), [("a.png", np.uint16), ("a.tif", np.int32), ("a.tif", np.float32)])
def test_deep_images_are_refused(tmp_path, name, dtype):
    Image.fromarray(np.full((4, 4), 1000, dtype)).save(tmp_path / name)
    with pytest.raises(DataError, match=rf"{name}: has more than 8 bits a channel"):
        decode_image(tmp_path / name, 1)
