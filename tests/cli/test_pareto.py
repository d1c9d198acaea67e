from xml.etree import ElementTree

import numpy as np
import pytest

from tests.networks import smooth
from tests.runs import assert_error, files, read_json, run, save_case, strict_json

REPORT_FIELDS = {
    "schema_version", "model", "original", "points", "validated", "timings", "versions", "config", "seed",
    "verdict", "by", "providers", "forecast",
}  # fmt: skip
POINT_FIELDS = {
    "target_relus", "reason", "optimized", "accuracy_lost", "accuracy_lost_interval", "fidelity", "damage",
    "decisions", "plan", "speed", "stability", "target",
}  # fmt: skip


@pytest.fixture
def case(tmp_path):
    """The paths of a small network and of data for it."""
    return save_case(tmp_path)


def quick(model, data, *arguments):
    """A run that takes a fraction of a second."""
    return run("pareto", model, "--calib", data, "--sensitivity", "magnitude", *arguments)


def rows(text):
    """The lines of the table, in cells; its head first."""
    lines = [line.split() for line in text.splitlines() if line.startswith((" target", " 0.", " 1."))]
    assert lines[0][:4] == ["target", "ReLUs", "kept", "MACs"]
    return lines


# What is printed.


def test_people_see_one_line_a_target(tmp_path):
    model, data = save_case(tmp_path, labels=np.arange(40) % 6, x=smooth(40, 3, 6))
    outcome = run("pareto", model, "--calib", data, "--targets", "0.4, 0.7,0.01")
    assert outcome.exit_code == 0
    assert outcome.stderr == ""
    head, *table = rows(outcome.stdout)
    assert head[-2:] == ["points", "lost"]
    kept = [(float(line[0]), float(line[1])) for line in table]
    assert [target for target, _ in kept] == [0.699, 0.398]
    assert all(part <= target for target, part in kept)
    assert "4 ReLUs: The target of 4 ReLUs" in outcome.stdout
    assert "cannot be reached" in outcome.stdout
    assert files(tmp_path) == {"net.onnx", "data.npz"}


def test_without_labels_nobody_reads_of_points_lost(case):
    outcome = quick(*case, "--targets", "0.7")
    assert outcome.exit_code == 0
    assert "points lost" not in outcome.stdout
    assert "Not validated" not in outcome.stdout


def test_ten_targets_are_tried_by_default(case):
    outcome = quick(*case, "--json", "-")
    assert outcome.exit_code == 0
    assert [p["target_relus"] for p in strict_json(outcome.stdout)["points"]] == [
        388, 345, 302, 259, 216, 194, 172, 151, 129, 108,
    ]  # fmt: skip


def test_json_on_stdout_is_all_there_is(case):
    outcome = quick(*case, "--targets", "0.7,0.01", "--json", "-")
    assert outcome.exit_code == 0
    report = strict_json(outcome.stdout)
    assert set(report) == REPORT_FIELDS
    assert [set(point) for point in report["points"]] == [POINT_FIELDS, POINT_FIELDS]
    reached, missed = report["points"]
    assert reached["optimized"]["relus"] == 288
    assert reached["reason"] is None
    assert missed["optimized"] is missed["plan"] is None
    assert "144 ReLUs" in missed["reason"]


def test_json_can_have_a_file_beside_the_table(case, tmp_path):
    outcome = quick(*case, "--targets", "0.7", "--json", tmp_path / "a.json")
    assert outcome.exit_code == 0
    assert len(rows(outcome.stdout)) == 2
    assert read_json(tmp_path / "a.json")["points"][0]["target_relus"] == 302


def test_a_summary_for_a_pull_request(case, tmp_path):
    outcome = quick(*case, "--targets", "0.7,0.01", "--markdown", "-")
    assert outcome.exit_code == 0
    assert outcome.stdout.startswith("### onnxshallow: `net.onnx`\n\n**Goal met: 1 of 2 targets. A model that ")
    assert "by so few samples; validate on more.** Exit code 0.\n" in outcome.stdout
    assert "| at most (ReLUs) | ReLUs | MACs | same class | points lost | why not |" in outcome.stdout
    assert "| 302 | 288 |" in outcome.stdout
    assert "| 4 | - | - | - | - | The target of 4 ReLUs" in outcome.stdout
    quick(*case, "--targets", "0.7,0.01", "--markdown", tmp_path / "summary.md")
    assert (tmp_path / "summary.md").read_text(encoding="utf-8").startswith("### onnxshallow: `net.onnx`")


def test_without_data_the_result_is_loudly_not_validated(case):
    arguments = ("--targets", "0.7", "--calib-samples", "40", "--sensitivity", "magnitude")
    outcome = run("pareto", case[0], *arguments)
    assert outcome.exit_code == 0
    assert "NOT validated" in outcome.stderr
    assert "Not validated: calibrated on synthetic images" in outcome.stdout
    report = strict_json(run("pareto", case[0], *arguments, "--json", "-").stdout)
    assert report["validated"] is False
    assert report["original"]["accuracy"] is report["points"][0]["accuracy_lost"] is None


def test_what_was_measured_is_kept_unless_it_should_not_be(case, own_cache):
    arguments = ("pareto", case[0], "--calib", case[1], "--targets", "0.7")
    assert run(*arguments, "--no-cache").exit_code == 0
    assert files(own_cache) == set()
    assert run(*arguments).exit_code == 0
    assert sorted(name.split("-")[0] for name in files(own_cache)) == ["plans", "plans", "sweep"]


# What is written.


