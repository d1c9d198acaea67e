"""How long models take in onnxruntime, measured side by side.

The models take turns. In a turn each runs several times in a row, and what counts is the median of these runs; the
speedup is the median over turns of the ratio within a turn. So what else the machine does for a while (it goes to all
models of a turn alike) and single runs that were interrupted move it little.

The first run after another model's is not timed: it finds the caches full of the other's weights. The sessions should
be made for it (`Session(in_turns=True)`), or the threads of one take the cores from the other.
"""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxshallow.model.session import Session

__all__ = ["Timing", "median_interval", "speedup", "time_models"]

_RESAMPLES = 2000
# Seconds that a model runs in a turn, at least; and before the first turn.
_TURN, _WARM_UP = 0.005, 0.05
# Runs a turn and model at least, and turns at least, where a number of runs is not given or allows it.
_LEAST_RUNS, _LEAST_TURNS = 3, 20


@dataclass(frozen=True, eq=False)
class Timing:
    """How long one model took.

    Attributes:
        turns: (turns,) median seconds of a run, turn by turn.
        runs: how many runs were timed.
    """

    turns: NDArray[np.float64]
    runs: int

    @property
    def median(self) -> float:
        """Seconds of a run."""
        return float(np.median(self.turns))

    def joined(self, later: "Timing") -> "Timing":
        """This and what was measured later, in one."""
        return Timing(np.concatenate([self.turns, later.turns]), self.runs + later.runs)


def time_models(
    sessions: Mapping[str, Session],
    feeds: Mapping[str, np.ndarray],
    runs: int | None = None,
    seconds: float = float("inf"),
    least: int = 1,
) -> dict[str, Timing]:
    """Time models in turns, the order of which changes from turn to turn.

    Args:
        sessions: models by name, with the same inputs.
        feeds: the input, one batch.
        runs: of each model; None for as many as `seconds` allows.
        seconds: after so long no further turn is begun.
        least: turns that are made however long they take, unless `runs` are fewer.
    """
    slowest = max(_warm_up(session, feeds) for session in sessions.values())
    most = _LEAST_RUNS if runs is None else max(1, runs // _LEAST_TURNS)
    wanted = math.ceil(_TURN / slowest)
    in_turn = max(most, wanted) if runs is None else min(most, max(_LEAST_RUNS, wanted))
    turns: dict[str, list[float]] = {name: [] for name in sessions}
    order, last, done, turn = list(sessions), "", 0, 0
    begin = time.perf_counter()
    while (runs is None or done < runs) and (turn < least or time.perf_counter() - begin <= seconds):
        count = in_turn if runs is None else min(in_turn, runs - done)
        for name in order if turn % 2 == 0 else order[::-1]:
            if name != last:
                sessions[name].run(feeds)
            turns[name].append(_median_of(sessions[name], feeds, count))
            last = name
        done, turn = done + count, turn + 1
    return {name: Timing(np.array(values), done) for name, values in turns.items()}


def _warm_up(session: Session, feeds: Mapping[str, np.ndarray]) -> float:
    """Seconds of the last of some first runs."""
    begin = time.perf_counter()
    while True:
        start = time.perf_counter()
        session.run(feeds)
        end = time.perf_counter()
        if end - begin > _WARM_UP:
            return max(end - start, 1e-7)


def _median_of(session: Session, feeds: Mapping[str, np.ndarray], count: int) -> float:
    times = []
    for _ in range(count):
        start = time.perf_counter()
        session.run(feeds)
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def speedup(
    first: NDArray[np.float64], second: NDArray[np.float64], seed: int = 0
) -> tuple[float, tuple[float, float]]:
    """How many times as fast the second model is: the median ratio of a turn, and its 95 % bootstrap interval.

    Args:
        first: (turns,) seconds of one model.
        second: (turns,) seconds of the other, turn by turn.
        seed: of the resampling.
    """
    ratios = first / second
    return float(np.median(ratios)), median_interval(ratios, seed)


def median_interval(values: NDArray[np.float64], seed: int = 0) -> tuple[float, float]:
    """The 95 % interval of a median, by the bootstrap over turns.

    Args:
        values: (turns,) what was measured.
        seed: of the resampling.

    References:
        B. Efron, *Bootstrap methods: another look at the jackknife*, Annals of Statistics 7 (1979); percentiles.
    """
    generator = np.random.default_rng(seed)
    medians = [np.median(generator.choice(values, len(values))) for _ in range(_RESAMPLES)]
    low, high = np.quantile(medians, (0.025, 0.975))
    return float(low), float(high)
