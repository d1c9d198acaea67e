"""Where two networks part, and what the first makes there, for all who begin at the same places.

Candidates and plans change a network from somewhere on; up to there it makes what the original makes. So the
original's tensors at such places are kept for the next one, and a rewritten network is run from them on.
"""

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence, Set

import numpy as np

from onnxshallow.model.network import Network, Node
from onnxshallow.runtime.cursor import Batches, Cursor
from onnxshallow.runtime.store import ActivationStore

__all__ = ["MOST_BYTES", "Waypoints", "parting"]

MOST_BYTES = 1 << 28
"""What waypoints may take; those that were asked for last are kept in any case."""


def parting(original: Network, rewritten: Network, changed: Set[str]) -> list[str]:
    """The tensors that both networks make alike and that something reads in either that is not alike.

    Args:
        original: the original.
        rewritten: the rewritten network, whose tensors of the same names mean the same.
        changed: tensors of the rewritten network that its nodes will make in another way, as they are to be fitted.
    """
    alike = {info.name for info in original.inputs} & {info.name for info in rewritten.inputs}
    apart: list[Node] = []
    for node in rewritten.nodes:
        if changed.isdisjoint(node.outputs) and _is_alike(original, rewritten, node, alike):
            alike.update(name for name in node.outputs if name)
        else:
            apart.append(node)
    apart += [node for node in original.nodes if not alike.issuperset(filter(None, node.outputs))]
    read = {name for node in apart for name in node.reads} | set(rewritten.output_names)
    return sorted(name for name in read & alike if not rewritten.is_constant(name))


def _is_alike(original: Network, rewritten: Network, node: Node, alike: Collection[str]) -> bool:
    """Whether the original has this node, and what it reads is alike in both or stored with the same values."""
    other = original.producer(next((name for name in node.outputs if name), ""))
    if other is None or other.proto != node.proto:
        return False
    return all(name in alike or _is_stored_alike(original, rewritten, name) for name in node.reads)


def _is_stored_alike(original: Network, rewritten: Network, name: str) -> bool:
    one, other = original.initializer(name), rewritten.initializer(name)
    return one is not None and one == other


class Waypoints:
    """A network's tensors for some batches, each computed once as long as there is room for them.

    Args:
        network: the network.
        batches: its inputs.
        store: where arrays are kept.
        threads: of onnxruntime; 0 lets it decide.
    """

    def __init__(self, network: Network, batches: Batches, store: ActivationStore, threads: int) -> None:
        self.network = network
        self._store, self._threads = store, threads
        self._inputs = {info.name: [batch[info.name] for batch in batches] for info in network.inputs}
        self._known: OrderedDict[str, list[np.ndarray]] = OrderedDict()

    def cursor(self, network: Network, tensors: Sequence[str], batches: slice, goals: Sequence[str] | None) -> Cursor:
        """A cursor of a network that makes these tensors as this one does, at them, for some of the batches."""
        stored = {name: arrays[batches] for name, arrays in self.values(tensors).items()}
        return Cursor(network, stored, self._store, goals=goals, threads=self._threads)

    def values(self, tensors: Sequence[str]) -> Mapping[str, list[np.ndarray]]:
        """The values of tensors, one array a batch each, computed from the nearest that are known.

        Raises:
            ModelError: onnxruntime fails.
        """
        stored = {**self._inputs, **self._known}
        cursor = Cursor(self.network, stored, self._store, goals=tensors, threads=self._threads)
        cursor.advance(tensors)
        found = {name: cursor[name] for name in tensors}
        for name in tensors:
            if name not in self._inputs:
                self._known[name] = found[name]
                self._known.move_to_end(name)
        while len(self._known) > len(tensors) and self._bytes() > MOST_BYTES:
            self._known.popitem(last=False)
        return found

    def _bytes(self) -> int:
        return sum(array.nbytes for arrays in self._known.values() for array in arrays)
