"""The pass for Olive, against the part of Olive's interface that it uses, which stands in for Olive here."""

import importlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import onnx
import pytest

from onnxshallow import analyze
from onnxshallow.options.schema import OPTIONS
from tests.networks import build, smooth
from tests.runs import NET, NET_WEIGHTS

TOOLS = Path(__file__).resolve().parents[2] / "tools"


@dataclass
class Param:
    type_: object
    default_value: object
    description: str


class Handler:
    def __init__(self, model_path):
        self.model_path = model_path


@pytest.fixture
def olive_pass(monkeypatch):
    """The module, with modules of the names that it imports in the place of Olive's."""
    modules = {
        "olive": ModuleType("olive"),
        "olive.hardware": SimpleNamespace(AcceleratorSpec=object),
        "olive.model": SimpleNamespace(ONNXModelHandler=Handler),
        "olive.passes": SimpleNamespace(Pass=object),
        "olive.passes.pass_config": SimpleNamespace(BasePassConfig=object, PassConfigParam=Param),
    }
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "olive_pass", raising=False)
    monkeypatch.syspath_prepend(TOOLS)
    yield importlib.import_module("olive_pass")
    sys.modules.pop("olive_pass", None)


def configured(module, **options):
    """What Olive makes of the pass's options in a workflow."""
    known = module.OnnxShallow._default_config(None)
    assert not options.keys() - known.keys()
    return SimpleNamespace(**{name: options.get(name, param.default_value) for name, param in known.items()})


@pytest.fixture
def model(tmp_path):
    """A small network in a folder with calibration samples."""
    path = tmp_path / "net.onnx"
    onnx.save(build(NET, **NET_WEIGHTS), path)
    np.savez(tmp_path / "calibration.npz", x=smooth(64, 3, 6))
    return path


def run_pass(module, model, output, **options):
    config = configured(module, calib=str(model.parent / "calibration.npz"), **options)
    return module.OnnxShallow()._run_for_config(Handler(str(model)), config, str(output))


def test_the_pass_writes_a_shallower_model_and_its_report(olive_pass, model, tmp_path):
    handler = run_pass(olive_pass, model, tmp_path / "out", target_relus=0.7)
    assert handler.model_path == str(tmp_path / "out" / "model.onnx")
    before, after = (analyze(onnx.load(path)).cost.relus for path in (model, handler.model_path))
    assert 0 < after <= 0.7 * before
    report = json.loads((tmp_path / "out" / "model.json").read_text(encoding="utf-8"))
    assert report["optimized"]["relus"] == after


def test_options_are_described_as_everywhere(olive_pass):
    texts = {option.name: option.flag.text for option in OPTIONS}
    params = olive_pass.OnnxShallow._default_config(None)
    described = {name: param.description for name, param in params.items() if name != "config_file"}
    assert described == {name: texts[name] for name in described}
    assert len(described) == 8


def test_a_named_file_is_written_under_its_name(olive_pass, model, tmp_path):
    handler = run_pass(olive_pass, model, tmp_path / "other.onnx", target_relus=0.7)
    assert handler.model_path == str(tmp_path / "other.onnx")
    assert Path(handler.model_path).is_file()


def test_options_may_come_from_a_file(olive_pass, model, tmp_path):
    settings = tmp_path / "settings.toml"
    settings.write_text("target-relus = 0.7\n", encoding="utf-8")
    handler = run_pass(olive_pass, model, tmp_path / "out.onnx", config_file=str(settings))
    assert Path(handler.model_path).is_file()


def test_what_cannot_be_reached_ends_the_pass_and_leaves_no_model(olive_pass, model, tmp_path):
    with pytest.raises(olive_pass.NotShallowError, match="cannot be reached"):
        run_pass(olive_pass, model, tmp_path / "out.onnx", target_relus=1e-6)
    assert not (tmp_path / "out.onnx").exists()


def test_olive_is_told_by_an_error_that_ends_a_workflow(olive_pass, model, tmp_path):
    """Olive goes on after most errors of a pass, but not after a `ValueError`."""
    config = configured(olive_pass, calib="gone.npz", target_relus=0.7)
    with pytest.raises(ValueError, match=r"gone.npz"):
        olive_pass.OnnxShallow()._run_for_config(Handler(str(model)), config, str(tmp_path / "out"))
    assert not (tmp_path / "out" / "model.onnx").exists()
