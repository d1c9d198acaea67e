"""How long models take in onnxruntime, measured side by side.

The models take turns. In a turn each runs several times in a row, and what counts is the median of these runs; the
speedup is the median over turns of the ratio within a turn. So what else the machine does for a while (it goes to all
models of a turn alike) and single runs that were interrupted move it little.

The first run after another model's is not timed: it finds the caches full of the other's weights. The sessions should
be made for it (`Session(in_turns=True)`), or the threads of one take the cores from the other.

Two sessions of one model differ by up to half a per cent, turn after turn, through where their memory lies. So the
time is divided into parts, each of which has sessions of its own (docs/decisions/timing-in-turns.md).
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from onnxshallow.model.session import Session

__all__ = ["Timing", "median_interval", "speedup", "time_in_parts", "time_models"]

# Resamples of the bootstrap, and how many of them are drawn at once, which is many times as fast as one by one.
_RESAMPLES, _RESAMPLES_AT_ONCE = 2000, 250
# A model seems so much faster or slower than itself in the worst case (docs/decisions/timing-in-turns.md).
_LIKE_ITSELF = 0.01
# Seconds that a model runs in a turn, at least; and before the first turn.
_TURN, _WARM_UP = 0.005, 0.05
# Runs a turn and model at least, and turns at least, where a number of runs is not given or allows it.
_LEAST_RUNS, _LEAST_TURNS = 3, 20
# Seconds that models are timed for, seconds while an interval is wider than it should be, and that width.
_SECONDS, _MOST_SECONDS, _WIDE = 3.0, 12.0, 0.02
# How many parts the time has, and turns of each that are made however long they take: fewer say nothing of how much
# the figures vary.
_PARTS, _LEAST_TURNS_A_PART = 4, 5


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


def time_in_parts(
    models: Sequence[onnx.ModelProto],
    feeds: Mapping[str, np.ndarray],
    threads: int,
    runs: int | None = None,
    seconds: float | None = None,
    seed: int = 0,
) -> list[Timing]:
    """Time models for about so long, or for as long as it takes to know how they compare.

    Args:
        models: with the same inputs. The others are compared with the first.
        feeds: the input, one batch.
        threads: of onnxruntime; 0 for all cores.
        runs: of each model; None for as many as the time allows.
        seconds: that it takes, about. None for as long as `runs` take, or, where these are not given, for 3 s and up
            to 12 s while an interval of a speedup is wider than 2 %.
        seed: of the intervals.
    """

    def part(runs: int | None, seconds: float) -> list[Timing]:
        sessions = {str(n): Session(model, threads=threads, in_turns=True) for n, model in enumerate(models)}
        return list(time_models(sessions, feeds, runs, seconds, _LEAST_TURNS_A_PART).values())

    if runs is not None:
        return part(runs, float("inf") if seconds is None else seconds)
    wanted, most = (_SECONDS, _MOST_SECONDS) if seconds is None else (seconds, seconds)
    begin = time.perf_counter()
    timings = part(None, wanted / _PARTS)
    while (spent := time.perf_counter() - begin) < wanted or (spent < most and _is_wide(timings, seed)):
        timings = [first.joined(later) for first, later in zip(timings, part(None, wanted / _PARTS), strict=True)]
    return timings


def _is_wide(timings: Sequence[Timing], seed: int) -> bool:
    """Whether longer timing may tell more of a speedup."""
    for timing in timings[1:]:
        ratios = timings[0].turns / timing.turns
        low, high = median_interval(ratios, seed)
        if high - low > _WIDE * np.median(ratios):
            return True
    return False


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
    """How many times as fast the second model is: the median ratio of a turn, and its 95 % interval.

    The interval is the bootstrap's, and a hundredth on either side for what sessions of one model differ by: a copy
    of a model is neither faster nor slower.

    Args:
        first: (turns,) seconds of one model.
        second: (turns,) seconds of the other, turn by turn.
        seed: of the resampling.
    """
    ratios = first / second
    low, high = median_interval(ratios, seed)
    return float(np.median(ratios)), (low * (1 - _LIKE_ITSELF), high * (1 + _LIKE_ITSELF))


def median_interval(values: NDArray[np.float64], seed: int = 0) -> tuple[float, float]:
    """The 95 % interval of a median, by the bootstrap over turns.

    Args:
        values: (turns,) what was measured.
        seed: of the resampling.

    References:
        B. Efron, *Bootstrap methods: another look at the jackknife*, Annals of Statistics 7 (1979); percentiles.
    """
    generator = np.random.default_rng(seed)
    medians = [
        np.median(generator.choice(values, (_RESAMPLES_AT_ONCE, len(values))), axis=1)
        for _ in range(_RESAMPLES // _RESAMPLES_AT_ONCE)
    ]
    low, high = np.quantile(medians, (0.025, 0.975))
    return float(low), float(high)
