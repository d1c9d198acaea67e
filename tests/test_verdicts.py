"""What may be shipped: for each way in which a word could not be relied on, a small network and the verdict on it.

`optimize` and `validate` are asked in turn, and have to agree.
"""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from PIL import Image

from onnxshallow.errors import UsageError
from onnxshallow.options.config import resolve
from onnxshallow.validation.growth import BOUND
from tests.graphs import run_plain
from tests.networks import build, smooth
from tests.partials import steep
from tests.runs import ANY_LOSS, NET, NET_WEIGHTS, assert_error, net, read_json, run, strict_json

QUICK = ("--sensitivity", "magnitude", "--no-cache")
CALIBRATION, VALIDATION = smooth(100, 3, 6, seed=1), smooth(200, 3, 6, seed=2)
LINEAR = "(float[N,3,6,6] x) => (float[N,3,6,6] y) { r = Relu(x) y = Mul(r, w) }"


@pytest.fixture
def model(tmp_path):
    """The path of a small classifier."""
    path = tmp_path / "net.onnx"
    onnx.save(classifier(), path)
    return path


def classifier() -> onnx.ModelProto:
    """A small network that says each of its classes about as often."""
    model = net()
    logits = run_plain(model, {"x": VALIDATION})[0]
    bias = next(tensor for tensor in model.graph.initializer if tensor.name == "b3")
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) - logits.mean(axis=0), "b3"))
    return model


def saved(folder, name, x, labels=None):
    path = folder / f"{name}.npz"
    np.savez(path, x=x, **({} if labels is None else {"labels": labels}))
    return path


def truth():
    return run_plain(classifier(), {"x": VALIDATION})[0].argmax(axis=1)


def optimized(model, calibration, validation, *arguments):
    """The verdict of `optimize`, whose model is kept whatever it is."""
    kept = () if "--force" in arguments else ("--keep-rejected",)
    data = ("--calib", calibration, "--validate", validation)
    outcome = run("optimize", model, "--target-relus", "0.7", *data, *QUICK, *kept, *arguments)
    verdict = read_json(model.with_name("net.shallow.json"))["verdict"]
    assert outcome.exit_code == verdict["exit_code"]
    assert outcome.stdout.splitlines()[-1] == verdict["line"]
    return verdict


def validated(model, validation, *arguments):
    """The verdict of `validate` on what `optimize` has left."""
    outcome = run(
        "validate", model, model.with_name("net.shallow.onnx"), "--data", validation, "--json", "-", *arguments
    )
    verdict = strict_json(outcome.stdout)["verdict"]
    assert outcome.exit_code == verdict["exit_code"]
    return verdict


def agreed(model, calibration, validation, *arguments):
    """The verdict of both, of which `optimize` also knows of targets and speed."""
    verdict, other = optimized(model, calibration, validation, *arguments), validated(model, validation, *arguments)
    assert (verdict["status"], verdict["exit_code"]) == (other["status"], other["exit_code"])
    return verdict


def test_what_keeps_its_gate_is_met_by_both(tmp_path, model):
    data = saved(tmp_path, "c", CALIBRATION), saved(tmp_path, "v", VALIDATION, truth())
    verdict = agreed(model, *data, "--max-drop", "0.9")
    assert verdict["line"].startswith("Goal met: ")
    assert " % of the ReLUs, " in verdict["line"]
    assert " points of accuracy lost, of at most 90, " in verdict["line"]


def test_what_loses_more_than_the_default_is_refused_by_both(tmp_path, model):
    data = saved(tmp_path, "c", CALIBRATION), saved(tmp_path, "v", VALIDATION, truth())
    verdict = agreed(model, *data)
    assert (verdict["status"], verdict["exit_code"]) == ("accuracy", 4)
    assert f"points of accuracy are lost on {data[1]}, more than --max-drop 0.05, the default," in verdict["line"]


