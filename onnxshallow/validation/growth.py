"""How much larger activations become than the original's, on ordinary inputs and on inputs made to provoke it.

A square grows faster than the activation that it takes the place of, and what is too large at one site is squared at
those that follow: a network may be right on thousands of samples and end in 1e30 on the next. So growth is looked at,
site by site, and not accuracy:

    growth on some samples = max over sites of (largest |y| in the rewritten network / largest |y| in the original)
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxshallow.analysis import Analysis
from onnxshallow.data.changes import Changer
from onnxshallow.data.prepare import is_fixed, labelled_batches
from onnxshallow.data.samples import Samples
from onnxshallow.data.splits import subset
from onnxshallow.model.network import Network
from onnxshallow.model.scales import scales_of
from onnxshallow.model.session import Session
from onnxshallow.runtime.segment import build_segment
from onnxshallow.validation.judgement import Finding
from onnxshallow.validation.numbers import Real

__all__ = [
    "BOUND",
    "Growth",
    "Pair",
    "Peaks",
    "Range",
    "Stability",
    "bits",
    "growth",
    "most_extreme",
    "provoked",
    "stability_findings",
]

BOUND = 6.0
"""The growth beyond which a network with squares is refused, on any set."""

# A site that never gets beyond this share of the largest activation of all counts as if it did.
_SMALL = 1e-3
# Of how many extreme and how many other samples changed copies are looked at; how many are provoked; how many
# offenders of a set are kept.
_CHANGED, _PROVOKED, _MOST_OFFENDERS = 256, 128, 16
# Rounds of provoking, changes of each sample in a round, and how strong they are, in the range from black to white.
_ROUNDS, _TRIES, _STRENGTH = 6, 4, 0.1

Batch = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Growth:
    """How much larger activations become on some samples.

    Attributes:
        samples: which, in words.
        count: how many.
        factor: the largest growth of any site; infinite where an activation is not finite.
        site: where that is.
    """

    samples: str
    count: int
    factor: Real
    site: str


@dataclass(frozen=True)
class Range:
    """The range of one site's activations over all sets.

    Attributes:
        site: its name.
        original: the largest absolute value in the original.
        optimized: that in the rewritten network.
        bits: what fixed-point arithmetic needs before the point for the latter as it is stored, the sign included.
    """

    site: str
    original: Real
    optimized: Real
    bits: int | None


@dataclass(frozen=True)
class Stability:
    """How far activations of a network with squares grow on everything that was looked at.

    Attributes:
        growth: on each set of samples.
        ranges: of each site, over all of them.
    """

    growth: tuple[Growth, ...]
    ranges: tuple[Range, ...]

    @property
    def worst(self) -> Growth:
        """The set on which activations grow most."""
        return max(self.growth, key=lambda each: each.factor)

    @property
    def why_unstable(self) -> str | None:
        """What goes wrong, in words; None where nothing grows beyond `BOUND`."""
        worst = self.worst
        if worst.factor <= BOUND:
            return None
        return (
            f"on {worst.samples}, the activations of {worst.site!r} grow to {worst.factor:.3g} times the original's, "
            f"more than {BOUND:g}"
        )

    @property
    def in_short(self) -> str:
        """How far activations grow, in a few words."""
        return f"activations up to {max(self.worst.factor, 1.0):.2g}x the original's"


class Pair:
    """The original and a rewritten network, whose activations are compared on one set of samples after the other.

    Args:
        original: the original's parts.
        rewritten: the other network, whose tensors go by the original's names. Activations that it does not have are
            left out; outputs are compared as well.
        threads: of onnxruntime.
    """

    def __init__(self, original: Analysis, rewritten: Network, threads: int = 0) -> None:
        network = original.network
        named = {site.output: site.name for site in original.sites if site.node >= 0}
        named |= {name: name for name in network.output_names if _is_floating(network, name)}
        self._network = network
        self._names = {name: site for name, site in named.items() if rewritten.producer(name) is not None}
        self._runs = [Peaks(each, tuple(self._names), threads) for each in (network, rewritten)]
        self._largest, self._usual = np.zeros((2, len(self._names))), np.zeros(len(self._names))
        self._found: list[Growth] = []
        self.offenders: list[Batch] = []
        """Samples on which single activations grow beyond `BOUND`; a few of each set."""

    def peaks(self, batch: Batch) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The largest absolute values in both networks, (N, tensors) each.

        Raises:
            ModelError: onnxruntime fails on a network.
        """
        first, second = (run(batch) for run in self._runs)
        return first, second

    def look(self, name: str, batches: Iterable[Batch], *, usual: bool = False) -> NDArray[np.float64]:
        """Note the growth on some samples.

        Args:
            name: what they are, in words.
            batches: the samples.
            usual: whether they are samples as they are. What the original makes of these is no growth on changed
                copies, either, on which it makes little.

        Returns:
            (N, tensors) largest absolute values in the original.
        """
        if usual:
            self._usual = np.zeros(len(self._names))
        found: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []
        worst: list[tuple[float, Batch]] = []
        for batch in batches:
            found.append(self.peaks(batch))
            before, after = found[-1]
            before = np.maximum(before.max(axis=0, initial=0.0), self._usual)
            single = growth(before, after).max(axis=1, initial=0.0)
            if len(single) and single.max() > BOUND:
                rows = np.argsort(-single, kind="stable")[:_MOST_OFFENDERS]
                rows = np.sort(rows[single[rows] > BOUND])
                worst.append((float(single.max()), {key: values[rows] for key, values in batch.items()}))
        if not found:
            return np.zeros((0, len(self._names)))
        first, second = (np.concatenate(each) for each in zip(*found, strict=True))
        largest = np.array([each.max(axis=0, initial=0.0) for each in (first, second)])
        self._usual = largest[0] if usual else self._usual
        factors = growth(np.maximum(largest[0], self._usual), largest[1])
        place = int(factors.argmax()) if len(factors) else -1
        site = list(self._names.values())[place] if len(factors) else ""
        self._found.append(Growth(name, len(first), float(factors[place]) if len(factors) else 1.0, site))
        self._largest = np.maximum(self._largest, largest)
        self.offenders += [batch for _, batch in sorted(worst, key=lambda each: -each[0])[:_MOST_OFFENDERS]]
        return first

    def examine(self, name: str, samples: Samples, batch: int, seed: int = 0) -> None:
        """Note the growth on samples, on changed copies of the most extreme and of others, and on provoked ones.

        Args:
            name: what the samples are, in words.
            samples: the samples.
            batch: samples a batch.
            seed: of what is drawn at random.
        """
        whole = is_fixed(self._network.inputs)
        peaks = self.look(name, (feeds for feeds, _ in labelled_batches(samples, batch, whole=whole)), usual=True)
        most = max(batch, _CHANGED)
        extreme = most_extreme(peaks, most)
        others = subset(len(peaks), most, seed)
        starts = [
            feeds
            for part in (samples.take(np.union1d(extreme[:most], others)),)
            for feeds, _ in labelled_batches(part, batch, whole=whole)
        ]
        changer = Changer.of(self._network.inputs, starts, seed)
        for change in changer.changes:
            self.look(f"{name}, {change}", (changer.changed(feeds, change) for feeds in starts))
        if changer.images:
            self.look(f"{name}, in plain colours", [changer.plain(starts[0])])
        self.look(f"{name}, provoked", provoked(self, starts[: max(1, _PROVOKED // batch)], changer))

    @property
    def result(self) -> Stability:
        """All that was noted."""
        sites = zip(self._names.values(), *self._largest, self._runs[1].stored, strict=True)
        ranges = tuple(
            Range(site, float(before), float(after), bits(float(stored))) for site, before, after, stored in sites
        )
        return Stability(tuple(self._found), ranges)


def _is_floating(network: Network, tensor: str) -> bool:
    dtype = network.dtype(tensor)
    return dtype is not None and dtype.kind == "f"


def stability_findings(stability: Stability | None, advice: str = "") -> list[Finding]:
    """What speaks against a network whose activations grow.

    Args:
        stability: what is known; None for a network without squares, which nothing is known against.
        advice: what to do, in a sentence.
    """
    if stability is None or (why := stability.why_unstable) is None:
        return []
    return [Finding("stability", f"It is not stable: {why}. {advice}".rstrip(), refuses=True)]


def growth(original: NDArray[np.float64], rewritten: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much larger the second is than the first, tensor by tensor.

    Args:
        original: (..., tensors) largest absolute values.
        rewritten: likewise; NaN counts as infinite.
    """
    least = _SMALL * original.max(axis=-1, initial=0.0, keepdims=True)
    result: NDArray[np.float64] = rewritten / np.maximum(original, np.where(least > 0, least, 1.0))
    return result


class Peaks:
    """Runs a network, and says the largest absolute value of some tensors, sample by sample.

    What the network says that its channels were multiplied by (`onnxshallow.model.scales`) is taken back.

    Args:
        network: what is run.
        tensors: whose values are looked at.
        threads: of onnxruntime.

    Attributes:
        stored: (tensors,) the largest absolute values so far, as the network stores them.
    """

    def __init__(self, network: Network, tensors: Sequence[str], threads: int) -> None:
        model, self._reads = build_segment(network, network.ancestors(tensors), tensors)
        self._session, self._tensors = Session(model, threads=threads), tensors
        self._scales = scales_of(network.model)
        self.stored = np.zeros(len(tensors))

    @np.errstate(over="ignore")  # what overflows is infinite, as it is to be
    def __call__(self, batch: Batch) -> NDArray[np.float64]:
        """(N, tensors) largest absolute values; infinite where one is not finite."""
        values = self._session.run({name: batch[name] for name in self._reads}, self._tensors)
        count = len(next(iter(batch.values())))
        peaks = np.stack([_largest(value, count) for value in values], axis=1)
        self.stored = np.maximum(self.stored, peaks.max(axis=0, initial=0.0))
        for place, (name, value) in enumerate(zip(self._tensors, values, strict=True)):
            scale = self._scales.get(name)
            if scale is not None and value.ndim > 1 and value.shape[1] == len(scale):
                natural = value / scale.reshape(-1, *(1,) * (value.ndim - 2)).astype(value.dtype)
                peaks[:, place] = _largest(natural, count)
        return peaks


def _largest(values: np.ndarray, count: int) -> NDArray[np.float64]:
    """The largest absolute value of each sample (N,); that of all for each where samples cannot be told apart."""
    flat = values.reshape(count if values.ndim and len(values) % count == 0 else 1, -1)
    if not flat.size:
        return np.zeros(count)
    peaks = np.maximum(flat.max(axis=1), -flat.min(axis=1)).astype(np.float64)
    return np.broadcast_to(np.where(np.isnan(peaks), np.inf, peaks), (count,))


def most_extreme(peaks: NDArray[np.float64], count: int) -> NDArray[np.intp]:
    """The samples with the most unusual activations, in their order.

    Args:
        peaks: (N, tensors) largest absolute values.
        count: how many at the most.
    """
    usual = np.maximum(np.quantile(peaks, 0.99, axis=0), 1e-30)
    return np.sort(np.argsort(-(peaks / usual).max(axis=1, initial=0.0), kind="stable")[:count])


def provoked(pair: Pair, starts: Sequence[Batch], changer: Changer) -> Iterator[Batch]:
    """Inputs that make the rewritten network's activations grow, by an ascent that needs no gradient.

    In each round every sample is disturbed in several ways, and the one of most growth goes on. Growth is compared to
    the larger of what the original makes of the same input and of what it made of the starts.

    Args:
        pair: the networks.
        starts: samples to begin with, in batches.
        changer: disturbs them.

    Yields:
        The samples at the end of each round.
    """
    generator = np.random.default_rng(changer.seed)
    for start in starts:
        batch, (before, after) = dict(start), pair.peaks(start)
        usual = before.max(axis=0, initial=0.0)
        best = growth(np.maximum(before, usual), after).max(axis=1, initial=0.0)
        for _ in range(_ROUNDS):
            for _ in range(_TRIES):
                tried = changer.disturbed(batch, _STRENGTH, generator)
                before, after = pair.peaks(tried)
                now = growth(np.maximum(before, usual), after).max(axis=1, initial=0.0)
                batch = {name: _chosen(now > best, tried[name], batch[name]) for name in batch}
                best = np.maximum(best, now)
            yield batch


def _chosen(which: NDArray[np.bool_], first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.where(which.reshape(-1, *(1,) * (first.ndim - 1)), first, second)


def bits(largest: float) -> int | None:
    """What fixed-point arithmetic needs before the point for values up to the largest, the sign included."""
    if not math.isfinite(largest):
        return None
    return 1 + max(0, math.frexp(largest)[1])
