import onnx
import pytest

from tests.graphs import run_plain
from tests.networks import build, smooth
from tests.runs import NET, NET_WEIGHTS, assert_error, files, flipped, net, read_json, run, save_case, strict_json


def pair(folder, second, first=None, **data):
    """Two models and data for them."""
    model, samples = save_case(folder, first, **data)
    onnx.save(second, folder / "other.onnx")
    return model, folder / "other.onnx", samples


def test_the_digits_are_compared_on_their_labels(digits):
    outcome = run("validate", digits.model, digits.output, "--max-drop", "0.05", "--json", "-")
    assert outcome.exit_code == 0
    report = strict_json(outcome.stdout)
    assert report["original_accuracy"] == digits.report["original"]["accuracy"]
    assert report["optimized_accuracy"] == digits.report["optimized"]["accuracy"]
    assert report["verdict"]["accuracy_lost"] == digits.report["verdict"]["accuracy_lost"]
    assert report["verdict"]["status"] == "met"


def test_a_flipped_kernel_breaks_the_budget(digits, tmp_path):
    broken = tmp_path / "broken.onnx"
    proto = onnx.load(digits.model)
    kernel = next(node.input[1] for node in proto.graph.node if node.op_type == "Conv")
    onnx.save(flipped(proto, kernel), broken)
    outcome = run("validate", digits.model, broken, "--max-drop", "0.01", "--json", "-")
    assert_error(outcome, 4, "--max-drop 0.01")
    verdict = strict_json(outcome.stdout)["verdict"]
    assert (verdict["status"], verdict["exit_code"]) == ("accuracy", 4)
    assert verdict["accuracy_lost"] > 0.01
    assert verdict["mcnemar_p"] < 0.01
    assert verdict["reasons"][0] in outcome.stderr
    assert_error(run("validate", digits.model, broken), 4, "--max-drop 0.05, the default, allows")
    assert run("validate", digits.model, broken, "--max-drop", "1").exit_code == 0


def test_a_model_equals_itself_without_a_gate(digits):
    outcome = run("validate", digits.model, digits.model)
    assert outcome.exit_code == 0
    assert "--max-drop holds: 0.0000 <= 0.05, the default." in outcome.stdout
    line = "Goal met: 0.00 points of accuracy lost, of at most 5 (default)."
    assert outcome.stdout.splitlines()[-1] == line


def test_every_flipped_convolution_is_caught(digits, tmp_path):
    """Without a gate, and with one."""
    proto, broken = onnx.load(digits.model), tmp_path / "broken.onnx"
    for kernel in [node.input[1] for node in proto.graph.node if node.op_type == "Conv"]:
        onnx.save(flipped(proto, kernel), broken)
        for gate in ((), ("--max-drop", "0.01"), ("--max-error", "0.1"), ("--min-agreement", "0.95")):
            assert run("validate", digits.model, broken, *gate).exit_code == 4, (kernel, gate)


def test_a_model_equals_itself(digits):
    outcome = run("validate", digits.model, digits.model, "--max-drop", "0", "--json", "-")
    assert outcome.exit_code == 0
    report = strict_json(outcome.stdout)
    assert report["fidelity"]["agreement"] == 1
    assert report["fidelity"]["relative_error"] == {"logits": 0}
    assert report["verdict"]["accuracy_lost"] == 0
    assert report["verdict"]["mcnemar_p"] == 1


def test_without_labels_agreement_counts(tmp_path):
    first, second, data = pair(tmp_path, flipped(net(), "w3"))
    outcome = run("validate", first, second, "--data", data, "--max-drop", "0.01")
    assert_error(outcome, 4)
    assert "same class for" in outcome.stdout
    assert run("validate", first, first, "--data", data, "--max-drop", "0").exit_code == 0


def test_without_classes_the_output_error_counts(tmp_path):
    weights = {**NET_WEIGHTS, "w3": (1, 4), "b3": (1,)}
    proto = build(NET.replace("[N,6] y", "[N,1] y"), **weights)
    first, second, data = pair(tmp_path, flipped(proto, "w3"), proto)
    assert_error(run("validate", first, second, "--data", data, "--max-drop", "0.5"), 4)
    assert run("validate", first, first, "--data", data, "--max-drop", "0").exit_code == 0


def test_people_see_both_accuracies(tmp_path):
    inputs = smooth(40, 3, 6)
    model, data = save_case(tmp_path, labels=run_plain(net(), {"x": inputs})[0].argmax(axis=1), x=inputs)
    outcome = run("validate", model, model, "--data", data)
    assert outcome.exit_code == 0
    for words in ("top-1, %", "top-5, %", "95 % interval", "same class for 100.00 %"):
        assert words in outcome.stdout


def test_broken_gates_are_told_in_one_line(tmp_path):
    first, second, data = pair(tmp_path, flipped(net(), "w3"))
    gates = ("--max-drop", "0.01", "--min-agreement", "0.99", "--max-error", "0.1")
    outcome = run("validate", first, second, "--data", data, *gates)
    assert_error(outcome, 4, "--max-drop 0.01", "--min-agreement 0.99", "--max-error 0.1")
    assert outcome.stdout.count("IS BROKEN") == 3
    assert run("validate", first, first, "--data", data, *gates).exit_code == 0


