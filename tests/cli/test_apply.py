import json
from dataclasses import replace

import onnx
import pytest

from onnxshallow.actions import registry
from onnxshallow.actions.linearize import Linearize
from tests.networks import smooth
from tests.runs import NET_WEIGHTS, assert_error, assert_usable, files, net, read_json, run, save_case


@pytest.fixture
def planned(tmp_path):
    """A small network, its data, and a plan for it."""
    model, data = save_case(tmp_path)
    plan = tmp_path / "plan.json"
    arguments = ("--calib", data, "--target-relus", "0.4", "--sensitivity", "magnitude")
    outcome = run("optimize", model, *arguments, "--plan-out", plan)
    assert outcome.exit_code == 0
    return model, data, plan


def edit(plan, change):
    content = json.loads(plan.read_text())
    change(content["actions"])
    plan.write_text(json.dumps(content))
    return content["actions"]


def test_the_plan_of_the_digits_gives_the_same_bytes(digits, tmp_path):
    output = tmp_path / "again.onnx"
    outcome = run("apply", digits.model, digits.folder / "plan.json", "-o", output)
    assert outcome.exit_code == 0
    assert output.read_bytes() == digits.output.read_bytes()
    report = read_json(tmp_path / "again.json")
    for part in ("changes", "fidelity", "gates"):
        assert report[part] == digits.report[part]
    verdicts = [{**one["verdict"], "line": None} for one in (report, digits.report)]  # the line says how fast it was
    assert verdicts[0] == verdicts[1]
    measured = [{**decision, "least_damage": None} for decision in digits.report["decisions"]]
    assert report["decisions"] == measured  # a plan says nothing of the sites that it leaves alone


def test_a_plan_gives_the_bytes_that_it_was_saved_with(planned, tmp_path):
    model, data, plan = planned
    wanted = (tmp_path / "net.shallow.onnx").read_bytes()
    outcome = run("apply", model, plan, "--calib", data, "-o", tmp_path / "again.onnx", "--json", "-")
    assert outcome.exit_code == 0
    assert (tmp_path / "again.onnx").read_bytes() == wanted
    assert json.loads(outcome.stdout)["output"]["path"] == str(tmp_path / "again.onnx")
    assert not (tmp_path / "again.json").exists()


@pytest.mark.parametrize("kernel", ["exact", "3"])
def test_a_plan_needs_no_kernel_option_of_its_own(planned, tmp_path, kernel):
    model, data, plan = planned
    arguments = ("--calib", data, "--sensitivity", "magnitude", "--target-relus", "0.7")
    assert run("optimize", model, *arguments, "--kernel", kernel, "--plan-out", plan).exit_code == 0
    assert run("apply", model, plan, "--calib", data, "-o", tmp_path / "again.onnx").exit_code == 0
    assert (tmp_path / "again.onnx").read_bytes() == (tmp_path / "net.shallow.onnx").read_bytes()


def test_an_entry_less_is_one_change_less(planned):
    model, data, plan = planned
    everything = read_json(model.with_name("net.shallow.json"))["optimized"]["relus"]
    left = edit(plan, lambda actions: actions.pop())
    assert run("apply", model, plan, "--calib", data).exit_code == 0
    report = read_json(model.with_name("net.shallow.json"))
    assert everything < report["optimized"]["relus"]
    assert {d["name"] for d in report["decisions"] if d["action"] != "keep"} == {s for a in left for s in a["sites"]}
    assert_usable(onnx.load(model.with_name("net.shallow.onnx")), net(), {"x": smooth(3, 3, 6)})


def test_an_empty_plan_changes_nothing(planned):
    model, data, plan = planned
    edit(plan, lambda actions: actions.clear())
    assert run("apply", model, plan, "--calib", data).exit_code == 0
    assert model.with_name("net.shallow.onnx").read_bytes() == net().SerializeToString(deterministic=True)


def test_the_plan_is_data(planned):
    content = json.loads(planned[2].read_text())
    assert content["schema_version"] == 1
    assert all({"action", "sites", "source", "output", "kernel", "exactness"} <= set(a) for a in content["actions"])


