"""Looks for growth: two networks run on samples, on changed copies of these, and on inputs made to provoke it.

What the original does is remembered, so that the next rewritten network is compared with it at half the cost.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property

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
from onnxshallow.runtime.progress import Progress, Silent, counted
from onnxshallow.runtime.segment import build_segment
from onnxshallow.validation.growth import BOUND, Growth, Range, Stability, bits, growth

__all__ = ["Pair", "Peaks", "Reference", "looked_at", "most_extreme", "provoked"]

# Of how many extreme and how many other samples changed copies are looked at; how many are provoked; how many
# offenders of a set are kept.
_CHANGED, _PROVOKED, _MOST_OFFENDERS = 256, 128, 16
# Where the few changed copies grow beyond this, all samples are changed that way, as what grows has a long tail; as
# many as these multiply-adds are enough for, which all such ways share, and so many times all samples together.
_SUSPECT, _SUSPECT_MACS, _SUSPECT_PASSES = 2.0, 4e12, 2
# Rounds of provoking, changes of each sample in a round, and how strong they are, in the range from black to white.
_ROUNDS, _TRIES, _STRENGTH = 6, 4, 0.1

Batch = Mapping[str, np.ndarray]


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

    def __call__(self, batch: Batch) -> NDArray[np.float64]:
        """(N, tensors) largest absolute values; infinite where one is not finite."""
        return self.read(batch)[0]

    @np.errstate(over="ignore")  # what overflows is infinite, as it is to be
    def read(self, batch: Batch) -> tuple[NDArray[np.float64], list[np.ndarray]]:
        """The largest absolute values, and the values that they are of, as the network stores them."""
        values = self._session.run({name: batch[name] for name in self._reads}, self._tensors)
        count = len(next(iter(batch.values())))
        peaks = np.stack([_largest(value, count) for value in values], axis=1)
        self.stored = np.maximum(self.stored, peaks.max(axis=0, initial=0.0))
        for place, (name, value) in enumerate(zip(self._tensors, values, strict=True)):
            scale = self._scales.get(name)
            if scale is not None and value.ndim > 1 and value.shape[1] == len(scale):
                natural = value / scale.reshape(-1, *(1,) * (value.ndim - 2)).astype(value.dtype)
                peaks[:, place] = _largest(natural, count)
        return peaks, values


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


class Reference:
    """What the original makes of samples, which is remembered by the name of the set.

    Args:
        original: the original's parts.
        threads: of onnxruntime.

    Attributes:
        names: what each tensor that is looked at is called: the sites that the network has, and its outputs.
        suspects: how many samples can be afforded that are changed in ways that are suspect.
    """

    def __init__(self, original: Analysis, threads: int = 0) -> None:
        self.network, self.threads = original.network, threads
        self.suspects = _suspects(original.cost.macs)
        self.names = {site.output: site.name for site in original.sites if site.node >= 0}
        self.names |= {name: name for name in self.network.output_names if _is_floating(self.network, name)}
        self._known: dict[str, list[NDArray[np.float64]]] = {}

    @cached_property
    def peaks(self) -> Peaks:
        """Runs the original."""
        return Peaks(self.network, tuple(self.names), self.threads)

    def read(
        self, name: str, batches: Iterable[Batch], tensors: Sequence[str]
    ) -> Iterator[tuple[Batch, Sequence[np.ndarray]]]:
        """Batches, each with the values of some tensors; what `over` says of the set is remembered on the way.

        Args:
            name: of the set.
            batches: the samples.
            tensors: some of the original's.
        """
        both = list(dict.fromkeys([*self.names, *tensors]))
        places, run = [both.index(tensor) for tensor in tensors], Peaks(self.network, both, self.threads)
        known = self._known[name] = []
        for batch in batches:
            peaks, values = run.read(batch)
            known.append(peaks[:, : len(self.names)])
            yield batch, [values[place] for place in places]

    def over(self, name: str, batches: Iterable[Batch]) -> Iterator[tuple[Batch, NDArray[np.float64]]]:
        """Batches, each with the largest absolute values (N, tensors).

        Args:
            name: of the set; the same name is for the same samples in the same batches.
            batches: the samples.
        """
        known = self._known.setdefault(name, [])
        for number, batch in enumerate(batches):
            if number == len(known):
                known.append(self.peaks(batch))
            yield batch, known[number]

    def on(self, name: str, batches: Iterable[Batch]) -> NDArray[np.float64]:
        """The largest absolute values (N, tensors) of all samples of a set."""
        found = [peaks for _, peaks in self.over(name, batches)]
        return np.concatenate(found) if found else np.zeros((0, len(self.names)))


class Pair:
    """The original and a rewritten network, whose activations are compared on one set of samples after the other.

    Args:
        reference: what the original does.
        rewritten: the other network, whose tensors go by the original's names. Activations that it does not have are
            left out; outputs are compared as well.
        suspects: names of samples, each with a change by which these grew in a network much like this one.
    """

    def __init__(self, reference: Reference, rewritten: Network, suspects: Iterable[tuple[str, str]] = ()) -> None:
        self._reference = reference
        both = [(place, name) for place, name in enumerate(reference.names) if rewritten.producer(name) is not None]
        self._columns = np.array([place for place, _ in both], np.intp)
        self._sites = [reference.names[name] for _, name in both]
        self._rewritten = Peaks(rewritten, [name for _, name in both], reference.threads)
        self._largest, self._usual = np.zeros((2, len(both))), np.zeros(len(both))
        self._found: dict[str, Growth] = {}
        self.suspects = set(suspects)
        self.offenders: list[Batch] = []
        """Samples on which single activations grow beyond `BOUND`; a few of each set."""

    def peaks(self, batch: Batch) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The largest absolute values in both networks, (N, tensors) each.

        Raises:
            ModelError: onnxruntime fails on a network.
        """
        return self._reference.peaks(batch)[:, self._columns], self._rewritten(batch)

    def look(self, name: str, batches: Iterable[Batch], *, usual: bool = False) -> None:
        """Note the growth on some samples.

        Args:
            name: what they are, in words.
            batches: the samples.
            usual: whether they are samples as they are. What the original makes of these is no growth on changed
                copies, either, on which it makes little.
        """
        if usual:
            self._usual = np.zeros(len(self._sites))
        pairs = (
            (batch, before[:, self._columns], self._rewritten(batch))
            for batch, before in self._reference.over(name, batches)
        )
        self._note(name, pairs, usual=usual)

    def examine(
        self,
        name: str,
        samples: Samples,
        batch: int,
        seed: int = 0,
        *,
        briefly: bool = False,
        progress: Progress | None = None,
    ) -> None:
        """Note the growth on samples, on changed copies of the most extreme and of others, and on provoked ones.

        Where changed copies of these grow, those of all samples are looked at, or of as many as can be afforded.

        Args:
            name: what the samples are, in words.
            samples: the samples.
            batch: samples a batch.
            seed: of what is drawn at random.
            briefly: look at all the samples only where nothing grew too far on the few that are changed.
            progress: shows how it goes.
        """
        whole, progress = is_fixed(self._reference.network.inputs), progress or Silent()

        def batches(part: Samples) -> Iterator[Batch]:
            return (feeds for feeds, _ in labelled_batches(part, batch, whole=whole))

        passes = 1 if briefly else 2
        with progress.stage(f"Looking at {name}", passes * -(-len(samples) // batch)) as step:
            peaks = self._reference.on(name, counted(batches(samples), step))
            if not briefly:
                self.look(name, counted(batches(samples), step), usual=True)
        self._usual = peaks[:, self._columns].max(axis=0, initial=0.0)
        most = max(batch, _CHANGED)
        extreme = most_extreme(peaks, most)
        few = samples.take(np.union1d(extreme[:most], subset(len(peaks), most, seed)))
        starts = list(batches(few))
        changer = Changer.of(self._reference.network.inputs, starts, seed)
        with progress.stage("Looking for growth", len(starts) * len(changer.changes)) as step:
            for change in changer.changes:
                self.look(f"{name}, {change}", (changer.changed(feeds, change) for feeds in counted(starts, step)))
                if self._factor(f"{name}, {change}") > _SUSPECT:
                    self.suspects.add((name, change))
        if changer.images:
            self.look(f"{name}, in plain colours", [changer.plain(starts[0])])
        provoking = starts[: max(1, _PROVOKED // batch)]
        with progress.stage("Provoking growth", _ROUNDS * len(provoking)) as step:
            self._note(f"{name}, provoked", counted(provoked(self, provoking, changer), step))
        if briefly and self.offenders:
            return
        suspects = [change for change in changer.changes if (name, change) in self.suspects]
        suspects.sort(key=lambda change: -self._factor(f"{name}, {change}"))
        each = min(self._reference.suspects, _SUSPECT_PASSES * len(samples)) // max(len(suspects), 1)
        more = samples.take(subset(len(samples), max(len(few), each), seed))
        suspects = suspects if len(more) > len(few) else []
        total = sum(-(-len(part) // batch) for part in [samples] * briefly + [more] * len(suspects))
        if not total:
            return
        with progress.stage(f"Looking closer at {name}", total) as step:
            if briefly:
                self.look(name, counted(batches(samples), step), usual=True)
            for change in suspects:
                if briefly and self.offenders:
                    break
                copies = (changer.changed(feeds, change) for feeds in counted(batches(more), step))
                self.look(f"more {name}, {change}", copies)

    def _factor(self, name: str) -> float:
        """The growth that was noted on a set; 1 where none was."""
        return self._found[name].factor if name in self._found else 1.0

    def _note(
        self,
        name: str,
        pairs: Iterable[tuple[Batch, NDArray[np.float64], NDArray[np.float64]]],
        *,
        usual: bool = False,
    ) -> None:
        """Note the growth on batches, each with the peaks of both networks."""
        first, second, count = *np.zeros((2, len(self._sites))), 0
        worst: list[tuple[float, Batch]] = []
        for batch, before, after in pairs:
            count += len(after)
            first, second = (np.maximum(a, b.max(axis=0, initial=0.0)) for a, b in ((first, before), (second, after)))
            single = growth(np.maximum(before.max(axis=0, initial=0.0), self._usual), after).max(axis=1, initial=0.0)
            if len(single) and single.max() > BOUND:
                rows = np.argsort(-single, kind="stable")[:_MOST_OFFENDERS]
                rows = np.sort(rows[single[rows] > BOUND])
                worst.append((float(single.max()), {key: values[rows] for key, values in batch.items()}))
        if not count:
            return
        if usual:
            self._usual = first
        factors = growth(np.maximum(first, self._usual), second)
        place = int(factors.argmax()) if len(factors) else -1
        site, factor = (self._sites[place], float(factors[place])) if len(factors) else ("", 1.0)
        self._found[name] = Growth(name, count, factor, site)
        self._largest = np.maximum(self._largest, [first, second])
        self.offenders += [batch for _, batch in sorted(worst, key=lambda each: -each[0])[:_MOST_OFFENDERS]]

    @property
    def result(self) -> Stability:
        """All that was noted."""
        sites = zip(self._sites, *self._largest, self._rewritten.stored, strict=True)
        ranges = tuple(
            Range(site, float(before), float(after), bits(float(stored))) for site, before, after, stored in sites
        )
        return Stability(tuple(self._found.values()), ranges)


def _suspects(macs: int) -> int:
    """How many samples can be afforded that are changed in suspect ways, of a network of so many multiply-adds."""
    return int(_SUSPECT_MACS / max(macs, 1))


def looked_at(count: int, changes: int, macs: int) -> int:
    """About how many samples `Pair.examine` runs a network on, where one change is suspect.

    Args:
        count: samples that there are.
        changes: ways to change them.
        macs: multiply-adds of the network on a sample.
    """
    few = min(count, 2 * _CHANGED)
    return count + changes * few + _PROVOKED * (1 + _ROUNDS * _TRIES) + min(count, _suspects(macs))


def _is_floating(network: Network, tensor: str) -> bool:
    dtype = network.dtype(tensor)
    return dtype is not None and dtype.kind == "f"


def provoked(
    pair: Pair, starts: Sequence[Batch], changer: Changer
) -> Iterator[tuple[Batch, NDArray[np.float64], NDArray[np.float64]]]:
    """Inputs that make the rewritten network's activations grow, by an ascent that needs no gradient.

    In each round every sample is disturbed in several ways, and the one of most growth goes on. Growth is compared to
    the larger of what the original makes of the same input and of what it made of the starts.

    Args:
        pair: the networks.
        starts: samples to begin with, in batches.
        changer: disturbs them.

    Yields:
        The samples at the end of each round, with the largest absolute values of both networks, (N, tensors) each.
    """
    generator = np.random.default_rng(changer.seed)
    for start in starts:
        batch, peaks = dict(start), pair.peaks(start)
        usual = peaks[0].max(axis=0, initial=0.0)
        best = growth(np.maximum(peaks[0], usual), peaks[1]).max(axis=1, initial=0.0)
        for _ in range(_ROUNDS):
            for _ in range(_TRIES):
                tried = changer.disturbed(batch, _STRENGTH, generator)
                now_peaks = pair.peaks(tried)
                now = growth(np.maximum(now_peaks[0], usual), now_peaks[1]).max(axis=1, initial=0.0)
                batch = {name: _chosen(now > best, tried[name], batch[name]) for name in batch}
                peaks = (_chosen(now > best, now_peaks[0], peaks[0]), _chosen(now > best, now_peaks[1], peaks[1]))
                best = np.maximum(best, now)
            yield batch, *peaks


def _chosen(which: NDArray[np.bool_], first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.where(which.reshape(-1, *(1,) * (first.ndim - 1)), first, second)
