"""The tool that fetches CIFAR, on small archives that lie on this machine."""

import dataclasses
import hashlib
import http.server
import importlib
import io
import sys
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest

from onnxshallow.data.preprocessing import Preprocessing
from onnxshallow.data.sources import load_samples
from onnxshallow.model.network import Network
from tests.networks import build

TOOLS = Path(__file__).resolve().parents[2] / "tools"
ROWS = (10, 4)  # training images, test images


@pytest.fixture
def tool(monkeypatch):
    """The module, with sets of a few images."""
    monkeypatch.syspath_prepend(TOOLS)
    module = importlib.import_module("fetch_data")
    small = {name: dataclasses.replace(wanted, rows=ROWS) for name, wanted in module.SETS.items()}
    monkeypatch.setattr(module, "SETS", small)
    yield module
    sys.modules.pop("fetch_data", None)


def rows_of(count, label, classes, seed):
    """What a binary archive holds: classes, then planes; and the images and classes that it should become."""
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    labels = generator.integers(0, classes, count)
    planes = images.transpose(0, 3, 1, 2).reshape(count, -1)
    columns = [np.full((count, 1), 7)] * label + [labels[:, None], planes]
    return np.concatenate(columns, axis=1).astype(np.uint8).tobytes(), images, labels


def archive_of(tool, monkeypatch, folder, name, change=None):
    """An archive in the form of a set, whose checksum the tool expects; and what is in it."""
    wanted = tool.SETS[name]
    path = folder / wanted.url.rsplit("/", 1)[-1]
    expected = {}
    with tarfile.open(path, "w:gz") as tar:
        for part, members, count in (("train", wanted.train, ROWS[0]), ("validation", wanted.validation, ROWS[1])):
            parts = []
            for seed, member in enumerate(members):
                content, images, labels = rows_of(count // len(members), wanted.label, wanted.classes, seed)
                parts.append((images, labels))
                info = tarfile.TarInfo(member)
                info, content = change(info, content) if change else (info, content)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
            expected[part] = [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]
    expect(tool, monkeypatch, name, path)
    return path, expected


def expect(tool, monkeypatch, name, path):
    digest = hashlib.md5(path.read_bytes()).hexdigest()
    monkeypatch.setitem(tool.SETS, name, dataclasses.replace(tool.SETS[name], md5=digest))


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_images_and_classes_come_out_as_they_went_in(tool, monkeypatch, tmp_path, name):
    path, expected = archive_of(tool, monkeypatch, tmp_path, name)
    assert tool.main([name, str(tmp_path / "out"), "--url", path.as_uri()]) == 0
    for part, (images, labels) in expected.items():
        with np.load(tmp_path / "out" / f"{part}.npz", allow_pickle=False) as file:
            assert file["x"].dtype == np.uint8
            assert file["y"].dtype == np.int64
            np.testing.assert_array_equal(file["x"], images)
            np.testing.assert_array_equal(file["y"], labels)


def test_the_files_are_what_calib_reads(tool, monkeypatch, tmp_path):
    path, expected = archive_of(tool, monkeypatch, tmp_path, "cifar10")
    tool.main(["cifar10", str(tmp_path / "out"), "--url", path.as_uri()])
    network = Network(build("(float[N,3,32,32] x) => (float[N,3,32,32] y) { y = Relu(x) }"))
    preprocessing = Preprocessing(layout="nhwc")
    samples = load_samples(str(tmp_path / "out" / "validation.npz"), network.inputs, preprocessing)
    np.testing.assert_array_equal(samples.labels, expected["validation"][1])


def test_another_file_under_the_name_is_refused_and_removed(tool, monkeypatch, tmp_path, capsys):
    path, _ = archive_of(tool, monkeypatch, tmp_path, "cifar10")
    path.write_bytes(path.read_bytes() + b"more")
    assert tool.main(["cifar10", str(tmp_path / "out"), "--url", path.as_uri()]) == 3
    assert "MD5 checksum" in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []


def test_a_link_in_the_place_of_a_member_is_refused(tool, monkeypatch, tmp_path, capsys):
    def linked(info, content):
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/hostname"
        return info, b""

    path, _ = archive_of(tool, monkeypatch, tmp_path, "cifar10", linked)
    assert tool.main(["cifar10", str(tmp_path / "out"), "--url", path.as_uri()]) == 3
    assert "is no file of" in capsys.readouterr().err
    assert not (tmp_path / "out" / "train.npz").exists()


def test_members_of_other_names_are_never_written(tool, monkeypatch, tmp_path):
    path, _ = archive_of(tool, monkeypatch, tmp_path, "cifar10")
    with tarfile.open(path) as tar:
        kept = [(member, tar.extractfile(member).read()) for member in tar.getmembers()]
    with tarfile.open(path, "w:gz") as tar:
        for info, content in [*kept, (tarfile.TarInfo("../evil"), b"")]:
            tar.addfile(info, io.BytesIO(content))
    expect(tool, monkeypatch, "cifar10", path)
    assert tool.main(["cifar10", str(tmp_path / "out"), "--url", path.as_uri()]) == 0
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda info, content: (info, content[:-1]), "is no file of"),
        (lambda info, content: (info, b"\xff" + content[1:]), "is above 9"),
        (lambda info, content: (tarfile.TarInfo("other"), content), "cannot be read"),
    ],
    ids=["short", "class", "missing"],
)
def test_an_archive_of_another_form_is_refused_in_one_sentence(tool, monkeypatch, tmp_path, capsys, change, words):
    path, _ = archive_of(tool, monkeypatch, tmp_path, "cifar10", change)
    assert tool.main(["cifar10", str(tmp_path / "out"), "--url", path.as_uri()]) == 3
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert words in told
    assert told.count("\n") == 1


