"""From damages to plans: propose, measure, learn.

The integer program adds up damages that were measured one at a time. Carried out together, plans of nearly equal
sums differ by a factor of two and more. So the planner proposes a plan, is told how much damage it really did,
adjusts what it believes of each candidate, and proposes again:

    belief      the damages of a plan add up, D = sum of w_c, with w_c ~ Normal(r d_c, (r d_c)^2)
                where d_c was measured alone, or is estimated for a pair of neighbours, and r is how much worse
                the plans carried out were than their sums
    learning    the posterior of w given the plans carried out (linear-Gaussian regression in closed form)
    proposing   by the posterior mean less half a deviation, so that what is not known yet gets its turn

Proposals take turns between the plan that saves most multiply-adds and layers among those of about the least believed
damage, the plan of least believed damage, and neighbours of the best plan carried out so far.
"""

import copy
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from onnxshallow.actions.base import Candidate
from onnxshallow.analysis import Analysis, Cost
from onnxshallow.analysis.cost import node_depths
from onnxshallow.errors import TargetError
from onnxshallow.model.provenance import note_bytes
from onnxshallow.options.config import Config
from onnxshallow.options.quantities import parse_size, parse_target
from onnxshallow.private.tariff import Tariff
from onnxshallow.search.estimates import Pair, interactions
from onnxshallow.search.overlaps import saved
from onnxshallow.search.plan import Plan
from onnxshallow.search.solver import COUNTED, Budget, Problem

__all__ = ["MEASURED_TOLERANCE", "Planner", "about_equal", "read_budget"]

MEASURED_TOLERANCE = 0.15
"""A plan with this share more measured damage than another is still about equal."""

# The same where damage is predicted, and much is not known.
_PREDICTED_TOLERANCE = 0.25
# Damage, by measure, that counts as none: it goes with less than a tenth of a point of accuracy.
_HARMLESS: Mapping[str, float] = {"kl": 0.004, "mse": 1e-4, "disagreement": 0.001}
# How much more damage a plan may do that saves layers or multiply-adds, next to one that saves none.
_SHALLOWER = 0.5
# Measurement noise of a plan's damage, as a share of it.
_NOISE = 0.15
# How many deviations what is not known yet is taken to be better than expected, so that it is tried.
_OPTIMISM = 0.5
# What is proposed in turn, where a shallower plan is worth something and where it is not.
_TURNS, _TURNS_BY_DAMAGE = ("cheap", "least", "near", "near"), ("least", "near")


def read_budget(config: Config, analysis: Analysis) -> Budget:
    """The targets of a run in absolute numbers.

    Multiply-adds may not rise above the original's: fewer ReLUs are not to be paid for with compute that nobody
    offered. Exact composition, which costs multiply-adds, is the exception; who asks for it gets one merger at least.
    Who asks for activations below the layer pays for these, and a shallower network is worth no damage. Who says what
    private inference may cost has multiply-adds in that price.

    Raises:
        UsageError: a target is malformed.
    """
    relus = None if config.target_relus is None else parse_target(config.target_relus, analysis.cost.relus, zero=True)
    macs = None if config.target_macs is None else parse_target(config.target_macs, analysis.cost.macs)
    depth = None if config.target_depth is None else parse_target(config.target_depth, analysis.cost.depth)
    params = None if config.target_params is None else parse_target(config.target_params, analysis.cost.params)
    size = None if config.target_size is None else parse_size(config.target_size, analysis.cost.size_bytes)
    tariff = Tariff.from_config(config)
    price_saved = None if tariff is None else max(tariff.charge(analysis) - tariff.limit(analysis), 0.0)
    if config.kernel == "exact":
        return Budget(
            relus, macs, price_saved=price_saved, depth_saved=1, depth=depth, params=params, size_bytes=size
        )
    return Budget(
        relus,
        analysis.cost.macs if macs is None and tariff is None else macs,
        price_saved=price_saved,
        depth=depth,
        shallower=not config.in_part,
        harmless=_HARMLESS.get(config.sensitivity, 0.0),
        params=params,
        size_bytes=size,
    )


