"""The recipe of the digits, trained for one epoch; and the committed network, as it is."""

import dataclasses
import re
import tomllib
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import onnxruntime
import pytest

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "models"


@pytest.fixture(scope="module")
def zoo(zoo: ModuleType) -> ModuleType:
    pytest.importorskip("sklearn", reason="the digits come with scikit-learn (the zoo extra)")
    return zoo


def _train_briefly(zoo: ModuleType, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """One epoch on 200 digits, exported to `path`; an input batch and torch's output for it."""
    import torch

    recipe = zoo.RECIPES["digits"]
    images = recipe.load_images()
    images = dataclasses.replace(images, train_x=images.train_x[:200], train_y=images.train_y[:200])
    network = zoo.train(recipe, images, epochs=1)
    zoo.export(network, images.preprocess(images.train_x[:2]), path)
    inputs = images.preprocess(images.validation_x[:32])
    with torch.no_grad():
        return inputs.numpy(), network(inputs).numpy()


def test_exported_network_computes_what_torch_does(zoo: ModuleType, tmp_path: Path) -> None:
    inputs, expected = _train_briefly(zoo, tmp_path / "digits.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "digits.onnx", providers=["CPUExecutionProvider"])
    (actual,) = session.run(["logits"], {"image": inputs})
    np.testing.assert_allclose(actual, expected, atol=1e-4)


def test_exported_network_keeps_batch_normalization_and_a_symbolic_batch(zoo: ModuleType, tmp_path: Path) -> None:
    _train_briefly(zoo, tmp_path / "digits.onnx")
    model = onnx.load(tmp_path / "digits.onnx")
    normalizations = [node for node in model.graph.node if node.op_type == "BatchNormalization"]
    assert len(normalizations) == 14
    assert all(onnx.helper.get_node_attr_value(node, "training_mode") == 0 for node in normalizations)
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert (model.ir_version, model.opset_import[0].version) == (8, 17)


def test_training_twice_writes_the_same_bytes(zoo: ModuleType, tmp_path: Path) -> None:
    _train_briefly(zoo, tmp_path / "first.onnx")
    _train_briefly(zoo, tmp_path / "second.onnx")
    assert (tmp_path / "first.onnx").read_bytes() == (tmp_path / "second.onnx").read_bytes()


def test_training_leaves_torch_as_it_was(zoo: ModuleType, tmp_path: Path) -> None:
    import torch

    before = (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.initial_seed())
    _train_briefly(zoo, tmp_path / "digits.onnx")
    after = (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.initial_seed())
    assert after == before


def test_shifted_image_is_one_of_nine_and_filled_with_black(training: ModuleType) -> None:
    import torch

    image = torch.arange(1.0, 10.0).reshape(1, 1, 3, 3)
    black = torch.full((1, 1, 1, 1), -5.0)
    padded = torch.full((5, 5), -5.0)
    padded[1:4, 1:4] = image
    allowed = {
        tuple(padded[row : row + 3, column : column + 3].flatten().tolist())
        for row in range(3)
        for column in range(3)
    }
    moved = training._shifted(image.repeat(200, 1, 1, 1), black, 1)
    assert {tuple(one.flatten().tolist()) for one in moved} == allowed


def test_committed_data_and_settings_are_what_the_recipe_writes(zoo: ModuleType, tmp_path: Path) -> None:
    recipe = zoo.RECIPES["digits"]
    zoo.write_data(recipe.model_file, recipe.data_prefix, recipe.load_images(), tmp_path)
    assert (tmp_path / "onnxshallow.toml").read_text() == (MODELS / "onnxshallow.toml").read_text()
    for name in ("digits-calibration.npz", "digits-validation.npz"):
        written, committed = np.load(tmp_path / name), np.load(MODELS / name)
        assert written.files == committed.files
        for key in written.files:
            np.testing.assert_array_equal(written[key], committed[key])


def test_committed_network_passes_the_checker() -> None:
    model = onnx.load(MODELS / "digits-resnet.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert all(node.name for node in model.graph.node)


def test_committed_network_reaches_the_accuracy_of_its_readme() -> None:
    stated = re.search(r"validation accuracy \| ([\d.]+) %", (MODELS / "README.md").read_text())
    assert stated is not None
    settings = tomllib.loads((MODELS / "onnxshallow.toml").read_text())
    data = np.load(MODELS / settings["validate"])
    scaled = data["x"].astype(np.float32) / settings["scale"]
    normalized = (scaled - np.float32(settings["mean"])) / np.float32(settings["std"])
    session = onnxruntime.InferenceSession(MODELS / "digits-resnet.onnx", providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"image": normalized.transpose(0, 3, 1, 2).astype(np.float32)})
    accuracy = float(np.mean(logits.argmax(axis=1) == data["y"]))
    assert 100 * accuracy == pytest.approx(float(stated[1]), abs=0.01)


def test_no_calibration_image_is_a_validation_image() -> None:
    calibration = np.load(MODELS / "digits-calibration.npz")
    validation = np.load(MODELS / "digits-validation.npz")
    assert calibration.files == ["x"]  # unlabelled
    seen = {image.tobytes() for image in calibration["x"]}
    assert not any(image.tobytes() in seen for image in validation["x"])
