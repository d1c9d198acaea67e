"""torch, an extra that is imported where it is needed, and how it is to compute."""

import importlib.util
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from onnxshallow.errors import UsageError
from onnxshallow.model.session import usable_cores

__all__ = ["computing_with", "device", "fast_arithmetic", "in_arithmetic", "require_torch"]


def require_torch() -> None:
    """Make sure that torch is there.

    Raises:
        UsageError: it is not installed.
    """
    if importlib.util.find_spec("torch") is None:
        raise UsageError("Training needs torch, which is not installed; run `pip install 'onnxshallow[finetune]'`.")


def device() -> str:
    """Where training runs: `cuda` where torch has a card, else `cpu`."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def fast_arithmetic() -> str | None:
    """The short floats that this machine multiplies faster than others; None where it has no instructions for them.

    It goes by what the machine has and not by the clock, so that the same steps give the same bytes.
    """
    import torch

    if device() == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else None
    return "bfloat16" if {"avx512_bf16", "amx_bf16"} & _processor_flags() else None


def _processor_flags() -> set[str]:
    """What the processor can do, as Linux says; nothing elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return set()
    line = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return set(line.partition(":")[2].split())


@contextmanager
def computing_with(threads: int | None, seed: int) -> Iterator[None]:
    """Let torch compute with so many threads in the block, always in the same way.

    Args:
        threads: None or 0 for as many as usable cores. Sums of gradients are cut by their number, so it is part of
            what gives the same bytes.
        seed: of what torch draws at random.
    """
    import torch

    before, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    filled = torch.utils.deterministic.fill_uninitialized_memory
    torch.set_num_threads(threads or usable_cores())
    torch.use_deterministic_algorithms(device() == "cpu")
    # Nothing here reads memory that it did not write, and filling it takes a tenth of the time.
    torch.utils.deterministic.fill_uninitialized_memory = False
    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(before)
        torch.use_deterministic_algorithms(strict)
        torch.utils.deterministic.fill_uninitialized_memory = filled


def in_arithmetic(name: str | None) -> AbstractContextManager[Any]:
    """A block in which layers multiply in short floats; None for float32."""
    import torch

    if name is None:
        return nullcontext()
    block: AbstractContextManager[Any] = torch.autocast(device(), dtype=getattr(torch, name))
    return block