def test_what_is_not_there_is_told_with_what_to_do(tool, tmp_path, capsys):
    assert tool.main(["cifar10", str(tmp_path), "--url", (tmp_path / "nothing.tar.gz").as_uri()]) == 3
    assert "--url file:///" in capsys.readouterr().err


def test_an_archive_that_is_there_is_not_fetched_again(tool, monkeypatch, tmp_path):
    path, _ = archive_of(tool, monkeypatch, tmp_path, "cifar10")
    assert tool.main(["cifar10", str(tmp_path), "--url", "http://127.0.0.1:9/" + path.name]) == 0


class _Ranges(http.server.BaseHTTPRequestHandler):
    content = b""
    most = 1 << 30  # bytes of one answer
    asked: list[str | None] = []  # noqa: RUF012

    def do_GET(self):
        wanted = self.headers["Range"]
        self.asked.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(self.content) - start))
        self.end_headers()
        self.wfile.write(self.content[start : start + self.most])

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(monkeypatch):
    """A server that knows the Range header; its address."""
    monkeypatch.setattr(_Ranges, "asked", [])
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Ranges)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}/archive.tar.gz"
    running.shutdown()
    running.server_close()


def test_a_download_that_broke_off_is_taken_up_where_it_stopped(tool, monkeypatch, tmp_path, server, capsys):
    path, _ = archive_of(tool, monkeypatch, tmp_path, "cifar10")
    out = tmp_path / "out"
    monkeypatch.setattr(_Ranges, "content", path.read_bytes())
    monkeypatch.setattr(_Ranges, "most", 1000)
    assert tool.main(["cifar10", str(out), "--url", server]) == 3
    assert "run this again" in capsys.readouterr().err
    monkeypatch.setattr(_Ranges, "most", 1 << 30)
    assert tool.main(["cifar10", str(out), "--url", server]) == 0
    assert _Ranges.asked == [None, "bytes=1000-"]
    assert (out / path.name).read_bytes() == path.read_bytes()
    assert sorted(file.name for file in out.iterdir()) == [path.name, "train.npz", "validation.npz"]
