"""Whole runs whose activations stay in part or become parabolas, on the command line."""

import json
import shutil

import numpy as np
import onnx
import pytest

from onnxshallow.search import tries as tries_module
from onnxshallow.workflows import outcome, pareto
from tests.conftest import MODELS
from tests.networks import build, error_of, residual, signed, smooth
from tests.runs import (
    ANY_LOSS,
    DIGITS,
    NET,
    NET_WEIGHTS,
    assert_error,
    assert_usable,
    net,
    read_json,
    run,
    save_case,
    speed_of,
)

DROP = 0.05


@pytest.fixture(scope="module", autouse=True)
def quickly():
    """These runs show as much when they compare two plans only, and measure no latency."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tries_module, "_MOST_TRIES", 2)
        for module in (outcome, pareto):
            patch.setattr(module, "measured_speeds", lambda inputs, models: [speed_of() for _ in models])
        yield


def counts(path):
    """ReLUs and squares a sample of a model, by onnx's shape inference."""
    graph = onnx.shape_inference.infer_shapes(onnx.load(path), strict_mode=True, data_prop=True).graph
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.value_info, *graph.output)
    }
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    relus = squares = 0
    for node in graph.node:
        made = [1, *shapes[node.output[0]][1:]]
        if node.op_type in ("Relu", "Clip", "LeakyRelu"):
            relus += int(np.prod(made))
        elif node.op_type == "PRelu":
            relus += int(np.count_nonzero(np.broadcast_to(weights[node.input[1]], made) != 1))
        elif node.op_type == "Mul" and node.input[0] == node.input[1]:
            squares += int(np.prod(made))
    return relus, squares


def assert_told(path, target):
    """Fail unless a model beside its report is what the report says, and keeps the target; the report."""
    report = read_json(path.with_suffix(".json"))
    stated = report["optimized"]["relus"], report["optimized"]["squares"]
    assert counts(path) == stated
    assert stated[0] <= target * report["original"]["relus"]
    assert report["verdict"]["exit_code"] == 0
    return report


# The digits network.


@pytest.fixture(scope="module")
def digits_folder(tmp_path_factory):
    """The digits network and its data."""
    folder = tmp_path_factory.mktemp("parts")
    for name in DIGITS:
        shutil.copy(MODELS / name, folder)
    return folder


FORMS = {
    "channels": ("--granularity", "channel"),
    "channels and parabolas": ("--granularity", "channel", "--polynomials"),
    "parabolas": ("--polynomials",),
    "pixels": ("--granularity", "pixel"),
    "slopes": ("--granularity", "channel", "--mask-form", "prelu"),
}
QUICK = ("--calib-samples", "192", "--no-cache")


def optimized(folder, name, *arguments, model=None):
    output, plan = folder / f"{name}.onnx", folder / f"{name}.plan.json"
    path = model or folder / "digits-resnet.onnx"
    settings = ("--config", folder / "onnxshallow.toml", *QUICK)
    return run("optimize", path, *settings, *arguments, "-o", output, "--plan-out", plan), output, plan


@pytest.fixture(scope="module", params=FORMS)
def shrunk(request, digits_folder):
    """A run for half of the ReLUs: options, how it ended, the model and its plan."""
    options = FORMS[request.param]
    arguments = ("--target-relus", "0.5", "--sensitivity", "magnitude", *options)
    return options, *optimized(digits_folder, request.param.replace(" ", "-"), *arguments)


def test_half_of_the_activations_go_and_the_report_counts_what_is_left(shrunk):
    options, outcome, output, plan = shrunk
    assert outcome.exit_code == 0
    report = assert_told(output, 0.5)
    assert report["original"]["accuracy"]["top1"] - report["optimized"]["accuracy"]["top1"] < DROP
    actions = json.loads(plan.read_text())["actions"]
    assert report["original"]["relus"] - sum(a["relus_saved"] for a in actions) == report["optimized"]["relus"]
    assert sum(a["squares_added"] for a in actions) >= report["optimized"]["squares"]
    squared = any(a["action"] == "quadratic" for a in actions)
    assert squared == (report["optimized"]["squares"] > 0) == ("--polynomials" in options)
    assert any(a["action"] == "mask" for a in actions) or "--polynomials" in options
    assert all(a["pixels"] == ("pixel" in options) for a in actions if a["action"] == "mask")
    slopes = {"prelu", "pixel"} & set(options)
    assert ("PRelu" in {node.op_type for node in onnx.load(output).graph.node}) == bool(slopes)


