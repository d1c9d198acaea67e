"""The export of torchvision's networks, with a small stand-in for torchvision, which the tests do not require."""

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest

from onnxshallow.options.config import resolve

torch = pytest.importorskip("torch", reason="the export needs torch (the zoo extra)")
TOOLS = Path(__file__).resolve().parents[2] / "tools"


def small_network():
    nn = torch.nn
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 5),
    )


class Models:
    """`torchvision.models` as far as the tool uses it."""

    transforms = SimpleNamespace(crop_size=[16], resize_size=[20], mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.25))

    def __init__(self):
        self.asked = []

    def get_model_weights(self, name):
        return SimpleNamespace(DEFAULT=SimpleNamespace(transforms=lambda: self.transforms))

    def get_model(self, name, weights):
        self.asked.append((name, weights))
        if weights == "DEFAULT":
            raise OSError("no route to host")
        return small_network()


@pytest.fixture
def models(monkeypatch):
    models = Models()
    monkeypatch.setitem(sys.modules, "torchvision", SimpleNamespace(models=models))
    return models


@pytest.fixture
def tool(monkeypatch, models):
    monkeypatch.syspath_prepend(TOOLS)
    yield importlib.import_module("export_torchvision")
    sys.modules.pop("export_torchvision", None)


def saved(tmp_path):
    network = small_network().eval()
    torch.save(network.state_dict(), tmp_path / "trained.pt")
    return network, tmp_path / "trained.pt"


def test_the_model_computes_what_torch_does_and_keeps_batch_normalization(tool, tmp_path):
    network, weights = saved(tmp_path)
    assert tool.main(["resnet18", str(tmp_path / "out"), "--weights", str(weights)]) == 0
    path = tmp_path / "out" / "resnet18.onnx"
    images = np.random.default_rng(0).standard_normal((3, 3, 16, 16)).astype(np.float32)
    (actual,) = onnxruntime.InferenceSession(path).run(["logits"], {"image": images})
    with torch.no_grad():
        np.testing.assert_allclose(actual, network(torch.from_numpy(images)).numpy(), atol=1e-5)
    model = onnx.load(path)
    assert "BatchNormalization" in {node.op_type for node in model.graph.node}
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"


def test_the_preprocessing_is_read_from_the_file_beside_it(tool, tmp_path):
    assert tool.main(["resnet18", str(tmp_path), "--weights", "none"]) == 0
    config = resolve({}, tmp_path / "resnet18.onnx")
    assert (config.resize, config.crop) == (20, 16)
    assert config.mean == (0.5, 0.4, 0.3)
    assert config.std == (0.2, 0.2, 0.25)


def test_opset_and_batch_are_as_asked_for(tool, tmp_path):
    assert tool.main(["resnet18", str(tmp_path), "--weights", "none", "--opset", "13", "--batch", "2"]) == 0
    model = onnx.load(tmp_path / "resnet18.onnx")
    assert model.opset_import[0].version == 13
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 2


def test_no_weights_are_downloaded_unless_they_are_asked_for(tool, models, tmp_path):
    tool.main(["vgg16_bn", str(tmp_path), "--weights", "none"])
    assert models.asked == [("vgg16_bn", None)]


def test_without_internet_one_sentence_says_what_to_do(tool, models, tmp_path, capsys):
    assert tool.main(["resnet50", str(tmp_path)]) == 3
    assert models.asked == [("resnet50", "DEFAULT")]
    told = capsys.readouterr().err
    assert "cannot be downloaded: no route to host" in told
    assert "--weights" in told
    assert list(tmp_path.iterdir()) == []


def test_weights_of_another_network_are_refused(tool, tmp_path, capsys):
    torch.save({"other": torch.zeros(1)}, tmp_path / "other.pt")
    assert tool.main(["resnet18", str(tmp_path / "out"), "--weights", str(tmp_path / "other.pt")]) == 3
    assert "does not hold the weights of resnet18" in capsys.readouterr().err


class Harmful:
    def __reduce__(self):
        return (exec, ("raise SystemExit('it ran')",))


def test_code_in_a_file_of_weights_does_not_run(tool, tmp_path, capsys):
    torch.save({"weight": Harmful()}, tmp_path / "harmful.pt")
    assert tool.main(["resnet18", str(tmp_path / "out"), "--weights", str(tmp_path / "harmful.pt")]) == 3
    told = capsys.readouterr().err
    assert "cannot be read as weights" in told
    assert "it ran" not in told


def test_settings_of_another_network_are_not_written_over(tool, tmp_path, capsys):
    (tmp_path / "onnxshallow.toml").write_text("crop = 8\n", encoding="utf-8")
    assert tool.main(["resnet18", str(tmp_path), "--weights", "none"]) == 3
    assert "choose another folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["onnxshallow.toml"]


def test_an_opset_that_torch_does_not_know_leaves_no_file(tool, tmp_path, capsys):
    assert tool.main(["resnet18", str(tmp_path), "--weights", "none", "--opset", "99"]) == 3
    assert "opset 99" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_without_torchvision_the_package_is_named(tool, monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    assert tool.main(["resnet18", str(tmp_path)]) == 3
    assert "torchvision is not installed" in capsys.readouterr().err
