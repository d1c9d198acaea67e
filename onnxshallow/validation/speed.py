"""How fast a model that was made is beside its original, and what that says for or against it."""

from collections.abc import Sequence
from dataclasses import dataclass

from onnxshallow.options.quantities import read_latency
from onnxshallow.validation.judgement import Finding
from onnxshallow.validation.latency import Timing, median_interval, speedup

__all__ = ["Speed", "speed_finding", "speed_in_words", "speeds"]


@dataclass(frozen=True, kw_only=True)
class Speed:
    """How fast a model is in onnxruntime on this machine, beside its original.

    Attributes:
        original_ms: median milliseconds of a run of the original.
        optimized_ms: likewise, of the model.
        optimized_interval: 95 % interval of that.
        speedup: how many times as fast as the original the model is.
        speedup_interval: 95 % interval of that; of a copy of the original it contains 1.
        batch_size: samples a run.
        threads: of onnxruntime; None for all cores.
        runs: of each model.
    """

    original_ms: float
    optimized_ms: float
    optimized_interval: tuple[float, float]
    speedup: float
    speedup_interval: tuple[float, float]
    batch_size: int
    threads: int | None
    runs: int

    @property
    def differs(self) -> bool:
        """Whether the model is faster or slower beyond what can be measured."""
        low, high = self.speedup_interval
        return not low <= 1 <= high


def speeds(timings: Sequence[Timing], batch_size: int, threads: int | None, seed: int = 0) -> list[Speed]:
    """What was measured of models that took turns, each beside the first.

    Args:
        timings: of the original, then of the others.
        batch_size: samples a run.
        threads: of onnxruntime; None for all cores.
        seed: of the intervals.
    """
    original, *others = timings
    found = []
    for timing in others:
        ratio, interval = speedup(original.turns, timing.turns, seed)
        low, high = median_interval(timing.turns, seed)
        found.append(
            Speed(
                original_ms=round(1000 * original.median, 4),
                optimized_ms=round(1000 * timing.median, 4),
                optimized_interval=(round(1000 * low, 4), round(1000 * high, 4)),
                speedup=ratio,
                speedup_interval=interval,
                batch_size=batch_size,
                threads=threads,
                runs=timing.runs,
            )
        )
    return found


def speed_in_words(speed: Speed) -> str:
    """The ratio with its interval: "0.92x as fast as the original in onnxruntime (95 % 0.91 to 0.93), batch 1".

    A ratio that cannot be told from 1 is not named.
    """
    low, high = speed.speedup_interval
    known = f"(95 % {low:.2f} to {high:.2f}), batch {speed.batch_size}"
    if speed.differs:
        return f"{speed.speedup:.2f}x as fast as the original in onnxruntime {known}"
    return f"as fast as the original in onnxruntime within what can be measured {known}"


def speed_finding(speed: Speed, target: float | str | None = None) -> Finding:
    """What the speed says of a model: against it only where one was asked for.

    Args:
        speed: as measured.
        target: the latency that was asked for, as in `--target-latency`. It is met where the whole interval keeps it.
    """
    said = speed_in_words(speed)
    if target is None:
        return Finding("speed", said)
    wanted, absolute = read_latency(target)
    taken = speed.optimized_interval[1] if absolute else 1 / speed.speedup_interval[0]
    if taken <= wanted:
        return Finding("speed", said)
    known = f"{taken:.3f} ms" if absolute else f"{taken:.3f} of the original's time"
    return Finding(
        "speed",
        f"The optimized model is {said}: it may take {known}, more than --target-latency {target} allows. Raise the "
        "target, or measure on a machine with less other load.",
        refuses=True,
    )
