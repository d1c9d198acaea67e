import os
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import external_data_helper, numpy_helper

from onnxshallow.errors import ModelError
from onnxshallow.model.document import load_document, remove_model, save_model
from onnxshallow.model.external import remove_stale_data
from onnxshallow.model.weights import is_apart, value_of
from tests.graphs import ENGINES, assert_same_function, feeds, parse, run_plain
from tests.networks import chain
from tests.runs import files

GRAPH = "(float[N,3,8,8] x) => (float[N,40,8,8] y) { y = Conv(x, w, b) }"
BYTES = 40 * 3 * 4


def model() -> onnx.ModelProto:
    return parse(GRAPH, w=(40, 3, 1, 1), b=(40,))


def write(folder, **entries: str):
    """`model()` with its kernel in w.bin, placed as `entries` say; the model's path and the file's."""
    result = model()
    tensor = result.graph.initializer[0]
    data = folder / "w.bin"
    data.write_bytes(b"?" * 64 + numpy_helper.to_array(tensor).tobytes())
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": "w.bin", "offset": "64", "length": str(BYTES), **entries}.items():
        tensor.external_data.add(key=key, value=value)
    (folder / "a.onnx").write_bytes(result.SerializeToString())
    return folder / "a.onnx", data


@pytest.fixture
def everything_is_large(monkeypatch):
    monkeypatch.setattr("onnxshallow.model.external._MOST_IN_MEMORY", 0)
    monkeypatch.setattr("onnxshallow.model.external._LEAST_ON_DISK", 0)


def test_large_data_stays_on_disk_until_it_is_used(tmp_path, everything_is_large):
    path, data = write(tmp_path)
    document = load_document(path)
    kernel, bias = document.model.graph.initializer
    assert is_apart(kernel)
    assert not is_apart(bias)
    assert document.data_files == (data,)
    np.testing.assert_array_equal(value_of(kernel), numpy_helper.to_array(model().graph.initializer[0]))


def test_large_models_are_written_with_what_stayed_on_disk(tmp_path, everything_is_large):
    document = load_document(write(tmp_path)[0])
    save_model(document.model, tmp_path / "b.onnx")
    assert "b.onnx" in files(tmp_path)
    again = load_document(tmp_path / "b.onnx").model
    values = feeds(model())
    np.testing.assert_array_equal(run_plain(again, values)[0], run_plain(model(), values)[0])


def test_a_large_models_own_data_is_written_out_with_external_data(tmp_path, everything_is_large, monkeypatch):
    document = load_document(write(tmp_path)[0])
    monkeypatch.undo()
    save_model(document.model, tmp_path / "b.onnx", external=True)
    os.unlink(tmp_path / "w.bin")
    assert_same_function(load_document(tmp_path / "b.onnx").model, model(), rewritten_by=tuple(ENGINES))


@pytest.mark.parametrize(
    ("entries", "complaint"),
    [
        ({"offset": "-4"}, "from byte -4"),
        ({"length": "-4"}, "-4 bytes"),
        ({"offset": "65"}, "which holds 544 bytes"),
        ({"offset": str(2**70)}, "which holds 544 bytes"),
        ({"offset": "many"}, "damaged: .*many"),
        ({"location": ""}, "is missing"),
        ({"location": "."}, "is missing"),
        ({"location": "w\0.bin"}, "damaged"),
        ({"length": str(BYTES - 4)}, "476 bytes.*480 are needed"),
    ],
    ids=str,
)
@pytest.mark.parametrize("large", [True, False])
def test_places_that_do_not_hold_the_values(tmp_path, monkeypatch, request, large, entries, complaint):
    if large:
        request.getfixturevalue("everything_is_large")
    with pytest.raises(ModelError, match=complaint):
        load_document(write(tmp_path, **entries)[0])


def test_the_fingerprint_covers_the_data(tmp_path):
    path, data = write(tmp_path)
    before = load_document(path)
    fingerprint = before.fingerprint
    data.write_bytes(data.read_bytes()[:-4] + b"\0\0\0\0")
    after = load_document(path)
    assert after.sha256 == before.sha256
    assert after.fingerprint != fingerprint
    onnx.save(model(), tmp_path / "b.onnx")
    inline = load_document(tmp_path / "b.onnx")
    assert inline.fingerprint == inline.sha256


def test_data_that_no_model_names_is_removed(tmp_path):
    path = tmp_path / "a.onnx"
    save_model(large(0.0), path, external=True)
    (first,) = tmp_path.glob("*.data")
    shutil.copy(path, tmp_path / "copy.onnx")
    save_model(large(1.0), path, external=True)
    assert first.exists(), "the copy refers to it"
    os.unlink(tmp_path / "copy.onnx")
    (tmp_path / "a.onnx.notes.data").write_text("another's")
    remove_stale_data(path)
    assert not first.exists()
    assert load_document(path).external
    remove_model(path)
    assert files(tmp_path) == {"a.onnx.notes.data"}


def large(value: float) -> onnx.ModelProto:
    return parse(GRAPH, w=np.full((400, 3, 1, 1), value, np.float32), b=(400,))


def test_a_write_that_fails_leaves_no_data_behind(tmp_path, monkeypatch):
    path = tmp_path / "a.onnx"
    save_model(large(0.0), path, external=True)
    before = {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()}

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("onnxshallow.model.document.atomic_path", full)
    with pytest.raises(ModelError, match="No space left on device"):
        save_model(large(1.0), path, external=True)
    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == before


def test_tensors_of_subgraphs_and_small_ones_are_read_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr("onnxshallow.model.external._MOST_IN_MEMORY", 0)
    document = load_document(write(tmp_path)[0])
    assert not any(external_data_helper.uses_external_data(t) for t in document.model.graph.initializer)


def _hub(folder, data: str) -> Path:
    """A model as the cache of the Hugging Face hub keeps it: links to files with other names."""
    onnx.save(chain(), folder / "net.onnx", save_as_external_data=True, location="net.data", size_threshold=0)
    blobs, snapshot = folder / "blobs", folder / "snapshots" / "rev"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    (folder / "net.onnx").rename(blobs / "aaaa")
    (folder / "net.data").rename(folder / data)
    (snapshot / "net.onnx").symlink_to("../../blobs/aaaa")
    (snapshot / "net.data").symlink_to(f"../../{data}")
    return snapshot / "net.onnx"


def test_links_of_the_hub_are_followed_to_where_the_model_lies(tmp_path):
    document = load_document(_hub(tmp_path, "blobs/bbbb"))
    assert document.data_files == ((tmp_path / "blobs" / "bbbb").resolve(),)
    assert_same_function(document.model, chain())


def test_links_to_anywhere_else_are_not_followed(tmp_path):
    with pytest.raises(ModelError, match="outside the model's folder"):
        load_document(_hub(tmp_path, "elsewhere"))


def test_a_link_to_a_model_finds_the_data_beside_it(tmp_path):
    (tmp_path / "real").mkdir()
    onnx.save(chain(), tmp_path / "real" / "n.onnx", save_as_external_data=True, location="n.data", size_threshold=0)
    (tmp_path / "link.onnx").symlink_to("real/n.onnx")
    assert load_document(tmp_path / "link.onnx").data_files == ((tmp_path / "real" / "n.data").resolve(),)
