import json
import shutil

import numpy as np
import onnx
import pytest

from onnxshallow.model.files import file_digest
from onnxshallow.model.session import Session
from tests.cli.commands import quick
from tests.networks import build, smooth
from tests.runs import (
    ANY_LOSS,
    DIGITS,
    NET,
    NET_WEIGHTS,
    assert_error,
    assert_usable,
    files,
    net,
    read_json,
    run,
    run_process,
    save_case,
    strict_json,
)

REPORT_FIELDS = {
    "schema_version", "model", "output", "original", "optimized", "decisions", "fidelity", "verdict", "timings",
    "versions", "config", "seed",
}  # fmt: skip
COST_FIELDS = {"relus", "relu_nodes", "macs", "params", "conv_layers", "size_bytes", "accuracy", "latency_ms"}
ACCURACY_FIELDS = {"top1", "top5", "top1_interval", "samples"}


def labelled_accuracy(path, folder):
    """Top-1 of the digits network by onnxruntime alone, with the preprocessing written out."""
    with np.load(folder / "digits-validation.npz") as data:
        pixels, labels = data["x"], data["y"]
    images = ((pixels / 16 - 0.3053) / 0.376).transpose(0, 3, 1, 2).astype(np.float32)
    (logits,) = Session(onnx.load(path), threads=1, optimize=False).run({"image": images})
    return float(np.mean(logits.argmax(axis=1) == labels))


# The digits network: one run, looked at from all sides.


def test_the_goal_is_met(digits):
    assert digits.outcome.exit_code == 0
    assert digits.outcome.stderr == ""
    assert digits.report["verdict"]["reasons"] == []
    assert "as fast as the original in onnxruntime" in digits.report["verdict"]["line"]
    assert (digits.report["verdict"]["status"], digits.report["verdict"]["exit_code"]) == ("met", 0)
    assert digits.report["verdict"]["validated"]
    assert digits.report["optimized"]["relus"] <= 0.5 * digits.report["original"]["relus"]


def test_only_the_results_are_written(digits):
    assert files(digits.folder) == {*DIGITS, "digits-resnet.shallow.onnx", "digits-resnet.shallow.json", "plan.json"}


def test_model_and_data_stay_as_they_were(digits):
    assert {name: (digits.folder / name).read_bytes() for name in digits.before} == digits.before


def test_the_result_is_a_model_like_the_original(digits):
    feeds = {"image": np.random.default_rng(0).normal(size=(3, 1, 8, 8)).astype(np.float32)}
    optimized = onnx.load(digits.output)
    assert_usable(optimized, onnx.load(digits.model), feeds)
    assert optimized.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"


def test_the_report_has_the_fields_of_the_contract(digits):
    report = digits.report
    assert set(report) >= REPORT_FIELDS
    assert set(report["model"]) == set(report["output"]) == {"path", "sha256"}
    for part in ("original", "optimized"):
        assert set(report[part]) >= COST_FIELDS
        assert set(report[part]["accuracy"]) == ACCURACY_FIELDS
        assert report[part]["accuracy"]["samples"] == 597
        assert report[part]["latency_ms"] > 0
    assert {"status", "exit_code", "reasons"} <= set(report["verdict"])
    assert {"agreement", "kl", "relative_error", "samples"} <= set(report["fidelity"])
    assert set(report["speed"]) >= {"speedup", "speedup_interval", "batch_size", "threads", "runs"}
    assert report["speed"]["optimized_ms"] == report["optimized"]["latency_ms"]
    assert report["seed"] == 0
    assert report["config"]["target-relus"] == "0.5"
    assert {"onnxshallow", "onnx", "onnxruntime", "numpy", "scipy", "python"} <= set(report["versions"])
    assert all(seconds >= 0 for seconds in report["timings"].values())


def test_there_is_one_decision_a_site(digits):
    sites = [node.name for node in onnx.load(digits.model).graph.node if node.op_type == "Relu"]
    decisions = digits.report["decisions"]
    assert [d["name"] for d in decisions] == sites
    assert all({"name", "size", "action", "reason", "damage", "exactness"} <= set(d) for d in decisions)
    kept = [d for d in decisions if d["action"] == "keep"]
    assert sum(d["size"] for d in kept) == digits.report["optimized"]["relus"]
    assert all(d["damage"] is None and d["exactness"] is None for d in kept)
    gone = [d for d in decisions if d["action"] != "keep"]
    assert all(d["damage"] is not None and d["exactness"] == "fitted" and d["reason"] for d in gone)


def test_the_digests_are_those_of_the_files(digits):
    assert digits.report["model"]["sha256"] == file_digest(digits.model)
    assert digits.report["output"]["sha256"] == file_digest(digits.output)
    assert digits.report["optimized"]["size_bytes"] == digits.output.stat().st_size


