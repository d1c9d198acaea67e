import io
import zipfile

import numpy as np
import pytest
from numpy.lib import format as npy

from onnxshallow.data import archives
from onnxshallow.data.archives import read_archive
from onnxshallow.errors import DataError


def write(path, **members):
    """Writes raw bytes as the members of a zip file."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return path


def header(shape, descr="<f4"):
    buffer = io.BytesIO()
    npy.write_array_header_1_0(buffer, {"descr": descr, "fortran_order": False, "shape": shape})
    return buffer.getvalue()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_all_arrays_are_read(tmp_path, save):
    save(tmp_path / "a.npz", x=np.arange(6).reshape(2, 3), y=np.asfortranarray(np.eye(3)))
    arrays = read_archive(tmp_path / "a.npz")
    assert sorted(arrays) == ["x", "y"]
    np.testing.assert_array_equal(arrays["x"], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(arrays["y"], np.eye(3))


def test_members_that_are_no_arrays_are_left_out(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert read_archive(tmp_path / "a.npz") == {}


def test_pickled_objects_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match=r"a.npz: array 'x' holds pickled objects, which are refused"):
        read_archive(tmp_path / "a.npz")


def test_no_more_is_unpacked_than_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_BYTES", 1000)
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros(100), y=np.zeros(100))
    with pytest.raises(DataError, match=r"a.npz: the arrays hold .* GiB, more than the limit of"):
        read_archive(tmp_path / "a.npz")


def test_a_header_that_announces_terabytes_is_refused(tmp_path):
    write(tmp_path / "a.npz", x=header((2**20, 2**20)) + b"\0" * 16)
    with pytest.raises(DataError, match=r"hold 4096.0 GiB, more than the limit of 16.0 GiB"):
        read_archive(tmp_path / "a.npz")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(header((100,)) + b"\0" * 16, id="too short"),
        pytest.param(header((-4,)) + b"\0" * 16, id="negative size"),
        pytest.param(b"not an array", id="no header"),
        pytest.param(b"\x93NUMPY\x01\x00\x08\x00{}{}{}{}", id="bad header"),
        pytest.param(b"\x93NUMPY\x09\x00\x08\x00{}{}{}{}", id="unknown version"),
        pytest.param(b"", id="empty"),
    ],
)
def test_broken_arrays_are_refused(tmp_path, data):
    with pytest.raises(DataError, match=r"a.npz: is not a readable .npz file, or is truncated"):
        read_archive(write(tmp_path / "a.npz", x=data))


def test_truncated_files_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros(1000))
    whole = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"a.npz: is not a readable"):
        read_archive(tmp_path / "a.npz")


def test_damaged_content_is_refused(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x=np.random.default_rng(0).random(1000))
    whole = bytearray((tmp_path / "a.npz").read_bytes())
    whole[500:600] = bytes(100)
    (tmp_path / "a.npz").write_bytes(whole)
    with pytest.raises(DataError, match=r"a.npz: is not a readable"):
        read_archive(tmp_path / "a.npz")


def test_files_that_are_no_zip_are_refused(tmp_path):
    (tmp_path / "a.npz").write_text("hello")
    with pytest.raises(DataError, match=r"a.npz: is not a readable"):
        read_archive(tmp_path / "a.npz")


def test_the_limit_is_an_argument(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.arange(100.0))
    assert len(read_archive(tmp_path / "a.npz", 800)["x"]) == 100
    with pytest.raises(DataError, match=r"more than the limit of 0.0 GiB; .* raise --max-data"):
        read_archive(tmp_path / "a.npz", 799)


def test_a_file_that_unpacks_to_a_hundred_times_its_size_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "_HARMLESS", 1 << 20)
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros(1 << 18))
    with pytest.raises(DataError, match=r"bytes unpack to 0.0 GiB, over 100 times as many, .* --max-data"):
        read_archive(tmp_path / "a.npz")
    assert len(read_archive(tmp_path / "a.npz", 4 << 20)["x"]) == 1 << 18
    monkeypatch.setattr(archives, "_HARMLESS", 2 << 20)
    assert len(read_archive(tmp_path / "a.npz")["x"]) == 1 << 18


@pytest.mark.parametrize(
    "text",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-4,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 0, 2), }",
        "{'descr': '<f99', 'fortran_order': False, 'shape': (4,), }",
        "{'descr': ('<f4', (1000000000, 1000000000)), 'fortran_order': False, 'shape': (4,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (True, 4), }",
        "((((",
        "(" * 5000 + ")" * 5000,
        "__import__('os')._exit(77)",
        "{'descr': '\x1b[2J', 'fortran_order': False, 'shape': (4,), }",
    ],
    ids=["negative", "overflow", "no type", "huge type", "no number", "no end", "deep", "code", "escape"],
)
def test_headers_that_make_no_sense(tmp_path, text):
    content = text.encode() + b"\n"
    write(tmp_path / "a.npz", x=b"\x93NUMPY\1\0" + len(content).to_bytes(2, "little") + content + bytes(16))
    with pytest.raises(DataError, match=r"a\.npz") as caught:
        read_archive(tmp_path / "a.npz")
    assert str(caught.value).isprintable()
