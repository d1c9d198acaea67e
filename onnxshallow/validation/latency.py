"""How long models take in onnxruntime, measured side by side."""

import time
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from onnxshallow.model.session import Session

__all__ = ["speedup", "time_models"]

_RESAMPLES = 2000


def time_models(
    sessions: Mapping[str, Session],
    feeds: Mapping[str, np.ndarray],
    runs: int,
    seconds: float = float("inf"),
) -> dict[str, NDArray[np.float64]]:
    """Seconds of each run of each model.

    The models take turns, and the order changes from turn to turn, so that whatever else the machine does slows
    all of them alike.

    Args:
        sessions: models by name, with the same inputs.
        feeds: the input, one batch.
        runs: turns.
        seconds: after so long no further turn is begun.
    """
    times: dict[str, list[float]] = {name: [] for name in sessions}
    for session in sessions.values():
        session.run(feeds)
    begin = time.perf_counter()
    order = list(sessions)
    for turn in range(runs):
        for name in order if turn % 2 == 0 else order[::-1]:
            start = time.perf_counter()
            sessions[name].run(feeds)
            times[name].append(time.perf_counter() - start)
        if time.perf_counter() - begin > seconds:
            break
    return {name: np.array(values) for name, values in times.items()}


def speedup(
    first: NDArray[np.float64], second: NDArray[np.float64], seed: int = 0
) -> tuple[float, tuple[float, float]]:
    """Median of `first` over median of `second`, and its 95 % bootstrap interval over turns.

    Args:
        first: (runs,) seconds of one model.
        second: (runs,) seconds of the other, turn by turn.
        seed: of the resampling.
    """
    generator = np.random.default_rng(seed)
    turns = generator.integers(len(first), size=(_RESAMPLES, len(first)))
    ratios = np.median(first[turns], axis=1) / np.median(second[turns], axis=1)
    low, high = np.quantile(ratios, (0.025, 0.975))
    return float(np.median(first) / np.median(second)), (float(low), float(high))
