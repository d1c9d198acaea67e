import numpy as np
import pytest
from PIL import Image

from onnxshallow.data.folders import samples_from_folder
from onnxshallow.data.label_files import labels_beside
from onnxshallow.data.preprocessing import Preprocessing
from onnxshallow.errors import DataError

NAMES = ("val_1.JPEG", "val_2.JPEG", "val_3.JPEG")


@pytest.fixture
def folder(tmp_path):
    images = tmp_path / "val"
    images.mkdir()
    for name in NAMES:
        (images / name).touch()
    return images


def labels(folder):
    return labels_beside(folder, sorted(folder.glob("*.JPEG")))


def test_without_a_file_there_are_no_labels(folder):
    assert labels(folder) is None


@pytest.mark.parametrize("place", ["val/labels.txt", "val/labels.csv", "val.txt", "val.csv"])
def test_files_in_the_folder_and_beside_it_are_found(folder, place):
    (folder.parent / place).write_text("val_2.JPEG 7\nval_1.JPEG 65\nval_3.JPEG 0\nval_4.JPEG 1\n", encoding="utf-8")
    found, names = labels(folder)
    assert found.tolist() == [65, 7, 0]
    assert found.dtype == np.int64
    assert names is None


def test_a_folder_that_is_named_by_a_relative_path(folder, monkeypatch):
    (folder.parent / "val.txt").write_text("val_1 1\nval_2 2\nval_3 3\n", encoding="utf-8")
    monkeypatch.chdir(folder)
    assert (
        labels_beside(folder.relative_to(folder), [folder.relative_to(folder) / name for name in NAMES]) is not None
    )


def test_names_of_classes_are_counted_in_their_order(folder):
    lines = ["ImageId,PredictionString", "val_1,n03 85 131 499 254", "val_2,n01 1 2 3 4", "val_3,n03 5 6 7 8"]
    (folder / "labels.csv").write_text("\n".join(lines), encoding="utf-8")
    found, names = labels(folder)
    assert found.tolist() == [1, 0, 1]
    assert names == ("n01", "n03")


def test_labels_alone_go_by_the_order_of_the_images(folder):
    (folder / "labels.txt").write_text("# of the validation set\n3\n1\n\n2\n", encoding="utf-8")
    assert labels(folder)[0].tolist() == [3, 1, 2]


def test_a_number_below_zero_is_no_name(folder):
    """As which it would move all others by one."""
    (folder / "labels.txt").write_text("0\n-1\n2\n", encoding="utf-8")
    found, names = labels(folder)
    assert (found.tolist(), names) == ([0, -1, 2], None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1\n2\n", "2 labels for 3 images"),
        ("val_1.JPEG 1\nval_3.JPEG 2\n", "no label for val_2.JPEG"),
        ("", "no label for val_1.JPEG"),
        (b"\xff\xfe\x00", "cannot be read as labels"),
    ],
)
def test_what_is_wrong_is_said(folder, text, words):
    (folder / "labels.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=words):
        labels(folder)


def test_samples_of_a_flat_folder_have_them(tmp_path, image_input):
    for name in ("a.png", "b.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    (tmp_path / "labels.txt").write_text("b.png 4\na.png 2\n", encoding="utf-8")
    samples = samples_from_folder(tmp_path, [image_input], Preprocessing())
    assert samples.labels.tolist() == [2, 4]
    assert samples.class_names is None
