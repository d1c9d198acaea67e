import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from onnxshallow.data.folders import samples_from_folder
from onnxshallow.data.preprocessing import Preprocessing
from onnxshallow.errors import DataError
from onnxshallow.model.tensors import TensorInfo


def save(path, value, size=(8, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, value, value)).save(path)


def test_subfolders_are_classes_in_the_order_of_their_names(tmp_path, image_input):
    save(tmp_path / "dog" / "1.png", 30)
    save(tmp_path / "cat" / "deep" / "2.PNG", 10)
    save(tmp_path / "cat" / "1.png", 20)
    save(tmp_path / ".cache" / "1.png", 0)
    save(tmp_path / "__MACOSX" / "1.png", 0)
    (tmp_path / "bee").mkdir()
    (tmp_path / "dog" / "notes.txt").write_text("no image")
    samples = samples_from_folder(tmp_path, [image_input], Preprocessing(scale=1.0))
    assert samples.labels.tolist() == [0, 0, 1]
    assert samples.class_names == samples.take([2]).class_names == ("cat", "dog")
    assert samples.batch(range(3))["input"][:, 0, 0, 0].tolist() == [20, 10, 30]


def test_folders_without_images_are_left_out_aloud(tmp_path, image_input, caplog):
    save(tmp_path / "dog" / "1.png", 30)
    (tmp_path / "bee").mkdir()
    with caplog.at_level(logging.WARNING):
        samples_from_folder(tmp_path, [image_input], Preprocessing())
    assert "folders without images are no classes: bee" in caplog.text


def test_images_come_in_the_order_of_their_names_whatever_the_file_system_says(tmp_path, image_input, monkeypatch):
    names = ("a/1.png", "a/2.png", "a/3.png", "b/1.png")
    for name in names:
        save(tmp_path / name, 1)
    listed = Path.rglob
    monkeypatch.setattr(Path, "rglob", lambda self, pattern: sorted(listed(self, pattern), reverse=True))
    samples = samples_from_folder(tmp_path, [image_input], Preprocessing())
    assert tuple(samples.name(index) for index in range(4)) == names


def test_samples_have_the_names_of_their_files(tmp_path, image_input):
    for name in ("cat/1.png", "cat/deep/2.png", "dog/1.png"):
        save(tmp_path / name, 1)
    samples = samples_from_folder(tmp_path, [image_input], Preprocessing())
    view = samples.take([2, 1])
    assert [view.name(index) for index in range(2)] == ["dog/1.png", "cat/deep/2.png"]


def test_a_flat_folder_has_no_labels(tmp_path, image_input):
    save(tmp_path / "b.png", 2)
    save(tmp_path / "a.png", 1)
    samples = samples_from_folder(tmp_path, [image_input], Preprocessing(scale=1.0))
    assert samples.labels is samples.class_names is None
    assert samples.batch([0, 1])["input"][:, 0, 0, 0].tolist() == [1, 2]


def test_loose_images_beside_classes_are_left_out_aloud(tmp_path, image_input, caplog):
    save(tmp_path / "a" / "1.png", 1)
    save(tmp_path / "preview.png", 2)
    with caplog.at_level(logging.WARNING):
        assert len(samples_from_folder(tmp_path, [image_input], Preprocessing())) == 1
    assert "1 images outside the class folders are left out" in caplog.text


def test_photographs_are_resized_and_cropped(tmp_path, image_input):
    save(tmp_path / "a.jpg", 1, size=(40, 30))
    save(tmp_path / "b.jpg", 1, size=(25, 50))
    samples = samples_from_folder(tmp_path, [image_input], Preprocessing(resize=10, crop=8))
    assert samples.batch([0, 1])["input"].shape == (2, 3, 8, 8)


def test_an_empty_folder_is_an_error(tmp_path, image_input):
    with pytest.raises(DataError, match=r"holds no images .*, neither loose nor in subfolders"):
        samples_from_folder(tmp_path, [image_input], Preprocessing())


def test_a_wrong_size_shows_at_once(tmp_path, image_input):
    save(tmp_path / "a.png", 1, size=(9, 8))
    with pytest.raises(DataError, match=r"a.png has 8x9 pixels"):
        samples_from_folder(tmp_path, [image_input], Preprocessing())


def test_an_unreadable_image_is_named_when_it_is_reached(tmp_path, image_input):
    save(tmp_path / "a.png", 1)
    (tmp_path / "b.png").write_bytes(b"broken")
    samples = samples_from_folder(tmp_path, [image_input], Preprocessing())
    with pytest.raises(DataError, match=r"b.png: cannot be read as an image"):
        samples.batch([0, 1])


@pytest.mark.parametrize("shape", [("N", 16, 8, 8), ("N", 8)])
def test_the_network_must_take_images(tmp_path, shape):
    with pytest.raises(
        DataError, match="needs a network with one image input of 1 or 3 channels, this one wants 'x'"
    ):
        samples_from_folder(tmp_path, [TensorInfo("x", np.dtype(np.float32), shape)], Preprocessing())


def test_the_network_must_have_one_input(tmp_path, image_input):
    with pytest.raises(DataError, match="needs a network with one image input"):
        samples_from_folder(tmp_path, [image_input, image_input], Preprocessing())


@pytest.mark.parametrize("parts", [("images",), ("train2017", "val2017")])
def test_parts_of_a_data_set_are_no_classes(tmp_path, image_input, caplog, parts):
    for value, part in enumerate(parts):
        save(tmp_path / part / "1.jpg", value)
    (tmp_path / "annotations").mkdir()
    with caplog.at_level(logging.WARNING):
        samples = samples_from_folder(tmp_path, [image_input], Preprocessing())
    assert len(samples) == len(parts)
    assert samples.labels is None
    assert "and not as classes" in caplog.text