def test_the_frontier_is_drawn(case, tmp_path):
    outcome = quick(*case, "--targets", "0.7,0.4,0.01", "--plot", tmp_path / "a.svg")
    assert outcome.exit_code == 0
    assert len(rows(outcome.stdout)) == 3
    root = ElementTree.parse(tmp_path / "a.svg").getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    lines = list(root.iter("{http://www.w3.org/2000/svg}polyline"))
    assert [len(line.get("points").split()) for line in lines] == [2, 2, 2]


def test_where_nothing_can_be_drawn_the_reasons_are_still_told(case, tmp_path):
    outcome = quick(*case, "--targets", "0.01", "--plot", tmp_path / "a.svg", "--json", tmp_path / "a.json")
    assert "Traceback" not in outcome.stderr
    assert "144 ReLUs" in read_json(tmp_path / "a.json")["points"][0]["reason"]
    assert not (tmp_path / "a.svg").exists()


def test_the_plans_are_accepted_by_apply(case, tmp_path):
    model, data = case
    plans = tmp_path / "many" / "plans"
    outcome = quick(model, data, "--targets", "0.7,0.4,0.01", "--plans", plans, "--json", tmp_path / "a.json")
    assert outcome.exit_code == 0
    assert files(plans) == {"net-302.json", "net-172.json"}
    for point in read_json(tmp_path / "a.json")["points"][:2]:
        plan = plans / f"net-{point['target_relus']}.json"
        assert read_json(plan) == point["plan"]
        assert run("apply", model, plan, "--calib", data).exit_code == 0
        report = read_json(model.with_name("net.shallow.json"))
        assert report["decisions"] == point["decisions"]
        assert report["fidelity"] == point["fidelity"]
        for name in ("relus", "macs", "params", "depth"):
            assert report["optimized"][name] == point["optimized"][name]


def test_a_folder_of_plans_keeps_what_is_in_it(case, tmp_path):
    (tmp_path / "plans").mkdir()
    (tmp_path / "plans" / "notes.txt").write_text("mine")
    assert quick(*case, "--targets", "0.7", "--plans", tmp_path / "plans").exit_code == 0
    assert files(tmp_path / "plans") == {"net-302.json", "notes.txt"}


# Runs that cannot be done.


@pytest.mark.parametrize("targets", ["", "abc", "-0.5", "1.5", "nan", "0.7,,0.5", "0.7;0.5", "0.7,inf"])
def test_wrong_targets_exit_with_2_before_anything_is_measured(case, own_cache, targets):
    outcome = run("pareto", case[0], "--calib", case[1], "--targets", targets)
    assert_error(outcome, 2, "target")
    assert outcome.stdout == ""
    assert files(own_cache) == set()


def test_plans_go_to_a_folder_and_not_to_a_file(case, own_cache):
    model, data = case
    before = data.read_bytes()
    assert_error(run("pareto", model, "--calib", data, "--plans", data), 2, "--plans", str(data), "folder")
    assert data.read_bytes() == before
    assert files(own_cache) == set()


def test_plans_cannot_go_below_a_file(case):
    model, data = case
    assert_error(quick(model, data, "--targets", "0.7", "--plans", data / "plans"), 2, "--plans")


USAGE = {
    "a drawing over the model": ("--plot", "net.onnx"),
    "a report over the model": ("--json", "net.onnx"),
    "a drawing where the report goes": ("--plot", "a.json", "--json", "a.json"),
    "a drawing that is a folder": ("--plot", "."),
    "a folder that is missing": ("--plot", "none/a.svg"),
    "a target of its own": ("--target-relus", "0.5"),
    "a latency": ("--target-latency", "0.5"),
    "an output": ("-o", "a.onnx"),
    "a log level nobody knows": ("--log-level", "loud"),
    "a measure nobody knows": ("--sensitivity", "guess"),
    "a target of multiply-adds that is none": ("--target-macs", "lots"),
}


@pytest.mark.parametrize("arguments", USAGE.values(), ids=USAGE)
def test_wrong_options_are_refused_before_anything_is_written(case, arguments, monkeypatch, own_cache):
    model, data = case
    monkeypatch.chdir(model.parent)
    before = model.read_bytes()
    outcome = run("pareto", "net.onnx", "--calib", data, *arguments)
    assert outcome.exit_code == 2
    assert outcome.stdout == ""
    assert outcome.stderr
    assert files(model.parent) == {"net.onnx", "data.npz"}
    assert files(own_cache) == set()
    assert model.read_bytes() == before


def test_what_cannot_be_read_exits_with_3(case, tmp_path):
    model, data = case
    assert_error(quick(tmp_path / "none.onnx", data), 3, "none.onnx")
    assert_error(quick(model, tmp_path / "none.npz"), 3, "none.npz")


def test_a_frontier_of_the_price_of_private_inference(case, tmp_path):
    outcome = quick(
        *case, "--by", "bytes", "--targets", "0.8,0.5", "--json", tmp_path / "a.json", "--plans", tmp_path
    )
    report = read_json(tmp_path / "a.json")
    first, second = report["points"]
    assert report["by"] == "bytes"
    whole = report["original"]["price"]
    assert [point["target"] / whole for point in (first, second)] == pytest.approx([0.8, 0.5], abs=0.01)
    for point in (first, second):
        assert point["reason"] or point["optimized"]["price"] <= point["target"]
    assert first["reason"] is None
    assert "Price: bytes under SEMI2K with a dealer with secret weights, an estimate" in outcome.stdout
    assert any("bytes-" in path.name for path in tmp_path.glob("*.json"))


def test_targets_of_something_else_are_refused(case):
    outcome = quick(*case, "--by", "hope")
    assert outcome.exit_code == 2
    assert "--by hope: choose from relus, macs, params, size, private, bytes, messages." in outcome.stderr