def test_the_accuracy_is_what_onnxruntime_says(digits):
    for part, path in (("original", digits.model), ("optimized", digits.output)):
        reported = digits.report[part]["accuracy"]
        assert reported["top1"] == pytest.approx(labelled_accuracy(path, digits.folder))
        low, high = reported["top1_interval"]
        assert low <= reported["top1"] <= high
    lost = digits.report["verdict"]["accuracy_lost"]
    assert lost == pytest.approx(
        digits.report["original"]["accuracy"]["top1"] - digits.report["optimized"]["accuracy"]["top1"]
    )


def test_half_the_relus_of_the_digits_cost_little(digits):
    assert digits.report["verdict"]["accuracy_lost"] < 0.02
    assert digits.report["optimized"]["conv_layers"] < digits.report["original"]["conv_layers"]


def test_counting_the_result_anew_gives_the_report(digits):
    totals = strict_json(run("analyze", digits.output, "--json", "-").stdout)["totals"]
    for name in ("relus", "relu_nodes", "macs", "params", "conv_layers", "size_bytes"):
        assert totals[name] == digits.report["optimized"][name], name


def test_people_see_a_table_and_where_the_results_are(digits):
    for words in ("ReLUs", "11 264", "Accuracy lost", f"Written: {digits.output}", "Report: "):
        assert words in digits.outcome.stdout


def test_a_broken_accuracy_budget_leaves_a_report_and_no_model(digits_files):
    earlier = digits_files.with_name("digits-resnet.shallow.onnx")
    earlier.write_bytes(b"an earlier result")
    outcome = run(
        "optimize", digits_files, "--target-relus", "0.3", "--max-drop", "0.0001", "--sensitivity", "magnitude"
    )
    assert_error(outcome, 4, "--max-drop 0.0001", "digits-validation.npz")
    report = read_json(digits_files.with_name("digits-resnet.shallow.json"))
    verdict = report["verdict"]
    assert (verdict["status"], verdict["exit_code"], report["output"]) == ("accuracy", 4, None)
    assert verdict["accuracy_lost"] > 0.0001
    assert verdict["reasons"][0] in outcome.stderr
    assert files(digits_files.parent) == {*DIGITS, "digits-resnet.shallow.json"}


def test_what_is_refused_can_be_forced(digits_files):
    outcome = run(
        "optimize", digits_files, "--target-relus", "0.3", "--max-drop", "0.0001", "--sensitivity", "magnitude",
        "--force",
    )  # fmt: skip
    assert outcome.exit_code == 0
    assert digits_files.with_name("digits-resnet.shallow.onnx").exists()
    verdict = read_json(digits_files.with_name("digits-resnet.shallow.json"))["verdict"]
    (overridden,) = verdict["overridden"]
    assert "--max-drop 0.0001" in overridden
    assert outcome.stderr == f"WARNING: Written though refused, as --force asks: {overridden}\n"
    assert outcome.stdout.splitlines()[-1] == verdict["line"] == f"Forced, though refused: {overridden}"


def test_a_target_out_of_reach_leaves_a_report_that_says_what_can_be_reached(digits_files):
    outcome = run("optimize", digits_files, "--target-relus", "0.0001", "--sensitivity", "magnitude")
    assert_error(outcome, 5, "512 ReLUs")
    report = read_json(digits_files.with_name("digits-resnet.shallow.json"))
    assert (report["verdict"]["status"], report["verdict"]["exit_code"]) == ("target", 5)
    assert "512 ReLUs" in report["verdict"]["reasons"][0]
    assert report["optimized"] is None
    assert len(report["decisions"]) == 13
    assert files(digits_files.parent) == {*DIGITS, "digits-resnet.shallow.json"}


# Small networks.


def test_json_on_stdout_is_all_there_is(case):
    model, data = case
    outcome = quick(model, data, "--target-relus", "0.7", "--json", "-")
    assert outcome.exit_code == 0
    report = strict_json(outcome.stdout)
    assert set(report) >= REPORT_FIELDS
    assert files(model.parent) == {"net.onnx", "data.npz", "net.shallow.onnx"}


def test_json_can_have_a_file_of_its_own(case, tmp_path):
    model, data = case
    outcome = quick(model, data, "--target-relus", "0.7", "--json", tmp_path / "a.json")
    assert outcome.exit_code == 0
    assert f"Report: {tmp_path / 'a.json'}" in outcome.stdout
    assert set(read_json(tmp_path / "a.json")) >= REPORT_FIELDS
    assert files(tmp_path) == {"net.onnx", "data.npz", "net.shallow.onnx", "a.json"}


def test_a_refused_run_says_so_in_the_json_on_stdout(case):
    outcome = quick(*case, "--target-relus", "0.01", "--json", "-")
    assert_error(outcome, 5)
    assert strict_json(outcome.stdout)["verdict"]["exit_code"] == 5


