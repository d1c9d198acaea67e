"""Where a long course stands, in a file, so that a killed run goes on as if nothing had happened."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from onnxshallow.errors import ModelError, UsageError
from onnxshallow.model.files import atomic_path
from onnxshallow.text import first_line
from onnxshallow.training.held_out import Look

__all__ = ["load_checkpoint", "save_checkpoint"]


def save_checkpoint(path: Path, purpose: str, state: Mapping[str, Any], looks: list[Look]) -> None:
    """Write where a course stands, whole or not at all.

    Args:
        path: the file.
        purpose: what the course is for; another one does not read it.
        state: numbers, texts and tensors, in dicts and lists.
        looks: at the held-out samples so far.

    Raises:
        ModelError: the folder cannot be written to.
    """
    import torch

    try:
        with atomic_path(path) as temporary:
            torch.save({"purpose": purpose, "looks": [asdict(look) for look in looks], **state}, temporary)
    except OSError as error:
        raise ModelError(f"Cannot write {path}: {error.strerror or error}; choose another place.") from error


def load_checkpoint(path: Path, purpose: str) -> tuple[dict[str, Any], list[Look]] | None:
    """Where a course stands; None where there is no such file.

    Nothing but numbers, texts and tensors is read from it, so it runs no code.

    Raises:
        UsageError: it is of another course, or no checkpoint.
    """
    import torch

    if not path.is_file():
        return None
    try:
        state = torch.load(path, weights_only=True)
        found, looks = state.pop("purpose"), [Look(**look) for look in state.pop("looks")]
    except Exception as error:  # a damaged file raises nearly everything
        raise UsageError(
            f"{path} is no checkpoint ({first_line(error)}); remove it, or leave out --resume."
        ) from error
    if found != purpose:
        raise UsageError(
            f"{path} is of a run with another model, other samples or other options; give those again, or leave out "
            "--resume."
        )
    return state, looks
