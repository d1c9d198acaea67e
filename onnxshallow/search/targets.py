"""Whether a model that was made keeps to its targets, and how far it went."""

from onnxshallow.analysis import Cost
from onnxshallow.options.config import Config
from onnxshallow.search.solver import Budget
from onnxshallow.validation.judgement import Finding

__all__ = ["missed_targets", "shares_kept"]

_COUNTED = {"relus": "ReLUs", "macs": "MACs", "depth": "linear layers on the longest path"}


def missed_targets(config: Config, budget: Budget, cost: Cost) -> list[Finding]:
    """What speaks against a model that has more than was asked for.

    Args:
        config: which targets were given.
        budget: these in absolute numbers.
        cost: of the model.
    """
    missed = []
    for name in _asked(config):
        wanted, found = getattr(budget, name), getattr(cost, name)
        if found > wanted:
            text = (
                f"The best plan leaves {found} {_COUNTED[name]} of the {wanted} that --target-{name} allows; "
                "lower the target a little."
            )
            missed.append(Finding("target", text, refuses=True))
    return missed


def shares_kept(config: Config, original: Cost, cost: Cost) -> list[str]:
    """What a model keeps of what was to be saved, in a few words each; of the ReLUs where no target says what.

    Args:
        config: which targets were given.
        original: cost of the original.
        cost: of the model.
    """
    kept = []
    for name in _asked(config) or ["relus"]:
        before, after = getattr(original, name), getattr(cost, name)
        if before:
            kept.append(f"{100 * after / before:.1f} % of the {_COUNTED[name]}")
    return kept


def _asked(config: Config) -> list[str]:
    return [name for name in _COUNTED if getattr(config, f"target_{name}") is not None]
