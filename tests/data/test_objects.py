import numpy as np
import pytest

from onnxshallow.data.objects import samples_from_object
from onnxshallow.data.preprocessing import Preprocessing
from onnxshallow.data.sources import load_samples
from onnxshallow.errors import DataError
from onnxshallow.model.tensors import TensorInfo

IMAGE = TensorInfo("x", np.dtype(np.float32), ("N", 3, 4, 4))
VECTOR = TensorInfo("z", np.dtype(np.float32), ("N", 2))
FLOATS = np.random.default_rng(0).normal(size=(10, 3, 4, 4)).astype(np.float32)
PIXELS = np.random.default_rng(0).integers(0, 255, (10, 4, 4, 3)).astype(np.uint8)
LABELS = np.arange(10)


def read(given, inputs=(IMAGE,), limit=None, **options):
    return samples_from_object(given, inputs, Preprocessing(**options), limit)


class Reader:
    """As onnxruntime's CalibrationDataReader."""

    def __init__(self):
        self.left = iter(FLOATS)

    def get_next(self):
        sample = next(self.left, None)
        return None if sample is None else {"x": sample[None]}


WAYS = {
    "an array": lambda: FLOATS,
    "a dict": lambda: {"x": FLOATS},
    "a dict of another name": lambda: {"images": FLOATS},
    "a reader": Reader,
    "batches": lambda: [FLOATS[:4], FLOATS[4:]],
    "dicts": lambda: [{"x": FLOATS[:7]}, {"x": FLOATS[7:]}],
    "a generator": lambda: (FLOATS[i : i + 2] for i in range(0, 10, 2)),
    "single samples": lambda: iter(FLOATS),
}


@pytest.mark.parametrize("way", WAYS)
def test_samples_come_in_many_forms(way):
    samples = read(WAYS[way]())
    assert np.array_equal(samples.batch(range(10))["x"], FLOATS)
    assert samples.labels is None


LABELLED = {
    "a tuple": lambda: (FLOATS, LABELS),
    "a tuple with a list": lambda: (FLOATS, LABELS.tolist()),
    "a dict with y": lambda: {"x": FLOATS, "y": LABELS},
    "pairs": lambda: [(FLOATS[:4], LABELS[:4]), [FLOATS[4:], LABELS[4:]]],
    "pairs of single samples": lambda: zip(FLOATS, LABELS, strict=True),
    "dicts with labels": lambda: ({"x": FLOATS[i : i + 5], "labels": LABELS[i : i + 5]} for i in (0, 5)),
}


@pytest.mark.parametrize("way", LABELLED)
def test_labels_come_along(way):
    samples = read(LABELLED[way]())
    assert np.array_equal(samples.batch(range(10))["x"], FLOATS)
    assert samples.labels.tolist() == LABELS.tolist()


@pytest.mark.parametrize("given", [PIXELS, [PIXELS[:5], PIXELS[5:]], zip(PIXELS, LABELS, strict=True)])
def test_bytes_are_images_and_preprocessed(given):
    found = read(given, layout="nhwc", mean=(0.5,) * 3).batch(range(10))["x"]
    assert np.allclose(found, PIXELS.transpose(0, 3, 1, 2) / 255 - 0.5, atol=1e-6)


def test_no_more_of_a_generator_is_consumed_than_asked_for():
    taken = []

    def generator():
        for number in range(100):
            taken.append(number)
            yield FLOATS

    assert len(read(generator(), limit=25)) == 25
    assert taken == [0, 1, 2]


def test_of_arrays_a_random_part_is_taken():
    options = dict(limit=4, seed=0)
    first, again = (load_samples(FLOATS, [IMAGE], Preprocessing(), **options) for _ in range(2))
    assert len(first) == 4
    assert first.fingerprint() == again.fingerprint()
    assert first.source == "<ndarray>"


def test_several_inputs_take_a_dict():
    both = {"x": FLOATS, "z": FLOATS[:, 0, 0, :2]}
    assert set(read(both, (IMAGE, VECTOR)).batch([0])) == {"x", "z"}
    for given in (FLOATS, (FLOATS, LABELS), [FLOATS]):
        with pytest.raises(DataError, match="'x', 'z'"):
            read(given, (IMAGE, VECTOR))


class Dataset:
    def __len__(self):
        return 3


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (Dataset(), "<Dataset>: samples cannot be read from it; give .* a DataLoader"),
        ([], "<list>: gave no batches"),
        (["a.npz"], "gave str; each batch must be"),
        ({"a": FLOATS, "b": FLOATS}, "no array could be found for input 'x'"),
        (FLOATS[:, :1], "wants"),
        (np.array(["a"], dtype=object), "takes float32"),
        ([(FLOATS, LABELS[:3])], "different numbers of samples"),
    ],
)
def test_what_cannot_be_read_is_told(given, words):
    with pytest.raises(DataError, match=words):
        read(given)


def test_loaders_of_torch_are_read():
    torch = pytest.importorskip("torch")
    images = torch.from_numpy(FLOATS.copy())
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(images, torch.from_numpy(LABELS)), batch_size=4
    )
    for given in (loader, (images, torch.from_numpy(LABELS)), iter(loader)):
        samples = read(given)
        assert np.array_equal(samples.batch(range(10))["x"], FLOATS)
        assert samples.labels.tolist() == LABELS.tolist()
    assert len(read({"x": images.requires_grad_()})) == 10
    dicts = torch.utils.data.DataLoader([{"x": image.detach(), "y": 1} for image in images], batch_size=3)
    assert read(dicts).labels.tolist() == [1] * 10
    assert len(read(images.requires_grad_())) == 10


def test_a_batch_may_be_a_list_of_one_array():
    """As the DataLoader of a TensorDataset without labels gives it."""
    given = [[np.zeros((2, 3, 4, 4), np.float32)], [np.ones((1, 3, 4, 4), np.float32)]]
    tensor = TensorInfo("x", np.dtype(np.float32), ("N", 3, 4, 4))
    samples = samples_from_object(given, [tensor], Preprocessing(), None)
    assert len(samples) == 3
    assert samples.labels is None


def test_a_reader_may_give_arrays():
    class Reader:
        left = 2

        def get_next(self):
            self.left -= 1
            return np.zeros((2, 3, 4, 4), np.float32) if self.left >= 0 else None

    tensor = TensorInfo("x", np.dtype(np.float32), ("N", 3, 4, 4))
    assert len(samples_from_object(Reader(), [tensor], Preprocessing(), None)) == 4
