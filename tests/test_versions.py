import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from types import SimpleNamespace

import onnxruntime
import pytest

import onnxshallow.versions as module
from onnxshallow import __version__
from onnxshallow.versions import code_digest, runtime_problem, runtimes, versions


def test_the_versions_of_what_computes():
    found = versions()
    own = ["python", "onnxshallow", "onnx", "onnxruntime", "onnx-graphsurgeon", "numpy", "scipy"]
    assert [name for name in found if name not in runtimes() or name == "onnxruntime"] == own
    assert found["python"] == platform.python_version()
    assert found["onnxshallow"] == __version__
    assert found["onnxruntime"] == onnxruntime.__version__


def test_a_package_that_is_not_installed_is_unknown(monkeypatch):
    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(module, "version", missing)
    assert runtimes() == {}
    assert set(versions().values()) == {platform.python_version(), __version__, "unknown"}


def test_the_code_that_runs_is_told_from_any_other(tmp_path, monkeypatch):
    """By what its files hold and by their names; by nothing else, such as where they lie."""
    digests = []
    for number, (name, text) in enumerate(
        [("a.py", "x = 1"), ("a.py", "x = 1"), ("a.py", "x = 2"), ("b.py", "x = 1")]
    ):
        folder = tmp_path / str(number)
        (folder / "room").mkdir(parents=True)
        (folder / "versions.py").touch()
        (folder / "room" / name).write_text(text)
        (folder / "notes.txt").write_text(str(number))
        monkeypatch.setattr(module, "__file__", str(folder / "versions.py"))
        code_digest.cache_clear()
        digests.append(code_digest())
    code_digest.cache_clear()
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def only(monkeypatch, **installed):
    """Let just these packages be installed."""

    def version(name):
        try:
            return installed[name.replace("-", "_")]
        except KeyError:
            raise PackageNotFoundError(name) from None

    monkeypatch.setattr(module, "version", version)


def test_a_runtime_of_another_name_is_named(monkeypatch):
    only(monkeypatch, onnxruntime_openvino="1.24.1")
    found = versions()
    assert (found["onnxruntime"], found["onnxruntime-openvino"]) == ("1.24.1", "1.24.1")
    assert runtimes() == {"onnxruntime-openvino": "1.24.1"}
    assert runtime_problem() is None


def test_the_key_of_a_plain_runtime_has_nothing_new(monkeypatch):
    only(monkeypatch, onnxruntime="1.30.0")
    assert [name for name in versions() if "runtime" in name] == ["onnxruntime"]


def test_without_a_runtime_the_line_to_type_is_named(monkeypatch):
    only(monkeypatch)
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert "pip install 'onnxshallow[cpu]'" in runtime_problem()


def test_a_runtime_of_which_files_were_removed_is_named(monkeypatch):
    """What stays after one of two packages was removed is a folder without a module."""
    only(monkeypatch, onnxruntime_gpu="1.24.1")
    monkeypatch.setattr(module, "find_spec", lambda name: SimpleNamespace(origin=None))
    assert "pip install --force-reinstall --no-deps onnxruntime-gpu" in runtime_problem()


@pytest.mark.parametrize("code", ["import onnxshallow; onnxshallow.optimize", "COMMAND"])
def test_what_needs_a_runtime_ends_with_the_line_to_type(code):
    """In a process where onnxruntime is neither installed nor found."""
    command = "from onnxshallow.cli.main import main; sys.argv = ['onnxshallow', 'analyze', 'a.onnx']; main()"
    begin = (
        "import importlib.metadata as m, importlib.util as u, sys\n"
        "class Hidden:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name.split('.')[0] == 'onnxruntime': raise ModuleNotFoundError(name, name=name)\n"
        "found, known = u.find_spec, m.version\n"
        "u.find_spec = lambda name: None if name == 'onnxruntime' else found(name)\n"
        "def version(name):\n"
        "    if 'onnxruntime' in name: raise m.PackageNotFoundError(name)\n"
        "    return known(name)\n"
        "m.version = version\n"
        "sys.meta_path.insert(0, Hidden())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", begin + code.replace("COMMAND", command)], capture_output=True, text=True, check=False
    )
    last = done.stderr.splitlines()[-1]
    assert "onnxruntime is not installed" in last
    assert "pip install 'onnxshallow[cpu]'" in last
    if code == "COMMAND":
        assert (done.returncode, done.stderr.count("\n")) == (3, 1)