@dataclass
class Planner:
    """Proposes plans that reach a budget, and learns from their measured damages.

    Attributes:
        analysis: of the original.
        candidates: what can be chosen.
        damages: damage of each candidate alone, by key; candidates without one are left out.
        budget: what has to be reached.
    """

    analysis: Analysis
    candidates: Sequence[Candidate]
    damages: Mapping[str, float]
    budget: Budget
    _tried: dict[frozenset[str], float | None] = field(default_factory=dict, init=False)
    _turn: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        cost = self.analysis.cost
        usable = tuple(c for c in self.candidates if c.key in self.damages)
        order = {site.name: position for position, site in enumerate(self.analysis.sites)}
        self._interactions = interactions(usable, self.damages, order)
        pairs = tuple(self._interactions)
        self._problem = Problem(
            usable,
            cost.relus,
            cost.macs,
            cost.depth,
            cost.relu_nodes,
            self.budget,
            pairs,
            self._depth,
            cost.params,
            cost.size_bytes + note_bytes({}),
        )
        self._place = {c.key: c.place for c in usable}

    def proposals(self) -> Iterator[Plan]:
        """Plans, no one twice; each looks at what was learned up to then.

        Raises:
            TargetError: no plan reaches the budget; says what can be reached.
        """
        kinds = _TURNS if self.budget.shallower else _TURNS_BY_DAMAGE
        while True:
            kind = kinds[self._turn % len(kinds)]
            self._turn += 1
            believed = self._believed()
            near = self._incumbent() if kind == "near" else None
            best = None if near is None else self._problem.least_damage(believed, self._tried, near)
            best = best or self._problem.least_damage(believed, self._tried)
            if best is None:
                if self._problem.least_damage(believed) is None:
                    raise _unreachable(self._problem, self.budget)
                return
            if kind == "cheap" and best:
                most = max(self._sum(best, believed) * (1 + _PREDICTED_TOLERANCE) + 1e-9, self.budget.harmless)
                best = self._problem.cheapest(believed, most, self._tried) or best
            plan = Plan(best, {c.key: self.damages[c.key] for c in best})
            self._tried[plan.keys] = None
            yield plan

    def ahead(self, count: int) -> list[Plan]:
        """Up to so many plans that `proposals` comes to next if nothing is learned meanwhile."""
        other = copy.copy(self)
        other._tried = dict(self._tried)
        try:
            return list(itertools.islice(other.proposals(), count))
        except TargetError:
            return []

    def expected(self) -> Plan | None:
        """A plan of about the least expected damage, which it carries, from all that was learned; None for none."""
        believed = self._believed(optimism=0.0)
        best = self._problem.least_damage(believed, roughly=True)
        if best is None:
            return None
        return Plan(best, {c.key: self.damages[c.key] for c in best}, self._sum(best, believed))

    def _sum(self, plan: Sequence[Candidate], damages: Mapping[str | Pair, float]) -> float:
        keys = frozenset(c.key for c in plan)
        return sum(damage for term, damage in damages.items() if self._contains(keys, term))

    def _contains(self, plan: frozenset[str], term: str | Pair) -> bool:
        """Whether a plan, given as keys, changes what a term of the sum stands for."""
        return term in plan if isinstance(term, str) else {self._place[key] for key in plan}.issuperset(term)

    def _incumbent(self) -> frozenset[str] | None:
        """The plan of least measured damage."""
        measured = {plan: damage for plan, damage in self._tried.items() if damage is not None}
        return min(measured, key=lambda plan: measured[plan]) if measured else None

    def learn(self, plan: Plan, damage: float) -> None:
        """Take note of what a plan really did; of no use where it contains what cannot be chosen here."""
        if plan.keys <= self._place.keys():
            self._tried[plan.keys] = damage

    @property
    def limits(self) -> list[tuple[str, int, int]]:
        """What is counted and limited, see `Problem.limits`."""
        return self._problem.limits

    def reaches(self, plan: Plan) -> bool:
        """Whether `plan` keeps the budget."""
        return self._problem.reached(plan.candidates)

    def _depth(self, chosen: Sequence[Candidate]) -> int:
        """Depth of the network once `chosen` are carried out."""
        network, layers = self.analysis.network, {}
        for candidate in chosen:
            inside = {self.analysis.layers.by_node.get(index) for index in candidate.nodes}
            linear = [layer.main for layer in inside if layer is not None and layer.kind != "affine"]
            if candidate.layers is not None:
                layers.update(dict.fromkeys(linear, 0))
                layers[max(candidate.nodes)] = candidate.layers
        return max(node_depths(network, layers), default=0)

    def _believed(self, optimism: float = _OPTIMISM) -> Mapping[str | Pair, float]:
        """Damage of each candidate and pair: the posterior mean less a share of the posterior deviation."""
        keys: list[str | Pair] = [*(c.key for c in self._problem.candidates), *self._interactions]
        prior = np.array([max(self._prior(key), 0.0) for key in keys])
        known = [(plan, damage) for plan, damage in self._tried.items() if damage is not None and plan]
        if not known:
            return dict(zip(keys, prior.tolist(), strict=True))
        member = np.array([[self._contains(plan, key) for key in keys] for plan, _ in known], dtype=np.float64)
        measured = np.array([damage for _, damage in known])
        sums = np.maximum(member @ prior, 1e-12)
        mean = prior * float(np.exp(np.mean(np.log(np.maximum(measured, 1e-12) / sums))))
        spread = member * mean**2
        covariance = spread @ member.T + np.diag((_NOISE * measured) ** 2 + 1e-15)
        gain = np.linalg.solve(covariance, spread).T
        posterior = mean + gain @ (measured - member @ mean)
        deviation = np.sqrt(np.maximum(mean**2 - np.sum(gain * spread.T, axis=1), 0.0))
        return dict(zip(keys, np.maximum(posterior - optimism * deviation, 0.0).tolist(), strict=True))

    def _prior(self, term: str | Pair) -> float:
        return self.damages[term] if isinstance(term, str) else self._interactions[term]


