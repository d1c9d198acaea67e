"""Runs that cannot be done."""

import os

import numpy as np
import onnx
import pytest

from tests.cli.commands import quick
from tests.networks import build, smooth
from tests.runs import NET, NET_WEIGHTS, assert_error, files, net, run, save_case

USAGE = {
    "an unknown flag": ("--target-relu", "0.5"),
    "a flag in snake_case": ("--target_relus", "0.5"),
    "training without a target": ("--finetune", "5steps"),
    "a share above one": ("--target-relus", "1.5"),
    "a word": ("--target-relus", "abc"),
    "nothing": ("--target-relus", ""),
    "zero": ("--target-macs", "0"),
    "a negative share": ("--target-relus", "-0.5"),
    "no number": ("--target-relus", "nan"),
    "infinity": ("--target-macs", "inf"),
    "a drop above one": ("--target-relus", "0.5", "--max-drop", "2"),
    "a drop that is no number": ("--target-relus", "0.5", "--max-drop", "nan"),
    "a drop that is a word": ("--target-relus", "0.5", "--max-drop", "abc"),
    "a negative drop": ("--target-relus", "0.5", "--max-drop", "-0.1"),
    "a kernel of four": ("--target-relus", "0.5", "--kernel", "4"),
    "a granularity nobody knows": ("--target-relus", "0.5", "--granularity", "row"),
    "a mask form nobody knows": ("--target-relus", "0.5", "--mask-form", "where"),
    "pixels that are split": ("--target-relus", "0.5", "--granularity", "pixel", "--mask-form", "split"),
    "no samples": ("--target-relus", "0.5", "--calib-samples", "0"),
    "a preset nobody knows": ("--target-relus", "0.5", "--preset", "svhn"),
    "a negative seed": ("--target-relus", "0.5", "--seed", "-1"),
    "a size of words": ("--target-relus", "0.5", "--memory", "lots"),
    "a shape without a name": ("--target-relus", "0.5", "--input-shape", "1,3,6,6"),
    "a shape of another input": ("--target-relus", "0.5", "--input-shape", "z:1,3,6,6"),
    "a kind of output nobody knows": ("--target-relus", "0.5", "--output-kind", "y=nonsense"),
    "an output that is not there": ("--target-relus", "0.5", "--output-kind", "nosuch=classes"),
    "a log level nobody knows": ("--target-relus", "0.5", "--log-level", "loud"),
    "a config file that is missing": ("--target-relus", "0.5", "--config", "none.toml"),
    "a measure nobody knows": ("--target-relus", "0.5", "--sensitivity", "guess"),
    "an endless ridge": ("--target-relus", "0.5", "--ridge", "inf"),
    "an output folder that is missing": ("--target-relus", "0.5", "-o", "none/out.onnx"),
    "a report folder that is missing": ("--target-relus", "0.5", "--json", "none/report.json"),
    "a plan folder that is missing": ("--target-relus", "0.5", "--plan-out", "none/plan.json"),
    "an output that is a folder": ("--target-relus", "0.5", "-o", "."),
    "an output where the report goes": ("--target-relus", "0.5", "-o", "out.json"),
    "a plan where the report goes": ("--target-relus", "0.5", "--plan-out", "net.shallow.json"),
    "a plan where the model goes": ("--target-relus", "0.5", "--plan-out", "net.shallow.onnx"),
    "a plan over the model": ("--target-relus", "0.5", "--plan-out", "net.onnx"),
    "a report over the model": ("--target-relus", "0.5", "--json", "net.onnx"),
    "a report over the optimized model": ("--target-relus", "0.5", "--json", "net.shallow.onnx"),
}


@pytest.mark.parametrize("arguments", USAGE.values(), ids=USAGE)
def test_wrong_options_are_refused_before_anything_is_written(case, arguments, monkeypatch):
    model, data = case
    monkeypatch.chdir(model.parent)
    before = model.read_bytes()
    (model.parent / "net.shallow.onnx").write_bytes(b"an earlier result")
    outcome = run("optimize", "net.onnx", "--calib", data, *arguments)
    assert outcome.exit_code == 2
    assert outcome.stdout == ""
    assert outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert files(model.parent) == {"net.onnx", "data.npz", "net.shallow.onnx"}
    assert model.read_bytes() == before
    assert (model.parent / "net.shallow.onnx").read_bytes() == b"an earlier result"


def test_an_accuracy_budget_without_data_is_refused(case):
    assert_error(run("optimize", case[0], "--max-drop", "0.01"), 2, "--calib", "--validate")
    assert_error(run("optimize", case[0], "--max-drop", "0.01", "--target-relus", "0.5"), 2)


@pytest.mark.parametrize("link", [None, os.symlink, os.link], ids=["itself", "a symbolic link", "a hard link"])
def test_the_input_is_never_the_output(case, tmp_path, link):
    model, data = case
    before = model.read_bytes()
    output = model
    if link is not None:
        output = tmp_path / "same.onnx"
        link(model, output)
    assert_error(quick(model, data, "--target-relus", "0.5", "-o", output), 2, "never overwritten")
    assert model.read_bytes() == before