def test_the_same_command_twice_gives_the_same_bytes_and_so_does_no_cache(case, own_cache, tmp_path):
    model, data = case
    written = []
    for name, extra in (("cold", ()), ("warm", ()), ("without", ("--no-cache",))):
        output = tmp_path / f"{name}.onnx"
        outcome = run("optimize", model, "--calib", data, "--target-relus", "0.7", "-o", output, *extra)
        assert outcome.exit_code == 0
        written.append(output.read_bytes())
        assert sorted(name.split("-")[0] for name in files(own_cache)) == ["plans", "plans", "sweep"]
    assert written[0] == written[1] == written[2]


def test_no_cache_keeps_nothing(case, own_cache):
    assert run("optimize", *case[:1], "--calib", case[1], "--target-relus", "0.7", "--no-cache").exit_code == 0
    assert files(own_cache) == set()


def test_another_seed_is_another_result(case, tmp_path):
    for seed in (0, 1):
        quick(*case, "--target-relus", "0.7", "--seed", seed, *ANY_LOSS, "-o", tmp_path / f"{seed}.onnx")
    assert (tmp_path / "0.onnx").read_bytes() != (tmp_path / "1.onnx").read_bytes()
    assert read_json(tmp_path / "1.json")["seed"] == 1


def test_labels_beside_the_calibration_inputs_change_nothing(tmp_path):
    inputs = smooth(40, 3, 6)
    outputs = []
    for name, labels in (("without", None), ("with", np.arange(40) % 6)):
        folder = tmp_path / name
        folder.mkdir()
        model, data = save_case(folder, labels=labels, x=inputs)
        outcome = run("optimize", model, "--calib", data, "--target-relus", "0.7")
        assert outcome.exit_code == 0
        outputs.append((folder / "net.shallow.onnx").read_bytes())
        known = read_json(folder / "net.shallow.json")["optimized"]["accuracy"]
        assert (known is None) == (labels is None)
    assert outputs[0] == outputs[1]


@pytest.mark.parametrize("target", ["1", "1.0", "432", "1k"])
def test_where_the_target_is_met_already_the_model_comes_out_as_it_is(case, target):
    model, data = case
    outcome = run("optimize", model, "--calib", data, "--target-relus", target)
    assert outcome.exit_code == 0
    written = model.with_name("net.shallow.onnx").read_bytes()
    assert written == onnx.load(model).SerializeToString(deterministic=True)
    report = read_json(model.with_name("net.shallow.json"))
    assert {d["action"] for d in report["decisions"]} == {"keep"}
    assert report["fidelity"]["relative_error"] == {"y": 0.0}


def test_a_count_is_a_target(case):
    assert quick(*case, "--target-relus", "300").exit_code == 0
    assert read_json(case[0].with_name("net.shallow.json"))["optimized"]["relus"] == 288


def test_multiply_adds_are_a_target(case):
    assert quick(*case, "--target-macs", "0.8").exit_code == 0
    report = read_json(case[0].with_name("net.shallow.json"))
    assert report["optimized"]["macs"] <= 0.8 * report["original"]["macs"]


def test_an_accuracy_budget_alone_goes_as_far_as_it_allows(case):
    assert quick(*case, "--max-drop", "1").exit_code == 0
    report = read_json(case[0].with_name("net.shallow.json"))
    assert report["optimized"]["relus"] == 144
    assert any("lowest ReLU count" in reason for reason in report["verdict"]["reasons"])


def test_a_rejected_model_can_be_kept(tmp_path):
    """Where there are no classes, the relative error of the output counts, which no plan keeps at zero."""
    regression = build(NET.replace("[N,6] y", "[N,1] y"), **{**NET_WEIGHTS, "w3": (1, 4), "b3": (1,)})
    model, data = save_case(tmp_path, regression)
    goal = ("--target-relus", "0.4", "--max-drop", "0")
    assert_error(quick(model, data, *goal), 4, "output precision")
    assert files(tmp_path) == {"net.onnx", "data.npz", "net.shallow.json"}
    assert_error(quick(model, data, *goal, "--keep-rejected"), 4)
    report = read_json(tmp_path / "net.shallow.json")
    assert report["output"]["sha256"] == file_digest(tmp_path / "net.shallow.onnx")
    assert report["verdict"]["status"] == "accuracy"
    assert report["fidelity"]["agreement"] is None


