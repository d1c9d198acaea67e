import platform
from importlib.metadata import PackageNotFoundError

import onnxruntime

import onnxshallow.versions as module
from onnxshallow import __version__
from onnxshallow.versions import versions


def test_the_versions_of_what_computes():
    found = versions()
    assert list(found) == ["python", "onnxshallow", "onnx", "onnxruntime", "onnx-graphsurgeon", "numpy", "scipy"]
    assert found["python"] == platform.python_version()
    assert found["onnxshallow"] == __version__
    assert found["onnxruntime"] == onnxruntime.__version__


def test_a_package_that_is_not_installed_is_unknown(monkeypatch):
    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(module, "version", missing)
    assert set(versions().values()) == {platform.python_version(), "unknown"}
