"""The engine's environment: where it is, and how it is made.

SPU needs an older Python, numpy and jax than onnxshallow, and takes about 1.2 GB, so that it lives in a virtual
environment of its own, made once by `onnxshallow private-setup`.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from platformdirs import user_data_path

from onnxshallow.errors import ExitCode, OnnxshallowError

__all__ = ["ENVIRONMENT", "REQUIREMENTS", "SetupError", "engine_folder", "engine_python", "pinned", "set_up"]

ENVIRONMENT = "ONNXSHALLOW_PRIVATE"
"""The variable that says in which folder the environment is."""
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
"""What is installed there, with versions."""

_VERSIONS = ("3.11", "3.10")
_MAKE = "`onnxshallow private-setup` makes it (Python 3.10 or 3.11, about 1.2 GB)"
_Run = Callable[..., "subprocess.CompletedProcess[str]"]


class SetupError(OnnxshallowError):
    """The engine's environment is not there, or cannot be made here."""

    exit_code = ExitCode.UNUSABLE_INPUT


def pinned() -> list[str]:
    """What is installed, each with its version."""
    lines = REQUIREMENTS.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def engine_folder() -> Path:
    """Where the environment is, or would be: what the variable says, else a folder of the user's."""
    stated = os.environ.get(ENVIRONMENT)
    return Path(stated) if stated else user_data_path("onnxshallow", appauthor=False) / "spu"


def engine_python(folder: Path | None = None) -> Path:
    """The Python of the environment.

    Raises:
        SetupError: there is none; says how to make one.
    """
    folder = folder or engine_folder()
    for place in ("bin/python", "Scripts/python.exe"):
        if (folder / place).is_file():
            return folder / place
    raise SetupError(f"There is no environment with SPU in {folder}: {_MAKE}, or {ENVIRONMENT} says where one is.")


def set_up(folder: Path | None = None, python: Path | None = None, run: _Run = subprocess.run) -> Path:
    """Make the environment, or bring it to the versions that are wanted.

    Args:
        folder: where; `engine_folder()` where it is not given.
        python: of version 3.10 or 3.11; searched for where it is not given.
        run: starts processes, as `subprocess.run` does.

    Returns:
        The Python of the environment, which imports SPU.

    Raises:
        SetupError: no Python fits, or the packages cannot be had for this machine.
    """
    folder = folder or engine_folder()
    base = next(_fitting([python] if python else _pythons(), run), None)
    if base is None:
        named = f"{python} is no" if python else "there is no"
        raise SetupError(
            f"SPU 0.9.5 needs Python 3.10 or 3.11, and {named} such Python here: name one with --python."
        )
    _do(run, [str(base), "-m", "venv", str(folder)], f"no virtual environment can be made in {folder}")
    made = engine_python(folder)
    install = [str(made), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(REQUIREMENTS)]
    _do(run, install, "SPU 0.9.5 cannot be installed on this machine")
    _do(run, [str(made), "-c", "import jax, spu"], "SPU 0.9.5 is installed and does not start")
    return made


def _pythons() -> Iterator[Path]:
    """This Python, and those that the search path has, best first."""
    yield Path(sys.executable)
    for version in _VERSIONS:
        found = shutil.which(f"python{version}")
        if found:
            yield Path(found)


def _fitting(candidates: Iterator[Path] | list[Path], run: _Run) -> Iterator[Path]:
    for path in candidates:
        command = [str(path), "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        try:
            done = run(command, capture_output=True, text=True, check=False)
        except OSError:
            continue
        if done.returncode == 0 and done.stdout.strip() in _VERSIONS:
            yield path


def _do(run: _Run, command: list[str], otherwise: str) -> None:
    """Run a command.

    Raises:
        SetupError: it failed; `otherwise` says what that means.
    """
    try:
        done = run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise SetupError(f"{otherwise[0].upper()}{otherwise[1:]}: {error.strerror or error}.") from error
    if done.returncode:
        lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        last = lines[-1] if lines else f"it ended with {done.returncode}"
        raise SetupError(f"{otherwise[0].upper()}{otherwise[1:]}: {last.rstrip('.')}.")