def test_the_model_runs_everywhere_as_the_original_does(shrunk, digits_folder):
    _, _, output, _ = shrunk
    original = onnx.load(digits_folder / "digits-resnet.onnx")
    size = [dim.dim_value for dim in original.graph.input[0].type.tensor_type.shape.dim][1:]
    feeds = {original.graph.input[0].name: np.random.default_rng(0).normal(size=(3, *size)).astype(np.float32)}
    assert_usable(onnx.load(output), original, feeds)


def test_the_plan_gives_the_same_bytes_again(shrunk, digits_folder, tmp_path):
    options, _, output, plan = shrunk
    form = ("--mask-form", "prelu") if "prelu" in options else ()
    again = tmp_path / "again.onnx"
    outcome = run("apply", digits_folder / "digits-resnet.onnx", plan, "--calib-samples", "192", *form, "-o", again)
    assert outcome.exit_code == 0
    assert again.read_bytes() == output.read_bytes()
    first, second = (read_json(path.with_suffix(".json")) for path in (output, again))
    for part in ("optimized", "changes", "fidelity", "verdict"):
        assert {**first, "optimized": {**first["optimized"], "latency_ms": None}}[part] == {
            **second, "optimized": {**second["optimized"], "latency_ms": None}
        }[part]  # fmt: skip


def test_the_model_can_be_analyzed_and_optimized_again(shrunk, digits_folder):
    options, _, output, _ = shrunk
    report = output.with_name("analysis.json")
    assert run("analyze", output, "--json", report).exit_code == 0
    relus, squares = counts(output)
    assert (read_json(report)["totals"]["relus"], read_json(report)["totals"]["squares"]) == (relus, squares)
    arguments = ("--target-relus", "0.8", "--sensitivity", "magnitude", *options)
    outcome, again, _ = optimized(digits_folder, f"{output.stem}-again", *arguments, model=output)
    assert outcome.exit_code == 0, outcome.stderr
    assert_told(again, 0.8)


def test_the_same_inputs_give_the_same_bytes(shrunk, digits_folder):
    options, _, output, plan = shrunk
    if "--polynomials" in options:
        arguments = ("--target-relus", "0.5", "--sensitivity", "magnitude", *options)
        _, again, plan_again = optimized(digits_folder, f"{output.stem}-twice", *arguments)
        assert again.read_bytes() == output.read_bytes()
        assert plan_again.read_bytes() == plan.read_bytes()


def test_a_rehearsal_says_how_many_activations_will_be_left(shrunk, digits_folder, tmp_path):
    options, _, output, _ = shrunk
    if "--polynomials" not in options:  # of parabolas, a fit may leave some out
        settings = ("--target-relus", "0.5", "--sensitivity", "magnitude", *options, *QUICK)
        rehearsal = tmp_path / "plan.json"
        model = digits_folder / "digits-resnet.onnx"
        assert run("optimize", model, *settings, "--dry-run", "--json", rehearsal).exit_code == 0
        predicted, made = read_json(rehearsal)["predicted"], read_json(output.with_suffix(".json"))["optimized"]
        for name in ("relus", "squares", "macs", "depth", "relu_nodes"):
            assert predicted[name] == made[name]


# Plans by hand.


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """A small network, its data, and a plan that keeps some channels."""
    folder = tmp_path_factory.mktemp("planned")
    model, data = save_case(folder)
    plan = folder / "plan.json"
    arguments = ("--target-relus", "0.5", "--granularity", "channel", "--sensitivity", "magnitude")
    assert run("optimize", model, "--calib", data, *arguments, "--plan-out", plan).exit_code == 0
    return model, data, plan


def edited(planned, folder, *options, **changes):
    """The outcome of a plan of one mask with some fields changed."""
    model, data, plan = planned
    content = json.loads(plan.read_text())
    mask = next(action for action in content["actions"] if action["action"] == "mask")
    content["actions"] = [{**mask, **changes}]
    by_hand = folder / "by-hand.json"
    by_hand.write_text(json.dumps(content))
    return run("apply", model, by_hand, "--calib", data, "-o", folder / "edited.onnx", *options)


