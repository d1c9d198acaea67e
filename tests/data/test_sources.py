import numpy as np
import pytest
from PIL import Image

from onnxshallow.data import Preprocessing, load_samples
from onnxshallow.errors import DataError


@pytest.fixture
def archive(tmp_path):
    pixels = np.arange(20, dtype=np.uint8)[:, np.newaxis, np.newaxis, np.newaxis] * np.ones((1, 8, 8, 3), np.uint8)
    np.savez(tmp_path / "d.npz", x=pixels, y=np.arange(20))
    return str(tmp_path / "d.npz")


def test_all_of_an_archive_in_order(archive, image_input):
    samples = load_samples(archive, [image_input], Preprocessing(scale=1.0))
    assert (len(samples), samples.source, samples.synthetic) == (20, archive, False)
    assert samples.batch(range(20))["input"][:, 0, 0, 0].tolist() == list(range(20))


def test_a_limit_draws_by_the_seed(archive, image_input):
    def draw(seed):
        samples = load_samples(archive, [image_input], Preprocessing(scale=1.0), limit=5, seed=seed)
        np.testing.assert_array_equal(samples.batch(range(5))["input"][:, 0, 0, 0], samples.labels)
        return samples.labels.tolist()

    assert draw(0) == draw(0) == sorted(draw(0)) != draw(1)


def test_a_limit_above_the_count_keeps_all(archive, image_input):
    assert len(load_samples(archive, [image_input], Preprocessing(), limit=100)) == 20


def test_a_folder(tmp_path, image_input):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    assert len(load_samples(str(tmp_path), [image_input], Preprocessing())) == 1


def test_a_function(tmp_path, image_input):
    (tmp_path / "r.py").write_text(
        "import numpy as np\ndef make():\n    return [{'input': np.zeros((4, 3, 8, 8))}]\n"
    )
    assert len(load_samples(f"{tmp_path}/r.py:make", [image_input], Preprocessing(), limit=3)) == 3


def test_a_missing_source_is_named(tmp_path, image_input):
    with pytest.raises(DataError, match=r"gone.npz: no such file or folder"):
        load_samples(str(tmp_path / "gone.npz"), [image_input], Preprocessing())


def test_other_files_are_refused(tmp_path, image_input):
    (tmp_path / "data.pkl").write_bytes(b"x")
    with pytest.raises(
        DataError, match=r"data.pkl: data must be an .npz file, a folder of images or file.py:function"
    ):
        load_samples(str(tmp_path / "data.pkl"), [image_input], Preprocessing())
