import hashlib

import numpy as np
import pytest
from PIL import Image

from onnxshallow.data.columns import ArrayColumn, FileColumn, PixelColumn
from onnxshallow.data.images import ImageInput
from onnxshallow.data.preprocessing import Preprocessing
from onnxshallow.errors import DataError, UsageError
from onnxshallow.model.tensors import TensorInfo

SMALL = ImageInput.from_tensor(TensorInfo("input", np.dtype(np.float32), ("N", 3, 8, 8)))
OPEN = ImageInput.from_tensor(TensorInfo("input", np.dtype(np.float32), ("N", 3, "H", "W")))


def digest(column, indices):
    result = hashlib.sha256()
    column.hash_into(result, np.array(indices))
    return result.hexdigest()


def pixels(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def save(path, height, width, value=0):
    Image.new("RGB", (width, height), (value, value, value)).save(path)
    return path


def test_an_array_is_cast_when_read():
    column = ArrayColumn(np.arange(6.0).reshape(3, 2), np.dtype(np.float16))
    read = column.read(np.array([2, 0]))
    assert (read.dtype, read.tolist()) == (np.float16, [[4, 5], [0, 1]])


def test_pixels_are_preprocessed_when_read():
    stored = pixels(4, 8, 8, 3)
    column = PixelColumn.from_array(stored, SMALL, Preprocessing(scale=1.0), "f")
    np.testing.assert_array_equal(column.read(np.array([3])), stored[3:].transpose(0, 3, 1, 2))


def test_pixels_are_resized_and_cropped():
    column = PixelColumn.from_array(pixels(4, 20, 24, 3), SMALL, Preprocessing(resize=10, crop=8), "f")
    assert column.read(np.array([0, 1])).shape == (2, 3, 8, 8)


def test_pixels_of_the_networks_size_are_not_resized():
    stored = pixels(2, 3, 8, 8)
    column = PixelColumn.from_array(stored, SMALL, Preprocessing(scale=1.0, resize=16, crop=8), "f")
    np.testing.assert_array_equal(column.read(np.arange(2)), stored)


def test_pixels_of_the_wrong_size_are_an_error():
    with pytest.raises(DataError, match=r"f of shape \(2, 9, 9, 3\) has 9x9 pixels, .* wants \(batch, 3, 8, 8\)"):
        PixelColumn.from_array(pixels(2, 9, 9, 3), SMALL, Preprocessing(), "f")


def test_pixels_need_a_mean_of_their_channels():
    with pytest.raises(UsageError, match="--mean has 2 values"):
        PixelColumn.from_array(pixels(2, 8, 8, 3), SMALL, Preprocessing(mean=(0.0, 0.0)), "f")


def test_files_are_read_in_the_order_asked_for(tmp_path):
    files = tuple(save(tmp_path / f"{value}.png", 8, 8, value) for value in (10, 20, 30))
    read = FileColumn(files, SMALL, Preprocessing(scale=1.0)).read(np.array([2, 0]))
    assert read[:, 0, 0, 0].tolist() == [30, 10]


def test_a_file_of_the_wrong_size_is_named(tmp_path):
    column = FileColumn((save(tmp_path / "a.png", 8, 9),), SMALL, Preprocessing())
    with pytest.raises(DataError, match=r"a.png has 8x9 pixels"):
        column.read(np.array([0]))


def test_files_of_unequal_sizes_cannot_be_one_batch(tmp_path):
    files = (save(tmp_path / "a.png", 8, 8), save(tmp_path / "b.png", 9, 8))
    with pytest.raises(
        DataError, match=r"b.png has 9x8 pixels after resize and crop, .*a.png has 8x8; bring all to one"
    ):
        FileColumn(files, OPEN, Preprocessing()).read(np.array([0, 1]))


def test_the_hash_of_an_array_follows_content_and_type():
    values = np.arange(600.0).reshape(300, 2)
    column = ArrayColumn(values, np.dtype(np.float32))
    assert digest(column, range(300)) == digest(ArrayColumn(values.copy(), np.dtype(np.float32)), range(300))
    assert digest(column, range(300)) != digest(column, range(299))
    assert digest(column, range(300)) != digest(ArrayColumn(values, np.dtype(np.float16)), range(300))


def test_the_hash_of_pixels_follows_the_preprocessing():
    stored = pixels(2, 8, 8, 3)
    hashes = {digest(PixelColumn(stored, SMALL, Preprocessing(scale=scale)), [0, 1]) for scale in (1.0, 255.0)}
    assert len(hashes) == 2


def test_the_hash_of_files_ignores_their_names(tmp_path):
    first, second, third = (save(tmp_path / f"{i}.png", 8, 8, v) for i, v in enumerate((5, 5, 6)))
    hashes = [digest(FileColumn((file,), SMALL, Preprocessing()), [0]) for file in (first, second, third)]
    assert hashes[0] == hashes[1] != hashes[2]
