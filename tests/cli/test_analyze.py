import numpy as np
import onnx
import pytest

from onnxshallow.model.files import file_digest
from tests.networks import build
from tests.runs import NET, NET_WEIGHTS, assert_error, files, read_json, run, run_process, save_case, strict_json

TOTALS = {"relus", "relu_nodes", "macs", "params", "conv_layers", "size_bytes"}


def analyzed(model, *arguments):
    outcome = run("analyze", model, "--json", "-", *arguments)
    assert outcome.exit_code == 0
    assert outcome.stderr == ""
    return strict_json(outcome.stdout)


def test_totals_and_sites_of_the_digits(digits):
    report = analyzed(digits.model)
    assert set(report["totals"]) >= TOTALS
    assert report["totals"] | {"relus": 11264, "relu_nodes": 13, "conv_layers": 14} == report["totals"]
    assert report["model"] == {"path": str(digits.model), "sha256": file_digest(digits.model)}
    assert sum(site["size"] for site in report["sites"]) == 11264
    assert all(site["removable"] and site["fusable"] for site in report["sites"])


def test_counts_are_those_made_by_hand(tmp_path):
    totals = analyzed(save_case(tmp_path)[0])["totals"]
    assert totals["relus"] == 3 * 4 * 6 * 6
    assert totals["macs"] == 36 * (4 * 3 * 9 + 2 * 4 * 4 * 9) + 6 * 4
    assert totals["params"] == (4 * 3 * 9 + 4) + 2 * (4 * 4 * 9 + 4) + 6 * 4 + 6
    assert totals["depth"] == 4


def test_people_see_a_table(tmp_path):
    outcome = run("analyze", save_case(tmp_path)[0])
    assert outcome.exit_code == 0
    for words in ("r0", "removed, fused", "432 ReLUs in 3 sites", "depth 4"):
        assert words in outcome.stdout


def test_a_file_gets_the_json_and_stdout_the_table(tmp_path):
    outcome = run("analyze", save_case(tmp_path)[0], "--json", tmp_path / "a.json")
    assert "432 ReLUs" in outcome.stdout
    assert read_json(tmp_path / "a.json")["totals"]["relus"] == 432
    assert files(tmp_path) == {"net.onnx", "data.npz", "a.json"}


def test_a_site_that_is_not_fused_says_why(tmp_path):
    text = NET.replace("(float[N,6] y)", "(float[N,6] y, float[N,4,6,6] h1)")
    model, _ = save_case(tmp_path, build(text, **NET_WEIGHTS))
    sites = {site["name"]: site for site in analyzed(model)["sites"]}
    assert [sites[name]["fusable"] for name in ("r0", "r1", "r2")] == [True, False, True]
    assert sites["r0"]["reason"] is None
    assert sites["r1"]["reason"]
    assert f"r1 is not fused: {sites['r1']['reason']}." in run("analyze", model).stdout


def test_open_axes_want_a_shape(tmp_path):
    model, _ = save_case(tmp_path, build(NET.replace("[N,3,6,6]", "[N,3,H,W]"), **NET_WEIGHTS))
    assert analyzed(model)["unknown"]
    assert analyzed(model)["totals"]["relus"] == 0
    report = analyzed(model, "--input-shape", "x:1,3,6,6")
    assert report["unknown"] == []
    assert report["totals"]["relus"] == 432
    assert "--input-shape" in run("analyze", model).stdout


def test_a_network_without_activations_is_no_error(tmp_path):
    text = "(float[N,3,6,6] x) => (float[N,4,4,4] y) { y = Conv(x, w0, b0) }"
    model, _ = save_case(tmp_path, build(text, w0=(4, 3, 3, 3), b0=(4,)))
    report = analyzed(model)
    assert (report["totals"]["relus"], report["sites"]) == (0, [])
    assert run("analyze", model).exit_code == 0


