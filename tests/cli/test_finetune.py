import json

import onnx
import pytest

from onnxshallow.model.document import load_document
from onnxshallow.training import library
from tests.networks import smooth
from tests.runs import ANY_LOSS, assert_error, files, net, read_json, run, save_case, strict_json
from tests.training.cases import damaged

QUICK = ("--augment", "none", "--threads", 1, "--output-kind", "y=classes", *ANY_LOSS)


@pytest.fixture
def pair(tmp_path):
    """The paths of a network, of one that is to learn from it, and of data."""
    model, data = save_case(tmp_path, x=smooth(160, 3, 6))
    onnx.save(damaged(net()), tmp_path / "net.shallow.onnx")
    return model, tmp_path / "net.shallow.onnx", data


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="torch is not installed; `pip install '.[finetune]'` brings it")


def test_a_run(pair, tmp_path, torch):
    original, optimized, data = pair
    before = optimized.read_bytes()
    outcome = run("finetune", original, optimized, "--calib", data, "--steps", 40, *QUICK)
    assert outcome.exit_code == 0, outcome.stderr
    assert "Step 20 of 40: loss" in outcome.stderr
    assert "held out" in outcome.stderr
    assert "Note: trained for 40 of 40 steps" in outcome.stdout
    assert outcome.stdout.splitlines()[-1].startswith("Goal met")
    made = {"net.shallow.finetuned.onnx", "net.shallow.finetuned.json"}
    assert files(tmp_path) == {"net.onnx", "net.shallow.onnx", "data.npz", *made}
    assert optimized.read_bytes() == before
    load_document(tmp_path / "net.shallow.finetuned.onnx")
    report = read_json(tmp_path / "net.shallow.finetuned.json")
    assert report["training"]["kept"] == 40
    assert report["training"]["start"]["path"] == str(optimized)
    assert report["output"]["path"].endswith("net.shallow.finetuned.onnx")


def test_epochs_json_and_an_output_of_ones_own(pair, tmp_path, torch):
    original, optimized, data = pair
    target = tmp_path / "made.onnx"
    arguments = ("--calib", data, "--epochs", 0.5, "-o", target, "--json", "-", *QUICK)
    outcome = run("finetune", original, optimized, *arguments)
    assert outcome.exit_code == 0, outcome.stderr
    assert strict_json(outcome.stdout)["training"]["asked"] == "0.5epochs"
    assert target.is_file()


def test_a_refused_model_is_not_written(pair, tmp_path, torch):
    original, optimized, data = pair
    arguments = ("--calib", data, "--steps", 1, "--augment", "none", "--threads", 1, "--max-error", "1e-9")
    outcome = run("finetune", original, optimized, *arguments)
    assert outcome.exit_code == 4
    assert not (tmp_path / "net.shallow.finetuned.onnx").exists()
    assert json.loads((tmp_path / "net.shallow.finetuned.json").read_text())["verdict"]["exit_code"] == 4


def test_resume_goes_on_with_the_same_run_only(pair, tmp_path, torch):
    original, optimized, data = pair
    (tmp_path / "net.shallow.finetuned.checkpoint").write_bytes(b"something else")
    outcome = run("finetune", original, optimized, "--calib", data, "--steps", 5, "--resume", *QUICK)
    assert_error(outcome, 2, "is no checkpoint", "leave out --resume")


def test_usage(pair, torch):
    original, optimized, data = pair
    outcome = run("finetune", original, optimized, "--calib", data, "--steps", 5, "--budget", "1m")
    assert_error(outcome, 2, "--budget and --steps say the same in different ways")
    assert_error(run("finetune", original, optimized, "--calib", data), 2, "Say how long to train")
    assert_error(run("finetune", original, optimized, "--steps", 5), 2, "give --calib")
    outcome = run("finetune", original, optimized, "--calib", data, "--budget", "soon")
    assert_error(outcome, 2, '--budget cannot be "soon": it must be a time such as')
    outcome = run("finetune", original, optimized, "--calib", data, "--epochs", 0)
    assert_error(outcome, 2, "--epochs cannot be 0: it must be above zero")
    outcome = run("finetune", original, optimized, "--calib", data, "--steps", 5, "-o", optimized)
    assert_error(outcome, 2, "is the optimized model, which is never overwritten")


def test_without_torch_one_sentence_says_so(pair, monkeypatch):
    original, optimized, data = pair
    monkeypatch.setattr(library.importlib.util, "find_spec", lambda name: None)
    outcome = run("finetune", original, optimized, "--calib", data, "--steps", 5)
    assert_error(outcome, 2, "torch", "pip install 'onnxshallow[finetune]'")
    outcome = run("optimize", original, "--calib", data, "--target-relus", 0.7, "--finetune", "5steps")
    assert_error(outcome, 2, "torch", "pip install 'onnxshallow[finetune]'")
