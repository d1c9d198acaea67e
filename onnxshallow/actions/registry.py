"""The actions there are: those of this package, and those that installed packages name as entry points."""

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from onnxshallow.actions.base import Action, Candidate
from onnxshallow.actions.decompose import Decompose
from onnxshallow.actions.fuse import Fuse
from onnxshallow.actions.linearize import Linearize
from onnxshallow.actions.mask import Mask
from onnxshallow.actions.pool import Pool
from onnxshallow.actions.prune import Prune
from onnxshallow.actions.quadratic import Quadratic
from onnxshallow.analysis import Site
from onnxshallow.errors import UsageError
from onnxshallow.text import first_line
from onnxshallow.versions import PLUGINS

__all__ = ["BUILT_IN", "actions", "removal"]

BUILT_IN: tuple[Action[Any], ...] = (Decompose(), Fuse(), Linearize(), Mask(), Pool(), Prune(), Quadratic())
"""The actions of this package, in the order in which their candidates are applied."""


@cache
def actions() -> tuple[Action[Any], ...]:
    """All actions, in the order in which their candidates are applied: those of other packages come last, by name.

    Raises:
        UsageError: one of another package cannot be loaded, or has a name that is taken.
    """
    found = [*BUILT_IN]
    for point in sorted(entry_points(group=PLUGINS), key=lambda point: (point.name, point.value)):
        found.append(_load(point, {"keep", *(action.name for action in found)}))
    return tuple(found)


def _load(point: EntryPoint, taken: set[str]) -> Action[Any]:
    package = "an unknown package" if point.dist is None else f"the package {point.dist.name} {point.dist.version}"
    remedy = "update the package, or uninstall it"
    try:
        action = point.load()()
    except Exception as error:
        what = f"{type(error).__name__}: {first_line(error)}"
        raise UsageError(f"The action {point.value!r} of {package} cannot be loaded ({what}); {remedy}.") from error
    name = getattr(action, "name", "")
    if not (isinstance(action, Action) and str.isidentifier(name) and hasattr(action, "candidate_class")):
        what = "no action with a name and a candidate_class (onnxshallow.actions.base)"
        raise UsageError(f"{point.value!r} of {package} is {what}; {remedy}.")
    if name in taken:
        raise UsageError(f"The action {name!r} of {package} has a name that is taken; {remedy}.")
    return action


def removal(site: Site) -> Candidate:
    """The change that takes one activation out and leaves everything else in place; its damage is the sensitivity."""
    return Linearize().candidate(site)
