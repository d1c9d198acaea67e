"""Which samples were looked at, by content: those that two sets share, and those that say nothing."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxshallow.validation.judgement import Finding

__all__ = ["Seen", "SeenTally", "constant_samples", "shared_samples"]

Feeds = Mapping[str, NDArray[Any]]

# Two sets may share so many samples, as pictures come twice in many collections, before it is told.
_SHARED = 0.01
# Where no more of them than this are different, intervals that count all of them are too narrow.
_DIFFERENT = 0.5


@dataclass(frozen=True)
class Seen:
    """Samples by content.

    Attributes:
        digests: of each sample, as the network takes it.
        constant: how many hold one value only, in each input.
    """

    digests: tuple[bytes, ...] = ()
    constant: int = 0

    @classmethod
    def of(cls, batches: Iterable[Feeds]) -> "Seen":
        """What is seen of batches, inputs by name."""
        tally = SeenTally()
        for feeds in batches:
            tally.add(feeds)
        return tally.result()


class SeenTally:
    """Notes samples batch by batch."""

    def __init__(self) -> None:
        self._digests: list[bytes] = []
        self._constant = 0

    def add(self, feeds: Feeds) -> None:
        """Note one batch.

        Args:
            feeds: by input name, (N, ...) each.
        """
        rows = [feeds[name].reshape(len(feeds[name]), -1) for name in sorted(feeds)]
        for sample in zip(*rows, strict=True):
            digest = hashlib.blake2b(digest_size=16)
            for values in sample:
                digest.update(repr(values.tolist()).encode() if values.dtype.hasobject else values.tobytes())
            self._digests.append(digest.digest())
        pictures = [values for values in rows if values.shape[1] > 1]
        if pictures:
            self._constant += int(np.all([np.all(p == p[:, :1], axis=1) for p in pictures], axis=0).sum())

    def result(self) -> Seen:
        """All that was noted."""
        return Seen(tuple(self._digests), self._constant)


def constant_samples(seen: Seen, source: str) -> list[Finding]:
    """What speaks against samples of which all, or some, hold nothing that could be told apart.

    Args:
        seen: the samples.
        source: where they come from.
    """
    samples, different = len(seen.digests), len(set(seen.digests))
    if samples and seen.constant == samples:
        return [_refusal(f"All samples of {source} hold one value only, and prove nothing; give real inputs.")]
    if samples > 1 and different == 1:
        return [_refusal(f"All {samples} samples of {source} are the same, and prove nothing; give different ones.")]
    found = []
    if seen.constant:
        found.append(Finding("data", f"{seen.constant} of {samples} samples of {source} hold one value only."))
    if 0 < different <= _DIFFERENT * samples:
        found.append(Finding("data", f"Only {different} of {samples} samples of {source} are different."))
    return found


def shared_samples(seen: Seen, fitted: Seen, source: str) -> list[Finding]:
    """What speaks against validating on samples that layers were fitted to or plans chosen by.

    Args:
        seen: the samples of the validation.
        fitted: those of the calibration.
        source: where the former come from.
    """
    known, samples = set(fitted.digests), len(seen.digests)
    shared = sum(digest in known for digest in seen.digests)
    if samples and shared == samples:
        return [
            _refusal(
                f"All {samples} samples of {source} that it was validated on are calibration samples, too, which "
                "proves nothing; give others with --validate, or leave it out, so that some are kept apart."
            )
        ]
    if shared > _SHARED * samples:
        return [
            Finding(
                "data",
                f"{shared} of {samples} samples of {source} that it was validated on are calibration samples, too.",
            )
        ]
    return []


def _refusal(text: str) -> Finding:
    return Finding("data", text, refuses=True)
