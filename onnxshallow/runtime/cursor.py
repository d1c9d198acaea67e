"""Walk down a network, holding the live tensors for all calibration batches.

A cursor knows the values of some tensors. Asked for others, it runs just the nodes between, once, and forgets
what no later node reads. Two cursors side by side, the original's and the rewritten network's, give the targets
and the inputs of every fit (see `onnxshallow.fitting.correction`).

Nodes are run as they are written, without onnxruntime's fusions, so that a tensor has the same bytes wherever its
cursor stopped before. Only what leads to the network's outputs in the end is fused.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from onnxshallow.analysis.layers import Layer
from onnxshallow.analysis.partial import Partial
from onnxshallow.convolution import Convolution
from onnxshallow.model.network import Network
from onnxshallow.model.session import Session
from onnxshallow.runtime.segment import build_segment
from onnxshallow.runtime.store import ActivationStore

__all__ = ["Batches", "Cursor"]

Batches = Sequence[Mapping[str, np.ndarray]]


class Cursor:
    """The live tensors of a network at one cut, for a sequence of batches.

    Args:
        network: what is run.
        stored: values by tensor name, one array a batch; at the beginning the batches' inputs.
        store: where arrays are kept.
        goals: tensors that will be asked for in the end (default: the network's outputs). What no goal needs is
            neither computed nor kept.
        threads: threads of onnxruntime; 0 lets it decide.
    """

    def __init__(
        self,
        network: Network,
        stored: Mapping[str, Sequence[np.ndarray]],
        store: ActivationStore,
        *,
        goals: Iterable[str] | None = None,
        threads: int = 0,
    ) -> None:
        self.network = network
        self.store = store
        self.threads = threads
        self.goals = set(network.output_names if goals is None else goals)
        self.replaced: dict[Layer, Convolution] = {}
        self.partials: dict[str, Partial] = {}
        self.short: list[Layer] = []
        self._stored = {name: list(arrays) for name, arrays in stored.items()}

    @classmethod
    def at_inputs(
        cls,
        network: Network,
        batches: Batches,
        store: ActivationStore,
        *,
        goals: Iterable[str] | None = None,
        threads: int = 0,
    ) -> "Cursor":
        """The cursor at the network's inputs."""
        stored = {info.name: [batch[info.name] for batch in batches] for info in network.inputs}
        return cls(network, stored, store, goals=goals, threads=threads)

    def restrict(self, batches: slice) -> None:
        """Go on with some of the batches only."""
        self._stored = {name: arrays[batches] for name, arrays in self._stored.items()}

    def replace(self, layer: Layer, convolution: Convolution) -> None:
        """Let `layer`, which has not been run yet, compute `convolution` from now on."""
        self.replaced[layer] = convolution

    def leave(self, layer: Layer) -> None:
        """Note that `layer` stays as it is, as there are too few rows to fit it to."""
        self.short.append(layer)

    def put(self, tensor: str, arrays: Iterable[np.ndarray]) -> None:
        """Let `tensor` have other values than the network gives it, one array a batch; they are made one by one."""
        held = []
        for array in arrays:
            held.append(self.store.hold(array))
            self.store.rest()
        self._stored[tensor] = held

    def rescale(self, tensor: str, scale: np.ndarray) -> None:
        """Multiply what is known of a tensor (N, C, *spatial) by one number a channel, (C,)."""
        arrays = self._stored[tensor]
        factor = scale.reshape(-1, *(1,) * (arrays[0].ndim - 2)).astype(arrays[0].dtype)
        self.put(tensor, (array * factor for array in arrays))

    def __getitem__(self, tensor: str) -> list[np.ndarray]:
        """The values of a tensor that was advanced to: one array a batch."""
        return self._stored[tensor]

    def advance(self, tensors: Sequence[str], *, fused: bool = False) -> None:
        """Run what is needed to know `tensors`, and forget what neither they nor the goals need any more.

        Args:
            tensors: what to know.
            fused: let onnxruntime rewrite what is run.

        Raises:
            KeyError: a tensor depends on values that were forgotten.
            ModelError: onnxruntime fails.
        """
        missing = [name for name in dict.fromkeys(tensors) if name not in self._stored]
        if missing:
            self._run(missing, fused)
        self._forget(set(tensors))

    def outputs(self) -> list[list[np.ndarray]]:
        """The values of the network's outputs: one list an output, one array a batch."""
        self.advance(self.network.output_names, fused=True)
        return [self._stored[name] for name in self.network.output_names]

    def _run(self, missing: Sequence[str], fused: bool) -> None:
        network = self.network
        nodes = network.ancestors(missing, frozenset(self._stored))
        made = {name for index in nodes for name in network.nodes[index].outputs if name}
        later = network.ancestors(list(self.goals), frozenset(self._stored) | made)
        wanted = {name for index in later - nodes for name in network.nodes[index].reads} | self.goals
        interior = {name for layer in self.replaced for name in self._interior(layer)}
        outputs = list(missing)
        outputs += sorted(name for name in (made & wanted) - set(missing) - interior if not network.is_constant(name))
        model, reads = build_segment(network, nodes, outputs, self.replaced)
        session = Session(model, threads=self.threads, spin=False, arena=False, optimize=fused)
        results: dict[str, list[np.ndarray]] = {name: [] for name in outputs}
        count = max((len(arrays) for arrays in self._stored.values()), default=0)
        for index in range(count):
            values = session.run({name: self._stored[name][index] for name in reads}, outputs)
            for name, value in zip(outputs, values, strict=True):
                results[name].append(self.store.hold(value))
            self.store.rest()
        self._stored.update(results)

    def _interior(self, layer: Layer) -> set[str]:
        return {name for index in layer.nodes for name in self.network.nodes[index].outputs} - {layer.output}

    def _forget(self, asked: set[str]) -> None:
        remaining = self.network.ancestors(list(self.goals), frozenset(self._stored))
        needed = {name for index in remaining for name in self.network.nodes[index].reads}
        wanted = needed | self.goals | asked
        self._stored = {name: arrays for name, arrays in self._stored.items() if name in wanted}
