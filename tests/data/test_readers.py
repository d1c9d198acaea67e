import textwrap

import numpy as np
import pytest

from onnxshallow.data import archives
from onnxshallow.data.preprocessing import Preprocessing
from onnxshallow.data.readers import samples_from_reader
from onnxshallow.errors import DataError
from onnxshallow.model.tensors import TensorInfo

INPUT = TensorInfo("x", np.dtype(np.float32), ("N", 2))


@pytest.fixture
def load(tmp_path):
    def load(code, function="make", limit=None):
        (tmp_path / "reader.py").write_text("import numpy as np\n" + textwrap.dedent(code))
        return samples_from_reader(f"{tmp_path / 'reader.py'}:{function}", [INPUT], Preprocessing(), limit)

    return load


def test_batches_of_an_iterable_are_joined(load):
    samples = load(
        """
        def make():
            for i in range(3):
                yield {"x": np.full((i + 1, 2), i, np.float32), "labels": np.full(i + 1, i)}
        """
    )
    assert samples.batch(range(6))["x"][:, 0].tolist() == [0, 1, 1, 2, 2, 2]
    assert samples.labels.tolist() == [0, 1, 1, 2, 2, 2]


def test_a_calibration_data_reader_is_read_to_its_end(load):
    samples = load(
        """
        from onnxruntime.quantization import CalibrationDataReader

        class Reader(CalibrationDataReader):
            def __init__(self):
                self.left = 4

            def get_next(self):
                self.left -= 1
                return {"x": np.ones((1, 2), np.float32)} if self.left >= 0 else None

        make = Reader
        """
    )
    assert len(samples) == 4


def test_no_more_than_the_limit_is_asked_for(load):
    samples = load(
        """
        def make():
            for i in range(3):
                yield {"x": np.zeros((4, 2), np.float32)}
            raise RuntimeError("asked for too much")
        """,
        limit=10,
    )
    assert len(samples) == 10


def test_a_buffer_that_is_used_again_is_copied(load):
    samples = load(
        """
        def make():
            buffer = np.zeros((1, 2), np.float32)
            for i in range(3):
                buffer[:] = i
                yield {"x": buffer}
        """
    )
    assert samples.batch(range(3))["x"][:, 0].tolist() == [0, 1, 2]


def test_dataclasses_work_in_the_users_file(load):
    samples = load(
        """
        from dataclasses import dataclass

        @dataclass
        class Batch:
            count: "int"

        def make():
            return [{"x": np.zeros((Batch(3).count, 2), np.float32)}]
        """
    )
    assert len(samples) == 3


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("raise ValueError('no disk')", "reader.py:make: raised ValueError: no disk"),
        ("def make(: pass", "reader.py:make: raised SyntaxError"),
        ("import sys; sys.exit(3)", "reader.py:make: raised SystemExit: 3"),
        ("def make(): return 1 / 0", "reader.py:make: raised ZeroDivisionError: division by zero"),
        ("def make(needed): return []", "reader.py:make: raised TypeError"),
        (
            "def make():\n    yield {'x': np.zeros((1, 2))}\n    raise OSError('gone')",
            "make: raised OSError: gone",
        ),
        ("other = 1", "has no function 'make'"),
        ("make = 1", "has no function 'make'"),
        (
            "def make(): return 5",
            "returned int; it must return a CalibrationDataReader or an iterable of dicts",
        ),
        ("def make(): return {'x': 1}", "returned dict; it must return a CalibrationDataReader"),
        (
            "def make(): return [5]",
            "gave int; each batch must be a dict of input names to arrays",
        ),
        ("def make(): return [{}]", "gave dict; each batch must be a dict"),
        ("def make(): return []", "reader.py:make: gave no batches"),
        ("def make(): return [{'x': 1.0}]", "'x' is a single value; arrays need a batch axis first"),
        ("def make(): return [{'x': [[1, 2], [3]]}]", "make: raised ValueError"),
        (
            "def make(): return [{'x': np.zeros((2, 2)), 'y': np.zeros(3)}]",
            "the arrays of one batch have different numbers of samples",
        ),
        (
            "def make(): return [{'x': np.zeros((2, 2))}, {'z': np.zeros((2, 2))}]",
            r"the first batch has \['x'\], batch 1 has \['z'\]",
        ),
        (
            "def make(): return [{'x': np.zeros((2, 2))}, {'x': np.zeros((2, 3))}]",
            "the batches do not fit together",
        ),
        (
            "def make(): return [{'x': np.zeros((2, 3))}]",
            r"array 'x' has shape \(2, 3\), but input 'x' wants",
        ),
    ],
)
def test_what_goes_wrong_is_told_with_its_source(load, code, message):
    with pytest.raises(DataError, match=message):
        load(code)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"there is no file .*gone.py"):
        samples_from_reader(f"{tmp_path / 'gone.py'}:make", [INPUT], Preprocessing(), None)


def test_an_endless_reader_stops_at_the_limit_of_memory(load, monkeypatch):
    monkeypatch.setattr(archives, "MAX_BYTES", 1000)
    with pytest.raises(DataError, match=r"gives more than the limit of .* GiB; give fewer samples"):
        load("def make():\n    while True:\n        yield {'x': np.zeros((1, 2))}")
