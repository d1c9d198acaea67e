"""What a student is worth: on samples that it is not trained on, in onnxruntime, as it would be written."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from onnxshallow.analysis import Analysis
from onnxshallow.data.changes import Changer
from onnxshallow.model.network import Network
from onnxshallow.model.session import Session
from onnxshallow.validation.compare import Recorded, compare_models
from onnxshallow.validation.growth import BOUND
from onnxshallow.validation.kinds import OutputKind
from onnxshallow.validation.peaks import Pair, Reference

__all__ = ["HeldOut", "Look", "better"]

# Of how many samples changed copies are run, where activations may grow.
_CHANGED = 128
# Only half of the growth that is refused is let pass here, as a closer look follows at the end.
_HALF = 0.5


@dataclass(frozen=True)
class Look:
    """What a student was worth after some steps.

    Attributes:
        step: after how many.
        loss: the mean loss of the steps since the look before; None at the start.
        error: how far its outputs are from the original's, by the size of these: the root of the mean square.
        damage: its divergence from the original in nats; without classes what its outputs lost.
        agreement: share of samples with the same class; None without classes.
        growth: of its activations; None where nothing is squared.
        usable: whether it may be kept: its outputs are finite and its activations in bounds.
    """

    step: int
    loss: float | None
    error: float
    damage: float
    agreement: float | None
    growth: float | None
    usable: bool


class HeldOut:
    """Looks at students, always on the same samples.

    Args:
        original: the original's parts.
        batches: the held-out samples.
        kinds: what the outputs mean.
        squares: whether activations may grow, so that they are looked at.
        seed: of changes of samples.
        threads: of onnxruntime.
    """

    def __init__(
        self,
        original: Analysis,
        batches: Sequence[dict[str, np.ndarray]],
        kinds: Sequence[OutputKind],
        *,
        squares: bool,
        seed: int,
        threads: int,
    ) -> None:
        self._original, self._batches, self._kinds = original, batches, kinds
        self._threads, self._squares, self._seed = threads, squares, seed
        self._reference = Reference(original, threads)
        self._teacher = Recorded(Session(original.network.model, threads=threads), len(batches))

    def look(self, model: onnx.ModelProto, step: int, loss: float | None = None) -> Look:
        """What a model is worth.

        Args:
            model: the student, written.
            step: after how many steps.
            loss: of the steps before.
        """
        pairs = ((batch, None) for batch in self._batches)
        session = Session(model, threads=self._threads)
        fidelity = compare_models(self._teacher, session, pairs, kinds=self._kinds).fidelity
        damage = fidelity.loss.value if fidelity.kl is None else float(fidelity.kl)
        growth = self._growth(model) if self._squares else None
        errors = [np.inf if error is None else error for error in fidelity.relative_error.values()]
        error = float(np.sqrt(np.mean(np.square(errors))))
        usable = bool(np.isfinite(damage) and np.isfinite(error)) and (growth is None or growth <= _HALF * BOUND)
        return Look(step, loss, error, damage, fidelity.agreement, growth, usable)

    def _growth(self, model: onnx.ModelProto) -> float:
        pair = Pair(self._reference, Network(model))
        pair.look("held-out samples", self._batches, usual=True)
        few: list[dict[str, np.ndarray]] = []
        for batch in self._batches:
            if sum(len(next(iter(one.values()))) for one in few) < _CHANGED:
                few.append(batch)
        changer = Changer.of(self._original.network.inputs, few, self._seed)
        for change in changer.changes:
            pair.look(change, (changer.changed(batch, change) for batch in few))
        return float(pair.result.worst.factor)


def better(look: Look, best: Look) -> bool:
    """Whether a look is better than the best so far; of two that cannot be used, that which grows less.

    Errors count, which are what is learned. The divergence goes by how sure one is, and of samples that it was
    trained on the original is surer than of any others (docs/decisions/training.md).
    """
    if look.usable != best.usable:
        return look.usable
    if look.usable:
        return look.error < best.error
    return (look.growth or np.inf) < (best.growth or np.inf)