def test_gates_of_the_options_file_count(tmp_path):
    first, second, data = pair(tmp_path, flipped(net(), "w3"))
    (tmp_path / "onnxshallow.toml").write_text("min-agreement = 0.99\n")
    assert_error(run("validate", first, second, "--data", data), 4, "--min-agreement 0.99")
    (tmp_path / "onnxshallow.toml").write_text('metric = "own.py:best"\n')
    assert_error(run("validate", first, second, "--data", data), 2, "metric is not an option")


@pytest.mark.parametrize("gate", [("--min-agreement", "1.5"), ("--max-error", "-1"), ("--max-error", "nan")])
def test_gates_that_mean_nothing_exit_with_2(tmp_path, gate):
    model, data = save_case(tmp_path)
    assert_error(run("validate", model, model, "--data", data, *gate), 2, gate[0])


@pytest.mark.parametrize(
    ("kind", "words"),
    [("y=nonsense", ('"nonsense"', "'classes'")), ("nosuch=classes", ("'nosuch'", "outputs are: 'y'"))],
)
def test_kinds_of_outputs_that_do_not_exist_exit_with_2(tmp_path, kind, words):
    model, data = save_case(tmp_path)
    assert_error(run("validate", model, model, "--data", data, "--output-kind", kind), 2, "--output-kind", *words)


def test_a_gate_that_cannot_be_checked_exits_with_2(tmp_path):
    proto = build("(float[N,3,6,6] x) => (float[N,3,6,6] y) { y = Relu(x) }")
    model, data = save_case(tmp_path, proto)
    assert_error(run("validate", model, model, "--data", data, "--min-agreement", "0.5"), 2, "--max-error")


OWN = """
def best(outputs, labels):
    return outputs["y"].max(axis=1)

def broken(outputs, labels):
    raise KeyError("no\\x1b such key")
"""


def test_a_metric_of_the_users_own(tmp_path):
    first, second, data = pair(tmp_path, flipped(net(), "w3"))
    own = tmp_path / "own.py"
    own.write_text(OWN)
    outcome = run(
        "validate", first, second, "--data", data, "--max-drop", "1", "--metric", f"{own}:best", "--json", "-"
    )
    assert outcome.exit_code == 0
    (found,) = strict_json(outcome.stdout)["metrics"]
    assert found["name"] == f"{own}:best"
    assert found["difference_interval"][0] <= found["difference"] <= found["difference_interval"][1]
    shown = run("validate", first, second, "--data", data, "--max-drop", "1", "--metric", f"{own}:best")
    assert "own.py:best" in shown.stdout
    outcome = run("validate", first, second, "--data", data, "--metric", f"{own}:broken")
    assert_error(outcome, 3, "own.py:broken", "raised KeyError")
    assert "\x1b" not in outcome.stderr
    assert_error(run("validate", first, second, "--data", data, "--metric", "best"), 2, "file.py:function")
    outcome = run("validate", first, second, "--data", data, "--metric", f"{own}:best", "--json", own)
    assert_error(outcome, 2, "never overwritten")
    assert own.read_text() == OWN


def test_several_outputs_have_a_line_each(tmp_path):
    text = NET.replace("=> (float[N,6] y)", "=> (float[N,6] y, int64[N] best, float[N,4,6,6] r2)")
    text = text.replace("w3, b3)", "w3, b3)\n best = ArgMax<axis=1, keepdims=0>(y)")
    proto = build(text, **NET_WEIGHTS)
    first, second, data = pair(tmp_path, flipped(proto, "w2"), proto)
    gates = ("--max-drop", "1", "--max-error", "99")
    outcome = run("validate", first, second, "--data", data, *gates, "--json", tmp_path / "a.json")
    assert outcome.exit_code == 0
    listed = [line.split()[0] for line in outcome.stdout.splitlines() if line.startswith((" y", " best", " r2"))]
    assert listed == ["y", "best", "r2"]
    y, best, r2 = read_json(tmp_path / "a.json")["fidelity"]["outputs"]
    assert (y["equal"], best["relative_error"], r2["shape"]) == (None, None, [4, 6, 6])
    assert 0 <= best["equal"] < 1


def test_a_long_set_has_a_first_answer(tmp_path):
    model, data = save_case(tmp_path, x=smooth(1024, 3, 6))
    outcome = run("validate", model, model, "--data", data)
    assert outcome.stderr == "After 256 of 1024 samples: same class for 100.0 % (95 % interval 98.5 % to 100.0 %).\n"
    assert run("validate", model, model, "--data", data, "--log-level", "error").stderr == ""


