"""A metric of the user's own, `file.py:function`, on both models' outputs.

The function is called once a batch and model, as `function(outputs, labels)`: the outputs by name, batch first, and
the labels or None: (N,), or (N, Q) where samples have several. It returns one number a sample, (N,), or one number
for the batch, which then counts as often as the batch has samples.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxshallow.data.readers import user_function
from onnxshallow.errors import DataError, UsageError
from onnxshallow.options.forms import names_code
from onnxshallow.text import first_line
from onnxshallow.validation.numbers import Real

__all__ = ["MetricResult", "UserMetric", "load_metric"]

Outputs = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class MetricResult:
    """A metric's means over the samples.

    Attributes:
        name: as the user names it, `file.py:function`.
        original: of the first model.
        optimized: of the second.
        difference: optimized - original.
        difference_interval: its 95 % interval from the samples' paired differences; None where the function gives no
            value a sample, or there is one sample.
        samples: number of samples.
    """

    name: str
    original: Real
    optimized: Real
    difference: Real
    difference_interval: tuple[float, float] | None
    samples: int


class UserMetric:
    """Sums over batches.

    Args:
        name: of the metric, for messages.
        function: of the outputs of one batch and its labels.
    """

    def __init__(self, name: str, function: Callable[..., object]) -> None:
        self._name, self._function = name, function
        self._samples = 0
        self._sums = [0.0, 0.0]
        self._mean = self._squares = 0.0  # of the differences, and the sum of squares about it
        self._by_sample = True

    def add(self, first: Outputs, second: Outputs, labels: NDArray[Any] | None, samples: int) -> None:
        """Add one batch of N samples.

        Raises:
            DataError: the user's function raises, or returns neither a number nor (N,) numbers.
        """
        a, b = (self._values(outputs, labels, samples) for outputs in (first, second))
        self._by_sample = self._by_sample and a.ndim == b.ndim == 1
        pairs = [np.broadcast_to(values, (samples,)) for values in (a, b)]
        for index, values in enumerate(pairs):
            self._sums[index] += float(values.sum())
        total = self._samples + samples
        with np.errstate(invalid="ignore"):  # inf - inf: the NaN is the answer
            differences = pairs[1] - pairs[0]
            mean = float(differences.mean())
            within = float(np.sum((differences - mean) ** 2))
        # Chan, Golub and LeVeque: Updating Formulae and a Pairwise Algorithm for Computing Sample Variances (1979)
        shift = mean - self._mean
        self._squares += within + shift**2 * self._samples * samples / total
        self._mean += shift * samples / total
        self._samples = total

    def _values(self, outputs: Outputs, labels: NDArray[Any] | None, samples: int) -> NDArray[np.float64]:
        try:
            returned = self._function({name: _locked(array) for name, array in outputs.items()}, labels)
        except (Exception, SystemExit) as error:
            raise DataError(f"{self._name}: raised {type(error).__name__}: {first_line(error)}.") from error
        values = _as_numbers(returned)
        if values is None:
            raise DataError(
                f"{self._name}: returned {type(returned).__name__}; it must return a number, or one a sample."
            )
        if values.shape not in ((), (samples,)):
            raise DataError(
                f"{self._name}: returned values of shape {values.shape} for a batch of {samples}; it must return a "
                f"number, or {samples} numbers, one a sample."
            )
        return values

    def result(self) -> MetricResult:
        """What the sums say."""
        original, optimized = (value / self._samples for value in self._sums)
        interval = None
        if self._by_sample and self._samples > 1:
            deviation = math.sqrt(self._squares / (self._samples - 1))
            radius = NormalDist().inv_cdf(0.975) * deviation / math.sqrt(self._samples)
            interval = (self._mean - radius, self._mean + radius) if math.isfinite(radius) else None
        return MetricResult(self._name, original, optimized, optimized - original, interval, self._samples)


def load_metric(source: str | Callable[..., object]) -> UserMetric:
    """The metric that `file.py:function` names, or that a function is.

    Raises:
        UsageError: the source has another form.
        DataError: there is no such file or function, or the file raises.
    """
    if not isinstance(source, str):
        return UserMetric(getattr(source, "__name__", type(source).__name__), source)
    if not names_code(source):
        raise UsageError(f"--metric {source}: write it as file.py:function.")
    return UserMetric(source, user_function(source))


def _as_numbers(returned: object) -> NDArray[np.float64] | None:
    """What a function returned, as an array; None where it is no real numbers."""
    try:
        values = np.asarray(returned)
    except (TypeError, ValueError):  # a list of unequal lists, a tensor on another device
        return None
    return values.astype(np.float64) if values.dtype.kind in "biuf" else None


def _locked(array: NDArray[Any]) -> NDArray[Any]:
    """A view that the user's function cannot write to, as others read the array after it."""
    view = array.view()
    view.flags.writeable = False
    return view