@pytest.mark.parametrize("kept", [0, 1, 2, 3])
def test_another_number_of_channels_may_be_kept_by_hand(planned, tmp_path, kept):
    assert edited(planned, tmp_path, kept=kept).exit_code == 0
    report = assert_told(tmp_path / "edited.onnx", 1.0)
    assert report["original"]["relus"] - report["optimized"]["relus"] == 36 * (4 - kept)


@pytest.mark.parametrize("kept", [18, 80, 142])
def test_pixels_may_be_kept_by_hand(planned, tmp_path, kept):
    assert edited(planned, tmp_path, kept=kept, pixels=True).exit_code == 0
    report = assert_told(tmp_path / "edited.onnx", 1.0)
    assert report["original"]["relus"] - report["optimized"]["relus"] == 144 - kept


def test_pixels_cannot_be_split(planned, tmp_path):
    outcome = edited(planned, tmp_path, "--mask-form", "split", kept=18, pixels=True)
    assert_error(outcome, 2, "only the prelu form", "leave --mask-form out")
    assert not (tmp_path / "edited.onnx").exists()


def test_a_parabola_may_be_written_by_hand(planned, tmp_path):
    assert edited(planned, tmp_path, action="quadratic", kept=1).exit_code == 0
    report = assert_told(tmp_path / "edited.onnx", 1.0)
    assert report["original"]["relus"] - report["optimized"]["relus"] == 108
    assert 0 < report["optimized"]["squares"] <= 108


@pytest.mark.parametrize(("kept", "pixels"), [(4, False), (99, False), (-1, False), (None, False), (7, True)])
def test_a_number_that_makes_no_sense_is_a_usage_error(planned, tmp_path, kept, pixels):
    outcome = edited(planned, tmp_path, kept=kept, pixels=pixels)
    assert_error(outcome, 2, "Entry 0 of", "is not possible on this model")


def test_a_number_in_words_is_a_usage_error(planned, tmp_path):
    assert_error(edited(planned, tmp_path, kept="most"), 2, "is not a plan written by onnxshallow")


# Networks and options of many kinds.


def half():
    """The network in half precision."""
    weights = {name: 0.5 * signed(shape, seed) for seed, (name, shape) in enumerate(NET_WEIGHTS.items())}
    return build(NET.replace("float[", "float16["), **{name: w.astype(np.float16) for name, w in weights.items()})


def with_activation(text, **weights):
    """The network with other activations."""
    graph = NET
    for position in range(3):
        graph = graph.replace(f"Relu(h{position})", text.format(f"h{position}"))
    return build(graph, **{**NET_WEIGHTS, **weights})


NETWORKS = {
    "plain": net,
    "residual": lambda: residual(),
    "clip": lambda: with_activation("Clip({}, low, high)", low=np.array(0.0, "f"), high=np.array(6.0, "f")),
    "leaky": lambda: with_activation("LeakyRelu<alpha=0.2>({})"),
    "slopes": lambda: with_activation("PRelu({}, s)", s=(4, 1, 1)),
    "fixed batch": lambda: build(NET.replace("float[N,", "float[4,"), **NET_WEIGHTS),
    "half precision": half,
    "opset 9": lambda: build(NET, opset=9, ir_version=4, **NET_WEIGHTS),
    "opset 13": lambda: build(NET, opset=13, **NET_WEIGHTS),
}
OPTIONS = {
    "channels": ("--granularity", "channel"),
    "slopes": ("--granularity", "channel", "--mask-form", "prelu"),
    "pixels": ("--granularity", "pixel"),
    "parabolas": ("--granularity", "channel", "--polynomials"),
    "no correction": ("--granularity", "channel", "--polynomials", "--no-correction"),
}


CASES = [("plain", options) for options in OPTIONS]
CASES += [(name, options) for name in NETWORKS if name != "plain" for options in ("no correction", "pixels")]


@pytest.mark.parametrize(("name", "options"), CASES)
def test_networks_of_many_kinds_keep_their_activations_in_part(name, options, tmp_path):
    model = NETWORKS[name]()
    size = 8 if name == "residual" else 6
    dtype = np.float16 if name == "half precision" else np.float32
    path, data = save_case(tmp_path, model, x=smooth(40, 3, size).astype(dtype))
    arguments = ("--calib", data, "--target-relus", "0.4", "--sensitivity", "magnitude", *OPTIONS[options])
    outcome = run("optimize", path, *arguments, *ANY_LOSS)
    output = path.with_name("net.shallow.onnx")
    assert outcome.exit_code == 0, outcome.stderr
    assert_told(output, 0.4)
    assert_usable(onnx.load(output), model, {"x": smooth(4, 3, size, 9).astype(dtype)})


