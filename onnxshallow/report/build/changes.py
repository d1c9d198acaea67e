"""What was done to a network, site by site and change by change, and the plans that were looked at."""

from collections.abc import Sequence
from typing import Literal

from onnxshallow.actions.base import Candidate
from onnxshallow.analysis import Analysis, Cost
from onnxshallow.report.schema.reports import ChangeReport, Decision, PlanPoint
from onnxshallow.search.plan import Plan
from onnxshallow.search.sensitivity.meter import MeasuredDamages

__all__ = ["change_reports", "counted", "decisions", "plan_points"]


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
                action=candidate.action,
                kernel=None if candidate.kernel is None else list(candidate.kernel),
                reason=_reason(candidate, _unit(candidate)),
                damage=plan.damages.get(candidate.key),
                exactness=candidate.exactness,
                merged_into=candidate.output if candidate.kernel is not None else None,
                least_damage=least,
                kept=candidate.kept,
                kept_unit=_unit(candidate),
                squares=candidate.squares,
            )
        )
    return result


def _least_damage(site: str, measured: MeasuredDamages) -> float | None:
    """The least damage that was measured for removing `site` and no other site."""
    alone = [c.key for c in measured.candidates if c.sites == (site,) and not c.kept]
    return min((measured.damages[key] for key in alone if key in measured.damages), default=None)


def change_reports(plan: Plan) -> list[ChangeReport]:
    """What the plan does, change by change."""
    return [
        ChangeReport(
            key=candidate.key,
            action=candidate.action,
            sites=list(candidate.sites),
            source=candidate.source,
            output=candidate.output,
            kernel=None if candidate.kernel is None else list(candidate.kernel),
            rank=candidate.rank,
            exactness=candidate.exactness,
            relus_saved=candidate.relus,
            macs_saved=candidate.macs,
            damage=plan.damages.get(candidate.key),
            what=_reason(candidate, _unit(candidate)),
            kept=candidate.kept,
            kept_unit=_unit(candidate),
            squares=candidate.squares,
        )
        for candidate in plan.candidates
    ]


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
            macs=cost.macs - sum(c.macs for c in plan.candidates),
            damage=plan.damage,
            predicted=plan.predicted,
            chosen=plan.keys == chosen.keys,
        )
        for plan in different.values()
    ]
    return sorted(points, key=lambda point: (-point.relus, -point.macs, point.damage or 0.0))


def counted(kept: int, unit: str | None) -> str:
    """So many channels or elements, in words."""
    words = unit or "channels"
    return f"{kept} {words.removesuffix('s') if kept == 1 else words}"


def _unit(candidate: Candidate) -> Literal["channels", "elements"] | None:
    """What `kept` counts."""
    return None if candidate.kept is None else "elements" if candidate.pixels else "channels"


def _reason(candidate: Candidate, unit: Literal["channels", "elements"] | None) -> str:
    if candidate.rank is not None:
        return f"the layer that makes {candidate.output!r} became two, with {candidate.rank} channels between them"
    if candidate.kernel is None:
        form = "quadratic" if candidate.squares else "affine map"
        if not candidate.kept:
            return f"replaced by the least-squares {form} of its channels"
        kept = counted(candidate.kept, unit)
        return f"keeps the activation of {kept}; the others are replaced by their least-squares {form}s"
    kernel = "x".join(str(size) for size in candidate.kernel) or "single"
    how = {
        "fitted": f"one {kernel} convolution, fitted to calibration activations",
        "exact": f"one {kernel} convolution, composed exactly",
        "border": f"one {kernel} convolution, composed; exact except where padding reaches in from the border",
    }
    return f"the layers from {candidate.source!r} to {candidate.output!r} became {how[candidate.exactness]}"