@pytest.mark.parametrize("network", ["a regression", "boxes"])
def test_other_outputs_are_judged_by_their_error(tmp_path, network):
    """Where no gate is given, a network without classes may be off by a tenth."""
    text, weights = NET.replace("[N,6] y", "[N,1] y"), {**NET_WEIGHTS, "w3": (1, 4), "b3": (1,)}
    if network == "boxes":
        text = NET.replace("[N,6] y", "[N,4,6,6] r2")
        text = "\n".join(line for line in text.splitlines() if line.split()[0] not in "pfy")
        weights = {name: shape for name, shape in NET_WEIGHTS.items() if "3" not in name}
    path = tmp_path / "net.onnx"
    onnx.save(build(text, **weights), path)
    verdict = agreed(path, saved(tmp_path, "c", CALIBRATION), saved(tmp_path, "v", VALIDATION))
    assert (verdict["status"], verdict["exit_code"]) == ("accuracy", 4)
    assert "The relative error of '" in verdict["line"]
    assert "more than --max-error 0.1, the default, allows" in verdict["line"]


def test_shifted_labels_prove_nothing(tmp_path, model):
    """The original is never right, so that nothing can be lost."""
    shifted = saved(tmp_path, "v", VALIDATION, (truth() + 1) % 6)
    verdict = agreed(model, saved(tmp_path, "c", CALIBRATION), shifted, "--max-drop", "0.01")
    assert (verdict["status"], verdict["exit_code"]) == ("accuracy", 4)
    assert verdict["accuracy_lost"] <= 0
    assert "do not fit this network: the original is right on 0.00 % of 200 samples" in verdict["line"]
    assert "With 1 taken from each label it is right on 100.00 %." in verdict["line"]


