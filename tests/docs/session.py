"""Runs the blocks of one page, one after the other, in a folder of its own.

The folder looks like a clone in which the first command of the README was run. `onnxshallow` there is the one under
test; `pip install` and `pytest` only check what they are asked for, since they need the network or would never end.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.docs.blocks import Block, commands_of

__all__ = ["ROOT", "Page", "matches"]

ROOT = Path(__file__).resolve().parents[2]
_SHIMS = Path(__file__).parent / "shims"
_SHELL = ("bash", "-uo", "pipefail", "-c")
# Seconds after which a command is taken to hang; how long one takes depends on what else the machine does.
_HANGS_AFTER = 1800
# What pages need and `pip install '.[test]'` does not bring; without it their tests are skipped.
_OPTIONAL = {"sklearn", "torch"}
# Blocks that are shown, not run; each is checked for its syntax.
_PARSERS = {"json": json.loads, "toml": tomllib.loads, "yaml": yaml.safe_load}


class Page:
    """A working folder, and one Python that all Python blocks of the page share.

    Args:
        folder: an empty folder.
        prepared: a folder with what every page finds.
        memory: where commands that were run are kept.
    """

    def __init__(self, folder: Path, prepared: Path, memory: Path) -> None:
        self.folder = folder
        shutil.copytree(prepared, folder, symlinks=True, dirs_exist_ok=True)
        path = os.pathsep.join([str(_SHIMS), str(Path(sys.executable).parent), os.environ["PATH"]])
        self._environment = {
            **os.environ,
            "PATH": path,
            "PYTHONPATH": str(ROOT),
            "ONNXSHALLOW_SHIM_PYTHON": sys.executable,
            "ONNXSHALLOW_SHIM_MEMORY": str(memory),
            "GITHUB_STEP_SUMMARY": str(folder / "step-summary.md"),
            "PYTHONWARNINGS": "ignore",
        }
        self._python: subprocess.Popen[str] | None = None

    def close(self) -> None:
        """End the page's Python."""
        if self._python is not None:
            self._python.communicate()

    def run(self, block: Block) -> None:
        """Run or check one block.

        Raises:
            AssertionError: it fails, prints something else than is shown, or is of no known language.
        """
        if block.title is not None:
            self._write(block)
        elif block.language == "console":
            for command, expected in commands_of(block):
                if command.split()[0] == "make" and shutil.which("make") is None:
                    pytest.skip("make is not installed")
                output = self.shell(command)
                assert matches(expected, output), f"$ {command}\nprinted\n{output}\nand not\n" + "\n".join(expected)
        elif block.language in {"bash", "sh"}:
            self.shell("set -e\n" + block.text)
        elif block.language == "python":
            self._execute(block)
        else:
            assert block.language in _PARSERS, f"line {block.line}: a block of language {block.language!r}"
        if block.language in _PARSERS:
            parsed = _PARSERS[block.language](block.text)
            if block.language == "yaml" and "jobs" in parsed:
                self._run_steps(parsed)

    def shell(self, command: str) -> str:
        """The output of a command, which must end well.

        Raises:
            AssertionError: it does not.
        """
        done = subprocess.run(
            [*_SHELL, command],
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_HANGS_AFTER,
        )
        assert done.returncode == 0, f"$ {command}\nended with {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def _write(self, block: Block) -> None:
        """Save the block as the file that it is shown as; Python is compiled, too."""
        assert block.title is not None
        path = self.folder / block.title
        assert path.resolve().is_relative_to(self.folder.resolve()), f"{block.title} is outside"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, encoding="utf-8")
        if block.language == "python":
            compile(block.text, block.title, "exec")

    def _run_steps(self, workflow: dict) -> None:
        """Run what the jobs of a GitHub workflow run, step by step."""
        steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
        assert all("uses" in step or "run" in step for step in steps)
        for step in steps:
            if "run" in step:
                exports = "".join(f"export {name}={value}\n" for name, value in step.get("env", {}).items())
                self.shell("set -e\n" + exports + step["run"])

    def _execute(self, block: Block) -> None:
        if self._python is None:
            self._python = subprocess.Popen(
                [sys.executable, str(_SHIMS / "interpreter.py")],
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        assert self._python.stdin is not None
        assert self._python.stdout is not None
        self._python.stdin.write(json.dumps({"text": "\n" * block.line + block.text}) + "\n")
        self._python.stdin.flush()
        answer = self._python.stdout.readline()
        assert answer, "the page's Python ended"
        failure = json.loads(answer)
        missing = re.search(r"ModuleNotFoundError: No module named '(\w+)", failure or "")
        if missing and missing[1] in _OPTIONAL:
            pytest.skip(f"{missing[1]} is not installed")
        assert not failure, f"line {block.line}: {failure}"


def matches(expected: list[str], output: str) -> bool:
    """Whether the output is the one that is shown.

    `...` stands for anything, spaces count as one, and numbers with a decimal point may differ. Nothing shown means
    that anything may be printed.
    """
    if not any(line.strip() for line in expected):
        return True
    parts = [re.escape(_plain(part)) for part in "\n".join(expected).split("...")]
    pattern = ".*".join(re.sub(r"\d+\\\.\d+", r"[\\d.]+", part) for part in parts)
    return re.fullmatch(pattern.strip(), _plain(output).strip(), re.DOTALL) is not None


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text)
