import sys
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

from onnxshallow.runtime import footprint
from onnxshallow.runtime.footprint import FootprintError, peak_memory
from tests.networks import build
from tests.runs import net

BIG = "(float[N,1024] x) => (float[N,4096] y) { h = MatMul(x, w) y = Relu(h) }"


def saved(folder, model, **options):
    path = folder / "net.onnx"
    onnx.save(model, path, **options)
    return path


def test_weights_and_activations_are_in_it(tmp_path):
    path = saved(tmp_path, build(BIG, w=(1024, 4096)))
    few, many = (peak_memory(path, {"x": np.zeros((n, 1024), np.float32)}, 1) for n in (1, 2000))
    assert few >= 16 << 20
    assert many - few >= 24 << 20


def test_a_small_model_takes_little_whatever_this_process_holds(tmp_path):
    held = np.ones(40 << 20)
    assert peak_memory(saved(tmp_path, net()), {"x": np.zeros((1, 3, 6, 6), np.float32)}, 1) < 40 << 20
    assert held.sum() == 40 << 20


def test_data_files_are_found_from_any_folder(tmp_path, monkeypatch):
    path = saved(tmp_path, build(BIG, w=(1024, 4096)), save_as_external_data=True, location="net.data")
    monkeypatch.chdir(tmp_path)
    assert peak_memory(path.relative_to(tmp_path), {"x": np.zeros((1, 1024), np.float32)}, 1) >= 4 << 20


def test_modules_beside_the_model_are_not_run(tmp_path, monkeypatch):
    """A stranger's folder may hold a numpy.py."""
    (tmp_path / "numpy.py").write_text("raise SystemExit('gotcha')")
    monkeypatch.chdir(tmp_path)
    assert peak_memory(saved(tmp_path, net()), {"x": np.zeros((1, 3, 6, 6), np.float32)}, 1) > 0


def test_a_process_that_fails_is_told_in_a_line(tmp_path):
    with pytest.raises(FootprintError, match=r"measure it failed: .*NoSuchFile") as caught:
        peak_memory(tmp_path / "none.onnx", {}, 1)
    assert "\n" not in str(caught.value)
    assert not str(caught.value).endswith(".")


def test_a_process_that_cannot_be_started_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing"))
    with pytest.raises(FootprintError, match="no process can be started"):
        peak_memory(saved(tmp_path, net()), {}, 1)


def test_a_process_that_is_killed_is_told(tmp_path, monkeypatch):
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\nkill -9 $$\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    with pytest.raises(FootprintError, match="failed: it ended with -9"):
        peak_memory(saved(tmp_path, net()), {}, 1)


class Process:
    """What psutil says of this process on another system."""

    def __init__(self, **said):
        self.said = SimpleNamespace(**said)

    def memory_info(self):
        return self.said


@pytest.fixture
def without_proc(monkeypatch):
    """A system without the files of Linux."""
    real = open

    def elsewhere(path, *arguments, **options):
        if str(path).startswith("/proc"):
            raise FileNotFoundError(path)
        return real(path, *arguments, **options)

    monkeypatch.setattr("builtins.open", elsewhere)


def test_windows_tells_what_a_process_holds_and_held(monkeypatch, without_proc):
    monkeypatch.setattr("psutil.Process", lambda: Process(rss=7, peak_wset=9))
    assert (footprint._forget_peak(), footprint._status("VmHWM")) == (7, 9)


def test_macos_tells_what_a_process_holds_and_held(monkeypatch, without_proc):
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr("psutil.Process", lambda: Process(rss=7))
    monkeypatch.setattr(resource, "getrusage", lambda who: SimpleNamespace(ru_maxrss=9))
    assert (footprint._forget_peak(), footprint._status("VmHWM")) == (7, 9)


def test_a_system_that_does_not_tell_is_told(monkeypatch, without_proc):
    monkeypatch.setattr(sys, "platform", "some other")
    monkeypatch.setattr("psutil.Process", lambda: Process(rss=7))
    with pytest.raises(SystemExit, match="does not say"):
        footprint._status("VmHWM")
