"""The action of docs/how-to/adding-an-action.md, installed as the package that the page makes of it."""

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import onnx
import pytest

from tests.docs.blocks import blocks_of
from tests.networks import smooth
from tests.runs import assert_usable, net, read_json, run, save_case
from tests.short_runs import MAIN, PATH

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "adding-an-action.md"
# The same action before the built-in ones, without its entry point.
BEFORE = """
from onnxshallow.actions import registry
from onnxshallow_bypass import Bypass
registry.BUILT_IN, registry.entry_points = (Bypass(), *registry.BUILT_IN), lambda group: ()
"""
# By magnitude, all candidates of a site do the same damage; where layers are not worth any, the first is taken.
FIRST = ("--sensitivity", "magnitude", "--target-relus", "0.7", "--granularity", "channel")


def wheel(folder, name, module, entry_points):
    """A wheel with one module, made by hand."""
    info, tag = f"{name.replace('-', '_')}-1.0.dist-info", "py3-none-any"
    lines = "".join(f"{key} = {value}\n" for key, value in entry_points.items())
    content = {
        f"{module[0]}.py": module[1],
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n",
        f"{info}/entry_points.txt": f"[onnxshallow.actions]\n{lines}",
    }
    content[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in (*content, f"{info}/RECORD"))
    path = folder / f"{name.replace('-', '_')}-1.0-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in content.items():
            archive.writestr(member, text)
    return path


def install(folder, *arguments):
    """Install a wheel into a folder of its own, with nothing from the network."""
    target = folder / "installed"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", str(target)]
    done = subprocess.run([*command, wheel(folder, *arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture(scope="module")
def bypass(tmp_path_factory):
    """The page's package, installed."""
    files = {block.title: block.text for block in blocks_of(PAGE) if block.title is not None}
    project = tomllib.loads(files["onnxshallow-bypass/pyproject.toml"])["project"]
    module = ("onnxshallow_bypass", files["onnxshallow-bypass/onnxshallow_bypass.py"])
    points = project["entry-points"]["onnxshallow.actions"]
    return install(tmp_path_factory.mktemp("bypass"), project["name"], module, points)


@pytest.fixture
def case(tmp_path):
    """A small network and its data."""
    return save_case(tmp_path)


def run_with(installed, *arguments, before="", **variables):
    """Run a command in a process that finds what is `installed`."""
    command = [sys.executable, "-c", before + MAIN, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(installed), *PATH.values()]), "COLUMNS": "200"}
    return subprocess.run(command, capture_output=True, text=True, env={**environment, **variables}, check=False)


def test_its_candidates_are_found_and_change_no_other_figure_in_whatever_order(bypass, case, tmp_path):
    model, data = case
    arguments = ("sensitivity", model, "--calib", data, "--json")
    assert run(*arguments, tmp_path / "without.json").exit_code == 0
    for name, before in (("after", ""), ("before", BEFORE)):
        folder = str(tmp_path / name)  # what one has measured must not be the other's
        done = run_with(bypass, *arguments, tmp_path / f"{name}.json", before=before, ONNXSHALLOW_CACHE=folder)
        assert done.returncode == 0, done.stderr
    without, after, first = (read_json(tmp_path / f"{name}.json")["sites"] for name in ("without", "after", "before"))
    for plain, *others in zip(without, after, first, strict=True):
        own = f"bypass:h{plain['name'][1]}->{plain['name']}"
        assert own not in plain["damages"]
        assert plain["sensitivity"] == next(v for k, v in plain["damages"].items() if k.startswith("linearize"))
        for other in others:
            assert other["damages"].pop(own) > 0
            assert other == plain


def test_it_is_applied_and_reported_in_its_own_words(bypass, case, tmp_path):
    model, data = case
    plan = tmp_path / "plan.json"
    plan.write_text('{"actions": [{"action": "bypass", "source": "h1", "output": "r1"}]}')
    done = run_with(bypass, "apply", model, plan, "--calib", data, "--html")
    assert done.returncode == 0, done.stderr
    optimized = onnx.load(tmp_path / "net.shallow.onnx")
    assert [node.op_type for node in optimized.graph.node].count("Relu") == 2
    assert_usable(optimized, net(), {"x": smooth(3, 3, 6)})
    report = read_json(tmp_path / "net.shallow.json")
    (change,), decision = report["changes"], report["decisions"][1]
    assert (change["key"], change["short"]) == ("bypass:h1->r1", "left out: nothing in its place")
    assert (decision["name"], decision["action"]) == ("r1", "bypass")
    assert decision["reason"] == change["what"] == "left out; the layer that makes 'h1' was fitted to make 'r1'"
    assert report["versions"]["onnxshallow-bypass"] == "1.0"
    assert "left out: nothing in its place" in (tmp_path / "net.shallow.html").read_text(encoding="utf-8")


def test_it_is_planned_and_shown_on_the_terminal(bypass, case, tmp_path):
    model, data = case
    arguments = ("optimize", model, "--calib", data, *FIRST, "--dry-run", "--plan-out", tmp_path / "plan.json")
    done = run_with(bypass, *arguments, before=BEFORE)
    assert done.returncode == 0, done.stderr
    (entry,) = read_json(tmp_path / "plan.json")["actions"]
    assert (entry["action"], entry["kernel"], entry["exactness"]) == ("bypass", None, "fitted")
    assert ["bypass", "-"] in [line.split()[1:3] for line in done.stdout.splitlines()]


def test_a_name_that_is_taken_ends_every_command_with_a_sentence(case, tmp_path):
    module = ("twice", "from onnxshallow.actions.linearize import Linearize\n")
    installed = install(tmp_path, "second-linearize", module, {"linearize": "twice:Linearize"})
    done = run_with(installed, "analyze", case[0])
    assert done.returncode == 2
    assert done.stderr == (
        "error: The action 'linearize' of the package second-linearize 1.0 has a name that is taken; update the "
        "package, or uninstall it.\n"
    )


def test_what_cannot_be_loaded_ends_every_command_with_a_sentence(case, tmp_path):
    installed = install(tmp_path, "broken", ("broken", "import nowhere\n"), {"broken": "broken:Broken"})
    done = run_with(installed, "analyze", case[0])
    assert done.returncode == 2
    assert "'broken:Broken' of the package broken 1.0 cannot be loaded (ModuleNotFoundError: " in done.stderr
    assert len(done.stderr.splitlines()) == 1
