import importlib
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import platformdirs
import pytest

from onnxshallow.errors import ModelError
from onnxshallow.model import files as module
from onnxshallow.model.files import (
    atomic_path,
    cache_folder,
    locked,
    require_writable,
    same_file,
    temporary_beside,
    write_text,
)
from tests.runs import files

# Writes a file and dies of SIGKILL just before or after the rename that makes it whole.
KILLED = """
import os, signal, sys
from onnxshallow.model.files import write_text
replace = os.replace
def killed(*names):
    if sys.argv[2] == "after":
        replace(*names)
    os.kill(os.getpid(), signal.SIGKILL)
os.replace = killed
write_text("new", sys.argv[1])
"""

posix = pytest.mark.skipif(os.name != "posix", reason="signals and locks of POSIX")


def write_and_die(path: Path, moment: str) -> None:
    process = subprocess.run([sys.executable, "-c", KILLED, str(path), moment], check=False)
    assert process.returncode == -signal.SIGKILL


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path):
    path = tmp_path / "a.onnx"
    path.write_text("old")

    def write_half() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@posix
@pytest.mark.parametrize(("moment", "content"), [("before", "old"), ("after", "new")])
def test_a_kill_leaves_the_old_or_the_whole_new_file(tmp_path, moment, content):
    path = tmp_path / "a.json"
    path.write_text("old")
    write_and_die(path, moment)
    assert path.read_text() == content
    write_text("newer", path)
    assert path.read_text() == "newer"
    assert files(tmp_path) == {"a.json"}


@posix
def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path):
    path = tmp_path / "a.json"
    others = {".a.json.tmp", ".a.json.notes.tmp", ".b.json.abcdefgh.tmp", "a.json.abcdefgh.tmp"}
    for name in others:
        (tmp_path / name).write_text("another's")
    write_and_die(path, "before")
    assert len(files(tmp_path)) == len(others) + 1
    with temporary_beside(path) as living:
        write_text("text", path)
        assert living.exists()
    assert files(tmp_path) == {"a.json"} | others


@posix
def test_a_file_that_another_process_takes_for_abandoned_is_made_anew(tmp_path, monkeypatch):
    """It has no lock yet when the other process looks."""
    make, made = tempfile.mkstemp, []

    def make_and_lose(**options: object) -> tuple[int, str]:
        made.append(make(**options))
        if len(made) == 1:
            os.unlink(made[0][1])
        return made[-1]

    monkeypatch.setattr(tempfile, "mkstemp", make_and_lose)
    write_text("text", tmp_path / "a.json")
    assert len(made) == 2
    assert (tmp_path / "a.json").read_text() == "text"
    assert files(tmp_path) == {"a.json"}


@posix
def test_one_process_at_a_time_holds_a_folder(tmp_path):
    code = f"""
import fcntl, os
handle = os.open({str(tmp_path)!r}, os.O_RDONLY)
try:
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    raise SystemExit(7)
"""
    with locked(tmp_path):
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 7
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert files(tmp_path) == set()


@posix
def test_files_are_whole_where_there_are_no_locks(tmp_path, monkeypatch):
    """As on Windows, which also syncs only files that are open for writing."""
    import fcntl

    def sync(handle):
        assert fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_RDWR

    monkeypatch.setattr(module, "fcntl", None)
    monkeypatch.setattr(os, "fsync", sync)
    with locked(tmp_path):
        write_text("text", tmp_path / "a.json")
        write_text("other", tmp_path / "a.json")
    assert (tmp_path / "a.json").read_text() == "other"
    assert files(tmp_path) == {"a.json"}


def test_a_folder_that_cannot_be_written_to_is_found_out_beforehand(tmp_path):
    require_writable(tmp_path / "a.onnx")
    assert files(tmp_path) == set()
    with pytest.raises(ModelError, match="choose a folder that can be written to"):
        require_writable(tmp_path / "none" / "a.onnx")
    with pytest.raises(ModelError, match="Cannot write"):
        write_text("text", tmp_path / "none" / "a.json")


def test_written_files_follow_the_umask(tmp_path):
    mask = os.umask(0o027)
    try:
        write_text("text", tmp_path / "a.json")
    finally:
        os.umask(mask)
    assert (tmp_path / "a.json").read_text() == "text"
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o640


def test_the_folder_can_be_chosen(monkeypatch):
    monkeypatch.setenv("ONNXSHALLOW_CACHE", "/somewhere")
    assert cache_folder() == Path("/somewhere")


def test_the_folder_is_else_the_users_cache(monkeypatch):
    monkeypatch.delenv("ONNXSHALLOW_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert cache_folder() == Path("/cache/onnxshallow")
    monkeypatch.delenv("XDG_CACHE_HOME")
    home = Path("/system/cache")
    monkeypatch.setattr(module, "user_cache_path", lambda name, appauthor: home / name)
    assert cache_folder() == home / "onnxshallow"


@pytest.mark.parametrize(
    ("system", "folder"),
    [("macos.MacOS", "~/Library/Caches/onnxshallow"), ("unix.Unix", "~/.cache/onnxshallow"),
     ("windows.Windows", "/profile/AppData/Local/onnxshallow/Cache")],
)  # fmt: skip
def test_each_system_has_its_folder(monkeypatch, system, folder):
    """As platformdirs says of systems that this is not."""
    name, kind = system.split(".")
    made = importlib.import_module(f"platformdirs.{name}")
    if name == "windows":
        monkeypatch.setattr(made, "get_win_folder", lambda csidl: "/profile/AppData/Local")
    for variable in ("ONNXSHALLOW_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    system_folders = getattr(made, kind)
    monkeypatch.setattr(platformdirs, "PlatformDirs", system_folders)
    assert cache_folder() == Path(folder).expanduser()


def test_paths_that_lead_nowhere_are_no_files(tmp_path):
    (tmp_path / "one").symlink_to(tmp_path / "other")
    (tmp_path / "other").symlink_to(tmp_path / "one")
    assert not same_file(tmp_path / "one", tmp_path / "a.onnx")
    assert not same_file(tmp_path / ("x" * 300), tmp_path / "a.onnx")
    (tmp_path / "a.onnx").write_bytes(b"1")
    (tmp_path / "b.onnx").hardlink_to(tmp_path / "a.onnx")
    assert same_file(tmp_path / "a.onnx", tmp_path / "b.onnx")