def about_equal(plans: Sequence[Plan], cost: Cost, budget: Budget) -> list[Plan]:
    """The plans of about the least damage of those carried out, the one that saves most first.

    Plans that save neither layers nor multiply-adds count only where the others do much more damage.

    Args:
        plans: with measured damages, at least one.
        cost: of the original.
        budget: says whether that is wanted; else it is the plan of least damage alone. And which damage counts as
            none.
    """
    if not budget.shallower:
        return [min(plans, key=lambda plan: plan.expected)]
    least = min(plan.expected for plan in plans)
    savers = [
        p for p in plans if _saving(p, cost) > 0 and p.expected <= max(least * (1 + _SHALLOWER), budget.harmless)
    ]
    usable = savers or list(plans)
    least = min(plan.expected for plan in usable)
    equals = (p for p in usable if p.expected <= max(least * (1 + MEASURED_TOLERANCE), budget.harmless))
    return sorted(equals, key=lambda p: (-_saving(p, cost), p.expected))


def _saving(plan: Plan, cost: Cost) -> float:
    """Share of the layers saved, and unless kernels are composed exactly, share of the multiply-adds as well."""
    layers = sum(c.depth for c in plan.candidates) / max(cost.depth, 1)
    if any(c.exactness != "fitted" for c in plan.candidates):
        return layers
    return layers + saved(plan.candidates, "macs") / max(cost.macs, 1)


def _unreachable(problem: Problem, budget: Budget) -> TargetError:
    parts = []
    if budget.depth_saved and not any(c.depth > 0 for c in problem.candidates):
        return TargetError("--kernel exact finds no two convolutions that can be merged on this model; use auto.")
    limited = [(name, total, most) for name, total, most in problem.limits if most < total]
    parts += [f"{most} {COUNTED[name]} ({_share(most, total)})" for name, total, most in limited]
    if budget.depth_saved:
        goal = f" that reach {' and '.join(parts)}" if parts else ""
        return TargetError(f"--kernel exact finds no mergers{goal} and leave an activation on this model; use auto.")
    fewest = {name: problem.fewest(name) for name, _, _ in limited}
    reached = [f"{fewest[name]} {COUNTED[name]} ({_share(fewest[name], total)})" for name, total, _ in limited]
    if budget.depth is not None:
        parts.append(f"a depth of {budget.depth}")
        reached.append(f"a depth of {problem.least_depth()}")
    if budget.price_saved is not None:
        parts.append(f"{budget.price_saved:.4g} less of the price of private inference")
        reached.append(f"{problem.most_saved():.4g} less of that price")
    return TargetError(
        f"The target of {' and '.join(parts)} cannot be reached: the lowest possible on this model is "
        f"{', or '.join(reached)}{'; one activation always stays' if problem.fewest('relus') else ''}. Raise the "
        "target; `onnxshallow analyze` names the reason for each site that cannot be removed."
    )


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2f} % of the original's" if whole else "none in the original"