def test_an_accuracy_budget_without_data_is_refused(planned):
    assert_error(run("apply", planned[0], planned[2], "--max-drop", "0.01"), 2, "--calib")


def test_a_broken_budget_exits_with_4_and_can_be_kept(planned):
    """Without classes, the relative error of the output counts."""
    model, data, plan = planned
    proto = onnx.load(model)
    proto.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("f", onnx.TensorProto.FLOAT, ["N", 4, 1, 1]))
    proto.graph.node[-2].CopyFrom(onnx.helper.make_node("Concat", ["p", "p"], ["f"], axis=3))
    proto.graph.output[0].type.tensor_type.shape.dim[3].dim_value = 2
    del proto.graph.node[-1]
    del proto.graph.initializer[-2:]
    assert {t.name for t in proto.graph.initializer} == set(NET_WEIGHTS) - {"w3", "b3"}
    onnx.save(proto, model)
    arguments = ("apply", model, plan, "--calib", data, "--max-drop", "0")
    assert_error(run(*arguments), 4, "output precision")
    assert files(model.parent) == {"net.onnx", "data.npz", "plan.json", "net.shallow.json"}
    assert_error(run(*arguments, "--keep-rejected"), 4)
    assert "net.shallow.onnx" in files(model.parent)


def test_a_plan_for_another_model_is_named(planned):
    model, data, plan = planned
    edit(plan, lambda actions: actions[0].update(output="elsewhere"))
    assert_error(run("apply", model, plan, "--calib", data), 2, "elsewhere", str(plan))


@pytest.mark.parametrize("content", ["", "[]", "{", '{"actions": [{}]}', "\x00"])
def test_what_is_no_plan_is_a_usage_error(planned, content):
    model, data, plan = planned
    plan.write_text(content)
    assert_error(run("apply", model, plan, "--calib", data), 2, "is not a plan")


class Careless(Linearize):
    """Says nothing of the nodes that it takes the place of, so that its candidates get in the way of others."""

    name = "careless"

    def candidate(self, site):
        return replace(super().candidate(site), nodes=frozenset())


@pytest.fixture
def careless(monkeypatch):
    """An action whose candidates get in the way of others."""
    monkeypatch.setattr(registry, "BUILT_IN", (*registry.BUILT_IN, Careless()))
    registry.actions.cache_clear()
    yield
    registry.actions.cache_clear()


@pytest.mark.usefixtures("careless")
def test_entries_that_get_in_each_others_way_are_a_usage_error(planned):
    model, data, plan = planned
    model.with_name("net.shallow.onnx").unlink()
    place = {"source": "h1", "output": "r1"}
    plan.write_text(json.dumps({"actions": [{"action": name, **place} for name in ("careless", "linearize")]}))
    words = "careless:h1->r1 cannot be carried out: no activation makes tensor 'r1'; leave it out of the plan"
    assert_error(run("apply", model, plan, "--calib", data), 2, words)
    assert "net.shallow.onnx" not in files(model.parent)


@pytest.mark.usefixtures("careless")
def test_each_of_them_alone_is_carried_out(planned):
    model, data, plan = planned
    plan.write_text('{"actions": [{"action": "careless", "source": "h1", "output": "r1"}]}')
    assert run("apply", model, plan, "--calib", data).exit_code == 0


def test_a_missing_plan_is_a_usage_error(planned):
    model, data, plan = planned
    plan.unlink()
    assert_error(run("apply", model, plan, "--calib", data), 2, "Cannot read the plan")


def test_the_plan_is_not_overwritten_by_the_report(planned):
    model, data, plan = planned
    before = plan.read_bytes()
    assert_error(run("apply", model, plan, "--calib", data, "-o", plan.with_suffix(".onnx")), 2, "the plan")
    assert plan.read_bytes() == before


def test_data_that_cannot_be_used_leave_no_model(planned):
    model, data, plan = planned
    data.write_bytes(b"nothing")
    assert_error(run("apply", model, plan, "--calib", data), 3, "data.npz")
    assert files(model.parent) == {"net.onnx", "data.npz", "plan.json"}
