"""Calibration inputs, cut into batches, and how to work with them."""

from dataclasses import dataclass, field

from onnxshallow.fitting.correction import FitOptions
from onnxshallow.runtime.cursor import Batches
from onnxshallow.runtime.store import ActivationStore

__all__ = ["Calibration"]


@dataclass(frozen=True, eq=False)
class Calibration:
    """Calibration inputs in batches.

    Attributes:
        batches: inputs by name, batch by batch.
        fit_batches: the leading batches that layers are fitted on; the others are held out for selection.
        store: where activations are kept.
        fit: how layers are fitted.
        threads: of onnxruntime; 0 lets it decide.
        watched: further inputs, extreme ones, where something is squared. Layers are fitted to them as well, so that
            they make of them what the original does, and parabolas stay in bounds on them; nothing else goes by them.
        everything: fit on the held-out batches as well, once nothing is left to be chosen.
    """

    batches: Batches
    fit_batches: int
    store: ActivationStore
    fit: FitOptions = field(default_factory=FitOptions)
    threads: int = 0
    watched: Batches = ()
    everything: bool = False

    @property
    def fitting(self) -> slice:
        """The batches that layers are fitted on."""
        return slice(0, None if self.everything else self.fit_batches)

    @property
    def selection(self) -> slice:
        """The batches that are held out from fitting."""
        return slice(self.fit_batches, None)