def test_json_goes_to_a_file(tmp_path):
    model, data = save_case(tmp_path)
    assert run("validate", model, model, "--validate", data, "--json", tmp_path / "a.json").exit_code == 0
    assert read_json(tmp_path / "a.json")["fidelity"]["samples"] == 40
    assert files(tmp_path) == {"net.onnx", "data.npz", "a.json"}


def test_fewer_samples_can_be_used(tmp_path):
    model, data = save_case(tmp_path)
    outcome = run("validate", model, model, "--data", data, "--validate-samples", "7", "--json", "-")
    assert strict_json(outcome.stdout)["fidelity"]["samples"] == 7


def test_data_are_needed(tmp_path):
    model, data = save_case(tmp_path)
    assert_error(run("validate", model, model), 2, "--data")
    assert_error(run("validate", model, model, "--data", data, "--max-drop", "2"), 2)
    assert_error(run("validate", model, model, "--data", data, "--json", model), 2, "never overwritten")
    assert run("validate", model).exit_code == 2


def test_models_that_do_not_match_exit_with_3(tmp_path):
    renamed = build(
        NET.replace("=> (float[N,6] y)", "=> (float[N,6] z)").replace("y = Gemm", "z = Gemm"), **NET_WEIGHTS
    )
    first, second, data = pair(tmp_path, renamed)
    assert_error(run("validate", first, second, "--data", data), 3, "outputs", "'z'")
    assert_error(run("validate", first, tmp_path / "none.onnx", "--data", data), 3, "none.onnx")
    assert_error(run("validate", first, first, "--data", tmp_path / "none.npz"), 3, "none.npz")


@pytest.mark.parametrize("classes", [1, 5])
def test_outputs_of_another_size_exit_with_3(tmp_path, classes):
    other = build(NET.replace("[N,6] y", f"[N,{classes}] y"), **{**NET_WEIGHTS, "w3": (classes, 4), "b3": (classes,)})
    first, second, data = pair(tmp_path, other)
    assert_error(run("validate", first, second, "--data", data), 3, "'y'")


def test_fewer_samples_than_the_models_batch_exit_with_3(tmp_path):
    proto = build(NET.replace("[N,", "[4,"), **NET_WEIGHTS)
    model, data = save_case(tmp_path, proto, x=smooth(3, 3, 6))
    assert_error(run("validate", model, model, "--data", data, "--max-drop", "0"), 3, "4", "3")


def test_several_models_are_each_compared_with_the_original(tmp_path):
    first, second, data = pair(tmp_path, flipped(net(), "w3"))
    gates = ("--data", data, "--max-drop", "0.01")
    outcome = run("validate", first, first, second, *gates, "--json", "-")
    assert_error(outcome, 4, "other.onnx: ", "--max-drop 0.01")
    whole = strict_json(outcome.stdout)
    assert [report["verdict"]["exit_code"] for report in whole["reports"]] == [0, 4]
    assert whole["exit_code"] == 4
    outcome = run("validate", first, first, tmp_path / "gone.onnx", *gates, "--markdown", tmp_path / "all.md")
    assert_error(outcome, 3, "gone.onnx")
    said = (tmp_path / "all.md").read_text()
    assert "`net.onnx` in the place of `net.onnx`" in said
    assert "**There is no model file" in said


def test_a_layer_that_is_infinitely_off_is_written_as_json(tmp_path):
    text = "(float[N,3,6,6] x) => (float[N,3,6,6] y) { r = Relu(x) y = Mul(r, w) }"
    first, second, data = pair(tmp_path, build(text, w=[1.0]), build(text, w=[0.0]), x=smooth(20, 3, 6))
    outcome = run("validate", first, second, "--data", data, "--layers", "--layer-tolerance", "inf", "--json", "-")
    parting = strict_json(outcome.stdout)["parting"]
    assert (outcome.exit_code, parting["tolerance"], parting["tensors"][-1]["relative_error"]) == (4, None, None)


def test_the_layer_is_named_where_networks_part(tmp_path):
    model = net()
    kernels = [node.input[1] for node in model.graph.node if node.op_type == "Conv"]
    broken = flipped(model, kernels[1])
    first, second, data = pair(tmp_path, broken, model, x=smooth(20, 3, 6))
    outcome = run("validate", first, second, "--data", data, "--max-error", "100", "--layers", "--json", "-")
    assert outcome.exit_code == 0, outcome.stderr
    parting = strict_json(outcome.stdout)["parting"]
    assert parting["first"]["op"] == "Conv"
    assert parting["first"] == next(each for each in parting["tensors"] if each["relative_error"] > 1e-3)
    assert [each["relative_error"] for each in parting["tensors"][:2]] == [0, 0]
    outcome = run(
        "validate", first, second, "--data", data, "--max-error", "100", "--layers", "--layer-tolerance", "1000"
    )
    assert "that both make is off by more than 1000." in outcome.stdout
    equal = sum(each["relative_error"] == 0 for each in parting["tensors"])
    assert f"{equal} of {len(parting['tensors'])} tensors that both make are the same." in outcome.stdout
    assert "off by more than" not in run("validate", first, second, "--data", data, "--max-error", "100").stdout