def test_an_option_in_the_config_file_that_does_not_exist_is_named(case):
    case[0].with_name("onnxshallow.toml").write_text("target-relu = 0.5\n")
    assert_error(run("optimize", *case[:1], "--target-relus", "0.5"), 2, "onnxshallow.toml", "target-relus")


def truncate(model, data):
    model.write_bytes(model.read_bytes()[:-40])


def text(model, data):
    model.write_text("This is no network.\n" * 20)


def empty(model, data):
    model.write_bytes(b"")


def missing(model, data):
    model.unlink()


def folder(model, data):
    model.unlink()
    model.mkdir()


def invalid(model, data):
    proto = net()
    proto.graph.node[0].input[0] = "nowhere"
    onnx.save(proto, model)


def wrong_shape(model, data):
    np.savez(data, x=smooth(40, 3, 5))


def too_few_axes(model, data):
    np.savez(data, x=np.zeros((40, 3), np.float32))


def wrong_name(model, data):
    np.savez(data, a=smooth(40, 3, 6), b=smooth(40, 3, 6))


def integers(model, data):
    np.savez(data, x=np.zeros((40, 3, 6, 6), np.int64))


def not_finite(model, data):
    np.savez(data, x=np.full((40, 3, 6, 6), np.nan, np.float32))


def pickled(model, data):
    np.savez(data, x=np.array([{"a": 1}] * 40, dtype=object), allow_pickle=True)


def bare_pickle(model, data):
    data.write_bytes(b"\x80\x04\x95\x05\x00\x00\x00\x00\x00\x00\x00\x8c\x01a\x94.")


def cut_short(model, data):
    data.write_bytes(data.read_bytes()[:200])


def too_few(model, data):
    np.savez(data, x=smooth(2, 3, 6))


def no_samples(model, data):
    np.savez(data, x=smooth(0, 3, 6))


def other_count_of_labels(model, data):
    np.savez(data, x=smooth(40, 3, 6), y=np.zeros(39, np.int64))


def labels_of_other_classes(model, data):
    np.savez(data, x=smooth(40, 3, 6), y=np.full(40, 1000))


def no_data(model, data):
    data.unlink()


UNUSABLE = [
    truncate, text, empty, missing, folder, invalid, wrong_shape, too_few_axes, wrong_name, integers, not_finite,
    pickled, bare_pickle, cut_short, too_few, no_samples, other_count_of_labels, labels_of_other_classes, no_data,
]  # fmt: skip


@pytest.mark.parametrize("spoil", UNUSABLE, ids=lambda spoil: spoil.__name__)
def test_what_cannot_be_used_leaves_no_model_behind(case, spoil):
    model, data = case
    spoil(model, data)
    model.with_name("net.shallow.onnx").write_bytes(b"an earlier result")
    outcome = quick(model, data, "--target-relus", "0.5")
    assert_error(outcome, 3)
    assert files(model.parent) <= {"net.onnx", "data.npz"}
    assert outcome.stdout == ""


def test_a_model_that_computes_no_numbers_is_refused(tmp_path):
    weights = {**NET_WEIGHTS, "w0": np.full((4, 3, 3, 3), 1e38, np.float32)}
    model, data = save_case(tmp_path, build(NET, **weights), x=np.full((40, 3, 6, 6), 1e3, np.float32))
    assert_error(quick(model, data, "--target-relus", "0.5"), 3, "not finite")


def test_providers_that_are_not_there_are_wrong_usage(case):
    model, data = case
    assert_error(quick(model, data, "--target-relus", "0.7", "--providers", "abacus"), 2, "CPUExecutionProvider")
    assert quick(model, data, "--target-relus", "0.7", "--providers", "cpu").exit_code == 0


@pytest.mark.parametrize("command", ["analyze", "optimize", "sensitivity", "pareto"])
@pytest.mark.parametrize("place", ["missing", "a folder", "a name too long", "a link in circles", "no model"])
def test_unreadable_models_end_with_3(tmp_path, monkeypatch, command, place):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "circle.onnx").symlink_to("circle.onnx")
    (tmp_path / "text.onnx").write_text("text")
    name = {
        "missing": "none.onnx",
        "a folder": ".",
        "a name too long": "x" * 300 + ".onnx",
        "a link in circles": "circle.onnx",
        "no model": "text.onnx",
    }[place]
    assert_error(run(command, name), 3, *([name] if place != "a name too long" else []))


@pytest.mark.parametrize("name", ["none.npz", "circle", "x" * 300 + ".npz", "text.npz", "empty.npz"])
def test_unreadable_data_end_with_3(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "text.npz").write_text("text")
    (tmp_path / "empty.npz").touch()
    onnx.save(net(), "net.onnx")
    assert_error(run("optimize", "net.onnx", "--target-relus", "0.6", "--calib", name), 3, name)
