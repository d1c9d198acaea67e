import pytest

from onnxshallow.model.files import file_digest
from tests.networks import build
from tests.runs import NET, NET_WEIGHTS, assert_error, read_json, run, save_case, strict_json


def timed(*arguments):
    outcome = run("bench", *arguments, "--json", "-", "--threads", "1")
    assert outcome.exit_code == 0
    return strict_json(outcome.stdout)


def test_a_model_against_itself_is_as_fast(digits):
    report = timed(digits.model, digits.model, "--runs", "60")
    assert 0.3 < report["speedup"] < 3
    low, high = report["speedup_interval"]
    assert low <= report["speedup"] <= high
    assert report["original_ms"] > 0
    assert (report["batch_size"], report["runs"], report["threads"]) == (1, 60, 1)
    assert (
        report["original"] == report["optimized"] == {"path": str(digits.model), "sha256": file_digest(digits.model)}
    )
    assert "onnxruntime" in report["versions"]


def test_people_see_medians_and_the_ratio(digits):
    outcome = run("bench", digits.model, digits.output, "--runs", "5", "--batch-size", "8")
    assert outcome.exit_code == 0
    assert outcome.stderr == ""
    assert "median ms" in outcome.stdout
    assert "times as fast" in outcome.stdout
    assert "batch 8, 5 runs each" in outcome.stdout


def test_the_models_own_batch_size_wins(tmp_path):
    model, _ = save_case(tmp_path, build(NET.replace("[N,", "[2,"), **NET_WEIGHTS))
    assert timed(model, model, "--runs", "2", "--batch-size", "8")["batch_size"] == 2


def test_open_axes_want_a_shape(tmp_path):
    model, _ = save_case(tmp_path, build(NET.replace("[N,3,6,6]", "[N,3,H,W]"), **NET_WEIGHTS))
    assert_error(run("bench", model, model), 3, "--input-shape")
    assert timed(model, model, "--runs", "2", "--input-shape", "x:1,3,9,7")["runs"] == 2


def test_json_goes_to_a_file(tmp_path):
    model, _ = save_case(tmp_path)
    assert run("bench", model, model, "--runs", "2", "--json", tmp_path / "a.json").exit_code == 0
    assert read_json(tmp_path / "a.json")["runs"] == 2


@pytest.mark.parametrize("arguments", [("--runs", "0"), ("--batch-size", "0"), ("--threads", "0"), ("--quick",)])
def test_wrong_options_exit_with_2(tmp_path, arguments):
    model, _ = save_case(tmp_path)
    assert run("bench", model, model, *arguments).exit_code == 2


def test_what_cannot_be_compared_exits_with_3(tmp_path):
    model, _ = save_case(tmp_path)
    assert_error(run("bench", model, tmp_path / "none.onnx"), 3, "none.onnx")
    other = tmp_path / "other.onnx"
    other.write_bytes(build(NET.replace("float[N,3,6,6] x", "float[N,3,6,6] z").replace("(x,", "(z,"), **NET_WEIGHTS)
                      .SerializeToString())  # fmt: skip
    assert_error(run("bench", model, other), 3, "inputs")
    assert_error(run("bench", model, model, "--json", model), 2, "never overwritten")
