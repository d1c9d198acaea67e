"""What the blocks of random networks are written with: nodes, and weights in every way that files hold them."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import helper, numpy_helper

__all__ = ["Builder", "Settings", "Value"]

T = TypeVar("T")


@dataclass(frozen=True)
class Settings:
    """What one model has in common.

    Attributes:
        opset: version of ONNX's operators.
        ir: IR version.
        rank: number of spatial axes.
        dtype: element type of all tensors.
        batch: the batch size where the file fixes it; None where it is open.
        open_sizes: whether the spatial sizes of the inputs are open too; then they are run at 8.
        naming: nodes have names of their own, none, or share them.
        storage: ways to hold a weight other than a plain initializer: `constant` (a Constant node), `identity`
            (an initializer behind an Identity), `input` (one that callers may override), `shared` (one that
            an earlier node reads too).
    """

    opset: int
    ir: int
    rank: int
    dtype: np.dtype
    batch: int | None
    open_sizes: bool
    naming: str
    storage: tuple[str, ...]


@dataclass(frozen=True)
class Value:
    """A tensor that was made: its name and its shape without the batch axis, (C, *spatial)."""

    name: str
    shape: tuple[int, ...]

    @property
    def channels(self) -> int:
        """Size of axis 1."""
        return self.shape[0]

    @property
    def spatial(self) -> tuple[int, ...]:
        """Sizes of the axes after the channels."""
        return self.shape[1:]


@dataclass
class Builder:
    """A graph that grows.

    Attributes:
        random: makes all choices; a draw of 0.0 or of the first of several stands for the simplest of them, so
            that hypothesis shrinks towards plain models.
        settings: what holds for the whole model.
        graph: the nodes and initializers so far.
        history: tensors that later blocks may read again.
    """

    random: random.Random
    settings: Settings
    graph: onnx.GraphProto = field(default_factory=onnx.GraphProto)
    history: list[Value] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._numbers = np.random.default_rng(self.random.getrandbits(32))
        self._reusable: dict[tuple[str, tuple[int, ...]], list[str]] = {}
        self._count = 0

    @property
    def opset(self) -> int:
        """Version of ONNX's operators."""
        return self.settings.opset

    def chance(self, probability: float) -> bool:
        """True with a probability."""
        return self.random.random() >= 1 - probability

    def pick(self, choices: Sequence[T]) -> T:
        """One of several."""
        return self.random.choice(choices)

    def number(self, low: int, high: int) -> int:
        """A whole number, the bounds included."""
        return self.random.randint(low, high)

    def fresh(self, stem: str) -> str:
        """A tensor name that is not taken."""
        self._count += 1
        return f"{stem}{self._count}"

    def node(self, op: str, inputs: list[str], *, outputs: int = 1, **attributes: object) -> str:
        """Append a node; the name of its first output, `<name>_1` being that of a second one."""
        first = self.fresh(op[0].lower())
        names = [first, *(f"{first}_{extra}" for extra in range(1, outputs))]
        given = {key: value for key, value in attributes.items() if value is not None}
        name = {"own": f"{op}_{first}", "none": "", "same": op}[self.settings.naming]
        self.graph.node.append(helper.make_node(op, inputs, names, name=name, **given))
        return first

    def normal(self, shape: tuple[int, ...], deviation: float = 1.0) -> NDArray[np.float64]:
        """Normal numbers."""
        return self._numbers.normal(size=shape) * deviation

    def uniform(self, shape: tuple[int, ...], low: float, high: float) -> NDArray[np.float64]:
        """Numbers between two bounds."""
        return self._numbers.uniform(low, high, size=shape)

    def weight(self, values: ArrayLike, kind: str) -> str:
        """A floating-point constant, held in one of the ways that the settings allow.

        Args:
            values: what it holds.
            kind: what it is; weights of one kind and shape can stand for each other.
        """
        array = np.asarray(values).astype(self.settings.dtype)
        storage = self.pick(self.settings.storage) if self.settings.storage and self.chance(0.3) else "initializer"
        earlier = self._reusable.setdefault((kind, array.shape), [])
        if storage == "shared" and earlier:
            return self.pick(earlier)
        earlier.append(self._hold(array, storage))
        return earlier[-1]

    def integers(self, *values: int) -> str:
        """A constant vector of int64."""
        return self._hold(np.array(values, dtype=np.int64), self.pick(("initializer", "initializer", "constant")))

    def plain(self, values: ArrayLike, dtype: np.dtype | type) -> str:
        """A constant as a plain initializer, whatever the settings say."""
        return self._hold(np.asarray(values, dtype=dtype), "initializer")

    def _hold(self, array: NDArray[np.generic], storage: str) -> str:
        floating = array.dtype.kind == "f"
        if storage == "constant" and (floating or self.opset >= 9):  # before opset 9 Constants are floats
            return self.node("Constant", [], value=numpy_helper.from_array(array))
        name = self.fresh("w")
        self.graph.initializer.append(numpy_helper.from_array(array, name))
        if self.settings.ir < 4 or storage == "input":
            kind = self.graph.initializer[-1].data_type
            self.graph.input.append(helper.make_tensor_value_info(name, kind, array.shape))
        return self.node("Identity", [name]) if storage == "identity" else name

    def remember(self, value: Value) -> Value:
        """Let later blocks read `value` again."""
        self.history.append(value)
        return value