MEASURES = ("kl", "mse", "disagreement")


@pytest.mark.parametrize("measure", MEASURES)
def test_masks_are_measured_by_each_measure(tmp_path, measure):
    path, data = save_case(tmp_path)
    arguments = ("--calib", data, "--target-relus", "0.4", "--granularity", "channel", "--sensitivity", measure)
    assert run("optimize", path, *arguments, "--no-cache").exit_code == 0
    assert_told(path.with_name("net.shallow.onnx"), 0.4)


def test_composed_kernels_and_masks_go_together(tmp_path):
    text = NET.replace("h1 = Conv<pads=[1,1,1,1]>", "h1 = Conv")
    path, data = save_case(tmp_path, build(text, **NET_WEIGHTS))
    arguments = ("--calib", data, "--target-relus", "0.1", "--granularity", "channel", "--kernel", "exact")
    assert run("optimize", path, *arguments, *ANY_LOSS, "--no-cache", "--sensitivity", "magnitude").exit_code == 0
    report = assert_told(path.with_name("net.shallow.onnx"), 0.1)
    assert {change["action"] for change in report["changes"]} >= {"fuse", "mask"}


@pytest.mark.parametrize("options", ["pixels", "parabolas"])
def test_without_data_synthetic_images_do(tmp_path, options):
    path, _ = save_case(tmp_path)
    (tmp_path / "data.npz").unlink()
    arguments = ("--target-relus", "0.4", "--sensitivity", "magnitude", "--calib-samples", "48", *OPTIONS[options])
    assert run("optimize", path, *arguments).exit_code == 0
    report = assert_told(path.with_name("net.shallow.onnx"), 0.4)
    assert report["optimized"]["accuracy"] is None
    told = any("fitted to synthetic images" in reason for reason in report["verdict"]["reasons"])
    assert told == (report["optimized"]["squares"] > 0)


def test_a_frontier_may_hold_masks(tmp_path):
    path, data = save_case(tmp_path)
    arguments = (
        "--calib",
        data,
        "--granularity",
        "channel",
        "--targets",
        "0.6,0.3,0.1",
        "--plans",
        tmp_path / "plans",
    )
    outcome = run("pareto", path, *arguments, "--sensitivity", "magnitude", "--json", "-")
    assert outcome.exit_code == 0
    for point in json.loads(outcome.stdout)["points"]:
        assert point["optimized"]["relus"] <= point["target_relus"]
        plan = tmp_path / "plans" / f"net-{point['target_relus']}.json"
        output = tmp_path / f"{point['target_relus']}.onnx"
        assert run("apply", path, plan, "--calib", data, "-o", output).exit_code == 0
        assert counts(output)[0] == point["optimized"]["relus"]


def test_accuracy_alone_may_be_asked_for_with_masks(tmp_path):
    path, data = save_case(tmp_path)
    arguments = ("--calib", data, "--max-drop", "0.2", "--granularity", "channel", "--sensitivity", "magnitude")
    assert run("optimize", path, *arguments).exit_code == 0
    report = assert_told(path.with_name("net.shallow.onnx"), 0.999)
    assert 1 - report["fidelity"]["agreement"] <= 0.2


def test_fewer_activations_go_the_more_is_lost(tmp_path):
    """The outputs move the more, the fewer activations stay."""
    model = residual(1)
    path, data = save_case(tmp_path, model, x=smooth(96, 3, 8))
    errors = []
    x = {"x": smooth(64, 3, 8, 5)}
    wanted = onnx.reference.ReferenceEvaluator(model).run(None, x)[0]
    for target in (0.9, 0.4, 0.1):
        arguments = ("--calib", data, "--granularity", "channel", "--sensitivity", "magnitude")
        assert run("optimize", path, *arguments, "--target-relus", target).exit_code == 0
        made = onnx.reference.ReferenceEvaluator(str(path.with_name("net.shallow.onnx"))).run(None, x)[0]
        errors.append(error_of(made, wanted))
    assert errors == sorted(errors)
