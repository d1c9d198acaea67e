"""Numbers that channels may be multiplied by, and how nodes tie them to each other.

Let each channel of each tensor be stored times a number e^s. A ReLU, a pooling or a sum makes channels of the scale
that they read; a square doubles s; a layer mixes its channels, so that its weights take up any scale at both ends. A
factor f goes where its output's scale is its input's less log f. So all that nodes ask for has the form

    s_i = 2^p s_j + c

and numbers tied so, directly or not, are all given by one of them. They are kept as a forest (union-find; Tarjan,
1975) whose edges carry p and c. Squares one after the other double s each time: a chain of them amplifies what is
chosen at its beginning, and evens out what is chosen at its end.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["Scales"]

Places = NDArray[np.int64]
Values = NDArray[np.float64]

# Two logarithms that differ by less are the same.
_SAME = 1e-9


class Scales:
    """The logarithms s of numbers that channels are multiplied by, some tied to others.

    Args:
        count: how many there are.
    """

    def __init__(self, count: int) -> None:
        self._parent = np.arange(count)
        self._power = np.zeros(count, np.int64)  # s_i = 2^power s_parent + shift
        self._shift = np.zeros(count)
        self._fixed = np.zeros(count, bool)  # of roots: whether it is known, and what it is then
        self._value = np.zeros(count)

    def copy(self) -> "Scales":
        """The same numbers with the same ties, to try further ones on."""
        made = Scales(0)
        for name in ("_parent", "_power", "_shift", "_fixed", "_value"):
            setattr(made, name, getattr(self, name).copy())
        return made

    def fix(self, places: Places, value: float = 0.0) -> bool:
        """Ask that s be a number at some places; says whether it can."""
        settled = [self._settle(*self._root(int(place)), value) for place in places]
        return all(settled)

    def tie(self, first: Places, second: Places, power: int = 0, shift: Values | float = 0.0) -> bool:
        """Ask that s[first] = 2^power s[second] + shift, place by place; says whether all of it can be."""
        shifts = np.broadcast_to(np.asarray(shift, dtype=np.float64), first.shape)
        joined = [self._join(int(i), int(j), power, float(c)) for i, j, c in zip(first, second, shifts, strict=True)]
        return all(joined)  # also what comes after one that cannot be is tied

    def solve(self, wanted: Values, weight: Values) -> Values:
        """The numbers that obey all ties, and are nearest to what is wanted.

        Args:
            wanted: (count,) what each would best be.
            weight: (count,) how much that counts; the weighted sum of squared differences is least.
        """
        root, slope, shift = self._flat()
        count = len(root)
        product = np.bincount(root, weight * slope * (wanted - shift), count)
        own = np.bincount(root, weight * slope * slope, count)
        value = np.where(self._fixed, self._value, np.where(own > 0, product / np.where(own > 0, own, 1.0), 0.0))
        found: Values = slope * value[root] + shift
        return found

    def _flat(self) -> tuple[Places, Values, Values]:
        """Of each place its root, and the line by which it follows it."""
        while True:
            above = self._parent[self._parent]
            if np.array_equal(above, self._parent):
                return self._parent, np.exp2(self._power), self._shift
            self._shift = np.exp2(self._power) * self._shift[self._parent] + self._shift
            self._power = self._power + self._power[self._parent]
            self._parent = above

    def _root(self, place: int) -> tuple[int, int, float]:
        """The root of a place, and power and shift by which the place follows it."""
        path = []
        while self._parent[place] != place:
            path.append(place)
            place = int(self._parent[place])
        power, shift = 0, 0.0
        for each in reversed(path):  # from the root down, so that each then points to it
            shift = 2.0 ** int(self._power[each]) * shift + float(self._shift[each])
            power += int(self._power[each])
            self._parent[each], self._power[each], self._shift[each] = place, power, shift
        return place, power, shift

    def _join(self, first: int, second: int, power: int, shift: float) -> bool:
        one, p, b = self._root(first)
        two, q, c = self._root(second)
        q, c = power + q, 2.0**power * c + shift  # 2^p s_one + b = 2^q s_two + c
        if one == two:
            if p == q:
                return abs(b - c) < _SAME
            return self._settle(one, 0, 0.0, (c - b) / (2.0**p - 2.0**q))
        if self._fixed[one]:
            return self._settle(two, q, c, 2.0**p * float(self._value[one]) + b)
        self._parent[one], self._power[one], self._shift[one] = two, q - p, (c - b) / 2.0**p
        return True

    def _settle(self, root: int, power: int, shift: float, value: float) -> bool:
        """Ask that 2^power s_root + shift be a number."""
        found = (value - shift) / 2.0**power
        if self._fixed[root]:
            return abs(float(self._value[root]) - found) < _SAME
        self._fixed[root], self._value[root] = True, found
        return True
