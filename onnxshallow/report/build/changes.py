"""What was done to a network, site by site and change by change, and the plans that were looked at."""

from collections.abc import Sequence
from typing import Any

from onnxshallow.actions.base import Candidate
from onnxshallow.analysis import Analysis, Cost
from onnxshallow.report.schema.reports import ChangeReport, Decision, PlanPoint
from onnxshallow.report.schema.sections import Change
from onnxshallow.search.overlaps import saved
from onnxshallow.search.plan import Plan
from onnxshallow.search.sensitivity.meter import MeasuredDamages

__all__ = ["change_reports", "decisions", "plan_points"]


def decisions(analysis: Analysis, plan: Plan, measured: MeasuredDamages | None = None) -> list[Decision]:
    """One decision a site: what the plan does to it, or why it stays.

    Args:
        analysis: of the original.
        plan: what was done.
        measured: what was measured, where something was.
    """
    by_site = {name: candidate for candidate in plan.candidates for name in candidate.sites}
    result = []
    for site in analysis.sites:
        candidate = by_site.get(site.name)
        least = None if measured is None else _least_damage(site.name, measured)
        if candidate is None:
            reason = f"cannot be removed: {site.refusal}" if site.refusal else "not part of the plan"
            kept = Decision(
                name=site.name, kind=site.kind, size=site.size, action="keep", reason=reason, least_damage=least
            )
            result.append(kept)
            continue
        result.append(
            Decision(
                name=site.name,
                kind=site.kind,
                size=site.size,
                reason=candidate.what,
                merged_into=candidate.output if candidate.kind == "merger" else None,
                least_damage=least,
                **_change(candidate, plan),
            )
        )
    return result


def _least_damage(site: str, measured: MeasuredDamages) -> float | None:
    """The least damage that was measured for removing `site` and no other site."""
    alone = [c.key for c in measured.candidates if c.sites == (site,) and c.whole]
    return min((measured.damages[key] for key in alone if key in measured.damages), default=None)


def change_reports(plan: Plan) -> list[ChangeReport]:
    """What the plan does, change by change."""
    return [
        ChangeReport(
            key=candidate.key,
            sites=list(candidate.sites),
            source=candidate.source,
            output=candidate.output,
            relus_saved=candidate.relus,
            macs_saved=candidate.macs,
            what=candidate.what,
            short=candidate.short,
            title=candidate.title,
            **_change(candidate, plan),
        )
        for candidate in plan.candidates
    ]


def _change(candidate: Candidate, plan: Plan) -> dict[str, Any]:
    """The fields of a `Change`."""
    named, other = dict[str, Any](), dict[str, Any]()
    for name, value in candidate.reported.items():
        (named if name in Change.model_fields else other)[name] = value
    return {
        **named,
        "variant": other,
        "action": candidate.action,
        "exactness": candidate.exactness,
        "damage": plan.damages.get(candidate.key),
        "weight_error": candidate.error,
        "squares": candidate.squares,
    }


def plan_points(cost: Cost, plans: Sequence[Plan], chosen: Plan) -> list[PlanPoint]:
    """The plans that were looked at, those that keep most ReLUs first.

    Args:
        cost: of the original.
        plans: with their measured damages.
        chosen: the plan that was carried out.
    """
    different = {plan.keys: plan for plan in plans}
    points = [
        PlanPoint(
            relus=cost.relus - sum(c.relus for c in plan.candidates),
            macs=cost.macs - saved(plan.candidates, "macs"),
            damage=plan.damage,
            predicted=plan.predicted if plan.damages or not plan.candidates else None,
            chosen=plan.keys == chosen.keys,
        )
        for plan in different.values()
    ]
    return sorted(points, key=lambda point: (-point.relus, -point.macs, point.damage or 0.0))
