"""Damaged files from seeds: models and archives as nobody should send them."""

import random

import onnx

from tests.damage import bombs, content, graphs, outside, tensors  # each enters its damages in the table
from tests.damage.archives import ARCHIVES
from tests.damage.table import MODELS, base

__all__ = ["ARCHIVES", "MODELS", "damaged_archive", "damaged_model", "every_kind"]

_FAMILIES = (bombs, content, graphs, outside, tensors)


def every_kind() -> tuple[str, ...]:
    """The kinds of damage, models first."""
    return (*MODELS, *ARCHIVES)


def damaged_model(random: random.Random, kind: str | None = None) -> tuple[str, bytes]:
    """A damaged model.

    Args:
        random: decides everything.
        kind: of damage; one of `MODELS`, drawn if not given.

    Returns:
        The kind and the file's bytes.
    """
    kind = kind or random.choice(list(MODELS))
    result = MODELS[kind].apply(base(random), random)
    return kind, result.SerializeToString() if isinstance(result, onnx.ModelProto) else result


def damaged_archive(random: random.Random, kind: str | None = None) -> tuple[str, bytes]:
    """A damaged `.npz`, made for `tests.networks.residual()`; see `damaged_model`."""
    kind = kind or random.choice(list(ARCHIVES))
    return kind, ARCHIVES[kind][0](random)
