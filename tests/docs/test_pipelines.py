"""`action.yml` and `.pre-commit-hooks.yaml`, run as GitHub and pre-commit run them."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
import yaml

from tests.docs.session import ROOT
from tests.runs import flipped, net, run, save_case

ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
HOOKS = {hook["id"]: hook for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))}


def run_action(folder, command, arguments):
    """The step that runs onnxshallow; how it ended, its outputs, and the summary of the job."""
    step = next(step for step in ACTION["runs"]["steps"] if step.get("id") == "run")
    (folder / "onnxshallow").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m onnxshallow "$@"\n')
    (folder / "onnxshallow").chmod(0o755)
    outputs, summary = folder / "outputs", folder / "summary"
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(folder), str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(ROOT),
        "COMMAND": command,
        "ARGUMENTS": arguments,
        "RUNNER_TEMP": str(folder),
        "GITHUB_OUTPUT": str(outputs),
        "GITHUB_STEP_SUMMARY": str(summary),
    }
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", step["run"]], cwd=folder, env=environment, check=False
    )
    said = summary.read_text() if summary.exists() else ""
    return done.returncode, dict(line.split("=", 1) for line in outputs.read_text().splitlines()), said


def test_the_action_ends_as_the_command_does_and_says_so(tmp_path):
    model, _ = save_case(tmp_path)
    odd = model.rename(tmp_path / "a net $(touch hacked).onnx")
    code, outputs, said = run_action(tmp_path, "analyze", f"{shlex.quote(str(odd))}\n--input-shape x:1,3,6,6")
    assert (code, outputs["exit-code"]) == (0, "0")
    assert "### onnxshallow: `a net $(touch hacked).onnx`" in said
    assert not (tmp_path / "hacked").exists()


def test_the_action_fails_with_the_code_of_the_command(tmp_path):
    code, outputs, said = run_action(tmp_path, "analyze", "gone.onnx")
    assert (code, outputs["exit-code"], said) == (3, "3", "")


def test_what_the_action_describes_is_what_it_reads():
    used = {text for step in ACTION["runs"]["steps"] for text in step.get("env", {}).values()}
    assert {f"${{{{ inputs.{name} }}}}" for name in ACTION["inputs"]} <= used
    assert not any("${{" in step["run"] for step in ACTION["runs"]["steps"])


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_is_installed_with_a_runtime_and_takes_every_file_at_once(name):
    hook = HOOKS[name]
    assert (hook["language"], hook["require_serial"]) == ("python", True)
    assert hook["additional_dependencies"] == ["onnxruntime"]


def test_the_hooks_fail_where_they_should(tmp_path):
    model, data = save_case(tmp_path)
    entries = {name: hook["entry"].split()[1:] for name, hook in HOOKS.items()}
    assert run(*entries["onnxshallow-analyze"], model, model).exit_code == 0
    assert run(*entries["onnxshallow-analyze"], model, data).exit_code == 3
    onnx.save(flipped(net(), "w3"), tmp_path / "net.shallow.onnx")
    arguments = [model, "--data", data]
    assert run(*entries["onnxshallow-validate"], *arguments, model).exit_code == 0
    assert run(*entries["onnxshallow-validate"], *arguments, model, tmp_path / "net.shallow.onnx").exit_code == 4