def folder_of_images(root: Path, *classes: str) -> Path:
    """Images of noise, eight in each of some folders."""
    random = np.random.default_rng(0)
    for name in classes:
        (root / name).mkdir(parents=True)
        for number in range(8):
            pixels = random.integers(0, 256, (6, 6, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    return root


def test_other_folders_than_those_of_the_classes_are_told(tmp_path, model):
    root = folder_of_images(tmp_path / "root", "cats", "dogs")
    verdict = agreed(model, saved(tmp_path, "c", CALIBRATION), root, "--max-drop", "1", "--mean", "0.5,0.5,0.5")
    assert verdict["status"] == "met"
    assert "root has 2 class folders (cats, dogs), the network 6 classes." in verdict["line"]


def test_parts_of_a_data_set_are_no_classes(tmp_path, model):
    root = folder_of_images(tmp_path / "root", "train", "val")
    verdict = agreed(model, saved(tmp_path, "c", CALIBRATION), root, "--max-drop", "1", "--mean", "0.5,0.5,0.5")
    assert verdict["accuracy_lost"] is None
    assert "agreement with the original lost" in verdict["line"]


def test_validating_on_what_was_fitted_to_is_refused(tmp_path, model):
    same = saved(tmp_path, "a", CALIBRATION)
    verdict = optimized(model, same, same, *ANY_LOSS)
    assert verdict["exit_code"] == 4
    assert "a.npz that it was validated on are calibration samples, too" in verdict["line"]
    others = saved(tmp_path, "b", np.concatenate([CALIBRATION[:5], VALIDATION]))
    verdict = optimized(model, same, others, *ANY_LOSS)
    assert verdict["exit_code"] == 0
    assert "5 of 205 samples of" in verdict["line"]


def test_constant_samples_are_refused_by_both(tmp_path, model):
    zeros = saved(tmp_path, "v", np.zeros_like(VALIDATION))
    verdict = agreed(model, saved(tmp_path, "c", CALIBRATION), zeros, *ANY_LOSS)
    assert verdict["exit_code"] == 4
    assert "v.npz hold one value only, and prove nothing" in verdict["line"]


def test_an_infinite_error_is_no_success(tmp_path):
    first, second = tmp_path / "net.onnx", tmp_path / "net.shallow.onnx"
    onnx.save(build(LINEAR, w=np.zeros(1, np.float32)), first)
    onnx.save(build(LINEAR, w=np.ones(1, np.float32)), second)
    verdict = validated(first, saved(tmp_path, "v", VALIDATION), "--max-drop", "1")
    assert verdict["exit_code"] == 4
    assert "The relative error of output 'y' is infinite" in verdict["line"]


def test_few_samples_are_told_to_be_few(tmp_path, model):
    few = saved(tmp_path, "v", VALIDATION[:12])
    verdict = agreed(model, saved(tmp_path, "c", CALIBRATION), few, "--max-drop", "0.5")
    assert verdict["status"] == "met"
    assert "By 12 samples" in verdict["line"]
    assert "validate on more." in verdict["line"]


def test_samples_that_fill_no_batch_are_told_by_both(tmp_path, model):
    fixed = onnx.load(model)
    for value in (*fixed.graph.input, *fixed.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 16
    onnx.save(fixed, model)
    data = saved(tmp_path, "c", CALIBRATION), saved(tmp_path, "v", VALIDATION)
    verdict = agreed(model, *data, "--max-drop", "0.9")
    assert "8 of 200 samples of" in verdict["line"]
    assert validated(model, data[1], "--max-drop", "0.9")["line"].endswith("as the model runs on full batches only.")


@pytest.mark.parametrize("explodes", [False, True])
def test_squares_are_judged_by_how_far_activations_grow(tmp_path, model, explodes, monkeypatch):
    if explodes:
        steep(monkeypatch)
    data = saved(tmp_path, "c", CALIBRATION), saved(tmp_path, "v", VALIDATION)
    squares = ("--polynomials", "--target-relus", "0.0001", "--granularity", "layer", "--sensitivity", "kl")
    verdict = optimized(model, *data, *squares, *ANY_LOSS)
    other = validated(model, data[1], *ANY_LOSS)
    for each in (verdict, other):
        assert (each["status"], each["exit_code"]) == (("accuracy", 4) if explodes else ("met", 0))
        assert ("It is not stable: on " if explodes else ", activations up to ") in each["line"]
    stability = read_json(model.with_name("net.shallow.json"))["stability"]
    assert (max(growth["factor"] for growth in stability["growth"]) > BOUND) is explodes
    assert {"samples", "count", "factor", "site"} == set(stability["growth"][0])
    assert all(found["bits"] >= 1 for found in stability["ranges"])


@pytest.mark.parametrize("option", ["--calib", "--validate"])
def test_an_empty_path_is_not_the_current_folder(tmp_path, model, option, monkeypatch):
    monkeypatch.chdir(folder_of_images(tmp_path / "images", "."))
    assert_error(run("optimize", model, "--target-relus", "0.7", option, ""), 2, f"{option} cannot be", "empty")


def test_an_empty_path_is_refused_in_a_file_and_in_python_too(tmp_path, model):
    (tmp_path / "onnxshallow.toml").write_text('validate = " "\n', encoding="utf-8")
    with pytest.raises(UsageError, match=r"onnxshallow\.toml: validate cannot be .* this one is empty"):
        resolve({}, model)
    with pytest.raises(UsageError, match="calib cannot be"):
        resolve({"calib": ""}, None)


def test_force_writes_what_is_refused_and_says_so(tmp_path, model):
    data = saved(tmp_path, "c", CALIBRATION), saved(tmp_path, "v", VALIDATION, (truth() + 1) % 6)
    verdict = optimized(model, *data, "--force")
    assert (verdict["status"], verdict["exit_code"]) == ("forced", 0)
    assert any("The labels of" in text for text in verdict["overridden"])
    assert model.with_name("net.shallow.onnx").exists()
    assert verdict["line"].startswith("Forced, though refused: ")
