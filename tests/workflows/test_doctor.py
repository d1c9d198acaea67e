import subprocess
import sys
from types import SimpleNamespace

import pytest

from onnxshallow import __version__
from onnxshallow.model.providers import CPU
from onnxshallow.workflows import doctor as module
from onnxshallow.workflows.doctor import examine

STATED = [
    "numpy>=1.26",
    "onnx>=1.16",
    'torch>=2.2; extra == "zoo"',
    "gone>=1; extra == 'dev'",
    'onnxshallow[test]; extra == "dev"',
]


@pytest.fixture
def stated(monkeypatch):
    """What the package's metadata say; the list may be changed."""
    said = list(STATED)
    fields = {"Requires-Dist": said, "Provides-Extra": ["dev", "zoo"]}
    monkeypatch.setattr(module, "metadata", lambda name: SimpleNamespace(get_all=lambda field, none: fields[field]))
    installed = {"numpy": "2.1.0", "onnx": "1.17.0rc1", "torch": "2.13.0+cpu"}

    def version(name):
        if name not in installed:
            raise module.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(module, "version", version)
    monkeypatch.setattr(module, "runtimes", dict)
    return said


def test_a_sound_installation_has_no_problems(stated, tmp_path, monkeypatch):
    monkeypatch.setenv("ONNXSHALLOW_CACHE", str(tmp_path))
    (tmp_path / "sweep-1.jsonl").write_text("[]\n")
    report = examine()
    assert (report.problems, report.exit_code, report.version) == ([], 0, __version__)
    assert [(package.name, package.version, package.least, package.ok) for package in report.packages] == [
        ("numpy", "2.1.0", "1.26", True),
        ("onnx", "1.17.0rc1", "1.16", True),
    ]
    assert report.extras == {"zoo": [], "dev": ["gone"]}
    assert CPU in report.providers
    assert report.runs
    assert (report.cache.files, report.cache.size_bytes, report.cache.writable) == (1, 3, True)
    assert report.cores >= 1


@pytest.mark.parametrize(
    ("requirement", "remedy"),
    [
        ("numpy>=3", "numpy is 2.1.0, which is too old; run: pip install 'numpy>=3'."),
        ("numpy>=2.1.1", "numpy is 2.1.0, which is too old; run: pip install 'numpy>=2.1.1'."),
        ("scipy>=1.11", "scipy is missing; run: pip install 'scipy>=1.11'."),
        ("scipy", "scipy is missing; run: pip install 'scipy'."),
        ("numpy>=2.1.0.post1", "numpy is 2.1.0, which is too old; run: pip install 'numpy>=2.1.0.post1'."),
    ],
)
def test_what_is_missing_or_old_comes_with_a_remedy(stated, requirement, remedy):
    stated.append(requirement)
    report = examine()
    assert report.problems == [remedy]
    assert report.exit_code == 3


@pytest.mark.parametrize("requirement", ["gone>=1; python_version < '3'", "numpy>=1; python_version >= '3'"])
def test_what_other_systems_need_is_no_problem(stated, requirement):
    stated.append(requirement)
    assert examine().problems == []


RUNTIMES = ["onnxruntime>=1.23; extra == 'cpu'", "onnxruntime-gpu>=1.23; extra == 'gpu'"]


@pytest.mark.parametrize("name", ["onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino"])
def test_any_runtime_will_do_and_none_that_would_hide_it_is_advised(stated, monkeypatch, name):
    stated += RUNTIMES
    monkeypatch.setattr(module, "runtimes", lambda: {name: "1.24.1"})
    report = examine()
    assert report.problems == []
    assert [(one.name, one.least, one.ok) for one in report.packages][-1] == (name, "1.23", True)
    assert not any("onnxruntime" in lacking for lacks in report.extras.values() for lacking in lacks)


def test_a_runtime_that_is_too_old_is_replaced_by_itself(stated, monkeypatch):
    stated += RUNTIMES
    monkeypatch.setattr(module, "runtimes", lambda: {"onnxruntime-gpu": "1.17"})
    assert examine().problems == [
        "onnxruntime-gpu is 1.17, which is too old; run: pip install 'onnxruntime-gpu>=1.23'."
    ]


def test_two_runtimes_hide_each_other(stated, monkeypatch):
    stated += RUNTIMES
    monkeypatch.setattr(module, "runtimes", lambda: {"onnxruntime": "1.24.1", "onnxruntime-gpu": "1.24.1"})
    (problem,) = examine().problems
    assert "pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu" in problem


def test_sources_without_an_installation_are_only_a_hint(monkeypatch):
    def absent(name):
        raise module.PackageNotFoundError(name)

    monkeypatch.setattr(module, "metadata", absent)
    report = examine()
    assert report.problems == []
    assert "pip install ." in report.hints[0]


def test_an_onnxruntime_that_does_not_run_is_a_problem(stated, monkeypatch):
    import onnxruntime

    def broken(*arguments, **options):
        raise RuntimeError("no such instruction\nmore")

    monkeypatch.setattr(onnxruntime, "InferenceSession", broken)
    report = examine()
    assert not report.runs
    assert "no such instruction" in report.problems[0]
    assert "reinstall" in report.problems[0]
    monkeypatch.setattr(onnxruntime, "get_available_providers", broken)
    monkeypatch.setattr(module, "runtimes", lambda: {"onnxruntime-openvino": "1.24.1"})
    (problem,) = examine().problems
    assert "pip install -U onnxruntime-openvino" in problem


def test_without_an_onnxruntime_nothing_else_is_said_of_it(stated, monkeypatch):
    monkeypatch.setattr("onnxshallow.model.providers.available_providers", lambda: __import__("gone"))
    monkeypatch.setattr(module, "runtime_problem", lambda: "onnxruntime is not installed")
    report = examine()
    assert report.problems == ["onnxruntime is not installed"]
    assert not report.runs


def test_a_cache_that_cannot_be_written_is_a_hint(stated, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("ONNXSHALLOW_CACHE", str(tmp_path / "file" / "cache"))
    report = examine()
    assert not report.cache.writable
    assert report.problems == []
    assert "ONNXSHALLOW_CACHE" in report.hints[0]


def test_little_memory_is_a_hint(stated, monkeypatch):
    monkeypatch.setattr(module, "_free_memory", lambda: 100 << 20)
    assert any("100 MiB" in hint and "--memory" in hint for hint in examine().hints)


def test_free_memory_is_told():
    assert 0 < module._free_memory() < 1 << 50


def test_without_psutil_memory_is_not_known(stated, monkeypatch):
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert examine().memory_bytes is None


def test_what_is_wrong_is_told_where_the_heavy_packages_are_missing():
    code = """
import sys
sys.modules.update(dict.fromkeys(["numpy", "onnx", "onnxruntime", "scipy"]))  # importing one of them fails
from onnxshallow.report.terminal.doctor import print_doctor
from onnxshallow.workflows.doctor import examine
print_doctor(examine())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Problem: Files of onnxruntime are missing" in done.stdout