def test_names_are_shown_as_they_are(tmp_path):
    proto = build(NET, **NET_WEIGHTS)
    names = ["a[/b]c", "[red]d", ":smile:"]
    for node, name in zip((n for n in proto.graph.node if n.op_type == "Relu"), names, strict=True):
        node.name = name
    outcome = run("analyze", save_case(tmp_path, proto)[0])
    assert outcome.exit_code == 0
    assert all(name in outcome.stdout for name in names)


def test_the_model_is_not_changed_and_not_overwritten(tmp_path):
    model, _ = save_case(tmp_path)
    before = model.read_bytes()
    assert_error(run("analyze", model, "--json", model), 2, "never overwritten")
    analyzed(model)
    assert model.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"no model", onnx.ModelProto(ir_version=8).SerializeToString()])
def test_what_is_no_model_exits_with_3(tmp_path, content):
    (tmp_path / "net.onnx").write_bytes(content)
    assert_error(run("analyze", tmp_path / "net.onnx"), 3, "net.onnx")


def test_a_missing_model_exits_with_3_and_wrong_options_with_2(tmp_path):
    assert_error(run("analyze", tmp_path / "net.onnx"), 3, "There is no model file")
    assert run("analyze").exit_code == 2
    assert run("analyze", tmp_path / "net.onnx", "--fast").exit_code == 2
    assert_error(run("analyze", tmp_path / "net.onnx", "--log-level", "loud"), 2, "--log-level")


def test_the_shell_sees_the_exit_code_and_one_sentence(tmp_path):
    result = run_process("analyze", tmp_path / "none.onnx", "--json", "-")
    assert (result.returncode, result.stdout) == (3, "")
    assert result.stderr == f"error: There is no model file {tmp_path / 'none.onnx'}; check the path.\n"


def test_a_model_that_asks_for_too_much_is_refused_unless_allowed(tmp_path):
    text = """(float[N,1] x) => (float[N,1] y) { c = ConstantOfShape(s)
        m = ReduceMax<keepdims=0>(c)
        y = Add(x, m) }"""
    onnx.save(build(text, s=np.array([2**28])), tmp_path / "a.onnx")
    assert_error(run("analyze", tmp_path / "a.onnx"), 3, "'c'", "takes 1 GiB", "limit is 512 MiB", "--max-tensor")
    assert run("analyze", tmp_path / "a.onnx", "--max-tensor", "1G").exit_code == 0
    assert_error(run("analyze", tmp_path / "a.onnx", "--max-tensor", "much"), 2, "--max-tensor", "write it like 4G")


def test_several_models_have_a_report_each(tmp_path):
    model, _ = save_case(tmp_path)
    outcome = run("analyze", model, model, "--json", tmp_path / "all.json", "--markdown", tmp_path / "all.md")
    assert outcome.exit_code == 0
    assert outcome.stdout.count(f"{model}:\n") == 2
    whole = read_json(tmp_path / "all.json")
    alone = strict_json(run("analyze", model, "--json", "-").stdout)
    assert (whole["reports"], whole["failed"], whole["exit_code"]) == ([alone, alone], [], 0)
    assert (tmp_path / "all.md").read_text().count("### onnxshallow: `net.onnx`") == 2


def test_a_model_that_cannot_be_used_keeps_no_other_from_its_report(tmp_path):
    model, data = save_case(tmp_path)
    outcome = run("analyze", data, model, "--json", "-")
    assert_error(outcome, 3, "data.npz", "not an ONNX model")
    whole = strict_json(outcome.stdout)
    assert [report["model"]["path"] for report in whole["reports"]] == [str(model)]
    assert [(one["path"], one["exit_code"]) for one in whole["failed"]] == [(str(data), 3)]
    assert "data.npz" in run("analyze", data, model, "--markdown", "-").stdout


def test_two_results_cannot_share_stdout(tmp_path):
    model, _ = save_case(tmp_path)
    assert_error(run("analyze", model, "--json", "-", "--markdown", "-"), 2, "--json and --markdown", "stdout")
