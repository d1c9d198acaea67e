"""Whether a model that was made keeps to its targets, and how far it went."""

from onnxshallow.analysis import Analysis
from onnxshallow.options.config import Config
from onnxshallow.private.tariff import Tariff
from onnxshallow.search.solver import COUNTED, Budget
from onnxshallow.validation.judgement import Finding

__all__ = ["missed_targets", "shares_kept"]

_COUNTED = {**COUNTED, "depth": "linear layers on the longest path"}
# Targets are called as in `Cost`, but for this one.
_OPTIONS = {"size_bytes": "size"}


def missed_targets(
    config: Config, budget: Budget, original: Analysis, made: Analysis, size_bytes: int | None = None
) -> list[Finding]:
    """What speaks against a model that has more, or costs more, than was asked for.

    Args:
        config: which targets were given.
        budget: these in absolute numbers.
        original: the original.
        made: the model.
        size_bytes: of its file, where that is known; it may say more than what was analysed.
    """
    missed = []
    for name in _asked(config):
        wanted, found = getattr(budget, name), _counted(made, name, size_bytes)
        if found > wanted:
            text = (
                f"The best plan leaves {found} {_COUNTED[name]} of the {wanted} that --target-{_option(name)} "
                "allows; lower the target a little."
            )
            missed.append(Finding("target", text, refuses=True))
    tariff = Tariff.from_config(config)
    if tariff is not None and (charged := tariff.charge(made)) > tariff.limit(original):
        text = (
            f"The best plan costs {charged:.4g} {tariff.unit} of the {tariff.limit(original):.4g} that the target "
            "allows; lower the target a little."
        )
        missed.append(Finding("target", text, refuses=True))
    return missed


def shares_kept(config: Config, original: Analysis, made: Analysis, size_bytes: int | None = None) -> list[str]:
    """What a model keeps of what was to be saved, in a few words each; of the ReLUs where no target says what.

    Args:
        config: which targets were given.
        original: the original.
        made: the model.
        size_bytes: of its file, where that is known.
    """
    tariff = Tariff.from_config(config)
    kept = []
    if tariff is not None:
        share = 100 * tariff.charge(made) / max(tariff.charge(original), 1e-12)
        kept.append(f"{share:.1f} % of the {tariff.title}, estimated")
    for name in _asked(config) or ([] if kept else ["relus"]):
        before, after = getattr(original.cost, name), _counted(made, name, size_bytes)
        if before:
            kept.append(f"{100 * after / before:.1f} % of the {_COUNTED[name]}")
    return kept


def _counted(made: Analysis, name: str, size_bytes: int | None) -> int:
    found: int = getattr(made.cost, name)
    return size_bytes if name == "size_bytes" and size_bytes is not None else found


def _asked(config: Config) -> list[str]:
    return [name for name in _COUNTED if getattr(config, f"target_{_option(name)}") is not None]


def _option(name: str) -> str:
    return _OPTIONS.get(name, name)