def test_without_data_the_result_is_loudly_not_validated(case):
    model, _ = case
    outcome = run("optimize", model, "--target-relus", "0.7", "--calib-samples", "40", "--sensitivity", "magnitude")
    assert outcome.exit_code == 0
    assert "WARNING" in outcome.stderr
    assert "NOT validated" in outcome.stderr
    assert "not validated" in outcome.stdout
    report = read_json(model.with_name("net.shallow.json"))
    assert report["verdict"]["validated"] is False
    assert report["verdict"]["accuracy_lost"] is None
    assert report["original"]["accuracy"] is report["optimized"]["accuracy"] is None
    assert "synthetic" in report["fidelity"]["source"]


def test_validation_data_validate_what_synthetic_images_made(tmp_path):
    model, data = save_case(tmp_path, labels=np.arange(40) % 6)
    outcome = run(
        "optimize", model, "--target-relus", "0.7", "--validate", data, "--calib-samples", "40",
        "--sensitivity", "magnitude", *ANY_LOSS,
    )  # fmt: skip
    assert outcome.exit_code == 0
    assert "synthetic" in outcome.stderr
    assert "NOT validated" not in outcome.stderr
    report = read_json(model.with_name("net.shallow.json"))
    assert report["verdict"]["validated"] is True
    assert report["optimized"]["accuracy"]["samples"] == 40


UNPADDED = NET.replace("<pads=[1,1,1,1]>", "")


def test_exact_composition_of_unpadded_convolutions_is_exact(tmp_path):
    model, data = save_case(tmp_path, build(UNPADDED.replace("6,6]", "8,8]"), **NET_WEIGHTS), x=smooth(40, 3, 8))
    assert quick(model, data, "--target-relus", "0.9", "--kernel", "exact", *ANY_LOSS).exit_code == 0
    report = read_json(tmp_path / "net.shallow.json")
    assert "exact" in {d["exactness"] for d in report["decisions"]}
    assert "border" not in {d["exactness"] for d in report["decisions"]}
    assert report["fidelity"]["composition_error"] < 1e-4
    assert report["optimized"]["conv_layers"] < 3


def test_exact_composition_of_padded_convolutions_says_that_the_border_is_not(case):
    assert quick(*case, "--target-relus", "0.9", "--kernel", "exact").exit_code == 0
    report = read_json(case[0].with_name("net.shallow.json"))
    assert "border" in {d["exactness"] for d in report["decisions"]}
    assert report["fidelity"]["composition_error"] > 0


def test_options_beside_the_model_make_two_arguments_enough(case):
    model, data = case
    model.with_name("onnxshallow.toml").write_text(f'calib = "{data.name}"\nsensitivity = "magnitude"\n')
    outcome = run("optimize", model, "--target-relus", "0.7")
    assert outcome.exit_code == 0
    assert outcome.stderr == ""
    assert read_json(model.with_name("net.shallow.json"))["config"]["sensitivity"] == "magnitude"


def test_an_output_elsewhere_takes_its_report_along(case, tmp_path):
    (tmp_path / "out").mkdir()
    assert quick(*case, "--target-relus", "0.7", "-o", tmp_path / "out" / "small.onnx").exit_code == 0
    assert files(tmp_path / "out") == {"small.onnx", "small.json"}
    assert files(tmp_path) == {"net.onnx", "data.npz", "out"}


def test_external_data_stay_external_and_the_originals_are_left_alone(tmp_path):
    model, data = save_case(tmp_path)
    onnx.save(net(), model, save_as_external_data=True, location="net.data", size_threshold=0)
    weights = (tmp_path / "net.data").read_bytes()
    assert quick(model, data, "--target-relus", "0.7").exit_code == 0
    assert (tmp_path / "net.data").read_bytes() == weights
    assert_usable(onnx.load(tmp_path / "net.shallow.onnx"), net(), {"x": smooth(2, 3, 6)})


# Runs that cannot be done.


# In processes of their own, as scripts run them.


def test_a_script_sees_json_and_exit_codes(case, own_cache):
    model, data = case
    arguments = ("optimize", model, "--calib", data, "--sensitivity", "magnitude", "--json", "-", "--target-relus")
    good = run_process(*arguments, "0.7")
    assert good.returncode == 0
    assert json.loads(good.stdout)["verdict"]["exit_code"] == 0
    assert good.stderr == ""
    bad = run_process(*arguments, "0.01")
    assert bad.returncode == 5
    assert json.loads(bad.stdout)["verdict"]["exit_code"] == 5
    assert bad.stderr.startswith("error: ")
    assert bad.stderr.count("\n") == 1


def test_paths_may_hold_blanks_and_brackets(case, tmp_path):
    place = tmp_path / "a [/b] :smile: d"
    place.mkdir(parents=True)
    model = shutil.copy(case[0], place / "[red]net.onnx")
    outcome = quick(model, case[1], "--target-relus", "0.7")
    assert outcome.exit_code == 0
    assert f"Written: {place / '[red]net.shallow.onnx'}\n" in outcome.stdout


# Planning without carrying out.
