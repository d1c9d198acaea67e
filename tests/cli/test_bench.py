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
    assert "Estimate" not in outcome.stdout


def test_several_models_batches_and_threads(tmp_path):
    model, _ = save_case(tmp_path)
    arguments = ("--runs", "2", "--batch-size", "1,4", "--batch-size", "2", "--threads", "2,1", "--no-memory")
    outcome = run("bench", model, model, model, *arguments, "--json", "-")
    report = strict_json(outcome.stdout)
    assert [(s["batch_size"], s["threads"]) for s in report["settings"]] == [
        (1, 2), (1, 1), (4, 2), (4, 1), (2, 2), (2, 1)
    ]  # fmt: skip
    assert len(report["models"]) == 3
    assert len(report["measurements"]) == 18
    assert (report["batch_size"], report["threads"]) == (1, 2)


def test_private_inference_is_always_called_an_estimate(tmp_path):
    model, _ = save_case(tmp_path)
    arguments = ("bench", model, model, "--runs", "1", "--no-memory", "--private-model", "semi2k,delphi")
    text = run(*arguments, "--rtt", "40ms", "--bandwidth", "100Mbps").stdout
    assert text.count("Estimate, not a measurement: private inference by") == 2
    assert "40 ms round trip, 100 Mbit/s" in text
    assert text.count("Not counted: ") == text.count("Sources: ") == 2
    report = strict_json(run(*arguments, "--json", "-").stdout)
    assert [(p["protocol"], p["model"]) for p in report["private"]] == [
        ("semi2k", 0), ("semi2k", 1), ("delphi", 0), ("delphi", 1)
    ]  # fmt: skip
    assert {p["kind"] for p in report["private"]} == {"estimate"}
    assert (report["private"][0]["rtt"], report["private"][0]["bandwidth"]) == (0.001, 1e9)
    assert all(p["sources"] and p["counted"] and p["not_counted"] for p in report["private"])


def test_the_seconds_of_a_setting_may_be_few(tmp_path):
    model, _ = save_case(tmp_path)
    report = timed(model, model, "--seconds", "0.05", "--no-memory")
    assert report["runs"] >= 15
    assert report["measurements"][0]["peak_memory_bytes"] is None


def test_a_summary_for_a_pull_request(tmp_path):
    model, _ = save_case(tmp_path)
    odd = model.rename(tmp_path / "a|b.onnx")
    more = ("--runs", "5", "--threads", "1", "--no-memory", "--private-model", "semi2k")
    outcome = run("bench", odd, odd, *more, "--markdown", "-")
    assert outcome.exit_code == 0
    said = outcome.stdout.splitlines()
    assert said[:3] == [
        "### onnxshallow: latency in onnxruntime, in turns",
        "",
        "| model | batch | threads | median ms | times as fast | 95 % interval | peak MB |",
    ]
    assert [line.split(" | ")[0] for line in said[4:6]] == [r"| `a\|b.onnx`"] * 2
    assert "| protocol, estimated | model | MB | seconds | times as fast |" in said


def test_names_cannot_act_on_the_terminal(tmp_path):
    model, _ = save_case(tmp_path)
    odd = model.rename(tmp_path / "a\x1b[31m[red].onnx")
    outcome = run("bench", odd, odd, "--runs", "1", "--no-memory", "--private-model", "aby3")
    assert outcome.exit_code == 0
    assert "\x1b" not in outcome.stdout
    assert "[red].onnx" in outcome.stdout


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


@pytest.mark.parametrize(
    "arguments",
    [("--runs", "0"), ("--batch-size", "0"), ("--threads", "0"), ("--quick",),
     ("--seconds", "0"), ("--seconds", "nan")],
)  # fmt: skip
def test_wrong_options_exit_with_2(tmp_path, arguments):
    model, _ = save_case(tmp_path)
    assert run("bench", model, model, *arguments).exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--private-model", "gazelle"), "choose from delphi, cryptflow2, cheetah, semi2k, aby3, or all"),
        (("--rtt", "10"), "10ms"),
        (("--protocol", "semi2k"), "--private-model"),
        (("--engine", "spu", "--protocol", "delphi"), "choose from semi2k, aby3, cheetah, or all"),
        (("--bandwidth", "fast"), "1Gbps"),
        (("--batch-size", "1,,2"), "such as 1 or 1,8,32"),
        (("--threads", "two"), "--threads 'two'"),
        (("--seconds", "-1"), "--seconds"),
    ],
)
def test_wrong_values_are_told_in_a_sentence(tmp_path, arguments, words):
    model, _ = save_case(tmp_path)
    assert_error(run("bench", model, model, *arguments), 2, words)


def test_no_model_is_overwritten(tmp_path):
    model, _ = save_case(tmp_path)
    third = tmp_path / "third.onnx"
    third.write_bytes(model.read_bytes())
    assert_error(run("bench", model, model, third, "--json", third), 2, "model 3", "never overwritten")


def test_models_that_do_not_fit_each_other_exit_with_3(tmp_path):
    model, _ = save_case(tmp_path)
    other = tmp_path / "other.onnx"
    other.write_bytes(build(NET.replace("[N,3,6,6]", "[N,3,8,8]"), **NET_WEIGHTS).SerializeToString())
    assert_error(run("bench", model, model, other), 3, "other.onnx", "N x 3 x 6 x 6", "N x 3 x 8 x 8")


def test_what_cannot_be_compared_exits_with_3(tmp_path):
    model, _ = save_case(tmp_path)
    assert_error(run("bench", model, tmp_path / "none.onnx"), 3, "none.onnx")
    other = tmp_path / "other.onnx"
    other.write_bytes(build(NET.replace("float[N,3,6,6] x", "float[N,3,6,6] z").replace("(x,", "(z,"), **NET_WEIGHTS)
                      .SerializeToString())  # fmt: skip
    assert_error(run("bench", model, other), 3, "inputs")
    assert_error(run("bench", model, model, "--json", model), 2, "never overwritten")
