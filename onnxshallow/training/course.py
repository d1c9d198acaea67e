"""How long training takes, and how far weights move in each step."""

import math
from dataclasses import dataclass

from onnxshallow.options.quantities import Length

__all__ = ["Course", "rate_of", "steps_of"]

# Weights move by so much of their own size a step, at most.
_RATE = 0.002
# The first steps are smaller, as the optimizer knows little by then; the share of all steps, and how many at most.
_WARM, _MOST_WARM = 0.05, 50
# How often the student is looked at on held-out samples, and after how many steps at the earliest.
_LOOKS, _EARLIEST = 10, 20
# How large weights count for at least and at most.
_SMALLEST, _LARGEST = 0.01, 0.1


@dataclass(frozen=True)
class Course:
    """A course of training.

    Attributes:
        steps: how many.
    """

    steps: int

    def rate(self, step: int) -> float:
        """How far weights move in a step, counted from 0, as a share of their size.

        It rises quickly and falls as half a cosine.
        """
        warm = min(_MOST_WARM, max(1, int(_WARM * self.steps)))
        falling = 0.5 * (1 + math.cos(math.pi * step / max(self.steps, 1)))
        return _RATE * min(1.0, (step + 1) / warm) * falling

    def is_look(self, step: int) -> bool:
        """Whether the student is looked at after so many steps."""
        every = max(_EARLIEST, -(-self.steps // _LOOKS))
        return step == self.steps or (step % every == 0 and step > 0)


def rate_of(size: float, is_kernel: bool) -> float:
    """What the rate of one tensor is multiplied by: the size of its elements, within bounds.

    Args:
        size: root of the mean square of its elements.
        is_kernel: whether it has several axes; biases and factors are of the size of activations, and move as large
            weights do.
    """
    return min(max(size, _SMALLEST), _LARGEST) if is_kernel else _LARGEST


def steps_of(length: Length, pace: float | None, look: float, samples: int, batch: int) -> int:
    """How many steps a length stands for.

    Args:
        length: a time, a number of steps or of epochs.
        pace: how long a step takes, in seconds, for a time.
        look: how long a look at the held-out samples takes.
        samples: how many there are to train on.
        batch: samples a step.
    """
    if length.unit == "steps":
        return max(1, round(length.number))
    if length.unit == "epochs" or pace is None:
        return max(1, round(length.number * samples / batch))
    return max(1, int((length.number - (_LOOKS + 1) * look) / max(pace, 1e-9)))
